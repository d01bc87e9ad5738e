package redis

import (
	"context"
	"time"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
)

// A Redis that was emptied, or another one at its address, looks like a new one, in which all tokens are free. The key
// [storeID] tells: the first server draws it, and a server that finds another one than it found first, or none, turns
// away everything but reads. In a cluster a node can be emptied that has not the key: there a pool that this server
// served, and that is gone though nobody has deleted it, was lost with its node.

// making is the time that another server may take between the name of a pool and the pool.
const making = time.Second

// reads are the functions that go on although the data is another. They carry out expiries, and give nobody a token; or
// they concern no token at all.
var reads = map[string]bool{fnPool: true, fnToken: true, fnTokens: true, fnWaiters: true, fnDraw: true, fnKeys: true}

// admit says why a call must not be made. The first one finds out whether Redis is fit.
func (s *Store) admit(ctx context.Context, function string) error {
	if err := s.acquaint(ctx, function); err != nil {
		return outcome(err)
	}
	return s.turnedAway(function)
}

// acquaint waits until Redis is connected to, and the master was called.
func (s *Store) acquaint(ctx context.Context, function string) error {
	if s.sentinels == nil && s.link.client.Load() != nil { // the common case, which waits for nothing
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.link.timeout)
	defer cancel()
	if _, err := s.link.connected(ctx); err != nil {
		return err
	}
	if function == fnReport { // which is a part of the call
		return nil
	}
	return s.meet(ctx)
}

func (s *Store) turnedAway(function string) error {
	if r := s.reset.Load(); r != nil && !reads[function] {
		return r
	}
	if err := s.sentinels.vouch(); err != nil && !reads[function] {
		return err
	}
	if r := s.unfit.Load(); r != nil && (function == fnAssign || function == fnClaim) {
		return r
	}
	return nil
}

// reload loads the library after a server said that it has not got it, which may have lost more.
func (s *Store) reload(ctx context.Context, function string) error {
	if err := s.link.reload(ctx); err != nil {
		s.heed(err)
		return err
	}
	if err := s.recognise(ctx); err != nil && s.reset.Load() == nil {
		return err
	}
	return s.turnedAway(function)
}

// recognise refuses with [tms.ErrStoreReset] if the data is not that which this server found first. A Redis that takes
// no writes may have no ID yet.
func (s *Store) recognise(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.link.timeout)
	defer cancel()
	client, err := s.link.connected(ctx)
	if err != nil {
		return err
	}
	return s.recogniseOn(ctx, client)
}

func (s *Store) recogniseOn(ctx context.Context, client rueidis.Client) error {
	if r := s.reset.Load(); r != nil {
		return r
	}
	same, err := s.isSame(ctx, client)
	if same {
		s.sentinels.differs(false)
	}
	if same || err != nil {
		return err
	}
	if s.id.Load() == nil {
		return s.found(ctx, client)
	}
	if s.sentinels.differs(true) {
		return tms.Refuse(tms.ErrStoreUnavailable, "redis holds other data than it did; there may be another master")
	}
	return s.wasReset("redis was emptied, or holds other data than it did")
}

// isSame reports whether the data is that which this server found first, or the first that it finds.
func (s *Store) isSame(ctx context.Context, client rueidis.Client) (bool, error) {
	found, err := s.send(ctx, client, client.B().Get().Key(storeID).Build()).ToString()
	if rueidis.IsRedisNil(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s.id.CompareAndSwap(nil, &found)
	return found == *s.id.Load(), nil
}

// found gives data that has no ID one, and takes that of another server that came first.
func (s *Store) found(ctx context.Context, client rueidis.Client) error {
	id, err := s.first(ctx, client, storeID, tms.NewValue())
	if neverRan(err) {
		return nil
	}
	if err == nil {
		s.id.CompareAndSwap(nil, &id)
	}
	return err
}

// first gives a key that has none a value, and returns that of another server that came first.
func (s *Store) first(ctx context.Context, client rueidis.Client, key, value string) (string, error) {
	m, err := s.send(ctx, client, client.B().Set().Key(key).Value(value).Nx().Get().Build()).ToMessage()
	if err != nil && !rueidis.IsRedisNil(err) {
		return "", err
	}
	if first, err := m.ToString(); err == nil {
		value = first
	}
	return value, nil
}

func (s *Store) wasReset(what string) error {
	r := tms.Refuse(tms.ErrStoreReset, "%s; all but reads is turned away until this server is restarted", what)
	if s.reset.CompareAndSwap(nil, r) {
		s.link.log.Error("the store was reset", "reason", what)
	}
	return s.reset.Load()
}

// lookForPool reports whether a pool that is not there was lost with the data.
func (s *Store) lookForPool(ctx context.Context, pool string) error {
	if err := s.recognise(ctx); err != nil {
		return outcome(err)
	}
	if _, served := s.served.Load(pool); !served {
		return nil
	}
	lost, err := s.lost(ctx, pool)
	if err != nil {
		return outcome(err)
	}
	if lost {
		return s.wasReset("a node of the redis cluster was emptied: it had the pool " + pool)
	}
	s.forget(pool)
	return nil
}

// lost reports whether a pool that this server served is gone from a cluster with nobody having deleted it: there is no
// mark of a deletion, and the index has its name, for longer than a server takes to make a pool after its name, or is
// gone, too.
func (s *Store) lost(ctx context.Context, pool string) (bool, error) {
	if !s.onCluster() {
		return false, nil
	}
	for range 2 {
		// The mark is made in the step that removes the pool: looked for first, it could be missed.
		for _, key := range []string{poolKeys(pool)[0], keyPrefix(pool) + goneName} {
			if there, err := s.exists(ctx, key); err != nil || there {
				return false, err
			}
		}
		if listed, err := s.listed(ctx, pool); err != nil {
			return false, err
		} else if !listed {
			there, err := s.exists(ctx, poolIndex)
			return err == nil && !there, err
		}
		select {
		case <-time.After(making):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return true, nil
}

// lookForIndex reports whether the index, which lacks the default pool, was lost with a node of a cluster.
func (s *Store) lookForIndex(ctx context.Context) error {
	if err := s.recognise(ctx); err != nil {
		return outcome(err)
	}
	if _, served := s.served.Load(tms.DefaultPool); served && s.onCluster() {
		return s.wasReset("a node of the redis cluster was emptied: it had the names of the pools")
	}
	return nil
}

func (s *Store) onCluster() bool {
	client := s.link.client.Load()
	return client != nil && (*client).Mode() == rueidis.ClientModeCluster
}
