package storetest

import (
	tms "github.com/manankarani/token-manager"
)

var unblockRules = []rule{
	{"UnblockReturnsTheToken", "unblock ends the lease, and its token is available at once", unblockReturns},
	{"UnblockWithoutLeaseID", "without a lease_id the token alone is the proof", unblockByValue},
	{"UnblockWindsTheClock", "unblock is a sign of life: it winds the token clock", unblockWinds},
	{"UnblockCools", "after unblock the token rests for the pool's cooldown", unblockCools},
	{"UnblockOfNobodysToken",
		"unblock of a token that nobody holds: not_assigned, or lease_lost with a lease_id", unblockNobody},
	{"OnlyTheHolderReleases",
		"unblock, delete and keep-alive with another's or an old lease_id are refused", onlyHolder},
	{"UnblockRequiresLeaseID",
		"where the pool requires the lease_id, unblock without one is not_holder", unblockRequires},
	{"CooldownIsExact",
		"a cooling token is not assignable until its cooldown has passed, and then without a sweep", cooldownExact},
	{"CooldownAfterExpiry", "after a lease expired the token rests from the lease's end", cooldownAfterExpiry},
	{"CoolingObeysTheTokenClock", "a cooling token whose token clock runs out is deleted", coolingDies},
}

var deleteRules = []rule{
	{"DeleteInEveryState", "delete removes a token in whatever state it is", deleteAnyState},
	{"DeleteEndsTheLease", "after delete the token's lease is gone, also when it is generated again", deleteEndsLease},
	{"DeleteRequiresLeaseID",
		"where the pool requires the lease_id, delete of an assigned token without is not_holder", deleteRequires},
	{"DeleteKnowsLostLeases",
		"delete with a lease_id that is not current is refused, also when nobody holds it", deleteLost},
	{"UnknownTokenIsNotFound", "an unknown token is token_not_found in every operation that names one", unknownToken},
}

func unblockReturns(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	lease := e.take(pool)
	got, err := e.giveBack(pool, keyOf(lease))
	e.must(err)
	e.equal("unblocked", got,
		tms.Token{Pool: pool, Value: "a", State: tms.Available, ExpiresAt: e.instant(5 * minute)})
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 1})
	if again := e.take(pool); again.Lease.Fence <= lease.Lease.Fence || again.Lease.ID == lease.Lease.ID {
		e.Fatalf("the second lease %+v must differ from the first %+v", again.Lease, lease.Lease)
	}
}

func unblockByValue(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	e.take(pool)
	_, err := e.giveBack(pool, byValue("a"))
	e.must(err)
	e.is(pool, "a", tms.Available)
}

func unblockWinds(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(10 * minute)})
	e.fill(pool, "a")
	lease := e.take(pool)
	e.advance(9 * minute) // past the token clock
	got, err := e.giveBack(pool, keyOf(lease))
	e.must(err)
	e.equal("expires_at", got.ExpiresAt, e.instant(5*minute))
	e.advance(5 * minute)
	e.is(pool, "a", tms.Available)
	e.advance(ms)
	e.is(pool, "a", "")
}

