package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// PutPool implements [tms.Store]. A pool of that name whose deletion is under way is deleted to its end first.
//
// The index of names lies in another slot, so that it cannot change in the same step. The name goes in before the pool
// is made, so that no pool is without it, and once more afterwards, in case a deletion took it out in between.
func (s *Store) PutPool(ctx context.Context, name string, change tms.PolicyChange) (tms.Pool, error) {
	if name == tms.DefaultPool {
		return s.putDefault(ctx, change)
	}
	if change.If == tms.IfExists { // which makes no pool, and no name
		return s.putPool(ctx, name, change)
	}
	return s.putNamed(ctx, name, change)
}

// putDefault changes the pool that always exists, whether or not Redis has heard of it.
func (s *Store) putDefault(ctx context.Context, change tms.PolicyChange) (tms.Pool, error) {
	if err := rules.MayPut(tms.DefaultPool, change.If, true); err != nil {
		return tms.Pool{}, err
	}
	change.If = tms.IfAny
	p, err := s.putNamed(ctx, tms.DefaultPool, change)
	if err == nil && p.Was == nil {
		p.Was = new(tms.DefaultPolicy())
	}
	return p, err
}

// putNamed changes the pool, unless it must be missing, and otherwise makes it, once it is sure that it was not lost. A
// full Redis takes the first and not the second.
func (s *Store) putNamed(ctx context.Context, name string, change tms.PolicyChange) (tms.Pool, error) {
	if change.If == tms.IfAny {
		there := change
		there.If = tms.IfExists
		p, err := s.putPool(ctx, name, there)
		if !errors.Is(err, tms.ErrPoolNotFound) {
			return s.named(ctx, p, err)
		}
	} else if err := s.lookForPool(ctx, name); err != nil {
		return tms.Pool{}, err
	}
	if err := s.addName(ctx, name); err != nil {
		return tms.Pool{}, err
	}
	p, err := s.putPool(ctx, name, change)
	return s.named(ctx, p, err)
}

// named returns a pool that was put once its name is in the index.
func (s *Store) named(ctx context.Context, p tms.Pool, err error) (tms.Pool, error) {
	if err != nil {
		return tms.Pool{}, err
	}
	if err := s.addName(ctx, p.Name); err != nil {
		// no code: something has changed
		return tms.Pool{}, fmt.Errorf("the pool is as asked for, but perhaps not listed: %v", err)
	}
	return p, nil
}

func (s *Store) putPool(ctx context.Context, name string, change tms.PolicyChange) (tms.Pool, error) {
	args := []string{encodeChange(tms.DefaultPolicy().Change()), encodeChange(change), string(change.If)}
	a, err := s.callOnce(ctx, name, fnPutPool, args)
	for errors.Is(err, errDeleting) {
		if err := s.purge(ctx, name); err != nil {
			return tms.Pool{}, err
		}
		a, err = s.callOnce(ctx, name, fnPutPool, args)
	}
	if err != nil {
		return tms.Pool{}, err
	}
	p, err := readPool(name, a)
	if was := a.text(); err == nil && was != "" {
		p.Was = new(tms.Policy)
		*p.Was, err = readPolicy(was)
	}
	if err == nil && a.more() {
		_, err = rules.ChangePolicy(p.Policy, change, int(a.int()), int(a.int()))
	}
	return p, errors.Join(err, a.failure())
}

// readPool reads a pool's policy.
func readPool(name string, a *answer) (tms.Pool, error) {
	text := a.text()
	if err := a.failure(); err != nil {
		return tms.Pool{}, err
	}
	p, err := readPolicy(text)
	return tms.Pool{Name: name, Policy: p}, err
}

func readPolicy(text string) (tms.Policy, error) {
	p, err := decodePolicy(text)
	if err != nil {
		return p, malformed(err)
	}
	return p, nil
}

// Pool implements [tms.Store].
func (s *Store) Pool(ctx context.Context, name string) (tms.Pool, tms.Stats, error) {
	a, err := s.call(ctx, name, fnPool)
	if err != nil {
		return tms.Pool{}, tms.Stats{}, err
	}
	p, err := readPool(name, a)
	if err != nil {
		return tms.Pool{}, tms.Stats{}, err
	}
	var stats tms.Stats
	for _, size := range []*int{&stats.Available, &stats.Assigned, &stats.Cooling, &stats.Quarantined, &stats.Waiting} {
		*size = int(a.int())
	}
	stats.Expired = a.counts()
	p.SettlingUntil = a.instant()
	return p, stats, a.failure()
}

func (a *answer) counts() tms.ExpiryCounts {
	return tms.ExpiryCounts{Released: a.int(), Quarantined: a.int(), Deleted: a.int()}
}

