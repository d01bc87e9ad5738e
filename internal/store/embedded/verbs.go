package embedded

import (
	"context"
	"runtime"
	"slices"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// maxStep is how many tokens one step touches at most, so that nobody waits long behind it. Generate, which is all or
// nothing, may touch as many as a request can carry.
const maxStep = 1_000

// turn is how many keys of a batch are dealt with before others have their turn.
const turn = 100

// add remembers a token that the pool does not have, in memory and in the log.
func (t *step) add(value string, record rules.Record) {
	e := t.insert(value, record)
	t.freed = append(t.freed, e)
	t.store.journal.setToken(t.name, e)
}

// put makes record what is remembered of a token, but for its metadata, in memory and in the log.
func (t *step) put(e *entry, record rules.Record) {
	if record.State == tms.Available && !e.is(tms.Available) {
		t.freed = append(t.freed, e)
	}
	before := e.history()
	t.replace(e, record)
	if e.history() != before {
		t.store.journal.setHistory(t.name, e)
	}
	if record.State == tms.Assigned && !record.Handed() {
		t.lasts(record.Until - t.now)
	}
	t.store.journal.setToken(t.name, e)
}

// drop forgets the token, in memory and in the log.
func (t *step) drop(e *entry) {
	t.remove(e)
	t.store.journal.deleteToken(t.name, e)
}

// living returns the token if it is there and alive, after its own clocks were looked at.
func (t *step) living(value string) (*entry, bool) {
	e := t.tokens[value]
	return e, e != nil && t.settle(e)
}

// Generate implements [tms.Store].
func (s *Store) Generate(ctx context.Context, pool string, request tms.GenerateRequest) (tms.Generated, error) {
	var seed string // from which a repeat draws the same values again
	if request.RequestID != "" {
		seed = s.newID()
	}
	tokens := rules.Named(request, seed, s.newID)
	var result tms.Generated
	err := s.do(ctx, pool, func(t *step) error {
		past, err := t.recall(request.RequestID, func() string { return rules.GeneratePrint(request) })
		if past != nil && past.IsAssign() {
			return rules.Reused()
		}
		if past != nil || err != nil {
			result = past.Generated(request)
			result.ExpiresAt = t.store.clock.shift(result.ExpiresAt)
			return err
		}
		if err := rules.CheckGenerate(t.policy.Policy, request.Tokens); err != nil {
			return err
		}
		if t.fits(tokens) {
			result = t.generate(tokens, rules.Drawn(request), request.Update)
			t.remember(request.RequestID, rules.Made(request, seed, result))
			result.ExpiresAt = t.store.clock.shift(result.ExpiresAt)
			return nil
		}
		if more := t.expire(maxStep); more || t.fits(tokens) {
			return errAgain
		}
		return tms.Refuse(tms.ErrPoolFull, "the pool holds %d tokens of at most %d", len(t.tokens), t.policy.MaxTokens)
	})
	return result, err
}

// fits reports whether the pool has room for those of the tokens that it does not have yet.
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

// generate returns instants of the pool's clock.
func (t *step) generate(tokens []tms.NewToken, drawn, update bool) tms.Generated {
	result := tms.Generated{Tokens: make([]string, len(tokens))}
	seen := map[string]bool{} // in this request, where that matters
	brings := rules.Brings(tokens)
	for i, n := range tokens {
		result.Tokens[i] = n.Value
		if e, alive := t.living(n.Value); alive {
			result.Existing++
			differs := !seen[n.Value] && rules.Differs(e.metadata().unpack(), n.Metadata)
			if differs {
				result.Differing++
			}
			t.wind(e, n.Metadata, differs && update)
		} else {
			result.Created++
			t.add(n.Value, rules.New(t.policy.Born(t.now, drawn), n.Metadata))
		}
		if brings {
			seen[n.Value] = true
		}
	}
	if t.policy.TokenTTL > 0 {
		result.ExpiresAt = rules.Instant(t.policy.Wound(t.now)).Add(t.policy.TokenTTL)
	}
	return result
}

// wind winds the clock of a token, and gives it other metadata where it is amended. With other labels a free one may
// suit others who wait.
func (t *step) wind(e *entry, metadata map[string]string, amended bool) {
	if amended {
		t.amend(e, pack(metadata))
	}
	t.put(e, e.record().Touch(t.policy, t.now))
	if amended && e.is(tms.Available) {
		t.freed = append(t.freed, e)
	}
}

// KeepAlive implements [tms.Store].
func (s *Store) KeepAlive(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	return s.change(ctx, pool, keys, rules.Record.KeepAlive)
}

// Unblock implements [tms.Store].
func (s *Store) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	return s.change(ctx, pool, keys, rules.Record.Unblock)
}

