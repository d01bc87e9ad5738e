package storetest

import (
	"context"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// breath is how long a store that takes two steps where it should take one lets others in between.
const breath = 300 * time.Microsecond

type shares struct{ *Model }

func (m shares) Assign(ctx context.Context, pool string, r []tms.AssignRequest) ([]tms.AssignResult, error) {
	results, err := m.Model.Assign(ctx, pool, r)
	m.meddle(pool, func(_ *modelPool, _ string, r rules.Record, _ int64) rules.Record {
		return rules.Record{State: tms.Available, Seen: r.Seen, Metadata: r.Metadata}
	})
	return results, err
}

// steals gives an assigned token where none is available.
type steals struct{ *Model }

func (m steals) Assign(ctx context.Context, pool string, r []tms.AssignRequest) ([]tms.AssignResult, error) {
	results, err := m.Model.Assign(ctx, pool, r)
	if err != nil || results[0].Err == nil {
		return results, err
	}
	freed := false
	m.meddle(pool, func(_ *modelPool, _ string, r rules.Record, _ int64) rules.Record {
		if freed {
			return r
		}
		freed = true
		return rules.Record{State: tms.Available, Seen: r.Seen, Metadata: r.Metadata}
	})
	return m.Model.Assign(ctx, pool, r)
}

func falls(m *Model) tms.Sweeper {
	m.draw = func(p tms.Policy, available []string) (string, string, int64) {
		value, id, fence := m.ownDraw(p, available)
		return value, id, 1<<40 - fence
	}
	return m
}

// buckets draws a bucket, and then one of what lies in it.
func buckets(m *Model) tms.Sweeper {
	m.draw = func(p tms.Policy, available []string) (string, string, int64) {
		if p.Selection != tms.SelectRandom {
			return m.ownDraw(p, available)
		}
		table := make([][]string, 256)
		for _, value := range available {
			bucket := &table[crc32.ChecksumIEEE([]byte(value))%256]
			*bucket = append(*bucket, value)
		}
		table = slices.DeleteFunc(table, func(bucket []string) bool { return len(bucket) == 0 })
		return m.ownDraw(p, table[rand.IntN(len(table))])
	}
	return m
}

// hasty sweeps by the token clock alone.
type hasty struct{ *Model }

func (m hasty) Expire(ctx context.Context, pool string, limit int) (tms.Expired, error) {
	_ = m.step(ctx, pool, func(p *modelPool, now int64) error {
		for value, r := range p.tokens {
			if ttl := p.policy.TokenTTL.Milliseconds(); ttl > 0 && r.Seen+ttl < now {
				delete(p.tokens, value)
			}
		}
		return nil
	})
	return m.Model.Expire(ctx, pool, limit)
}

// remains empties a pool that is deleted, but not wholly.
type remains struct{ *Model }

func (m remains) PutPool(ctx context.Context, name string, c tms.PolicyChange) (tms.Pool, error) {
	m.mu.Lock()
	made := m.pools[name] == nil
	m.mu.Unlock()
	pool, err := m.Model.PutPool(ctx, name, c)
	if made && m.fence > 0 { // something was assigned before, in this pool or another
		_, _ = m.Generate(ctx, name, tms.GenerateRequest{Tokens: newTokens("a")})
	}
	return pool, err
}

// deviant keeps to another policy than it says.
type deviant struct {
	*Model
	told  map[string]tms.Policy
	twist func(p *tms.Policy)
}

// deviates returns a mutant that keeps to every policy but for the twist.
func deviates(name, caught string, twist func(p *tms.Policy)) mutant {
	return mutant{name, caught, false, func(m *Model) tms.Sweeper { return deviant{m, map[string]tms.Policy{}, twist} }}
}

func (m deviant) PutPool(ctx context.Context, name string, c tms.PolicyChange) (tms.Pool, error) {
	before, _, err := m.Model.Pool(ctx, name)
	if err != nil {
		before.Policy = tms.DefaultPolicy()
	} else {
		before.Policy = m.told[name]
	}
	policy := c.Apply(before.Policy)
	m.told[name] = policy
	_, err = m.Model.PutPool(ctx, name, c)
	_ = m.step(ctx, name, func(p *modelPool, _ int64) error {
		p.policy.Policy = policy
		m.twist(&p.policy.Policy)
		return nil
	})
	return tms.Pool{Name: name, Policy: policy}, err
}

func (m deviant) Pool(ctx context.Context, name string) (tms.Pool, tms.Stats, error) {
	pool, stats, err := m.Model.Pool(ctx, name)
	if told, found := m.told[name]; found {
		pool.Policy = told
	}
	return pool, stats, err
}

type restarts struct{ *Model }

func (m restarts) DeletePool(ctx context.Context, name string) error {
	m.mu.Lock()
	m.fence = 0
	m.mu.Unlock()
	return m.Model.DeletePool(ctx, name)
}

type unbounded struct{ *Model }

func (m unbounded) Expire(ctx context.Context, pool string, limit int) (tms.Expired, error) {
	return m.Model.Expire(ctx, pool, limit+1)
}

type gullible struct{ *Model }

func (m gullible) Tokens(ctx context.Context, pool string, f tms.Filter, cursor string, limit int) (tms.Page, error) {
	page, err := m.Model.Tokens(ctx, pool, f, cursor, limit)
	if errors.Is(err, tms.ErrInvalidRequest) {
		return m.Model.Tokens(ctx, pool, f, "", limit)
	}
	return page, err
}

type deaf struct{ *Model }

func (m deaf) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	return m.Model.Unblock(context.WithoutCancel(ctx), pool, keys)
}