// Pools implements [tms.Store].
func (s *Store) Pools(ctx context.Context, after string, limit int) (tms.PoolPage, error) {
	names, err := s.PoolNames(ctx, after, limit+1)
	if err != nil {
		return tms.PoolPage{}, err
	}
	return rules.PoolPage(names, limit, func(name string) (tms.Pool, tms.Stats, error) {
		pool, stats, err := s.Pool(ctx, name)
		if errors.Is(err, tms.ErrStoreReset) { // it was lost, which ends no listing of the others
			err = rules.NoPool(name)
		}
		return pool, stats, err
	})
}

// PoolNames implements [tms.Sweeper].
func (s *Store) PoolNames(ctx context.Context, after string, limit int) ([]string, error) {
	names, err := s.names(ctx, after, limit)
	if err != nil || !lacksDefault(names, after, limit) {
		return names, err
	}
	if err := s.lookForIndex(ctx); err != nil {
		return names, nil // a listing goes on
	}
	if _, err := s.PutPool(ctx, tms.DefaultPool, tms.PolicyChange{}); err != nil {
		return nil, err
	}
	return s.names(ctx, after, limit)
}

// lacksDefault reports whether the default pool should be among the names and is not.
func lacksDefault(names []string, after string, limit int) bool {
	if limit <= 0 || after >= tms.DefaultPool || slices.Contains(names, tms.DefaultPool) {
		return false
	}
	return len(names) < limit || names[len(names)-1] > tms.DefaultPool
}

func (s *Store) names(ctx context.Context, after string, limit int) ([]string, error) {
	from := "-"
	if after != "" {
		from = "(" + after
	}
	m, err := s.do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Zrangebylex().Key(poolIndex).Min(from).Max("+").Limit(0, int64(limit)).Build()
	})
	if err != nil {
		return nil, outcome(err)
	}
	names, err := m.AsStrSlice()
	if err != nil {
		return nil, malformed(err)
	}
	return names, nil
}

// addName puts the name of a pool into the index. One that is there takes no space, so that a full Redis does not
// refuse.
func (s *Store) addName(ctx context.Context, name string) error {
	if listed, err := s.listed(ctx, name); err != nil || listed {
		return nilOr(err)
	}
	_, err := s.do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Zadd().Key(poolIndex).ScoreMember().ScoreMember(0, name).Build()
	})
	return nilOr(err)
}

// listed reports whether the index has the name.
func (s *Store) listed(ctx context.Context, name string) (bool, error) {
	_, err := s.do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Zscore().Key(poolIndex).Member(name).Build()
	})
	if rueidis.IsRedisNil(err) {
		return false, nil
	}
	return err == nil, err
}

func (s *Store) exists(ctx context.Context, key string) (bool, error) {
	m, err := s.do(ctx, func(b rueidis.Builder) rueidis.Completed { return b.Exists().Key(key).Build() })
	if err != nil {
		return false, err
	}
	return m.AsBool()
}

func (s *Store) dropName(ctx context.Context, name string) error {
	_, err := s.do(ctx, func(b rueidis.Builder) rueidis.Completed {
		return b.Zrem().Key(poolIndex).Member(name).Build()
	})
	return nilOr(err)
}

func nilOr(err error) error {
	if err == nil {
		return nil
	}
	return outcome(err)
}

// DeletePool implements [tms.Store]. If it fails after its first step, [Store.Expire] or a [Store.PutPool] of that name
// finishes it.
func (s *Store) DeletePool(ctx context.Context, name string) error {
	if name == tms.DefaultPool {
		return tms.Invalid("pool", "%q cannot be deleted", name)
	}
	if _, err := s.callOnce(ctx, name, fnDeletePool, nil); err != nil {
		return err
	}
	if err := s.finish(ctx, name); err != nil {
		return fmt.Errorf("the pool is gone, but not all that it held: %v", err) // no code: something has changed
	}
	return nil
}

// finish removes what is left of a pool that is being deleted, and its name. If the pool was made again meanwhile, its
// name is put back.
func (s *Store) finish(ctx context.Context, name string) error {
	if err := s.purge(ctx, name); err != nil {
		return err
	}
	s.forget(name)
	if err := s.dropName(ctx, name); err != nil {
		return err
	}
	if made, err := s.exists(ctx, poolKeys(name)[0]); err != nil || !made {
		return nilOr(err)
	}
	return s.addName(ctx, name)
}

// purge removes what is left of a pool that is being deleted.
func (s *Store) purge(ctx context.Context, name string) error {
	mark := ""
	if s.onCluster() {
		mark = "1"
	}
	for {
		a, err := s.callOnce(ctx, name, fnPurge, []string{mark})
		if err != nil {
			return err
		}
		if more := a.int(); more == 0 {
			return a.failure()
		}
	}
}
