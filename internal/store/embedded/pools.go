package embedded

import (
	"context"

	"github.com/tidwall/btree"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// PutPool implements [tms.Store]. A pool that is made has nothing to catch up with, so that one step makes and changes
// it.
func (s *Store) PutPool(ctx context.Context, name string, change tms.PolicyChange) (put tms.Pool, err error) {
	put.Name = name
	exists := false
	find := func() (*pool, error) {
		exists = s.pools[name] != nil
		if err := rules.MayPut(name, change.If, exists); err != nil {
			return nil, err
		}
		return s.make(name), nil
	}
	pending, err := s.steps(ctx, find, func(t *step) error {
		if was := t.policy.Policy; exists {
			put.Was = &was
		}
		err := t.change(change)
		if exists {
			t.lasts(put.Was.LeaseTTL.Milliseconds())
		}
		put.Policy = t.policy.Policy
		return err
	})
	return put, pending.durable(ctx, err)
}

// terms returns the policy as the transitions take it.
func (s *Store) terms(p tms.Policy) rules.Terms {
	return rules.Terms{Policy: p, MostLease: s.mostLease}
}

// make returns the pool, which is made if it is missing. The lock must be held.
func (s *Store) make(name string) *pool {
	if s.pools[name] == nil {
		s.pools[name] = newPool(name, s.terms(tms.DefaultPolicy()))
		s.named().Insert(name)
	}
	return s.pools[name]
}

// named returns the names of the pools in order, which the first one who asks puts together. The lock must be held.
func (s *Store) named() *btree.Set[string] {
	if s.names == nil {
		s.names = &btree.Set[string]{}
		for name := range s.pools {
			s.names.Insert(name)
		}
	}
	return s.names
}

// change changes the policy, or refuses to because of what the pool holds, of which it lets go what is due first. Under
// the new policy more may be due, or alive.
func (t *step) change(change tms.PolicyChange) error {
	policy, err := rules.ChangePolicy(t.policy.Policy, change, len(t.tokens), t.assigned.size())
	if err != nil {
		t.expire(maxStep)
		policy, err = rules.ChangePolicy(t.policy.Policy, change, len(t.tokens), t.assigned.size())
	}
	if err != nil {
		return err
	}
	t.policy.Policy = policy
	t.store.journal.setPool(t.pool)
	t.kept = true
	t.catchUp()
	return nil
}

// Pool implements [tms.Store].
func (s *Store) Pool(ctx context.Context, name string) (pool tms.Pool, stats tms.Stats, err error) {
	err = s.do(ctx, name, func(t *step) error {
		pool, stats = t.look()
		return nil
	})
	return pool, stats, err
}

// look returns the pool and the sizes of its sets, after what is due of it.
func (t *step) look() (tms.Pool, tms.Stats) {
	t.expire(t.affordable())
	t.handOff()
	pool := tms.Pool{Name: t.name, Policy: t.policy.Policy}
	if t.policy.Settles(t.now) {
		pool.SettlingUntil = t.store.clock.wall(t.policy.Until)
	}
	return pool, t.countOverdue().Count(t.policy, tms.Stats{
		Available:   t.available.size(),
		Assigned:    t.assigned.size(),
		Cooling:     t.cooling.size(),
		Quarantined: t.quarantined.size(),
		Waiting:     t.queue.waiting,
		Expired:     t.expired,
	})
}

// affordable returns how many expiries a look at the pool carries out: few where there are so many that it could not
// finish.
func (t *step) affordable() int {
	if o := t.countOverdue(); o.Leases+o.Cooldowns+o.Tokens > maxStep {
		return rules.FewExpiries
	}
	return maxStep
}

// countOverdue counts what is due.
func (t *step) countOverdue() rules.Overdue {
	over := t.now - t.policy.Grace.Milliseconds()
	o := rules.Overdue{Leases: t.mortal().rank(over), Cooldowns: t.cooling.rank(t.now)}
	o.Rested = t.mortal().rank(over - t.policy.Cooldown.Milliseconds())
	if born := t.now - t.policy.TokenTTL.Milliseconds(); t.policy.TokenTTL > 0 && t.policy.Until < born {
		o.Tokens = t.available.rank(born)
	}
	return o
}

// Pools implements [tms.Store]. It waits once, until what the last of its steps may have seen is durable.
func (s *Store) Pools(ctx context.Context, after string, limit int) (tms.PoolPage, error) {
	names, err := s.PoolNames(ctx, after, limit+1)
	if err != nil {
		return tms.PoolPage{}, err
	}
	var last *group
	page, err := rules.PoolPage(names, limit, func(name string) (pool tms.Pool, stats tms.Stats, err error) {
		last, err = s.steps(ctx, s.find(name), func(t *step) error {
			pool, stats = t.look()
			return nil
		})
		return pool, stats, err
	})
	return page, last.durable(ctx, err)
}

// PoolNames implements [tms.Sweeper].
func (s *Store) PoolNames(ctx context.Context, after string, limit int) (names []string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	pending, err := s.locked(func() error {
		s.named().Ascend(after, func(name string) bool {
			if name > after && len(names) < limit {
				names = append(names, name)
			}
			return len(names) < limit
		})
		return nil
	})
	return names, pending.durable(ctx, err)
}

// DeletePool implements [tms.Store]. It is one step whatever the pool's size: the log forgets a range.
func (s *Store) DeletePool(ctx context.Context, name string) error {
	if name == tms.DefaultPool {
		return tms.Invalid("pool", "%q cannot be deleted", name)
	}
	return s.do(ctx, name, func(*step) error {
		delete(s.pools, name)
		s.named().Delete(name)
		s.journal.deletePool(name)
		return nil
	})
}

// Tokens implements [tms.Store].
func (s *Store) Tokens(ctx context.Context, pool string, f tms.Filter, cursor string, limit int) (page tms.Page,
	err error) {
	from, err := rules.ParseCursor(pool, cursor)
	if err != nil {
		return page, err
	}
	err = s.do(ctx, pool, func(t *step) error {
		t.expire(maxStep)
		t.handOff()
		page = t.page(f, from, limit)
		return nil
	})
	return page, err
}

// page returns what the filter lets through of the next limit tokens after the cursor.
func (t *step) page(f tms.Filter, after rules.Cursor, limit int) (page tms.Page) {
	seen := 0
	for _, state := range rules.Listed(f, after) {
		t.listing(state, f).after(state, after, func(i item) bool {
			if seen++; seen > limit {
				page.Next = after.String()
				return false
			}
			after = rules.Cursor{Pool: t.name, State: state, At: i.at, Value: i.value()}
			if token, ok := t.listed(i.entry, f); ok {
				page.Tokens = append(page.Tokens, token)
			}
			return true
		})
		if page.Next != "" {
			break
		}
	}
	return page
}

// listing returns the index with what the filter can let through of a state.
func (t *step) listing(state tms.State, f tms.Filter) *index {
	if f.ClientID == "" || t.policy.MaxLeasesPerClient == 0 {
		return t.set(state)
	}
	if x := t.clients[f.ClientID]; x != nil {
		return x
	}
	return nothing
}

// listed returns the token as it stands now, if it lives and the filter lets it through.
func (t *step) listed(e *entry, f tms.Filter) (tms.Token, bool) {
	record, alive, _ := e.record().At(t.policy, t.now)
	if !alive || f.State != "" && f.State != record.State || f.ClientID != "" && f.ClientID != record.Lease.ClientID {
		return tms.Token{}, false
	}
	return t.withPast(e, record), true
}
