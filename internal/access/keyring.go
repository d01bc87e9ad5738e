package access

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Key is what a server knows of a key.
type Key struct {
	Name    string // the holder of the leases that are taken with it
	Hash    Hash
	May     []tms.Grant
	Expires time.Time // from when on nobody may use it; zero: never
}

// may reports whether the key has the right in the pool.
func (k *Key) may(right tms.Right, pool string) bool {
	for _, grant := range k.May {
		if grant.Gives(right, pool) {
			return true
		}
	}
	return false
}

// Keyring knows the keys of a server. It is made with [NewKeyring], and safe for concurrent use.
type Keyring struct {
	now  func() time.Time
	keys atomic.Pointer[map[Hash]*Key]
}

// NewKeyring returns a keyring without keys. Now tells which have expired; nil: the clock of the machine does.
func NewKeyring(now func() time.Time) *Keyring {
	if now == nil {
		now = time.Now
	}
	r := &Keyring{now: now}
	r.Set(nil)
	return r
}

// Set puts these keys in the place of all others, at once for every request that comes, and for those that wait when
// their wait ends.
func (r *Keyring) Set(keys []Key) {
	byHash := make(map[Hash]*Key, len(keys))
	for _, key := range keys {
		byHash[key.Hash] = &key
	}
	r.keys.Store(&byHash)
}

// find returns the key of the hash, unless it has expired. Keys are found by their hash, whose bits an attacker cannot
// choose, so that the time that it takes tells nothing of a key.
func (r *Keyring) find(hash Hash) (*Key, error) {
	key := (*r.keys.Load())[hash]
	switch {
	case key == nil:
		return nil, tms.Refuse(tms.ErrUnauthenticated, "the server does not know the key, or it was revoked")
	case !key.Expires.IsZero() && !r.now().Before(key.Expires):
		return nil, tms.Refuse(tms.ErrUnauthenticated, "the key %q has expired", key.Name)
	}
	return key, nil
}

// Enter returns the context in which a caller asks the store of [Wrap], who brings these Authorization headers. It is
// refused with [tms.ErrUnauthenticated].
func (r *Keyring) Enter(ctx context.Context, authorization []string) (context.Context, error) {
	if len(authorization) != 1 {
		return nil, tms.Refuse(tms.ErrUnauthenticated, "send one key: Authorization: Bearer tms_…")
	}
	scheme, text, _ := strings.Cut(authorization[0], " ")
	text = strings.TrimLeft(text, " ")
	if !strings.EqualFold(scheme, "Bearer") || text == "" {
		return nil, tms.Refuse(tms.ErrUnauthenticated, "send the key as Authorization: Bearer tms_…")
	}
	if err := ValidateKey(text); err != nil {
		return nil, err
	}
	key, err := r.find(HashOf(text))
	if err != nil {
		return nil, err
	}
	return context.WithValue(ctx, callerKey{}, key), nil
}

// callerKey is the key of a context's value: the caller's *Key.
type callerKey struct{}

// Who returns the caller.
func (r *Keyring) Who(ctx context.Context) (tms.Caller, error) {
	key, err := callerOf(ctx)
	if err != nil {
		return tms.Caller{}, err
	}
	return tms.Caller{Key: key.Name, May: key.May, Expires: key.Expires}, nil
}

// callerOf returns the key of the caller.
func callerOf(ctx context.Context) (*Key, error) {
	key, _ := ctx.Value(callerKey{}).(*Key)
	if key == nil {
		return nil, tms.ErrUnauthenticated
	}
	return key, nil
}

// Everywhere refuses a caller who has not the right in all pools, with [tms.ErrNotPermitted].
func (r *Keyring) Everywhere(ctx context.Context, right tms.Right) error {
	key, err := callerOf(ctx)
	if err == nil && !key.may(right, "") { // which only a glob matches that matches any pool
		err = tms.Refuse(tms.ErrNotPermitted, "the key %q has not the right to %s in all pools", key.Name, right)
	}
	return err
}
