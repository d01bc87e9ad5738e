package api

import (
	"errors"
	"time"

	tms "github.com/manankarani/token-manager"
)

// GeneratedOf returns the answer to a generate.
func GeneratedOf(pool string, g tms.Generated) *Generated {
	answer := &Generated{
		Pool:      pool,
		Tokens:    g.Tokens,
		Created:   g.Created,
		Existing:  g.Existing,
		Differing: g.Differing,
		ExpiresAt: Time{g.ExpiresAt},
	}
	if len(g.Tokens) == 1 {
		answer.Token = g.Tokens[0]
	}
	return answer
}

// TokenOf returns the token as anybody may see it, without its lease_id.
func TokenOf(t tms.Token) Token {
	view := Token{
		Pool:      t.Pool,
		Token:     t.Value,
		Masked:    t.Masked,
		State:     t.State,
		ReadyAt:   Time{t.ReadyAt},
		ExpiresAt: Time{t.ExpiresAt},
		Metadata:  t.Metadata,
	}
	if t.Lease != nil {
		view.Fence = t.Lease.Fence
		view.Holder, view.ClientID = t.Lease.Holder, t.Lease.ClientID
		view.AssignedAt = Time{t.Lease.AssignedAt}
		view.LeaseExpiresAt = Time{t.Lease.ExpiresAt}
		view.TTLMS = t.Lease.TTL.Milliseconds()
	}
	if t.Past != nil {
		view.Past = pastOf(*t.Past)
	}
	return view
}

func pastOf(p tms.Past) *Past {
	view := &Past{p.Assigned, p.Expired, Time{p.Since}, p.LastClient, nil}
	if p.Ended != nil {
		view.History = []PastLease{}
	}
	for _, l := range p.Ended {
		view.History = append(view.History, PastLease{l.Fence, l.Holder, l.ClientID, Time{l.AssignedAt},
			Time{l.RenewedAt}, Time{l.EndedAt}, l.End, l.By})
	}
	return view
}

// TMS returns the past.
func (p Past) TMS() *tms.Past {
	past := &tms.Past{Assigned: p.AssignedCount, Expired: p.ExpiredCount, LastClient: p.LastClientID,
		Since: p.Since.Time}
	if p.History != nil {
		past.Ended = []tms.PastLease{}
	}
	for _, l := range p.History {
		past.Ended = append(past.Ended, tms.PastLease{Fence: l.Fence, Holder: l.Holder, ClientID: l.ClientID,
			AssignedAt: l.AssignedAt.Time, RenewedAt: l.RenewedAt.Time, EndedAt: l.EndedAt.Time, End: l.End,
			By: l.EndedBy})
	}
	return past
}

const renewals = 3 // how often a lease should be renewed in its lifetime, so that two lost renewals do no harm

// LeaseOf returns the token as its holder sees it. A token without a lease is as [TokenOf] has it.
func LeaseOf(t tms.Token) Token {
	view := TokenOf(t)
	if t.Lease != nil {
		view.LeaseID = t.Lease.ID
		view.RenewAfterMS = view.TTLMS / renewals
	}
	return view
}

// AssignedOf returns the answer to an assign that asked for count tokens.
func AssignedOf(tokens []tms.Token, count int) *Assigned {
	if count == 1 {
		lease := LeaseOf(tokens[0])
		return &Assigned{Token: &lease}
	}
	answer := &Assigned{Leases: make([]Token, len(tokens))}
	for i, token := range tokens {
		answer.Leases[i] = LeaseOf(token)
	}
	return answer
}

// CallerOf returns what a caller is told of its key.
func CallerOf(c tms.Caller) Caller {
	return Caller{Key: c.Key, May: textsOf(c.May), Expires: Time{c.Expires}}
}

// TMS returns the caller. Rights that this version does not know are left out.
func (c Caller) TMS() tms.Caller {
	return tms.Caller{Key: c.Key, May: grantsOf(c.May), Expires: c.Expires.Time}
}

