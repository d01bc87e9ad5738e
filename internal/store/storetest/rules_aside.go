package storetest

import (
	tms "github.com/manankarani/token-manager"
)

var asideRules = []rule{
	{"QuarantineOfAFreeToken",
		"unblock with quarantine and no lease_id puts a token aside that nobody holds, also one that " +
			"is aside already, and nobody is given it until it is restored", asideFree},
	{"QuarantineKnowsLostLeases",
		"unblock with quarantine and a lease_id that is not current is refused, also when nobody " +
			"holds the token", asideLost},
	{"QuarantineRequiresLeaseID", "where the pool requires the lease_id, an assigned token is not put aside without",
		asideRequires},
	{"QuarantineOfAFreeTokenIsNoLease", "a free token that was put aside has no past, but a time since when",
		asidePast},
	{"QuarantineFollowsTheLabels", "a token that was put aside suits no match, and does again when it is restored",
		asideLabels},
	{"OwnCooldown", "an unblock with a cooldown of its own lets the token rest for that long, zero for none, and the " +
		"pool's cooldown holds everywhere else", ownCooldown},
	{"OwnCooldownKillsNoToken",
		"a cooldown of one's own that the token would not outlive is refused, and the lease stands",
		ownCooldownTooLong},
}

// aside names the token, to be put aside.
func aside(value string) tms.LeaseKey { return tms.LeaseKey{Token: value, Quarantine: true} }

func asideFree(e *env) {
	pool := e.pool(tms.PolicyChange{Cooldown: new(minute), Selection: new(tms.SelectFIFO)})
	e.fill(pool, "cooling", "free")
	_, err := e.giveBack(pool, keyOf(e.take(pool)))
	e.must(err)
	for range 2 {
		for _, value := range []string{"cooling", "free"} {
			got, err := e.giveBack(pool, aside(value))
			e.must(err)
			e.equal("put aside", got, tms.Token{Pool: pool, Value: value, State: tms.Quarantined})
		}
		e.advance(second)
	}
	e.advance(10 * minute)
	e.refused(e.tryTake(pool, tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
	e.equal("sizes", e.sizes(pool), tms.Stats{Quarantined: 2})
	_, err = e.Restore(e.Context(), pool, []string{"free"})
	e.must(err)
	e.equal("given", e.take(pool).Value, "free")
	_, err = e.giveBack(pool, aside("nobody's"))
	e.refused(err, tms.ErrTokenNotFound)
}

func asideLost(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	lease := e.take(pool)
	_, err := e.giveBack(pool, keyOf(lease))
	e.must(err)
	lost := tms.LeaseKey{Token: "a", LeaseID: lease.Lease.ID, Quarantine: true}
	_, err = e.giveBack(pool, lost)
	e.refused(err, tms.ErrLeaseLost)
	e.take(pool)
	_, err = e.giveBack(pool, lost)
	e.refused(err, tms.ErrLeaseLost)
	e.is(pool, "a", tms.Assigned)
}

func asideRequires(e *env) {
	pool := e.pool(tms.PolicyChange{RequireLeaseID: new(true), Selection: new(tms.SelectFIFO)})
	e.fill(pool, "a", "b")
	e.take(pool)
	_, err := e.giveBack(pool, aside("a"))
	e.refused(err, tms.ErrNotHolder)
	e.is(pool, "a", tms.Assigned)
	_, err = e.giveBack(pool, aside("b"))
	e.must(err)
	e.is(pool, "b", tms.Quarantined)
}

func asidePast(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	e.advance(second)
	_, err := e.giveBack(pool, aside("a"))
	e.must(err)
	since := e.instant(0)
	e.advance(second)
	_, err = e.giveBack(pool, aside("a"))
	e.must(err)
	e.equal("past", *e.lookUp(pool, "a").Past, tms.Past{Since: since})
}

func asideLabels(e *env) {
	pool := e.pool(tms.PolicyChange{Labels: new([]string{"city"})})
	e.described(pool, "a", "city", "Oslo")
	oslo := tms.AssignRequest{Match: mapOf("city", "Oslo")}
	_, err := e.giveBack(pool, aside("a"))
	e.must(err)
	e.refused(e.tryTake(pool, oslo).Err, tms.ErrNoTokenAvailable)
	_, err = e.Restore(e.Context(), pool, []string{"a"})
	e.must(err)
	e.equal("given", e.takeAs(pool, oslo)[0].Value, "a")
}

func ownCooldown(e *env) {
	pool := e.pool(tms.PolicyChange{Cooldown: new(10 * second), Selection: new(tms.SelectFIFO)})
	e.fill(pool, "a", "b", "c")
	keys := []tms.LeaseKey{}
	for _, t := range e.takeAs(pool, tms.AssignRequest{Count: 3}) {
		keys = append(keys, keyOf(t))
	}
	keys[0].Cooldown, keys[1].Cooldown = new(40*second), new(0*second)
	results, err := e.Unblock(e.Context(), pool, keys)
	e.must(err)
	ends := e.instant(5 * minute)
	e.equal("unblocked", results, []tms.TokenResult{
		{Token: tms.Token{Pool: pool, Value: "a", State: tms.Cooling, ExpiresAt: ends,
			ReadyAt: e.instant(40 * second)}},
		{Token: tms.Token{Pool: pool, Value: "b", State: tms.Available, ExpiresAt: ends}},
		{Token: tms.Token{Pool: pool, Value: "c", State: tms.Cooling, ExpiresAt: ends,
			ReadyAt: e.instant(10 * second)}},
	})
	e.advance(40 * second)
	e.is(pool, "a", tms.Cooling)
	e.advance(ms)
	e.is(pool, "a", tms.Available)
}

func ownCooldownTooLong(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	key := keyOf(e.take(pool))
	key.Cooldown = new(5 * minute)
	_, err := e.giveBack(pool, key)
	e.refused(err, tms.ErrInvalidRequest)
	e.is(pool, "a", tms.Assigned)
	*key.Cooldown -= ms
	_, err = e.giveBack(pool, key)
	e.must(err)
	e.advance(*key.Cooldown + ms)
	e.is(pool, "a", tms.Available)
	e.change(pool, tms.PolicyChange{TokenTTL: new(0 * ms)})
	key = keyOf(e.take(pool))
	key.Cooldown = new(10 * minute)
	_, err = e.giveBack(pool, key)
	e.must(err)
	e.advance(20 * minute)
	e.is(pool, "a", tms.Available)
}
