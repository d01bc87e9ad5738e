package storetest

import (
	"time"

	tms "github.com/manankarani/token-manager"
)

var clockRules = []rule{
	{"LeaseIsExactlyItsTTL",
		"at its deadline a lease stands; a millisecond later its token is assignable without a sweep", leaseExact},
	{"TokenClockIsExact", "at its deadline a token lives; a millisecond later it is gone without a sweep", tokenExact},
	{"TokenClockWaitsForTheLease",
		"while a lease stands the token is not deleted, however long ago its clock ran out", tokenWaits},
	{"TokenClockAtTheLeaseEnd",
		"the token clock is looked at when the lease (and grace) ends: run out, the token is deleted", tokenAtLeaseEnd},
	{"ExpiryDeletes", "on_lease_expiry delete: the token goes with its lease", expiryDeletes},
	{"ExpiryQuarantines",
		"on_lease_expiry quarantine: the token is put aside; it neither expires nor is assigned", expiryQuarantines},
	{"QuarantineBeatsTheTokenClock",
		"a lease that ends after the token clock still quarantines its token", quarantineWins},
	{"ExpiredLeasesAreFacts", "what has expired unswept is so for every operation", expiredFacts},
}

func leaseExact(e *env) {
	for _, ttl := range []time.Duration{tms.MinTTL, 1234 * ms, minute} {
		pool := e.pool(tms.PolicyChange{})
		e.fill(pool, "a")
		lease := e.takeAs(pool, tms.AssignRequest{TTL: ttl})[0]
		e.advance(ttl)
		e.is(pool, "a", tms.Assigned)
		e.refused(e.tryTake(pool, tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
		e.equal("rest", e.look(pool, "a").Lease.TTL, 0*ms)
		e.equal("swept", e.sweep(pool, 10).Total(), int64(0))
		e.advance(ms)
		e.is(pool, "a", tms.Available)
		if next := e.take(pool); next.Lease.Fence <= lease.Lease.Fence {
			e.Fatalf("fence %d after %d", next.Lease.Fence, lease.Lease.Fence)
		}
	}
}

func tokenExact(e *env) {
	pool := e.pool(tms.PolicyChange{TokenTTL: new(minute)})
	e.fill(pool, "a", "b")
	e.advance(minute)
	e.is(pool, "a", tms.Available)
	e.equal("listed", len(e.list(pool, tms.Filter{}, 10)), 2)
	e.advance(ms)
	e.is(pool, "a", "")
	e.equal("listed", len(e.list(pool, tms.Filter{}, 10)), 0)
	e.refused(e.tryTake(pool, tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
	_, err := e.keep(pool, byValue("a"))
	e.refused(err, tms.ErrTokenNotFound)
	e.refused(e.drop(pool, byValue("b")), tms.ErrTokenNotFound)
	e.fill(pool, "a") // and again it is new
}

func tokenWaits(e *env) {
	pool := e.pool(tms.PolicyChange{TokenTTL: new(second), LeaseTTL: new(minute)})
	e.fill(pool, "a")
	lease := e.take(pool)
	e.equal("expires_at", lease.ExpiresAt, e.instant(second))
	e.advance(minute)
	e.sweepAll(pool)
	e.is(pool, "a", tms.Assigned)
	_, err := e.keep(pool, keyOf(lease))
	e.must(err)
	e.advance(minute)
	_, err = e.giveBack(pool, keyOf(lease))
	e.must(err)
	e.is(pool, "a", tms.Available)
}

func tokenAtLeaseEnd(e *env) {
	pool := e.pool(tms.PolicyChange{TokenTTL: new(minute), LeaseTTL: new(50 * second), Grace: new(10 * second)})
	e.fill(pool, "a", "b")
	e.take(pool)
	b := e.takeAs(pool, tms.AssignRequest{TTL: 50*second + ms})[0]
	e.advance(minute)
	e.is(pool, b.Value, tms.Assigned)
	e.advance(2 * ms)
	e.is(pool, b.Value, "")
	e.equal("gone", e.sizes(pool), tms.Stats{})

	pool = e.pool(tms.PolicyChange{TokenTTL: new(minute), LeaseTTL: new(50 * second)})
	e.fill(pool, "c")
	e.take(pool)
	e.advance(50*second + ms)
	e.is(pool, "c", tms.Available)
	e.equal("an expired lease is no sign of life", e.look(pool, "c").ExpiresAt, e.instant(10*second-ms))
	e.advance(10 * second)
	e.is(pool, "c", "")
}

func expiryDeletes(e *env) {
	pool := e.pool(tms.PolicyChange{OnLeaseExpiry: new(tms.ExpiryDeletes), Grace: new(second)})
	e.fill(pool, "a", "b")
	t := e.take(pool)
	e.advance(minute + second)
	e.is(pool, t.Value, tms.Assigned)
	e.advance(ms)
	e.is(pool, t.Value, "")
	_, err := e.keep(pool, keyOf(t))
	e.refused(err, tms.ErrTokenNotFound)
	e.sweepAll(pool)
	e.equal("sizes and counts", e.stats(pool), tms.Stats{Available: 1, Expired: tms.ExpiryCounts{Deleted: 1}})
}

func expiryQuarantines(e *env) {
	pool := e.pool(tms.PolicyChange{OnLeaseExpiry: new(tms.ExpiryQuarantines), Grace: new(second),
		Cooldown: new(second)})
	e.fill(pool, "a")
	lease := e.take(pool)
	e.advance(minute + second)
	e.is(pool, "a", tms.Assigned)
	for range 3 {
		e.advance(time.Hour)
		e.equal("quarantined", e.look(pool, "a"), tms.Token{Pool: pool, Value: "a", State: tms.Quarantined})
		e.refused(e.tryTake(pool, tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
		e.sweepAll(pool)
	}
	_, err := e.giveBack(pool, byValue("a"))
	e.refused(err, tms.ErrNotAssigned)
	_, err = e.giveBack(pool, keyOf(lease))
	e.refused(err, tms.ErrLeaseLost)
	e.equal("existing", e.generate(pool, "a").Existing, 1)
	e.equal("sizes and counts", e.stats(pool), tms.Stats{Quarantined: 1, Expired: tms.ExpiryCounts{Quarantined: 1}})
	e.must(e.drop(pool, byValue("a")))
}

func quarantineWins(e *env) {
	pool := e.pool(tms.PolicyChange{OnLeaseExpiry: new(tms.ExpiryQuarantines), TokenTTL: new(second)})
	e.fill(pool, "a")
	e.take(pool)
	e.advance(time.Hour)
	e.is(pool, "a", tms.Quarantined)
}

func expiredFacts(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	lease := e.takeAs(pool, tms.AssignRequest{ClientID: "c"})[0]
	e.advance(minute + ms)
	e.is(pool, "a", tms.Available)
	e.equal("listed by client", len(e.list(pool, tms.Filter{ClientID: "c"}, 10)), 0)
	e.equal("listed as assigned", len(e.list(pool, tms.Filter{State: tms.Assigned}, 10)), 0)
	_, err := e.giveBack(pool, keyOf(lease))
	e.refused(err, tms.ErrLeaseLost)
	_, err = e.giveBack(pool, byValue("a"))
	e.refused(err, tms.ErrNotAssigned)
	e.refused(e.drop(pool, keyOf(lease)), tms.ErrLeaseLost)
	kept, err := e.keep(pool, byValue("a"))
	e.must(err)
	e.equal("kept", kept, tms.Token{Pool: pool, Value: "a", State: tms.Available, ExpiresAt: e.instant(5 * minute)})
	e.change(pool, tms.PolicyChange{RequireLeaseID: new(true)})
	e.must(e.drop(pool, byValue("a")))
}
