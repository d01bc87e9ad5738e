package tms

import (
	"context"
	"encoding/hex"
	"strings"
	"time"
)

// StoredKey is a key that a store keeps: all of it but the key itself.
type StoredKey struct {
	Name string `json:"name"` // the holder of the leases that are taken with it; several keys may have one name

	// ID is the part of the key by which people tell keys apart. No two have the same. Empty: the key is not of the
	// store, but of a server's configuration.
	ID      string    `json:"id,omitzero"`
	Hash    string    `json:"hash,omitzero"` // SHA-256 of the key: "sha256:" and 64 hexadecimal digits
	May     []Grant   `json:"may"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	MadeAt  time.Time `json:"made_at,omitzero"`
	UsedAt  time.Time `json:"used_at,omitzero"` // when it was last used, to the minute; zero: never
}

// Limits of keys in a store.
const (
	MaxKeys   = 1_000 // keys
	MaxGrants = 64    // rights of one key
	keyID     = 8     // bytes of an ID
)

// Keyring is a store that keeps keys for its servers. It is safe for concurrent use, and each method is one atomic step
// that is durable to the store's stated level before it returns. Arguments must be within the limits that
// [StoredKey.Validate] checks.
type Keyring interface {
	// PutKey keeps a key. One whose ID and Hash the store has stays as it is, so that a call can be repeated. Codes:
	// [ErrInvalidRequest] where the store has another key of its ID, or [MaxKeys].
	PutKey(ctx context.Context, key StoredKey) error

	// DeleteKey deletes the keys of the name, or where an ID is given, of these the one that has it. It returns how
	// many there were.
	DeleteKey(ctx context.Context, name, id string) (int, error)

	// Keys returns all keys, in the order of their names, and under one name in that in which they were made. Before,
	// it remembers when those were last used whose IDs are given; one that is gone is passed over.
	Keys(ctx context.Context, used map[string]time.Time) ([]StoredKey, error)
}

// Validate refuses a key outside the limits, and names the field as it is called on the wire.
func (k StoredKey) Validate() error {
	if err := ValidatePoolName("name", k.Name); err != nil {
		return err
	}
	if err := ValidateKeyID("id", k.ID); err != nil {
		return err
	}
	digits, some := strings.CutPrefix(k.Hash, "sha256:")
	if raw, err := hex.DecodeString(digits); !some || err != nil || len(raw) != 32 {
		return Invalid("hash", "must be sha256: and 64 hexadecimal digits")
	}
	if len(k.May) == 0 || len(k.May) > MaxGrants {
		return Invalid("may", "must be 1 to %d rights", MaxGrants)
	}
	return nil
}

// ValidateKeyID refuses what is not the ID of a key.
func ValidateKeyID(field, id string) error {
	if len(id) != keyID || strings.Trim(id, base62) != "" {
		return Invalid(field, "must be %d letters and digits", keyID)
	}
	return nil
}

// MarshalText implements [encoding.TextMarshaler], as [Grant.String] does.
func (g Grant) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler], as [ParseGrant] does.
func (g *Grant) UnmarshalText(text []byte) (err error) {
	*g, err = ParseGrant(string(text))
	return err
}
