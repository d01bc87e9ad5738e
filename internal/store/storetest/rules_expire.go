package storetest

import (
	"time"

	tms "github.com/manankarani/token-manager"
)

var expiryRules = []rule{
	{"SweepIsBounded", "a sweep carries out at most limit expiries, and says that more is due", sweepBounded},
	{"SweepSaysWhenToComeBack", "next_due is the next deadline, and zero where nothing will be due", sweepNextDue},
	{"SweepCounts", "a sweep counts what it released, quarantined and deleted; the pool counts all of it", sweepCounts},
	{"SweepSaysHowLate", "overdue is how long the oldest deadline had passed", sweepOverdue},
	{"SweepOfNothing", "a sweep in which nothing is due changes nothing", sweepNothing},
	{"ExpiriesAreCountedOnce", "the pool counts every expiry once, whichever operation carried it out", countedOnce},
}

// expire makes a pool with n tokens whose leases have just ended.
func expire(e *env, n int) string {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, numbered("t", n)...)
	e.takeAs(pool, tms.AssignRequest{Count: n})
	e.advance(minute + ms)
	return pool
}

func sweepBounded(e *env) {
	pool := expire(e, 10)
	var got []int64
	for {
		done := e.sweep(pool, 4)
		got = append(got, done.Released)
		e.equal("the store's clock", done.Now, e.clock.Now())
		if !done.NextDue.Before(done.Now) {
			break
		}
	}
	e.equal("released by sweep", got, []int64{4, 4, 2})
	e.equal("sizes and counts", e.stats(pool), tms.Stats{Available: 10, Expired: tms.ExpiryCounts{Released: 10}})
}

func sweepNextDue(e *env) {
	pool := e.pool(tms.PolicyChange{Grace: new(5 * second), Cooldown: new(20 * second)})
	e.equal("in an empty pool", e.sweep(pool, 10).NextDue, time.Time{})
	e.fill(pool, "a")
	e.equal("of a token", e.sweep(pool, 10).NextDue, e.instant(5*minute))
	lease := e.take(pool)
	e.equal("of a lease", e.sweep(pool, 10).NextDue, e.instant(minute+5*second))
	e.advance(second)
	_, err := e.keep(pool, keyOf(lease))
	e.must(err)
	e.equal("of a lease kept alive", e.sweep(pool, 10).NextDue, e.instant(minute+5*second))
	_, err = e.giveBack(pool, keyOf(lease))
	e.must(err)
	e.equal("of a cooling token", e.sweep(pool, 10).NextDue, e.instant(20*second))
	e.change(pool, tms.PolicyChange{TokenTTL: new(10 * second)})
	e.equal("of a cooling token that will die", e.sweep(pool, 10).NextDue, e.instant(10*second))
	e.advance(10 * second)
	e.equal("at the deadline", e.sweep(pool, 10).Total(), int64(0))
	e.advance(ms)
	done := e.sweep(pool, 10)
	e.equal("after the deadline", done.ExpiryCounts, tms.ExpiryCounts{Deleted: 1})
	e.equal("of nothing", done.NextDue, time.Time{})
}

func sweepCounts(e *env) {
	pool := e.pool(tms.PolicyChange{TokenTTL: new(70 * second), Selection: new(tms.SelectFIFO)})
	e.fill(pool, "a", "b", "c", "d", "e")
	e.takeAs(pool, tms.AssignRequest{Count: 2})
	e.takeAs(pool, tms.AssignRequest{TTL: 2 * minute})
	e.advance(minute + ms)
	e.equal("leases", e.sweep(pool, 100).ExpiryCounts, tms.ExpiryCounts{Released: 2})
	e.advance(10 * second)
	e.equal("tokens", e.sweep(pool, 100).ExpiryCounts, tms.ExpiryCounts{Deleted: 4})
	e.advance(minute)
	e.equal("a lease beyond the token clock", e.sweep(pool, 100).ExpiryCounts, tms.ExpiryCounts{Deleted: 1})
	e.equal("sizes and counts", e.stats(pool), tms.Stats{Expired: tms.ExpiryCounts{Released: 2, Deleted: 5}})
	e.change(pool, tms.PolicyChange{OnLeaseExpiry: new(tms.ExpiryQuarantines)})
	e.fill(pool, "f")
	e.take(pool)
	e.advance(minute + ms)
	e.equal("quarantine", e.sweep(pool, 100).ExpiryCounts, tms.ExpiryCounts{Quarantined: 1})
}

func sweepOverdue(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a", "b")
	e.take(pool)
	e.advance(second)
	e.take(pool)
	e.equal("before", e.sweep(pool, 10).Overdue, 0*ms)
	e.advance(minute + 2*second)
	e.equal("after", e.sweep(pool, 1).Overdue, 3*second)
	e.equal("after the first sweep", e.sweep(pool, 10).Overdue, 2*second)
	e.equal("after the second sweep", e.sweep(pool, 10).Overdue, 0*ms)
}

func sweepNothing(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, numbered("t", 20)...)
	e.takeAs(pool, tms.AssignRequest{Count: 10})
	before := e.list(pool, tms.Filter{}, 50)
	done := e.sweep(pool, 1000)
	e.equal("swept", done, tms.Expired{Now: e.clock.Now(), NextDue: e.instant(minute)})
	e.equal("listed", e.list(pool, tms.Filter{}, 50), before)
}

func countedOnce(e *env) {
	pool := e.pool(tms.PolicyChange{TokenTTL: new(minute), LeaseTTL: new(30 * second)})
	steps := []func(){
		func() { e.is(pool, "a", "") },
		func() { e.generate(pool, "a") },
		func() { e.refused(e.drop(pool, byValue("a")), tms.ErrTokenNotFound) },
		func() { e.refused(e.tryTake(pool, tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable) },
		func() { e.equal("listed", len(e.list(pool, tms.Filter{}, 10)), 0) },
		func() { e.equal("swept", e.sweep(pool, 10).Deleted, int64(1)) },
	}
	for i, step := range steps {
		e.generate(pool, "a")
		e.take(pool)
		e.advance(30*second + ms)
		e.take(pool) // the first lease was released
		e.advance(2 * minute)
		e.generate(pool, "a") // the second lease was released and the token deleted
		e.advance(minute + ms)
		step()
		e.sweepAll(pool)
		n := int64(i + 1)
		e.equal("counts", e.stats(pool).Expired, tms.ExpiryCounts{Released: 2 * n, Deleted: 2 * n})
		_ = e.drop(pool, byValue("a"))
	}
}
