// Package access says who may do what: keys and what they may, and a store that lets each caller do no more.
//
// Read it downward. key.go has the form of a key, keyring.go who has which, stored.go those that a store keeps, and
// store.go and look.go what each verb of a store needs.
// Whoever opens a door asks the [Keyring] who is there, and passes the answer on in the context.
package access

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"regexp"
	"strings"

	tms "github.com/manankarani/token-manager"
)

// A key is tms_ID_SECRET_CHECK: 8 letters and digits by which people tell keys apart, 128 random bits in 22, and in 6
// the CRC-32 of what stands before, so that one which was cut or mistyped is known for that, and scanners for secrets
// find a key by its form alone.
var form = regexp.MustCompile(`^tms_[0-9A-Za-z]{8}_[0-9A-Za-z]{22}_[0-9A-Za-z]{6}$`)

const (
	checkDigits = 6
	hashPrefix  = "sha256:"
)

// Hash is the SHA-256 of a key: all of it that a server keeps. A key has 128 random bits, so that nobody finds one by
// its hash, and no slower function is needed.
type Hash [sha256.Size]byte

// NewKey draws a key.
func NewKey() string {
	id := tms.NewValue()
	body := "tms_" + id[len(id)-8:] + "_" + tms.NewValue()
	return body + "_" + check(body)
}

// IDOf returns the part of a key by which people tell keys apart.
func IDOf(key string) string {
	_, rest, _ := strings.Cut(key, "_")
	id, _, _ := strings.Cut(rest, "_")
	return id
}

// ValidateKey refuses what is no key by its form. The error does not repeat it.
func ValidateKey(key string) error {
	body, digits := key[:max(0, len(key)-checkDigits-1)], key[max(0, len(key)-checkDigits):]
	if !form.MatchString(key) || check(body) != digits {
		return tms.Refuse(tms.ErrUnauthenticated, "the key is none: it was cut or mistyped")
	}
	return nil
}

// ValidateBearer refuses what is neither a key by its form nor a token (JWT), of which an issuer knows whether it
// counts.
func ValidateBearer(text string) error {
	if issuerOf(text) != "" {
		return nil
	}
	return ValidateKey(text)
}

// check returns the CRC-32 in base62: the last digits of a value of which the rest is zero.
func check(body string) string {
	var number [16]byte
	binary.BigEndian.PutUint32(number[12:], crc32.ChecksumIEEE([]byte(body)))
	text := tms.Value(number)
	return text[len(text)-checkDigits:]
}

// HashOf returns the hash of a key.
func HashOf(key string) Hash { return sha256.Sum256([]byte(key)) }

// ParseHash reads what [Hash.String] writes.
func ParseHash(text string) (h Hash, err error) {
	digits, some := strings.CutPrefix(text, hashPrefix)
	raw, err := hex.DecodeString(digits)
	if !some || err != nil || len(raw) != len(h) {
		return h, fmt.Errorf("must be %s and 64 hexadecimal digits, as tms key new prints it", hashPrefix)
	}
	return Hash(raw), nil
}

// String returns the hash as configurations have it.
func (h Hash) String() string { return hashPrefix + hex.EncodeToString(h[:]) }
