package storetest

import (
	"cmp"
	"context"
	"slices"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// Generate puts tokens into the pool.
func (m *Model) Generate(ctx context.Context, pool string, request tms.GenerateRequest) (done tms.Generated,
	err error) {
	tokens := request.Tokens
	err = m.settled(ctx, pool, func(p *modelPool, now int64) error {
		past, err := p.recall(request.RequestID, rules.GeneratePrint(request), now)
		if past != nil && past.IsAssign() {
			return rules.Reused()
		}
		if past != nil || err != nil {
			done = past.Generated(request)
			return err
		}
		if err := rules.CheckGenerate(p.policy.Policy, tokens); err != nil {
			return err
		}
		seed := tms.NewValue()
		if request.RequestID != "" {
			tokens = rules.Values(tokens, seed)
		}
		fresh, amended, seen := map[string]rules.Record{}, map[string]map[string]string{}, map[string]bool{}
		for _, t := range tokens {
			if t.Value == "" {
				t.Value = tms.NewValue()
			}
			done.Tokens = append(done.Tokens, t.Value)
			twice := seen[t.Value]
			seen[t.Value] = true
			if twice || p.has(t.Value) {
				done.Existing++
				if !twice && rules.Differs(p.tokens[t.Value].Metadata, t.Metadata) {
					done.Differing++
					amended[t.Value] = t.Metadata
				}
				continue
			}
			fresh[t.Value] = rules.New(p.policy.Born(now, rules.Drawn(request)), t.Metadata)
		}
		if done.Created = len(fresh); done.Created > 0 && len(p.tokens)+done.Created > p.policy.MaxTokens {
			return tms.Refuse(tms.ErrPoolFull, "the pool holds at most %d tokens", p.policy.MaxTokens)
		}
		if request.Update {
			p.amend(amended)
		}
		done.ExpiresAt = rules.Instant(p.windAll(done.Tokens, fresh, now))
		p.remember(request.RequestID, rules.Made(request, seed, done), now)
		return nil
	})
	if err != nil {
		return tms.Generated{}, err
	}
	return done, nil
}

// amend gives tokens other metadata.
func (p *modelPool) amend(metadata map[string]map[string]string) {
	for value, brought := range metadata {
		r := p.tokens[value]
		r.Metadata = brought
		p.tokens[value] = r
	}
}

func (p *modelPool) has(value string) bool {
	_, found := p.tokens[value]
	return found
}

// windAll adds the fresh tokens, winds the clocks of the others and returns when their clocks run out.
func (p *modelPool) windAll(values []string, fresh map[string]rules.Record, now int64) int64 {
	for _, value := range values {
		if !p.has(value) {
			p.tokens[value] = fresh[value]
		}
		p.tokens[value] = p.tokens[value].Touch(p.policy, now)
	}
	if p.policy.TokenTTL == 0 {
		return rules.Never
	}
	return p.policy.Wound(now) + p.policy.TokenTTL.Milliseconds()
}

// retryAfter returns how long it is until the next token may come back, and zero if none will.
func (p *modelPool) retryAfter(now int64) time.Duration {
	next := int64(rules.Never)
	for _, r := range p.tokens {
		switch r.State {
		case tms.Assigned:
			next = min(next, r.Due(p.policy))
		case tms.Cooling: // it is not looked at whether it dies before
			next = min(next, r.Until)
		}
	}
	if next == rules.Never {
		return 0
	}
	return time.Duration(next-now+1) * time.Millisecond
}

// transition is one of the steps that a lease key asks for.
type transition func(r rules.Record, p rules.Terms, now int64, key tms.LeaseKey) (rules.Record, error)

// KeepAlive pushes on leases.
func (m *Model) KeepAlive(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	return m.each(ctx, pool, keys, rules.Record.KeepAlive)
}

// Unblock ends leases.
func (m *Model) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	return m.each(ctx, pool, keys, rules.Record.Unblock)
}

func (m *Model) each(ctx context.Context, pool string, keys []tms.LeaseKey, to transition) (results []tms.TokenResult,
	err error) {
	err = m.settled(ctx, pool, func(p *modelPool, now int64) error {
		for _, key := range keys {
			results = append(results, p.act(now, key, to))
		}
		return nil
	})
	return results, err
}

func (p *modelPool) act(now int64, key tms.LeaseKey, to transition) tms.TokenResult {
	if !p.has(key.Token) {
		return tms.TokenResult{Err: tms.ErrTokenNotFound}
	}
	r, err := to(p.tokens[key.Token], p.policy, now, key)
	if err != nil {
		return tms.TokenResult{Err: err}
	}
	p.tokens[key.Token] = r
	if r.State == tms.Assigned && !r.Handed() {
		p.lasts(r.Until-now, now)
	}
	return tms.TokenResult{Token: r.Token(p.name, key.Token, p.policy, now, key.LeaseID != "")}
}

// Delete deletes tokens.
func (m *Model) Delete(ctx context.Context, pool string, keys []tms.LeaseKey) (results []error, err error) {
	err = m.settled(ctx, pool, func(p *modelPool, _ int64) error {
		for _, key := range keys {
			results = append(results, p.delete(key))
		}
		return nil
	})
	return results, err
}

