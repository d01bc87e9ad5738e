package api

import (
	"errors"
	"time"

	tms "github.com/manankarani/token-manager"
)

// What follows is for clients: requests made of the types of package tms, and answers turned back into them.

// GenerateRequestOf returns the request on the wire.
func GenerateRequestOf(pool string, r tms.GenerateRequest) *GenerateRequest {
	request := &GenerateRequest{Pool: pool, Update: r.Update, RequestID: r.RequestID}
	if allDrawn(r.Tokens) {
		request.Count = new(len(r.Tokens))
		return request
	}
	request.Tokens = make([]NewToken, len(r.Tokens))
	for i, t := range r.Tokens {
		request.Tokens[i] = NewToken{t.Value, t.Metadata}
	}
	return request
}

func allDrawn(tokens []tms.NewToken) bool {
	for _, t := range tokens {
		if t.Value != "" || t.Metadata != nil {
			return false
		}
	}
	return true
}

// AssignRequestOf returns the request on the wire, which has no Ticket.
func AssignRequestOf(pool string, r tms.AssignRequest) *AssignRequest {
	request := &AssignRequest{
		Pool:      pool,
		ClientID:  r.ClientID,
		TTL:       given(r.TTL),
		Wait:      given(r.Wait),
		Prefer:    r.Prefer,
		Match:     r.Match,
		RequestID: r.RequestID,
	}
	if r.Count != 0 {
		request.Count = &r.Count
	}
	return request
}

// given returns nil for zero, which means "not given".
func given(d time.Duration) *Duration {
	if d == 0 {
		return nil
	}
	return new(Duration(d))
}

// KeepAliveRequestOf returns the keys as a batch.
func KeepAliveRequestOf(pool string, keys []tms.LeaseKey) *KeepAliveRequest {
	return &KeepAliveRequest{Pool: pool, Leases: wireKeys(keys, func(k tms.LeaseKey) KeepAliveKey {
		return KeepAliveKey{k.Token, k.LeaseID, given(k.TTL)}
	})}
}

// UnblockRequestOf returns the keys as a batch.
func UnblockRequestOf(pool string, keys []tms.LeaseKey) *UnblockRequest {
	return &UnblockRequest{Pool: pool, Leases: wireKeys(keys, func(k tms.LeaseKey) UnblockKey {
		key := UnblockKey{Token: k.Token, LeaseID: k.LeaseID, Cooldown: (*Duration)(k.Cooldown)}
		if k.Quarantine {
			key.Outcome = OutcomeQuarantine
		}
		return key
	})}
}

// DeleteRequestOf returns the keys as a batch.
func DeleteRequestOf(pool string, keys []tms.LeaseKey) *DeleteRequest {
	return &DeleteRequest{Pool: pool, Leases: wireKeys(keys, func(k tms.LeaseKey) Key {
		return Key{k.Token, k.LeaseID}
	})}
}

func wireKeys[K any](keys []tms.LeaseKey, wire func(tms.LeaseKey) K) []K {
	out := make([]K, len(keys))
	for i, key := range keys {
		out[i] = wire(key)
	}
	return out
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
		State:     t.State,
		Metadata:  t.Metadata,
		ExpiresAt: t.ExpiresAt.Time,
		ReadyAt:   t.ReadyAt.Time,
	}
	if t.State == tms.Assigned {
		token.Lease = t.lease()
	}
	if t.Past != nil {
		token.Past = &tms.Past{
			Assigned:   t.AssignedCount,
			Expired:    t.ExpiredCount,
			LastClient: t.LastClientID,
			Since:      t.Since.Time,
		}
	}
	return token
}

func (t Token) lease() *tms.Lease {
	return &tms.Lease{
		ID:         t.LeaseID,
		Fence:      t.Fence,
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
	pool := tms.Pool{Name: p.Pool, Policy: p.Policy.Change().Apply(tms.Policy{})}
	if p.Was != nil {
		pool.Was = new(p.Was.Change().Apply(pool.Policy))
	}
	return pool, stats
}
