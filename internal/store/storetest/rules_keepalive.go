package storetest

import (
	"time"

	tms "github.com/manankarani/token-manager"
)

var keepAliveRules = []rule{
	{"KeepAliveSlides", "keep-alive pushes the lease to now + TTL and winds the token clock", keepSlides},
	{"KeepAliveNeverShortens", "a keep-alive never shortens a lease", keepNeverShortens},
	{"KeepAliveUsesItsOwnTTL",
		"a keep-alive's own TTL counts this once; else the TTL the lease was assigned for", keepOwnTTL},
	{"KeepAliveWithoutLeaseID",
		"without a lease_id the token alone is the proof, and the answer shows none", keepWithoutID},
	{"KeepAliveOfAnAvailableToken", "keep-alive of a token that nobody holds winds its clock only", keepAvailable},
	{"KeepAliveOfACoolingToken", "keep-alive of a cooling token winds its clock; it is ready no later", keepCooling},
	{"KeepAliveOfAQuarantinedToken", "keep-alive of a quarantined token changes nothing", keepQuarantined},
	{"KeepAliveKnowsLostLeases", "a lease_id that is not the current one is refused with lease_lost", keepLost},
	{"KeepAliveRequiresLeaseID",
		"where the pool requires the lease_id, keep-alive of a lease without is not_holder", keepRequires},
	{"KeepAliveStopsAtMaxLease", "no keep-alive moves a lease past assigned_at + max_lease", keepMaxLease},
	{"TTLsAreBounded",
		"no assignment and no keep-alive grants more than max_ttl, and none shortens a lease for it", boundedTTLs},
	{"KeepAliveInGraceStopsAtMaxLease", "no keep-alive in grace grants a lease that is over already",
		keepMaxLeaseInGrace},
	{"GraceRevives",
		"for grace after its end a lease can be revived, and the token is given to nobody else", graceRevives},
	{"GraceEnds", "after the grace the lease is lost", graceEnds},
	{"GraceIsALiveLease", "unblock and delete in grace act as on a live lease", graceIsLive},
}

func keepSlides(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	lease := e.takeAs(pool, tms.AssignRequest{ClientID: "c"})[0]
	for range 12 { // beyond both clocks as they stood at first
		e.advance(50 * second)
		got, err := e.keep(pool, keyOf(lease))
		e.must(err)
		lease.ExpiresAt, lease.Lease.ExpiresAt, lease.Lease.TTL = e.instant(5*minute), e.instant(minute), minute
		e.equal("kept", got, lease)
	}
	e.equal("looked up", e.look(pool, "a").Lease.ExpiresAt, e.instant(minute))
}

func keepNeverShortens(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	lease := e.take(pool)
	e.advance(10 * second)
	got, err := e.keep(pool, tms.LeaseKey{Token: "a", LeaseID: lease.Lease.ID, TTL: 20 * second})
	e.must(err)
	e.equal("end", got.Lease.ExpiresAt, lease.Lease.ExpiresAt)
	e.equal("rest", got.Lease.TTL, 50*second)
	e.equal("token clock", got.ExpiresAt, e.instant(5*minute))
}

func keepOwnTTL(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	lease := e.takeAs(pool, tms.AssignRequest{TTL: 20 * second})[0]
	e.change(pool, tms.PolicyChange{LeaseTTL: new(second)})
	for _, step := range []struct{ own, want time.Duration }{{0, 20 * second}, {30 * second, 30 * second},
		{0, 20 * second}} {
		got, err := e.keep(pool, tms.LeaseKey{Token: "a", LeaseID: lease.Lease.ID, TTL: step.own})
		e.must(err)
		e.equal("end", got.Lease.ExpiresAt, e.instant(step.want))
		e.advance(step.want - second)
	}
}

func keepWithoutID(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	want := e.take(pool)
	e.advance(second)
	got, err := e.keep(pool, byValue("a"))
	e.must(err)
	want.ExpiresAt, want.Lease.ID, want.Lease.ExpiresAt = e.instant(5*minute), "", e.instant(minute)
	e.equal("kept", got, want)
}

