package storetest

import (
	"fmt"
	"time"

	tms "github.com/manankarani/token-manager"
)

// The public defects of the first implementation of this design, each as a rule. Four more stand beside the rules that
// they broke: OnlyTheHolderReleases, UnknownTokenIsNotFound, PoolHasAMaximum and SweepIsBounded.
var defectRules = []rule{
	{"UnblockedAndAssignedAgainSurvives",
		"a token that is unblocked and assigned again within its first lease's time stays assigned", assignedAgain},
	{"LeaseEndsOnTime", "a lease of 60 s ends after 60 s, not at the sweep after that", leaseEndsOnTime},
	{"KeepAliveDuringSweepIsNotOverridden",
		"a keep-alive at the deadline wins or is refused; no sweep undoes one that was acknowledged", keepDuringSweep},
	{"DeletedTokensStayDeleted",
		"no keep-alive, unblock or sweep brings back a token that was deleted meanwhile", deletedStays},
	{"NothingIsOrphaned",
		"a token whose client died in any state comes back or goes by its clocks alone", nothingOrphaned},
}

func assignedAgain(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	first := e.take(pool)
	e.advance(30 * second)
	_, err := e.giveBack(pool, keyOf(first))
	e.must(err)
	e.advance(20 * second)
	again := e.take(pool)
	e.advance(10*second + ms) // the first lease would end here
	e.sweepAll(pool)
	now := e.look(pool, "a")
	e.equal("state", now.State, tms.Assigned)
	e.equal("end", now.Lease.ExpiresAt, again.Lease.ExpiresAt)
	_, err = e.keep(pool, keyOf(again))
	e.must(err)
}

func leaseEndsOnTime(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	e.take(pool)
	e.sweepAll(pool)
	e.advance(minute)
	e.sweepAll(pool)
	e.refused(e.tryTake(pool, tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
	e.advance(ms)
	e.take(pool)
}

func keepDuringSweep(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(second), TokenTTL: new(0 * ms)})
	e.fill(pool, "a")
	for trial := range 100 {
		lease := e.take(pool)
		e.advance(second + time.Duration(trial%2)*ms) // at the deadline, or past it
		var err error
		parallel(4, func(i int) {
			switch (i + trial) % 4 { // so that each comes first sometimes
			case 0:
				e.advance(ms)
			case 1:
				lease, err = e.keepOrRetake(pool, lease)
			default:
				_, err := e.Expire(e.Context(), pool, 10)
				e.expect("expire", err, "")
			}
		})
		e.must(err)
		e.stands(pool, lease)
	}
}

// keepOrRetake keeps the lease alive or, where it is lost, takes the pool's only token again.
func (e *env) keepOrRetake(pool string, lease tms.Token) (tms.Token, error) {
	_, err := e.keep(pool, keyOf(lease))
	if tms.CodeOf(err) != tms.ErrLeaseLost {
		return lease, err
	}
	result := e.tryTake(pool, tms.AssignRequest{})
	if result.Err != nil {
		return lease, result.Err
	}
	return result.Tokens[0], nil
}

// stands checks that the lease, which has just been acknowledged, outlives the sweeps, and ends it.
func (e *env) stands(pool string, lease tms.Token) {
	e.Helper()
	e.sweepAll(pool)
	now := e.look(pool, lease.Value)
	if now.State != tms.Assigned || now.Lease.Fence != lease.Lease.Fence || now.Lease.TTL < second-ms {
		e.Fatalf("the lease was acknowledged, but the token reads %+v, its lease %+v", now, now.Lease)
	}
	_, err := e.giveBack(pool, keyOf(lease))
	e.must(err)
}

func deletedStays(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(second)})
	for trial := range 20 {
		value := fmt.Sprintf("t%d", trial)
		e.fill(pool, value)
		lease := e.take(pool)
		e.advance(second)
		parallel(5, func(i int) {
			switch (i + trial) % 5 {
			case 0:
				e.expect("delete", e.drop(pool, byValue(value)), "")
			case 1:
				_, err := e.keep(pool, keyOf(lease))
				e.expect("keep-alive", err, "", tms.ErrTokenNotFound, tms.ErrLeaseLost)
			case 2:
				_, err := e.giveBack(pool, keyOf(lease))
				e.expect("unblock", err, "", tms.ErrTokenNotFound, tms.ErrLeaseLost)
			case 3:
				e.advance(ms)
			default:
				_, err := e.Expire(e.Context(), pool, 10)
				e.expect("expire", err, "")
			}
		})
		e.is(pool, value, "")
		e.equal("sizes", e.stats(pool).Total(), 0)
	}
}

func nothingOrphaned(e *env) {
	pool := e.pool(tms.PolicyChange{Cooldown: new(10 * second), Grace: new(5 * second)})
	e.fill(pool, numbered("t", 9)...)
	e.takeAs(pool, tms.AssignRequest{Count: 3})
	for _, t := range e.takeAs(pool, tms.AssignRequest{Count: 3}) {
		_, err := e.giveBack(pool, keyOf(t))
		e.must(err)
	}
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 3, Assigned: 3, Cooling: 3})
	e.advance(minute + 15*second + ms)
	e.takeAs(pool, tms.AssignRequest{Count: 9, TTL: second})
	e.advance(5*minute + ms)
	e.sweepAll(pool)
	e.equal("sizes", e.sizes(pool), tms.Stats{})
	e.equal("next due", e.sweep(pool, 10).NextDue.IsZero(), true)
}
