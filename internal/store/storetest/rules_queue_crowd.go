package storetest

import (
	"fmt"

	tms "github.com/manankarani/token-manager"
)

// The queue with more of everything than one step touches.
var crowdRules = []rule{
	{"LateLeaveTakesNothing",
		"whoever leaves the queue too late to have been served takes nothing from those who were handed their tokens",
		crowdLeaves},
	{"LateLeaveOfDeadTokens", "whoever leaves the queue when what they had been handed is deleted changes nothing",
		crowdLeavesDead},
}

// crowd is more than one step of a store touches.
const crowd = 1_500

// ticketed returns requests for one token each, with the tickets <prefix>0, <prefix>1, ...
func ticketed(prefix string) []tms.AssignRequest {
	requests := make([]tms.AssignRequest, crowd)
	for i, ticket := range numbered(prefix, crowd) {
		requests[i] = tms.AssignRequest{Ticket: ticket, ClientID: "of " + ticket}
	}
	return requests
}

// showAll shows the tickets of all requests, and returns what they were given.
func (e *env) showAll(pool string, requests []tms.AssignRequest) (given []tms.Token) {
	e.Helper()
	results, err := e.Assign(e.Context(), pool, requests)
	e.must(err)
	for _, result := range results {
		if result.Err != nil {
			e.refused(result.Err, tms.ErrNoTokenAvailable)
		}
		given = append(given, result.Tokens...)
	}
	return given
}

// handedToCrowd makes a pool with tokens that were handed to the tickets a0, a1, ..., and lapse a millisecond later
// than the clock stands.
func (e *env) handedToCrowd(change tms.PolicyChange) (pool string) {
	e.Helper()
	pool = e.pool(change)
	e.equal("served", len(e.showAll(pool, ticketed("a"))), 0)
	for range 3 { // as many at once as one step hands out
		_, err := e.Generate(e.Context(), pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, crowd/3)})
		e.must(err)
	}
	e.equal("sizes", e.stats(pool), tms.Stats{Assigned: crowd})
	e.advance(tms.PickupTime)
	return pool
}

// leaveLate takes the last of a0, a1, ... out of the queue.
func (e *env) leaveLate(pool string) {
	e.Helper()
	for i := crowd - 400; i < crowd; i++ {
		e.must(e.Leave(e.Context(), pool, []string{fmt.Sprint("a", i)}, false))
	}
}

func crowdLeaves(e *env) {
	pool := e.handedToCrowd(tms.PolicyChange{TokenTTL: new(0 * ms)})
	next := ticketed("b")
	e.equal("served", len(e.showAll(pool, next)), 0)
	e.advance(ms)
	e.leaveLate(pool)
	given := e.showAll(pool, next)
	for range 2 { // the steps in between hand out the rest
		given = append(given, e.showAll(pool, next[len(given):])...)
	}
	e.equal("tokens of those behind", len(given), crowd)
	holders := map[string]string{}
	for _, t := range given {
		if other := holders[t.Value]; other != "" {
			e.Fatalf("token %s was given to %q and to %q", t.Value, other, t.Lease.ClientID)
		}
		holders[t.Value] = t.Lease.ClientID
	}
	e.equal("sizes", e.stats(pool), tms.Stats{Assigned: crowd})
}

func crowdLeavesDead(e *env) {
	pool := e.handedToCrowd(tms.PolicyChange{TokenTTL: new(100 * ms)})
	e.advance(ms)
	e.leaveLate(pool)
	e.sweepAll(pool)
	e.equal("sizes", e.sizes(pool), tms.Stats{})
	e.fill(pool, "a")
	e.take(pool)
}
