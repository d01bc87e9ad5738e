package storetest

import (
	"time"

	tms "github.com/manankarani/token-manager"
)

var overdueRules = []rule{
	{"OverdueLeasesAreCounted",
		"a look at a pool counts leases that are over, however many, as what the policy makes of them", overdueLeases},
	{"OverdueTokensAreCounted",
		"a look at a pool counts no token whose clock has run out, however many", overdueTokens},
}

const overdueMany = 2_500 // more than one step carries out

func overdueLeases(e *env) {
	for expiry, want := range map[tms.OnLeaseExpiry]tms.Stats{
		tms.ExpiryReleases:    {Available: 1_500, Cooling: overdueMany - 1_500},
		tms.ExpiryQuarantines: {Quarantined: overdueMany},
		tms.ExpiryDeletes:     {},
	} {
		pool := e.pool(tms.PolicyChange{OnLeaseExpiry: &expiry, Cooldown: new(10 * second), TokenTTL: new(0 * ms)})
		_, err := e.Generate(e.Context(), pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, overdueMany)})
		e.must(err)
		for taken := 0; taken < overdueMany; taken += 500 {
			ttl := second
			if taken >= 1_500 {
				ttl = 15 * second
			}
			e.takeAs(pool, tms.AssignRequest{Count: 500, TTL: ttl})
		}
		e.advance(12 * second) // the first are over, and have rested
		e.equal("the sizes", e.sizes(pool), map[tms.OnLeaseExpiry]tms.Stats{
			tms.ExpiryReleases:    {Available: 1_500, Assigned: overdueMany - 1_500},
			tms.ExpiryQuarantines: {Quarantined: 1_500, Assigned: overdueMany - 1_500},
			tms.ExpiryDeletes:     {Assigned: overdueMany - 1_500},
		}[expiry])
		e.advance(5 * second)
		e.equal("the sizes", e.sizes(pool), want)
		e.sweepAll(pool)
		e.equal("the sizes", e.sizes(pool), want)
	}
}

func overdueTokens(e *env) {
	pool := e.pool(tms.PolicyChange{TokenTTL: new(minute)})
	_, err := e.Generate(e.Context(), pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, overdueMany)})
	e.must(err)
	e.advance(30 * second)
	e.generate(pool, "a")
	e.advance(31 * time.Second)
	e.equal("the sizes", e.sizes(pool), tms.Stats{Available: 1})
	e.sweepAll(pool)
	e.equal("the sizes", e.sizes(pool), tms.Stats{Available: 1})
}
