package storetest

import (
	"slices"

	tms "github.com/manankarani/token-manager"
)

var fairRules = []rule{
	{"RandomIsFair", "selection random gives each token as often as any other, one or several at a time, with and " +
		"without a match, and beside tokens that are dead", selectFairly},
}

// Enough tokens that no store keeps them in a form of its own for few; how many are given at a time, and how often, so
// that each token is due 40 times.
const (
	fairSize, fairTake = 150, 40
	fairRounds         = 40 * fairSize / fairTake
)

// fairBound is what the chi-squared statistic with fairSize-1 degrees of freedom exceeds less than once in 10⁹ times.
const fairBound = 290

func selectFairly(e *env) {
	match := mapOf("k", "v")
	for _, way := range []struct {
		name     string
		dead     int
		requests []tms.AssignRequest
	}{
		{"several", 0, []tms.AssignRequest{{Count: fairTake}}},
		{"several with a match", 0, []tms.AssignRequest{{Count: fairTake, Match: match}}},
		{"one at a time", 0, slices.Repeat([]tms.AssignRequest{{Match: match}}, fairTake)},
		{"beside dead ones", fairSize / 3, []tms.AssignRequest{{Count: fairTake}}},
	} {
		pool := e.livingBesideDead(fairSize, way.dead)
		given := map[string]int{}
		for range fairRounds {
			e.giveAndTake(pool, way.requests, given)
		}
		if x := unevenness(given); len(given) < fairSize || x > fairBound {
			e.Errorf("%s: of %d tokens %d were given, with a chi-squared of %.0f", way.name, fairSize, len(given), x)
		}
	}
}

// livingBesideDead returns a pool with labelled tokens that live, and others that are dead and that nobody has swept.
func (e *env) livingBesideDead(living, dead int) (pool string) {
	e.Helper()
	pool = e.pool(tms.PolicyChange{Labels: &[]string{"k"}, TokenTTL: new(minute)})
	for _, values := range [][]string{numbered("dead", dead), numbered("t", living)} {
		e.advance(minute / 2)
		tokens := newTokens(values...)
		for i := range tokens {
			tokens[i].Metadata = mapOf("k", "v")
		}
		if len(tokens) > 0 {
			e.generateAs(pool, tms.GenerateRequest{Tokens: tokens})
		}
	}
	e.advance(minute/2 + ms)
	return pool
}

// giveAndTake counts what the requests are given, and takes it back.
func (e *env) giveAndTake(pool string, requests []tms.AssignRequest, given map[string]int) {
	e.Helper()
	results, err := e.Assign(e.Context(), pool, requests)
	e.must(err)
	var keys []tms.LeaseKey
	for _, r := range results {
		e.must(r.Err)
		for _, t := range r.Tokens {
			given[t.Value]++
			keys = append(keys, keyOf(t))
		}
	}
	_, err = e.Unblock(e.Context(), pool, keys)
	e.must(err)
}

// unevenness returns the chi-squared statistic of how often each token was given, where a round gives each at most
// once.
func unevenness(given map[string]int) (x float64) {
	const due = fairRounds * fairTake / fairSize
	const variance = due * (1 - float64(fairTake)/fairSize) * fairSize / (fairSize - 1)
	for _, n := range given {
		x += float64(n-due) * float64(n-due) / variance
	}
	return x
}