func keepAvailable(e *env) {
	pool := e.pool(tms.PolicyChange{RequireLeaseID: new(true)})
	e.fill(pool, "a")
	e.advance(5 * minute)
	got, err := e.keep(pool, byValue("a"))
	e.must(err)
	e.equal("kept", got, tms.Token{Pool: pool, Value: "a", State: tms.Available, ExpiresAt: e.instant(5 * minute)})
	e.advance(5 * minute)
	e.is(pool, "a", tms.Available)
	e.advance(ms)
	_, err = e.keep(pool, byValue("a"))
	e.refused(err, tms.ErrTokenNotFound)
}

func keepCooling(e *env) {
	pool := e.pool(tms.PolicyChange{Cooldown: new(minute)})
	e.fill(pool, "a")
	back, err := e.giveBack(pool, keyOf(e.take(pool)))
	e.must(err)
	e.advance(30 * second)
	got, err := e.keep(pool, byValue("a"))
	e.must(err)
	back.ExpiresAt = e.instant(5 * minute)
	e.equal("kept", got, back)
}

func keepQuarantined(e *env) {
	pool := e.pool(tms.PolicyChange{OnLeaseExpiry: new(tms.ExpiryQuarantines)})
	e.fill(pool, "a")
	lease := e.take(pool)
	e.advance(minute + ms)
	want := tms.Token{Pool: pool, Value: "a", State: tms.Quarantined}
	got, err := e.keep(pool, byValue("a"))
	e.must(err)
	e.equal("kept", got, want)
	_, err = e.keep(pool, keyOf(lease))
	e.refused(err, tms.ErrLeaseLost)
	e.equal("looked up", e.look(pool, "a"), want)
}

func keepLost(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	old := e.take(pool)
	_, err := e.giveBack(pool, keyOf(old))
	e.must(err)
	e.advance(second)
	_, err = e.keep(pool, keyOf(old)) // nobody holds it
	e.refused(err, tms.ErrLeaseLost)
	e.equal("token clock", e.look(pool, "a").ExpiresAt, e.instant(5*minute-second))
	held := e.take(pool)
	e.advance(second)
	_, err = e.keep(pool, keyOf(old)) // somebody else holds it
	e.refused(err, tms.ErrLeaseLost)
	now := e.look(pool, "a")
	e.equal("end", now.Lease.ExpiresAt, held.Lease.ExpiresAt)
	e.equal("token clock", now.ExpiresAt, held.ExpiresAt)
}

func keepRequires(e *env) {
	pool := e.pool(tms.PolicyChange{RequireLeaseID: new(true)})
	e.fill(pool, "a")
	lease := e.take(pool)
	e.advance(second)
	_, err := e.keep(pool, byValue("a"))
	e.refused(err, tms.ErrNotHolder)
	e.equal("end", e.look(pool, "a").Lease.ExpiresAt, lease.Lease.ExpiresAt)
	_, err = e.keep(pool, keyOf(lease))
	e.must(err)
}

func keepMaxLease(e *env) {
	pool := e.pool(tms.PolicyChange{MaxLease: new(90 * second)})
	e.fill(pool, "a")
	lease := e.take(pool)
	limit := e.instant(90 * second)
	e.advance(20 * second)
	got, err := e.keep(pool, keyOf(lease))
	e.must(err)
	e.equal("end below the limit", got.Lease.ExpiresAt, e.instant(minute))
	e.advance(20 * second)
	got, err = e.keep(pool, keyOf(lease))
	e.must(err)
	e.equal("end at the limit", got.Lease.ExpiresAt, limit)
	e.advance(10 * second)
	_, err = e.keep(pool, keyOf(lease))
	e.refused(err, tms.ErrMaxLeaseExceeded)
	now := e.look(pool, "a")
	e.equal("end after the refusal", now.Lease.ExpiresAt, limit)
	e.equal("token clock after the refusal", now.ExpiresAt, got.ExpiresAt)
	e.advance(40*second + ms)
	e.take(pool)
}

