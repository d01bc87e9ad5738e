package embedded

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// maxStep is how many tokens one step touches at most, so that nobody waits long behind it. Generate, which is all or
// nothing, may touch as many as a request can carry.
const maxStep = 1_000

// add remembers a token that the pool does not have, in memory and in the log.
func (t *step) add(value string, record rules.Record) {
	t.pool.add(value, record)
	t.store.journal.setToken(t.name, value, record)
}

// put makes record what is remembered of a token, in memory and in the log.
func (t *step) put(e *entry, record rules.Record) {
	t.pool.put(e, record)
	t.store.journal.setToken(t.name, e.value, record)
}

// drop forgets the token, in memory and in the log.
func (t *step) drop(e *entry) {
	t.pool.drop(e)
	t.store.journal.deleteToken(t.name, e.value)
}

// living returns the token if it is there and alive, after its own clocks were looked at.
func (t *step) living(value string) (*entry, bool) {
	e := t.tokens[value]
	return e, e != nil && t.settle(e)
}

// Generate implements [tms.Store].
func (s *Store) Generate(ctx context.Context, pool string, request tms.GenerateRequest) (tms.Generated, error) {
	tokens := slices.Clone(request.Tokens)
	for i := range tokens {
		if tokens[i].Value == "" {
			tokens[i].Value = s.newID()
		}
	}
	var result tms.Generated
	err := s.repeat(ctx, pool, func(t *step) (more bool, err error) {
		if t.fits(tokens) {
			result = t.generate(tokens)
			return false, nil
		}
		if more = t.expire(maxStep); more || t.fits(tokens) {
			return true, nil
		}
		return false, tms.Refuse(tms.ErrPoolFull, "the pool holds %d tokens of at most %d", len(t.tokens), t.policy.MaxTokens)
	})
	return result, err
}

// fits says whether the pool has room for those of the tokens that it does not have yet.
func (t *step) fits(tokens []tms.NewToken) bool {
	room := t.policy.MaxTokens - len(t.tokens)
	if room >= len(tokens) {
		return true
	}
	fresh := map[string]bool{}
	for _, n := range tokens {
		if _, alive := t.living(n.Value); !alive {
			fresh[n.Value] = true
		}
	}
	return len(fresh) == 0 || len(fresh) <= t.policy.MaxTokens-len(t.tokens)
}

func (t *step) generate(tokens []tms.NewToken) tms.Generated {
	result := tms.Generated{Tokens: make([]string, len(tokens))}
	for i, n := range tokens {
		result.Tokens[i] = n.Value
		if e, alive := t.living(n.Value); alive {
			result.Existing++
			t.put(e, e.record.Touch(t.now))
			continue
		}
		result.Created++
		t.add(n.Value, rules.New(t.now, n.Metadata))
	}
	if t.policy.TokenTTL > 0 {
		result.ExpiresAt = rules.Instant(t.now).Add(t.policy.TokenTTL)
	}
	return result
}

// Assign implements [tms.Store].
func (s *Store) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	wanted := 0
	for _, r := range requests {
		wanted += max(1, r.Count)
	}
	var results []tms.AssignResult
	err := s.repeat(ctx, pool, func(t *step) (more bool, err error) {
		if t.policy.Paused {
			return false, tms.Refuse(tms.ErrPoolPaused, "pool %q is paused", pool)
		}
		if t.gather(wanted) {
			return true, nil
		}
		for _, r := range requests {
			results = append(results, t.assign(r))
		}
		return false, nil
	})
	return results, err
}

// spare is how many returns an assign carries out beyond those that it needs, so that even without a sweep a pool in
// use does not pile them up.
const spare = 10

// gather carries out returns that are due: a few in any case, and more while fewer tokens than wanted are available. It
// says whether it stopped because the step has touched enough.
func (t *step) gather(wanted int) (more bool) {
	for n := 0; n < wanted+spare || t.supply() < wanted; n++ {
		d := t.nextReturn()
		if d.at >= t.now {
			return false
		}
		if n == maxStep {
			return true
		}
		t.settle(d.entry)
	}
	return false
}

// supply returns how many tokens can be assigned.
func (t *step) supply() int { return t.available.size() - t.available.rank(t.oldest()) }

// oldest returns the earliest last sign of life of an available token that is not dead.
func (t *step) oldest() int64 {
	if t.policy.TokenTTL == 0 {
		return math.MinInt64
	}
	return t.now - t.policy.TokenTTL.Milliseconds()
}