type transition func(rules.Record, rules.Terms, int64, tms.LeaseKey) (rules.Record, error)

func (s *Store) change(ctx context.Context, pool string, keys []tms.LeaseKey, to transition) ([]tms.TokenResult,
	error) {
	return each(s, ctx, pool, keys, func(t *step, key tms.LeaseKey) tms.TokenResult {
		e, alive := t.living(key.Token)
		if !alive {
			return tms.TokenResult{Err: rules.NoToken(t.name)}
		}
		record, err := to(e.record(), t.policy, t.now, key)
		if err != nil {
			return tms.TokenResult{Err: err}
		}
		t.put(e, record)
		return tms.TokenResult{Token: t.token(e, record, key.LeaseID != "")}
	}, func(err error) tms.TokenResult { return tms.TokenResult{Err: err} })
}

// Restore implements [tms.Store].
func (s *Store) Restore(ctx context.Context, pool string, values []string) ([]tms.TokenResult, error) {
	keys := make([]tms.LeaseKey, len(values))
	for i, value := range values {
		keys[i].Token = value
	}
	return s.change(ctx, pool, keys, func(r rules.Record, p rules.Terms, now int64, _ tms.LeaseKey) (rules.Record,
		error) {
		return r.Restore(p, now)
	})
}

// UnblockClient implements [tms.Store].
func (s *Store) UnblockClient(ctx context.Context, pool, clientID string) (total int, err error) {
	err = s.do(ctx, pool, func(t *step) error {
		if t.policy.MaxLeasesPerClient == 0 {
			return rules.NoClientIndex()
		}
		if t.gather(every) {
			return errAgain
		}
		held := t.heldBy(clientID, maxStep)
		for _, e := range held {
			t.put(e, e.record().Release(t.policy, t.policy.Cooldown, t.now, ""))
		}
		if total += len(held); len(held) == maxStep {
			return errAgain
		}
		return nil
	})
	return total, err
}

// heldBy returns at most limit tokens that the client holds. Leases that are over must have come back before.
func (t *step) heldBy(clientID string, limit int) (held []*entry) {
	x := t.clients[clientID]
	if x == nil {
		return nil
	}
	x.tree.Scan(func(i item) bool {
		if !i.handed() {
			held = append(held, i.entry)
		}
		return len(held) < limit
	})
	return held
}

// Delete implements [tms.Store].
func (s *Store) Delete(ctx context.Context, pool string, keys []tms.LeaseKey) ([]error, error) {
	return each(s, ctx, pool, keys, func(t *step, key tms.LeaseKey) error {
		e, alive := t.living(key.Token)
		if !alive {
			return rules.NoToken(t.name)
		}
		if err := e.record().Delete(t.policy, key); err != nil {
			return err
		}
		t.drop(e)
		return nil
	}, func(err error) error { return err })
}

// each runs act for every key, in short steps between which others have their turn, and waits once for all of them.
func each[R any](s *Store, ctx context.Context, pool string, keys []tms.LeaseKey, act func(*step, tms.LeaseKey) R,
	refused func(error) R) ([]R, error) {
	results := make([]R, 0, len(keys))
	var last *group
	var err error
	for part := range slices.Chunk(keys, turn) {
		last, err = s.steps(ctx, s.find(pool), func(t *step) error {
			for _, key := range part {
				results = append(results, act(t, key))
			}
			return nil
		})
		if err != nil {
			break
		}
		if len(results) < len(keys) {
			runtime.Gosched()
		}
	}
	if lost := last.wait(ctx); lost != nil {
		return nil, lost
	}
	if err != nil {
		return rules.Spread(results, len(keys), err, refused)
	}
	return results, nil
}

// Token implements [tms.Store].
func (s *Store) Token(ctx context.Context, pool string, key tms.LeaseKey) (token tms.Token, err error) {
	err = s.do(ctx, pool, func(t *step) error {
		e, alive := t.living(key.Token)
		if !alive {
			return rules.NoToken(pool)
		}
		record := e.record()
		if token = t.withPast(e, record); key.History {
			token = record.WithHistory(token, t.policy)
		}
		return record.Lookup(key)
	})
	if err != nil {
		return tms.Token{}, err
	}
	return token, nil
}