type silent struct{ *Model }

func (m silent) Assign(ctx context.Context, pool string, r []tms.AssignRequest) ([]tms.AssignResult, error) {
	results, err := m.Model.Assign(ctx, pool, r)
	for i := range results {
		if code := tms.CodeOf(results[i].Err); code != "" {
			results[i].Err = code
		}
	}
	return results, err
}

// torn finds what is due in one step and carries it out in another, as the first implementation's sweep did.
type torn struct{ *Model }

func (m torn) Expire(ctx context.Context, pool string, limit int) (tms.Expired, error) {
	due := map[string]bool{}
	m.meddle(pool, func(p *modelPool, value string, r rules.Record, now int64) rules.Record {
		due[value] = r.State == tms.Assigned && r.Due(p.policy) < now
		return r
	})
	time.Sleep(breath)
	m.meddle(pool, func(_ *modelPool, value string, r rules.Record, _ int64) rules.Record {
		if due[value] {
			return rules.Record{State: tms.Available, Seen: r.Seen, Metadata: r.Metadata}
		}
		return r
	})
	return m.Model.Expire(ctx, pool, limit)
}

// returns writes a record back that may have been deleted since it was read.
type returns struct{ *Model }

func (m returns) KeepAlive(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	results, err := m.Model.KeepAlive(ctx, pool, keys)
	read := map[string]rules.Record{}
	m.meddle(pool, func(_ *modelPool, value string, r rules.Record, _ int64) rules.Record {
		read[value] = r
		return r
	})
	time.Sleep(breath)
	_ = m.step(ctx, pool, func(p *modelPool, _ int64) error {
		for i, key := range keys {
			if r, found := read[key.Token]; found && i < len(results) && results[i].Err == nil {
				p.tokens[key.Token] = r
			}
		}
		return nil
	})
	return results, err
}

// twice says that an unblock succeeded where it found the lease in a step before.
type twice struct{ *Model }

func (m twice) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	held, err := m.Token(ctx, pool, tms.LeaseKey{Token: keys[0].Token})
	if err != nil || held.Lease == nil {
		return m.Model.Unblock(ctx, pool, keys)
	}
	time.Sleep(breath)
	results, err := m.Model.Unblock(ctx, pool, keys)
	if err == nil && errors.Is(results[0].Err, tms.ErrLeaseLost) {
		results[0] = tms.TokenResult{Token: tms.Token{Pool: pool, Value: keys[0].Token, State: tms.Available}}
	}
	return results, err
}

// crowded compares the maximum with the size in one step and creates in another.
type crowded struct{ *Model }

func (m crowded) Generate(ctx context.Context, pool string, t tms.GenerateRequest) (tms.Generated, error) {
	p, stats, err := m.Pool(ctx, pool)
	if err != nil || stats.Total()+len(t.Tokens) > p.Policy.MaxTokens {
		return m.Model.Generate(ctx, pool, t)
	}
	time.Sleep(breath)
	before := m.max(pool, tms.MaxMaxTokens)
	defer m.max(pool, before)
	return m.Model.Generate(ctx, pool, t)
}