func (t *step) assign(r tms.AssignRequest) tms.AssignResult {
	count := max(1, r.Count)
	if supply := t.supply(); supply < count {
		return tms.AssignResult{Err: t.noneAvailable(supply, count)}
	}
	tokens := make([]tms.Token, count)
	for i := range tokens {
		e := t.pick(t.oldest())
		lease := rules.Lease{ID: t.store.newID(), Fence: t.store.nextFence(), ClientID: r.ClientID}
		record := e.record.Assign(t.policy, t.now, lease, r.TTL)
		t.put(e, record)
		tokens[i] = record.Token(t.name, e.value, t.policy, t.now, true)
	}
	return tms.AssignResult{Tokens: tokens}
}

func (t *step) noneAvailable(supply, count int) error {
	refusal := tms.Refuse(tms.ErrNoTokenAvailable, "%d of %d tokens are available", supply, count)
	if d := t.nextReturn(); d.entry != nil {
		refusal.RetryAfter = time.Duration(d.at+1-t.now) * time.Millisecond
	}
	return refusal
}

// repeat runs steps until one does not ask for more.
func (s *Store) repeat(ctx context.Context, pool string, run func(*step) (more bool, err error)) error {
	for more := true; more; {
		err := s.do(ctx, pool, func(t *step) (err error) {
			more, err = run(t)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// KeepAlive implements [tms.Store].
func (s *Store) KeepAlive(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	return s.change(ctx, pool, keys, rules.Record.KeepAlive)
}

// Unblock implements [tms.Store].
func (s *Store) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	return s.change(ctx, pool, keys, rules.Record.Unblock)
}

type transition func(rules.Record, tms.Policy, int64, tms.LeaseKey) (rules.Record, error)

func (s *Store) change(ctx context.Context, pool string, keys []tms.LeaseKey, to transition) ([]tms.TokenResult, error) {
	return each(s, ctx, pool, keys, func(t *step, key tms.LeaseKey) tms.TokenResult {
		e, alive := t.living(key.Token)
		if !alive {
			return tms.TokenResult{Err: noToken(t.name)}
		}
		record, err := to(e.record, t.policy, t.now, key)
		if err != nil {
			return tms.TokenResult{Err: err}
		}
		t.put(e, record)
		return tms.TokenResult{Token: record.Token(t.name, e.value, t.policy, t.now, key.LeaseID != "")}
	}, func(err error) tms.TokenResult { return tms.TokenResult{Err: err} })
}

// Delete implements [tms.Store].
func (s *Store) Delete(ctx context.Context, pool string, keys []tms.LeaseKey) ([]error, error) {
	return each(s, ctx, pool, keys, func(t *step, key tms.LeaseKey) error {
		e, alive := t.living(key.Token)
		if !alive {
			return noToken(t.name)
		}
		if err := e.record.Delete(t.policy, key); err != nil {
			return err
		}
		t.drop(e)
		return nil
	}, func(err error) error { return err })
}

// each runs act for every key, in as many steps as it takes. A refusal of the first step refuses the batch; one of a
// later step, when something may have changed already, is the answer to the keys that are left.
func each[R any](s *Store, ctx context.Context, pool string, keys []tms.LeaseKey, act func(*step, tms.LeaseKey) R, refused func(error) R) ([]R, error) {
	results := make([]R, 0, len(keys))
	for part := range slices.Chunk(keys, maxStep) {
		err := s.do(ctx, pool, func(t *step) error {
			for _, key := range part {
				results = append(results, act(t, key))
			}
			return nil
		})
		switch {
		case err == nil:
		case len(results) == 0 || tms.CodeOf(err) == "":
			return nil, err
		default:
			for range part {
				results = append(results, refused(err))
			}
		}
	}
	return results, nil
}

func noToken(pool string) error {
	return tms.Refuse(tms.ErrTokenNotFound, "pool %q has no such token", pool)
}

// Token implements [tms.Store].
func (s *Store) Token(ctx context.Context, pool, value string) (token tms.Token, err error) {
	err = s.do(ctx, pool, func(t *step) error {
		e, alive := t.living(value)
		if !alive {
			return noToken(pool)
		}
		token = e.record.Token(pool, value, t.policy, t.now, false)
		return nil
	})
	return token, err
}

// UnblockClient implements [tms.Store].
func (s *Store) UnblockClient(ctx context.Context, pool, clientID string) (int, error) {
	return 0, errors.ErrUnsupported
}

// Restore implements [tms.Store].
func (s *Store) Restore(ctx context.Context, pool string, values []string) ([]tms.TokenResult, error) {
	return nil, errors.ErrUnsupported
}