// PoolOf returns the pool as it was put: with its policy, what of it has been changed, and what is to be known of it.
func PoolOf(p tms.Pool) Pool {
	pool := Pool{Pool: p.Name, Policy: NewPolicy(p.Policy), Warnings: p.Warnings()}
	if p.Was != nil {
		pool.Was = new(NewPolicy(*p.Was).without(pool.Policy))
	}
	return pool
}

// PoolStatsOf returns the pool with its policy and counts.
func PoolStatsOf(p tms.Pool, s tms.Stats) Pool {
	pool := Pool{Pool: p.Name, Policy: NewPolicy(p.Policy)}
	pool.Tokens = &Counts{s.Available, s.Assigned, s.Cooling, s.Quarantined, s.Total()}
	pool.Expired = &Expired{s.Expired.Released, s.Expired.Quarantined, s.Expired.Deleted}
	pool.Waiting, pool.SettlingUntil = &s.Waiting, Time{p.SettlingUntil}
	return pool
}

// PoolsOf returns the page of pools.
func PoolsOf(page tms.PoolPage) *Pools {
	answer := &Pools{Pools: make([]Pool, len(page.Pools)), NextCursor: page.Next}
	for i, p := range page.Pools {
		answer.Pools[i] = PoolStatsOf(p.Pool, p.Stats)
	}
	return answer
}

// WaitersOf returns the answer that says who waits.
func WaitersOf(all []tms.Waiter) *Waiters {
	answer := &Waiters{Waiters: make([]Waiter, len(all))}
	for i, w := range all {
		answer.Waiters[i] = Waiter{w.Place, w.Holder, w.ClientID, Time{w.Since}, w.Count, w.Match}
	}
	return answer
}

// TMS returns who waits.
func (w Waiters) TMS() (all []tms.Waiter) {
	for _, one := range w.Waiters {
		all = append(all, tms.Waiter{Place: one.Place, Holder: one.Holder, ClientID: one.ClientID,
			Since: one.Since.Time, Count: one.Count, Match: one.Match})
	}
	return all
}

// TMS returns what became of the tokens.
func (g Generated) TMS() tms.Generated {
	return tms.Generated{Tokens: g.Tokens, Created: g.Created, Existing: g.Existing, Differing: g.Differing,
		ExpiresAt: g.ExpiresAt.Time}
}

// TMS returns the token, with its lease where it is assigned.
func (t Token) TMS() tms.Token {
	token := tms.Token{
		Pool:      t.Pool,
		Value:     t.Token,
		Masked:    t.Masked,
		State:     t.State,
		Metadata:  t.Metadata,
		ExpiresAt: t.ExpiresAt.Time,
		ReadyAt:   t.ReadyAt.Time,
	}
	if t.State == tms.Assigned {
		token.Lease = t.lease()
	}
	if t.Past != nil {
		token.Past = t.Past.TMS()
	}
	return token
}

func (t Token) lease() *tms.Lease {
	return &tms.Lease{
		ID:         t.LeaseID,
		Fence:      t.Fence,
		Holder:     t.Holder,
		ClientID:   t.ClientID,
		AssignedAt: t.AssignedAt.Time,
		ExpiresAt:  t.LeaseExpiresAt.Time,
		TTL:        time.Duration(t.TTLMS) * time.Millisecond,
	}
}

// TMS returns the tokens, one or several, each with its lease.
func (a Assigned) TMS() []tms.Token {
	if a.Token != nil {
		return []tms.Token{a.Token.TMS()}
	}
	return tokensOf(a.Leases)
}

// TMS returns the page.
func (t Tokens) TMS() tms.Page { return tms.Page{Tokens: tokensOf(t.Tokens), Next: t.NextCursor} }

