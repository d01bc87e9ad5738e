package access

import (
	"context"
	"errors"
	"strings"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/secret"
)

// Store is a store that lets callers do what their keys may, and refuses everything else with [tms.ErrNotPermitted],
// or with [tms.ErrUnauthenticated] where nobody knows who calls. It is made with [Wrap].
//
// A refusal is for the whole call and comes before the store is asked, so that it tells nothing of what is in the pool.
// What depends on the state of a token is left to the store's own step: whoever has not the right to run is Strict.
// Whatever a caller calls by a name, it is a name of its own: see [tms.Owned].
type Store struct {
	store tms.Store
	ring  *Keyring
	keys  secret.Source
}

// Wrap returns the store behind the keyring. Keys gives the installation's.
func Wrap(store tms.Store, ring *Keyring, keys secret.Source) *Store {
	return &Store{store, ring, keys}
}

// permit returns the caller's key, which must have one of the rights in the pool.
func permit(ctx context.Context, pool string, rights ...tms.Right) (*Key, error) {
	key, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	for _, right := range rights {
		if key.may(right, pool) {
			return key, nil
		}
	}
	return nil, tms.Refuse(tms.ErrNotPermitted,
		"the key %q has not the right to %s in the pool %q", key.Name, rights[0], pool)
}

// PutPool implements [tms.Store].
func (s *Store) PutPool(ctx context.Context, name string, change tms.PolicyChange) (tms.Pool, error) {
	if _, err := permit(ctx, name, tms.Run); err != nil {
		return tms.Pool{}, err
	}
	return s.store.PutPool(ctx, name, change)
}

// Pool implements [tms.Store].
func (s *Store) Pool(ctx context.Context, name string) (tms.Pool, tms.Stats, error) {
	if _, err := permit(ctx, name, tms.Watch, tms.Hold, tms.Fill); err != nil {
		return tms.Pool{}, tms.Stats{}, err
	}
	return s.store.Pool(ctx, name)
}

// Pools implements [tms.Store]. It leaves out what the caller may not watch, so that a page may hold fewer pools.
func (s *Store) Pools(ctx context.Context, after string, limit int) (tms.PoolPage, error) {
	key, err := callerOf(ctx)
	if err != nil {
		return tms.PoolPage{}, err
	}
	page, err := s.store.Pools(ctx, after, limit)
	seen := page.Pools[:0]
	for _, pool := range page.Pools {
		if key.may(tms.Watch, pool.Pool.Name) {
			seen = append(seen, pool)
		}
	}
	page.Pools = seen
	return page, err
}

// DeletePool implements [tms.Store].
func (s *Store) DeletePool(ctx context.Context, name string) error {
	if _, err := permit(ctx, name, tms.Run); err != nil {
		return err
	}
	return s.store.DeletePool(ctx, name)
}

// Generate implements [tms.Store].
func (s *Store) Generate(ctx context.Context, pool string, request tms.GenerateRequest) (tms.Generated, error) {
	key, err := permit(ctx, pool, tms.Fill)
	if err != nil {
		return tms.Generated{}, err
	}
	request.RequestID = key.owned(request.RequestID)
	return s.store.Generate(ctx, pool, request)
}

// owned returns a name of the caller's own; none stays none.
func (k *Key) owned(name string) string {
	if name == "" {
		return ""
	}
	return tms.Owned(k.Name, name)
}

// Assign implements [tms.Store]. It looks at the key again when a wait has ended, and gives back what came of one that
// has been revoked meanwhile, has expired, or may no longer hold.
func (s *Store) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	key, err := permit(ctx, pool, tms.Hold)
	if err != nil {
		return nil, err
	}
	owned, waits := make([]tms.AssignRequest, len(requests)), false
	for i, r := range requests {
		r.ClientID, r.RequestID = tms.Owned(key.Name, r.ClientID), key.owned(r.RequestID)
		owned[i], waits = r, waits || r.Wait > 0
	}
	results, err := s.store.Assign(ctx, pool, owned)
	if err != nil || !waits {
		return results, err
	}
	return s.stillPermitted(ctx, key, pool, results)
}

const giveBackFor = 2 * time.Second

