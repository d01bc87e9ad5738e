package storetest

import (
	"slices"
	"strings"

	tms "github.com/manankarani/token-manager"
)

// invariants checks what must hold at the end of every test: of each pool, of everything that was said about leases,
// and what the stores find when they examine themselves.
func (e *env) invariants() {
	e.Helper()
	for _, pool := range e.pools {
		e.poolHolds(pool)
	}
	for _, mistake := range e.testimony() {
		e.Errorf("%s", mistake)
	}
	for i, store := range e.stores {
		if c, ok := store.(Checker); ok {
			if err := c.Check(e.Context()); err != nil {
				e.Errorf("store %d finds itself broken: %v", i, err)
			}
		}
	}
}

// poolHolds checks one pool, before and after everything due has been swept: that makes no difference but to the sizes.
func (e *env) poolHolds(pool string) {
	e.Helper()
	_, before, err := e.Pool(e.Context(), pool)
	if tms.CodeOf(err) == tms.ErrPoolNotFound {
		return
	}
	e.must(err)
	limit := max(5, min(1000, before.Total()))
	listed := e.census(pool, limit)
	e.sweepAll(pool)
	e.equal("the listing after a sweep", e.census(pool, limit), listed)
	e.equal("the sizes of the sets", e.sizes(pool), count(listed))
}

// sizes returns the sizes of the pool's sets alone.
func (e *env) sizes(pool string) tms.Stats {
	e.Helper()
	stats := e.stats(pool)
	stats.Expired, stats.Waiting = tms.ExpiryCounts{}, 0
	return stats
}

// count counts tokens by their states.
func count(tokens []tms.Token) (s tms.Stats) {
	sizes := map[tms.State]*int{tms.Available: &s.Available, tms.Assigned: &s.Assigned, tms.Cooling: &s.Cooling,
		tms.Quarantined: &s.Quarantined}
	for _, t := range tokens {
		*sizes[t.State]++
	}
	return s
}

// census returns all tokens of the pool by their values, each checked and found on one page only.
func (e *env) census(pool string, limit int) []tms.Token {
	e.Helper()
	tokens := e.list(pool, tms.Filter{}, limit)
	e.still(tokens)
	slices.SortFunc(tokens, func(a, b tms.Token) int { return strings.Compare(a.Value, b.Value) })
	few := max(1, len(tokens)/100) // of very many, every so many-th is looked up
	for i, t := range tokens {
		if i > 0 && t.Value == tokens[i-1].Value {
			e.Fatalf("token %q is listed twice", t.Value)
		}
		e.coherent(pool, t)
		if i%few == 0 {
			seen := []tms.Token{e.lookUp(pool, t.Value)}
			e.still(seen)
			e.equal("the lookup of a listed token", seen[0], t)
		}
	}
	return tokens
}

// still takes away what changes by itself where the clock cannot be stopped.
func (e *env) still(tokens []tms.Token) {
	for _, t := range tokens {
		if e.clock == nil && t.Lease != nil {
			t.Lease.TTL = 0
		}
	}
}

// coherent checks that the parts of a token agree.
func (e *env) coherent(pool string, t tms.Token) {
	e.Helper()
	known := slices.Contains([]tms.State{tms.Available, tms.Assigned, tms.Cooling, tms.Quarantined}, t.State)
	switch {
	case t.Pool != pool || t.Value == "" || !known:
		e.Fatalf("a token of pool %s reads %+v", pool, t)
	case (t.Lease != nil) != (t.State == tms.Assigned):
		e.Fatalf("a token has a lease if and only if it is assigned: %+v", t)
	case t.Lease != nil && t.Lease.ID != "":
		e.Fatalf("a lookup or listing shows the lease_id of %q", t.Value)
	case !t.ReadyAt.IsZero() != (t.State == tms.Cooling):
		e.Fatalf("a token has a ready_at if and only if it is cooling: %+v", t)
	}
}