// TMS returns the page.
func (p Pools) TMS() tms.PoolPage {
	page := tms.PoolPage{Next: p.NextCursor}
	for _, wire := range p.Pools {
		pool, stats := wire.TMS()
		page.Pools = append(page.Pools, tms.PoolStats{Pool: pool, Stats: stats})
	}
	return page
}

func tokensOf(wire []Token) []tms.Token {
	tokens := make([]tms.Token, len(wire))
	for i, t := range wire {
		tokens[i] = t.TMS()
	}
	return tokens
}

// ShortOf returns the short answer to a keep-alive or an unblock.
func ShortOf(results []tms.TokenResult) *Short {
	short, least := &Short{}, time.Duration(0)
	for i, r := range results {
		if r.Err != nil {
			short.Refused = append(short.Refused, Refused{i, NewProblem(r.Err)})
			continue
		}
		if l := r.Token.Lease; l != nil && (least == 0 || l.TTL < least) {
			least = l.TTL
		}
	}
	short.Done = len(results) - len(short.Refused)
	short.TTLMS = least.Milliseconds()
	short.RenewAfterMS = short.TTLMS / renewals
	return short
}

// TMS returns the results for the keys of the batch, each lease that was renewed with the least TTL of all. It returns
// too few where the answer is not one for these keys.
func (s Short) TMS(pool string, keys []tms.LeaseKey) []tms.TokenResult {
	if s.Done+len(s.Refused) != len(keys) {
		return nil
	}
	results, ttl := make([]tms.TokenResult, len(keys)), time.Duration(s.TTLMS)*time.Millisecond
	for i, key := range keys {
		results[i].Token = tms.Token{Pool: pool, Value: key.Token}
		if ttl > 0 && key.LeaseID != "" { // of the others it is not known whether anybody holds them
			results[i].Token.State, results[i].Token.Lease = tms.Assigned, &tms.Lease{ID: key.LeaseID, TTL: ttl}
		}
	}
	for _, r := range s.Refused {
		if r.Index < 0 || r.Index >= len(keys) || r.Problem == nil {
			return nil
		}
		results[r.Index] = tms.TokenResult{Err: r.Problem.Err()}
	}
	return results
}

// TMS returns the results of keep-alive, unblock and restore.
func (r Results) TMS() []tms.TokenResult {
	results := make([]tms.TokenResult, len(r.Results))
	for i, result := range r.Results {
		results[i] = result.TMS()
	}
	return results
}

// Errs returns the results of delete.
func (r Results) Errs() []error {
	errs := make([]error, len(r.Results))
	for i, result := range r.Results {
		errs[i] = result.TMS().Err
	}
	return errs
}

// TMS returns the token or the error. A result that is neither is an error, too.
func (r Result) TMS() tms.TokenResult {
	switch {
	case r.Problem != nil:
		return tms.TokenResult{Err: r.Err()}
	case r.Token == nil:
		return tms.TokenResult{Err: errors.New("the server answered neither a token nor a problem")}
	}
	return tms.TokenResult{Token: r.Token.TMS()}
}

// TMS returns the pool, and the sizes of its sets where the answer has them.
func (p Pool) TMS() (tms.Pool, tms.Stats) {
	var stats tms.Stats
	if p.Tokens != nil {
		stats.Available, stats.Assigned = p.Tokens.Available, p.Tokens.Assigned
		stats.Cooling, stats.Quarantined = p.Tokens.Cooling, p.Tokens.Quarantined
	}
	if p.Expired != nil {
		stats.Expired = tms.ExpiryCounts{
			Released: p.Expired.Released, Quarantined: p.Expired.Quarantined, Deleted: p.Expired.Deleted,
		}
	}
	if p.Waiting != nil {
		stats.Waiting = *p.Waiting
	}
	pool := tms.Pool{Name: p.Pool, Policy: p.Policy.Change().Apply(tms.Policy{}), SettlingUntil: p.SettlingUntil.Time}
	if p.Was != nil {
		pool.Was = new(p.Was.Change().Apply(pool.Policy))
	}
	return pool, stats
}