func unblockCools(e *env) {
	pool := e.pool(tms.PolicyChange{Cooldown: new(10 * second)})
	e.fill(pool, "a")
	lease := e.take(pool)
	e.advance(second)
	got, err := e.giveBack(pool, keyOf(lease))
	e.must(err)
	e.equal("unblocked", got, tms.Token{Pool: pool, Value: "a", State: tms.Cooling,
		ExpiresAt: e.instant(5 * minute), ReadyAt: e.instant(10 * second)})
	e.refused(e.tryTake(pool, tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
	_, err = e.giveBack(pool, byValue("a"))
	e.refused(err, tms.ErrNotAssigned)
	e.equal("sizes", e.stats(pool), tms.Stats{Cooling: 1})
}

func unblockNobody(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	lease := e.take(pool)
	_, err := e.giveBack(pool, keyOf(lease))
	e.must(err)
	e.advance(second)
	_, err = e.giveBack(pool, keyOf(lease))
	e.refused(err, tms.ErrLeaseLost)
	_, err = e.giveBack(pool, byValue("a"))
	e.refused(err, tms.ErrNotAssigned)
	e.equal("token clock", e.look(pool, "a").ExpiresAt, e.instant(5*minute-second))
	e.change(pool, tms.PolicyChange{RequireLeaseID: new(true)})
	_, err = e.giveBack(pool, byValue("a"))
	e.refused(err, tms.ErrNotAssigned)
}

func onlyHolder(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a", "b")
	old := e.take(pool)
	_, err := e.giveBack(pool, keyOf(old))
	e.must(err)
	held := e.takeAs(pool, tms.AssignRequest{Count: 2})
	ids := []string{held[1].Lease.ID, held[0].Lease.ID}
	for i, t := range held {
		for _, id := range []string{old.Lease.ID, ids[i], "guessed", tms.NewValue()} {
			key := tms.LeaseKey{Token: t.Value, LeaseID: id}
			_, err = e.keep(pool, key)
			e.refused(err, tms.ErrLeaseLost)
			_, err = e.giveBack(pool, key)
			e.refused(err, tms.ErrLeaseLost)
			e.refused(e.drop(pool, key), tms.ErrLeaseLost)
		}
		t.Lease.ID = ""
		e.equal("the lease of "+t.Value, e.look(pool, t.Value), t)
	}
}

func unblockRequires(e *env) {
	pool := e.pool(tms.PolicyChange{RequireLeaseID: new(true)})
	e.fill(pool, "a")
	lease := e.take(pool)
	_, err := e.giveBack(pool, byValue("a"))
	e.refused(err, tms.ErrNotHolder)
	e.is(pool, "a", tms.Assigned)
	_, err = e.giveBack(pool, keyOf(lease))
	e.must(err)
}

func cooldownExact(e *env) {
	pool := e.pool(tms.PolicyChange{Cooldown: new(10 * second)})
	e.fill(pool, "a")
	_, err := e.giveBack(pool, keyOf(e.take(pool)))
	e.must(err)
	e.advance(10 * second)
	e.is(pool, "a", tms.Cooling)
	e.refused(e.tryTake(pool, tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
	e.advance(ms)
	e.equal("rested", e.look(pool, "a"), tms.Token{Pool: pool, Value: "a", State: tms.Available,
		ExpiresAt: e.instant(5*minute - 10*second - ms)})
	e.take(pool)
}

func cooldownAfterExpiry(e *env) {
	pool := e.pool(tms.PolicyChange{Cooldown: new(10 * second), Grace: new(5 * second)})
	e.fill(pool, "a")
	began := e.clock.Now()
	e.take(pool)
	e.advance(minute + 5*second + ms)
	e.equal("cooling", e.look(pool, "a"), tms.Token{Pool: pool, Value: "a", State: tms.Cooling,
		ExpiresAt: began.Add(5 * minute), ReadyAt: began.Add(minute + 15*second)})
	e.advance(10*second - ms)
	e.refused(e.tryTake(pool, tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
	e.advance(ms)
	e.take(pool)
	e.advance(10 * minute) // beyond the end of the lease, of the grace and of the cooldown, but dead by then
	e.is(pool, "a", "")
}

func coolingDies(e *env) {
	pool := e.pool(tms.PolicyChange{Cooldown: new(10 * minute)})
	e.fill(pool, "a", "b")
	for _, t := range e.takeAs(pool, tms.AssignRequest{Count: 2}) {
		_, err := e.giveBack(pool, keyOf(t))
		e.must(err)
	}
	e.advance(minute)
	_, err := e.keep(pool, byValue("b"))
	e.must(err)
	e.advance(4 * minute)
	e.is(pool, "a", tms.Cooling)
	e.advance(ms)
	e.is(pool, "a", "")
	e.is(pool, "b", tms.Cooling)
	e.sweepAll(pool)
	e.equal("counts", e.stats(pool).Expired, tms.ExpiryCounts{Deleted: 1})
}

// oneOfEach makes a pool with a token in each state, and returns the lease of the assigned one.
func oneOfEach(e *env) (pool string, lease tms.Token) {
	pool = e.pool(tms.PolicyChange{Selection: new(tms.SelectFIFO), OnLeaseExpiry: new(tms.ExpiryQuarantines),
		Cooldown: new(minute)})
	e.fill(pool, "quarantined")
	e.takeAs(pool, tms.AssignRequest{TTL: second})
	e.advance(second + ms)
	e.fill(pool, "cooling")
	_, err := e.giveBack(pool, keyOf(e.take(pool)))
	e.must(err)
	e.fill(pool, "assigned")
	lease = e.take(pool)
	e.fill(pool, "available")
	for _, state := range []tms.State{tms.Available, tms.Assigned, tms.Cooling, tms.Quarantined} {
		e.is(pool, string(state), state)
	}
	return pool, lease
}

func deleteAnyState(e *env) {
	pool, _ := oneOfEach(e)
	for _, value := range []string{"available", "assigned", "cooling", "quarantined"} {
		e.must(e.drop(pool, byValue(value)))
		e.is(pool, value, "")
		e.refused(e.drop(pool, byValue(value)), tms.ErrTokenNotFound)
	}
	e.equal("sizes", e.sizes(pool), tms.Stats{})
	e.equal("next due", e.sweep(pool, 10).NextDue.IsZero(), true)
}

func deleteEndsLease(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	lease := e.take(pool)
	e.must(e.drop(pool, keyOf(lease)))
	_, err := e.keep(pool, keyOf(lease))
	e.refused(err, tms.ErrTokenNotFound)
	e.fill(pool, "a")
	e.is(pool, "a", tms.Available)
	_, err = e.keep(pool, keyOf(lease))
	e.refused(err, tms.ErrLeaseLost)
	e.take(pool)
	_, err = e.giveBack(pool, keyOf(lease))
	e.refused(err, tms.ErrLeaseLost)
}

func deleteRequires(e *env) {
	pool := e.pool(tms.PolicyChange{RequireLeaseID: new(true)})
	e.fill(pool, "a", "b")
	lease := e.take(pool)
	e.refused(e.drop(pool, byValue(lease.Value)), tms.ErrNotHolder)
	e.is(pool, lease.Value, tms.Assigned)
	e.must(e.drop(pool, keyOf(lease)))
	other := map[string]string{"a": "b", "b": "a"}[lease.Value]
	e.must(e.drop(pool, byValue(other)))
}

func deleteLost(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	lease := e.take(pool)
	_, err := e.giveBack(pool, keyOf(lease))
	e.must(err)
	e.refused(e.drop(pool, keyOf(lease)), tms.ErrLeaseLost)
	e.take(pool)
	e.refused(e.drop(pool, keyOf(lease)), tms.ErrLeaseLost)
	e.is(pool, "a", tms.Assigned)
}

func unknownToken(e *env) {
	pool := e.pool(tms.PolicyChange{RequireLeaseID: new(true)})
	for _, key := range []tms.LeaseKey{byValue("nobody's"), {Token: "nobody's", LeaseID: tms.NewValue()}} {
		_, err := e.keep(pool, key)
		e.refused(err, tms.ErrTokenNotFound)
		_, err = e.giveBack(pool, key)
		e.refused(err, tms.ErrTokenNotFound)
		e.refused(e.drop(pool, key), tms.ErrTokenNotFound)
	}
	_, err := e.Token(e.Context(), pool, tms.LeaseKey{Token: "nobody's"})
	e.refused(err, tms.ErrTokenNotFound)
	e.equal("sizes", e.stats(pool), tms.Stats{})
}
