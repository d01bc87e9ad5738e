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

// reads are the functions that go on although the data is another. They carry out expiries, and give nobody a token.
var reads = map[string]bool{fnPool: true, fnToken: true, fnTokens: true}

// admit says why a call must not be made. The first one finds out whether Redis is fit.
func (s *Store) admit(ctx context.Context, function string) error {
	if err := s.acquaint(ctx, function); err != nil {
		return outcome(err)
	}
	return s.turnedAway(function)
}

// acquaint waits until Redis is connected to, and the master was called.
func (s *Store) acquaint(ctx context.Context, function string) error {
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
		return err
	}
	if err := s.recognise(ctx, s.do); err != nil && s.reset.Load() == nil {
		return err
	}
	return s.turnedAway(function)
}

type asker = func(context.Context, func(rueidis.Builder) rueidis.Completed) (rueidis.RedisMessage, error)

// recognise refuses with [tms.ErrStoreReset] if the data is not that which this server found first. A Redis that takes
// no writes may have no ID yet.
func (s *Store) recognise(ctx context.Context, ask asker) error {
	if r := s.reset.Load(); r != nil {
		return r
	}
	known := s.id.Load()
	m, err := ask(ctx, func(b rueidis.Builder) rueidis.Completed { return b.Get().Key(storeID).Build() })
	if known == nil && rueidis.IsRedisNil(err) {
		return s.found(ctx, ask)
	}
	if err != nil && !rueidis.IsRedisNil(err) {
		return err
	}
	found, _ := m.ToString()
	switch {
	case known == nil:
		s.id.CompareAndSwap(nil, &found)
	case found != *known:
		return s.wasReset("redis was emptied, or holds other data than it did")
	}
	return nil
}

// found gives data that has no ID one, and takes that of another server that came first.
func (s *Store) found(ctx context.Context, ask asker) error {
	id := tms.NewValue()
	m, err := ask(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Set().Key(storeID).Value(id).Nx().Get().Build()
	})
	if err != nil && !rueidis.IsRedisNil(err) {
		if neverRan(err) {
			return nil
		}
		return err
	}
	if first, err := m.ToString(); err == nil {
		id = first
	}
	s.id.CompareAndSwap(nil, &id)
	return nil
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
	if err := s.recognise(ctx, s.do); err != nil {
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
	if err := s.recognise(ctx, s.do); err != nil {
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