func (s *Store) stillPermitted(ctx context.Context, key *Key, pool string, results []tms.AssignResult) (
	[]tms.AssignResult, error) {
	now, err := s.ring.again(key)
	if err == nil {
		_, err = permit(context.WithValue(ctx, callerKey{}, now), pool, tms.Hold)
	}
	if err == nil {
		return results, nil
	}
	var given []tms.LeaseKey
	for _, result := range results {
		for _, token := range result.Tokens {
			given = append(given, tms.LeaseKey{Token: token.Value, LeaseID: token.Lease.ID})
		}
	}
	if len(given) == 0 {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackFor) // the caller may have gone as well
	defer cancel()
	if _, failed := s.store.Unblock(ctx, pool, given); failed != nil { // which must not lend its code
		return nil, errors.New("access: the leases of a key that ended in its wait stay until they expire: " +
			failed.Error())
	}
	return nil, err
}

// strictly returns the keys as the caller may use them: with the lease_id as a holder, without as who fills the pool,
// unless by force.
func strictly(ctx context.Context, pool string, keys []tms.LeaseKey, proven tms.Right) ([]tms.LeaseKey, error) {
	strict := make([]tms.LeaseKey, len(keys))
	for i, key := range keys {
		right := tms.Fill
		if key.LeaseID != "" {
			right = proven
		}
		caller, err := permit(ctx, pool, right)
		if err != nil {
			return nil, err
		}
		if key.Strict = !caller.may(tms.Run, pool); !key.Strict {
			key.By = caller.Name
		}
		strict[i] = key
	}
	return strict, nil
}

// client returns the client that the caller names: one of its own, or where it has the right, anybody's as
// "holder/client_id", which is how leases show it.
func (k *Key) client(right tms.Right, pool, name string) string {
	if holder, rest, some := strings.Cut(name, "/"); some && k.may(right, pool) {
		return tms.Owned(holder, rest)
	}
	return tms.Owned(k.Name, name)
}

// KeepAlive implements [tms.Store].
func (s *Store) KeepAlive(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	keys, err := strictly(ctx, pool, keys, tms.Hold)
	if err != nil {
		return nil, err
	}
	return s.store.KeepAlive(ctx, pool, keys)
}

// Unblock implements [tms.Store].
func (s *Store) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	keys, err := strictly(ctx, pool, keys, tms.Hold)
	if err != nil {
		return nil, err
	}
	return s.store.Unblock(ctx, pool, keys)
}

// UnblockClient implements [tms.Store]. It ends leases of the caller's own key, unless by force.
func (s *Store) UnblockClient(ctx context.Context, pool, clientID string) (int, error) {
	key, err := permit(ctx, pool, tms.Hold)
	if err != nil {
		return 0, err
	}
	return s.store.UnblockClient(ctx, pool, key.client(tms.Run, pool, clientID))
}

// UnblockRequest implements [tms.Store]. It ends leases of the caller's own key.
func (s *Store) UnblockRequest(ctx context.Context, pool, requestID string) (int, error) {
	key, err := permit(ctx, pool, tms.Hold)
	if err != nil {
		return 0, err
	}
	return s.store.UnblockRequest(ctx, pool, key.owned(requestID))
}

// Restore implements [tms.Store].
func (s *Store) Restore(ctx context.Context, pool string, values []string) ([]tms.TokenResult, error) {
	if _, err := permit(ctx, pool, tms.Fill); err != nil {
		return nil, err
	}
	return s.store.Restore(ctx, pool, values)
}

// Delete implements [tms.Store].
func (s *Store) Delete(ctx context.Context, pool string, keys []tms.LeaseKey) ([]error, error) {
	keys, err := strictly(ctx, pool, keys, tms.Fill)
	if err != nil {
		return nil, err
	}
	return s.store.Delete(ctx, pool, keys)
}

// Close implements [tms.Store].
func (s *Store) Close() error { return s.store.Close() }

// Ready implements [tms.Readier]. It asks for no key.
func (s *Store) Ready(ctx context.Context) error {
	if readier, ok := s.store.(tms.Readier); ok {
		return readier.Ready(ctx)
	}
	return nil
}
