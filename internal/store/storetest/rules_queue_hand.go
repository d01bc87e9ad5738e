package storetest

import (
	"time"

	tms "github.com/manankarani/token-manager"
)

// handOver is one way in which the token "a", which somebody holds, becomes free while others wait: who gives, and how.
// Whoever has waited longest gets it, in the same step.
type handOver struct {
	name   string
	how    string // it becomes free
	policy tms.PolicyChange
	gives  func(e *env, pool string, held tms.LeaseKey)
}

var handOvers = []handOver{
	{"GivenBack", "its holder unblocks it", tms.PolicyChange{},
		func(e *env, pool string, held tms.LeaseKey) { e.gives(pool, held) }},
	{"GivenBackByForce", "somebody unblocks it without its lease_id", tms.PolicyChange{},
		func(e *env, pool string, _ tms.LeaseKey) { e.gives(pool, byValue("a")) }},
	{"GivenBackWithItsClient", "all tokens of its holder are unblocked",
		tms.PolicyChange{MaxLeasesPerClient: new(5)},
		func(e *env, pool string, _ tms.LeaseKey) {
			_, err := e.UnblockClient(e.Context(), pool, "first")
			e.must(err)
		}},
	{"ExpiredBySweep", "its lease ends, and a sweep comes by", tms.PolicyChange{LeaseTTL: new(second)},
		func(e *env, pool string, _ tms.LeaseKey) {
			e.runsOut(pool, second)
			e.sweep(pool, 10)
		}},
	{"ExpiredByAssign", "its lease ends, and somebody asks for a token", tms.PolicyChange{LeaseTTL: new(second)},
		func(e *env, pool string, _ tms.LeaseKey) {
			e.runsOut(pool, second)
			e.refused(e.tryTake(pool, tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
		}},
	{"ExpiredByLookup", "its lease ends, and somebody looks it up", tms.PolicyChange{LeaseTTL: new(second)},
		func(e *env, pool string, _ tms.LeaseKey) {
			e.runsOut(pool, second)
			e.is(pool, "a", tms.Assigned)
		}},
	{"ExpiredByPool", "its lease ends, and somebody looks at the pool",
		tms.PolicyChange{LeaseTTL: new(second)},
		func(e *env, pool string, _ tms.LeaseKey) {
			e.runsOut(pool, second)
			e.equal("waiting", e.stats(pool).Waiting, 1)
		}},
	{"CooledDown", "its cooldown is over", tms.PolicyChange{Cooldown: new(second)},
		func(e *env, pool string, held tms.LeaseKey) {
			e.gives(pool, held)
			e.is(pool, "a", tms.Cooling)
			e.runsOut(pool, second)
		}},
	{"Restored", "it is restored after it was put aside", tms.PolicyChange{},
		func(e *env, pool string, held tms.LeaseKey) {
			held.Quarantine = true
			e.gives(pool, held)
			e.queues(pool, 1, "one", "two")
			results, err := e.Restore(e.Context(), pool, []string{"a"})
			e.must(err)
			e.must(results[0].Err)
		}},
	{"MadeAgain", "it is deleted and generated again", tms.PolicyChange{},
		func(e *env, pool string, held tms.LeaseKey) {
			e.must(e.drop(pool, held))
			e.queues(pool, 1, "one", "two")
			e.fill(pool, "a")
		}},
}

// handOverRules returns a rule for each of them.
func handOverRules() (all []rule) {
	for _, h := range handOvers {
		all = append(all, rule{h.name + "GoesToTheLongestWaiter",
			"a token goes to whoever has waited longest in the step in which " + h.how, h.run})
	}
	return all
}

func (h handOver) run(e *env) {
	pool, keys := e.busy(h.policy, "a")
	e.queues(pool, 1, "one", "two")
	h.gives(e, pool, keys[0])
	e.equal("holder", e.look(pool, "a").Lease.ClientID, "of one")
	e.queues(pool, 1, "two")
	e.picksUp(pool, "one", "a")
	e.queues(pool, 1, "two")
}

// gives unblocks the token.
func (e *env) gives(pool string, key tms.LeaseKey) {
	e.Helper()
	_, err := e.giveBack(pool, key)
	e.must(err)
}

// runsOut moves the clock just past the end of d, at which nobody has been given anything yet. Those who wait show
// their tickets all the while.
func (e *env) runsOut(pool string, d time.Duration) {
	e.Helper()
	e.advance(d)
	e.queues(pool, 1, "one", "two")
	e.advance(ms)
}