func (p *modelPool) delete(key tms.LeaseKey) error {
	if !p.has(key.Token) {
		return tms.ErrTokenNotFound
	}
	err := p.tokens[key.Token].Delete(p.policy, key)
	if err == nil {
		delete(p.tokens, key.Token)
	}
	return err
}

// UnblockClient ends all leases of a client.
func (m *Model) UnblockClient(ctx context.Context, pool, clientID string) (n int, err error) {
	err = m.settled(ctx, pool, func(p *modelPool, now int64) error {
		if p.policy.MaxLeasesPerClient == 0 {
			return rules.NoClientIndex()
		}
		for value, r := range p.tokens {
			if r.State == tms.Assigned && !r.Handed() && r.Lease.ClientID == clientID {
				p.tokens[value] = r.Release(p.policy, p.policy.Cooldown, now, "")
				n++
			}
		}
		return nil
	})
	return n, err
}

// UnblockRequest ends the leases of a request, for good.
func (m *Model) UnblockRequest(ctx context.Context, pool, requestID string) (n int, err error) {
	err = m.settled(ctx, pool, func(p *modelPool, now int64) error {
		past := p.requests[requestID]
		if past == nil || now > past.Until {
			p.remember(requestID, rules.GivenUp(), now)
			return nil
		}
		for _, granted := range past.Leases {
			if r := p.tokens[granted.Token]; r.State == tms.Assigned && r.Lease.ID == granted.ID {
				p.tokens[granted.Token] = r.Release(p.policy, p.policy.Cooldown, now, "")
				n++
			}
		}
		return nil
	})
	return n, err
}

// Restore brings back quarantined tokens.
func (m *Model) Restore(ctx context.Context, pool string, values []string) (results []tms.TokenResult, err error) {
	err = m.settled(ctx, pool, func(p *modelPool, now int64) error {
		for _, value := range values {
			results = append(results, p.act(now, tms.LeaseKey{Token: value}, restore))
		}
		return nil
	})
	return results, err
}

func restore(r rules.Record, p rules.Terms, now int64, _ tms.LeaseKey) (rules.Record, error) {
	return r.Restore(p, now)
}

// Token returns one token.
func (m *Model) Token(ctx context.Context, pool string, key tms.LeaseKey) (t tms.Token, err error) {
	err = m.settled(ctx, pool, func(p *modelPool, now int64) error {
		if !p.has(key.Token) {
			return tms.Refuse(tms.ErrTokenNotFound, "the pool has no such token")
		}
		r := p.tokens[key.Token]
		if err := r.Lookup(key); err != nil {
			return err
		}
		if t = r.WithPast(r.Token(pool, key.Token, p.policy, now, false)); key.History {
			t = r.WithHistory(t, p.policy)
		}
		return nil
	})
	return t, err
}

// Waiters returns who waits.
func (m *Model) Waiters(ctx context.Context, pool string, limit int) (all []tms.Waiter, err error) {
	err = m.settled(ctx, pool, func(p *modelPool, _ int64) error {
		for _, t := range p.tickets {
			if t.waits() && len(all) < limit {
				all = append(all, rules.WaiterOf(t.request.ClientID, t.count(), t.lane(), p.place(t), t.since))
			}
		}
		return nil
	})
	return all, err
}

// Tokens returns a page.
func (m *Model) Tokens(ctx context.Context, pool string, f tms.Filter, cursor string, limit int) (page tms.Page,
	err error) {
	err = m.settled(ctx, pool, func(p *modelPool, now int64) error {
		places, err := p.after(cursor, f.ClientID)
		if err != nil {
			return err
		}
		for _, at := range places[:min(limit, len(places))] {
			r := p.tokens[at.Value]
			t := r.WithPast(r.Token(pool, at.Value, p.policy, now, false))
			if passes(f, t) {
				page.Tokens = append(page.Tokens, t)
			}
		}
		if limit < len(places) {
			page.Next = places[limit-1].String()
		}
		return nil
	})
	return page, err
}

// after returns the places behind the cursor, in order. Where the pool has a quota, those of one client stand alone.
func (p *modelPool) after(cursor, client string) ([]rules.Cursor, error) {
	from, err := rules.ParseCursor(p.name, cursor)
	if err != nil {
		return nil, err
	}
	var places []rules.Cursor
	for value, r := range p.tokens {
		at := rules.Cursor{Pool: p.name, State: r.State, At: cmp.Or(r.Until, r.Seen), Value: value}
		others := client != "" && p.policy.MaxLeasesPerClient > 0 && r.Lease.ClientID != client
		if byPlace(at, from) > 0 && !others {
			places = append(places, at)
		}
	}
	slices.SortFunc(places, byPlace)
	return places, nil
}

// byPlace compares two places in a listing. That of the zero Cursor is before all.
func byPlace(a, b rules.Cursor) int {
	state := cmp.Compare(slices.Index(rules.States, a.State), slices.Index(rules.States, b.State))
	return cmp.Or(state, cmp.Compare(a.At, b.At), cmp.Compare(a.Value, b.Value))
}

// passes reports whether the filter lets the token through.
func passes(f tms.Filter, t tms.Token) bool {
	return (f.State == "" || t.State == f.State) &&
		(f.ClientID == "" || t.Lease != nil && tms.Owned(t.Lease.Holder, t.Lease.ClientID) == f.ClientID)
}