func keepMaxLeaseInGrace(e *env) {
	pool := e.pool(tms.PolicyChange{MaxLease: new(65 * second), Grace: new(30 * second)})
	e.fill(pool, "a", "b")
	lease, other := e.take(pool), e.take(pool)
	e.advance(65*second - ms)
	got, err := e.keep(pool, keyOf(other))
	e.must(err)
	e.equal("what is left of the longest lease", got.Lease.TTL, ms)
	for range 2 { // at the longest lease's end, and past it
		e.advance(ms)
		_, err := e.keep(pool, keyOf(lease))
		e.refused(err, tms.ErrMaxLeaseExceeded)
	}
	e.advance(25*second - ms) // the grace counts from the end that the lease had
	e.is(pool, lease.Value, tms.Assigned)
	e.advance(ms)
	e.is(pool, lease.Value, tms.Available)
}

func graceRevives(e *env) {
	pool := e.pool(tms.PolicyChange{Grace: new(10 * second)})
	e.fill(pool, "a")
	lease := e.take(pool)
	e.advance(minute + 10*second) // the last instant of the grace
	e.refused(e.tryTake(pool, tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
	now := e.look(pool, "a")
	e.equal("state", now.State, tms.Assigned)
	e.equal("rest", now.Lease.TTL, -10*second)
	e.equal("sizes", e.stats(pool), tms.Stats{Assigned: 1})
	got, err := e.keep(pool, keyOf(lease))
	e.must(err)
	e.equal("fence", got.Lease.Fence, lease.Lease.Fence)
	e.equal("end", got.Lease.ExpiresAt, e.instant(minute))
	e.advance(minute)
	e.is(pool, "a", tms.Assigned)
}

func graceEnds(e *env) {
	pool := e.pool(tms.PolicyChange{Grace: new(10 * second)})
	e.fill(pool, "a")
	lease := e.take(pool)
	e.advance(minute + 10*second + ms)
	_, err := e.keep(pool, keyOf(lease))
	e.refused(err, tms.ErrLeaseLost)
	e.is(pool, "a", tms.Available)
	e.take(pool)
	_, err = e.keep(pool, keyOf(lease))
	e.refused(err, tms.ErrLeaseLost)
}

func graceIsLive(e *env) {
	pool := e.pool(tms.PolicyChange{Grace: new(10 * second), RequireLeaseID: new(true)})
	e.fill(pool, "a")
	lease := e.take(pool)
	e.advance(minute + 10*second)
	_, err := e.giveBack(pool, byValue("a"))
	e.refused(err, tms.ErrNotHolder)
	e.refused(e.drop(pool, byValue("a")), tms.ErrNotHolder)
	_, err = e.giveBack(pool, keyOf(lease))
	e.must(err)
	lease = e.take(pool)
	e.advance(minute + 10*second)
	e.must(e.drop(pool, keyOf(lease)))
	e.is(pool, "a", "")
}

func boundedTTLs(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(minute), MaxTTL: new(10 * second)})
	e.generate(pool, "a", "b", "c")
	asked := map[string]time.Duration{"a": 0, "b": 5 * second, "c": minute}
	for token, ttl := range asked {
		lease := e.takeAs(pool, tms.AssignRequest{Prefer: token, TTL: ttl})[0]
		want := 10 * second
		if token == "b" {
			want = ttl
		}
		e.equal("the lease of "+token, lease.Lease.TTL, want)
		key := keyOf(lease)
		key.TTL = 2 * minute
		kept, err := e.keep(pool, key)
		e.must(err)
		e.equal("kept for two minutes", kept.Lease.TTL, 10*second)
	}
	e.change(pool, tms.PolicyChange{MaxTTL: new(second)})
	kept, err := e.keep(pool, byValue("a"))
	e.must(err)
	e.equal("kept under a lower bound", kept.Lease.TTL, 10*second)
	e.advance(9*second + 500*ms)
	kept, err = e.keep(pool, byValue("a"))
	e.must(err)
	e.equal("kept near its end", kept.Lease.TTL, second)
}
