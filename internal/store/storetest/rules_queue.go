package storetest

import (
	"errors"
	"slices"
	"testing"

	tms "github.com/manankarani/token-manager"
)

var queueRules = []rule{
	{"TicketQueuesWhereNothingIsFree",
		"a request with a ticket that cannot be served joins the queue and hears its place",
		queueJoins},
	{"TicketIsServedWhereSomethingIsFree",
		"a request with a ticket is served at once if a token is free and nobody waits",
		queueAtOnce},
	{"UnblockedGoesToTheLongestWaiter", "in the step that frees a token it is handed to the longest waiter",
		queueUnblock},
	{"GeneratedGoesToTheLongestWaiter", "new tokens are handed to waiters, in their order", queueGenerate},
	{"RelabelledGoesToTheLongestWaiter",
		"a free token that an update gives other labels is handed to who waits for those",
		queueRelabelled},
	{"NobodyOvertakes", "no request without a ticket, or with a later one, is served before waiters",
		queueOvertake},
	{"HandedTokenIsKept", "a handed token can be touched by nobody who does not hold the ticket", queueKept},
	{"LeaseBeginsWhenItIsPickedUp", "a lease that was waited for begins with the pick-up", queuePickUp},
	{"NotPickedUpGoesToTheNext",
		"a token that is not picked up in a second goes to the next, as if it had never been handed out", queueLapse},
	{"NotPickedUpIsNoExpiry", "a token that nobody picks up keeps its clocks, counts and state, whatever the policy",
		queueLapseTraceless},
	{"ShownTicketKeepsItsPlace", "a ticket that is shown in time keeps its place for as long as it takes",
		queueRenewed},
	{"LeaveLeavesTheQueue", "a ticket that leaves is out of the queue, and what it was handed goes to the next",
		queueLeave},
	{"UnblockedRequestIsHandedNothing", "a ticket whose request was unblocked is given nothing, whatever it was handed",
		queueUnblocked},
	{"ManyAreWaitedForInOrder", "who waits for several tokens is not overtaken by those who want fewer", queueMany},
	{"KeptBackTokensGoOn", "tokens that were kept back for a ticket that leaves go to those behind it", queueKeptBack},
	{"KeptBackTokensReachEveryLine",
		"tokens that were kept back for a ticket that is void go to every line that they suit", queueKeptEverywhere},
	{"KeptBackTokensGoOnInOrder",
		"tokens that were kept back for a ticket that is served with others go to the oldest whom they suit",
		queueKeptInOrder},
	{"KeptBackTokensOfTheSilentGoOnInOrder",
		"what was kept back for a ticket that falls silent as a lease ends goes to the oldest whom it suits",
		queueKeptForTheSilent},
	{"MatchWaitsInItsOwnLine", "a token goes to the oldest of the waiters whom it suits", queueLanes},
	{"TicketWithOtherContent", "a ticket that comes with another request is refused", queueOtherContent},
	{"QueueHeedsTheQuota", "a waiter whose client has come to hold its share is passed over", queueQuota},
	{"PausedPoolHandsNothing", "a paused pool hands nothing to anybody; after that it goes on", queuePaused},
	{"DeletedPoolHasNoQueue", "with a pool its queue is gone", queuePoolGone},
	{"WaitersAreServedInOrderUnderLoad", "many waiters on few tokens are served in the order in which they joined",
		queueRace},
	{"NoTokenIsLostToTheDead", "tokens that were handed to tickets nobody shows come back, all of them", queueDead},
}

func allQueueRules() []rule {
	return slices.Concat(queueRules, handOverRules(), presenceRules, livingRules, reachRules, crowdRules,
		moreQueueRules, refusalQueueRules, listedRules)
}

// RunQueue checks the rules of [tms.Queue], which the opened stores must implement.
func RunQueue(t *testing.T, open Opener) {
	clock := NewClock()
	for _, r := range allQueueRules() {
		t.Run(r.name, func(t *testing.T) { r.check(t, open, clock) })
	}
}

// show runs a batch of one assign with a ticket.
func (e *env) show(pool, ticket string) tms.AssignResult {
	e.Helper()
	return e.tryTake(pool, tms.AssignRequest{ClientID: "of " + ticket, Ticket: ticket})
}

// queues shows tickets that must find themselves in the queue, the first of them at the given place.
func (e *env) queues(pool string, place int, tickets ...string) {
	e.Helper()
	for i, ticket := range tickets {
		e.waitsAt(place+i, e.show(pool, ticket).Err)
	}
}

// waitsAt checks that a refusal says the place in the queue.
func (e *env) waitsAt(place int, err error) {
	e.Helper()
	e.refused(err, tms.ErrNoTokenAvailable)
	e.equal("place", refusalOf(err).Place, place)
}

func refusalOf(err error) *tms.Refusal {
	refusal := &tms.Refusal{}
	errors.As(err, &refusal)
	return refusal
}

// picksUp shows a ticket, which must bring the token.
func (e *env) picksUp(pool, ticket, value string) tms.Token {
	e.Helper()
	result := e.show(pool, ticket)
	e.must(result.Err)
	e.equal("the token of "+ticket, result.Tokens[0].Value, value)
	return result.Tokens[0]
}

// busy makes a pool whose only tokens are assigned, and returns it with the keys of their leases.
func (e *env) busy(change tms.PolicyChange, values ...string) (pool string, keys []tms.LeaseKey) {
	e.Helper()
	change.Selection = new(tms.SelectFIFO)
	pool = e.pool(change)
	for _, value := range values {
		e.fill(pool, value)
		keys = append(keys, keyOf(e.takeAs(pool, tms.AssignRequest{ClientID: "first"})[0]))
	}
	return pool, keys
}

// held puts tokens into the pool that somebody holds.
func (e *env) held(pool string, values ...string) []tms.Token {
	e.Helper()
	e.fill(pool, values...)
	return e.takeAs(pool, tms.AssignRequest{ClientID: "holder", Count: len(values)})
}

func queueJoins(e *env) {
	pool, _ := e.busy(tms.PolicyChange{}, "a")
	err := e.show(pool, "one").Err
	e.waitsAt(1, err)
	e.equal("waiting", refusalOf(err).Waiting, 1)
	if after := refusalOf(err).RetryAfter; after <= minute-ms || after > minute+ms {
		e.Errorf("the next token is said to come back in %v, want a minute", after)
	}
	e.queues(pool, 2, "two", "three")
	e.queues(pool, 1, "one", "two", "three") // shown again they stay where they are
	e.equal("waiting", e.stats(pool).Waiting, 3)
	err = e.tryTake(pool, tms.AssignRequest{}).Err
	e.equal("waiting, for one without a ticket", refusalOf(err).Waiting, 3)
	e.equal("place of one without a ticket", refusalOf(err).Place, 0)
}

func queueAtOnce(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	t := e.picksUp(pool, "one", "a")
	_, err := e.keep(pool, keyOf(t))
	e.must(err)
	e.equal("waiting", e.stats(pool).Waiting, 0)
	e.advance(tms.AnswerTime + ms)
	e.waitsAt(1, e.show(pool, "one").Err) // the ticket was used up
}

func queueUnblock(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a", "b")
	e.queues(pool, 1, "one", "two", "three")
	freed, err := e.giveBack(pool, keys[1])
	e.must(err)
	e.equal("state of the token that was given back", freed.State, tms.Available)
	seen := e.look(pool, "b")
	e.equal("state", seen.State, tms.Assigned)
	e.equal("holder", seen.Lease.ClientID, "of one")
	e.equal("waiting", e.stats(pool).Waiting, 2)
	e.queues(pool, 1, "two", "three")
	e.picksUp(pool, "one", "b")
}

func queueGenerate(e *env) {
	pool, _ := e.busy(tms.PolicyChange{}, "x")
	e.queues(pool, 1, "one", "two", "three")
	e.fill(pool, "a", "b")
	e.equal("waiting", e.stats(pool).Waiting, 1)
	e.picksUp(pool, "two", "b")
	e.picksUp(pool, "one", "a")
	e.waitsAt(1, e.show(pool, "three").Err)
}

func queueOvertake(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a", "b")
	e.queues(pool, 1, "one", "two")
	_, err := e.giveBack(pool, keys[0])
	e.must(err)
	e.refused(e.tryTake(pool, tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
	e.refused(e.tryTake(pool, tms.AssignRequest{Prefer: "a"}).Err, tms.ErrNoTokenAvailable)
	e.refused(e.tryTake(pool, tms.AssignRequest{RequestID: "r"}).Err, tms.ErrNoTokenAvailable)
	results, err := e.Assign(e.Context(), pool, make([]tms.AssignRequest, 3))
	e.must(err)
	for _, r := range results {
		e.refused(r.Err, tms.ErrNoTokenAvailable)
	}
	e.waitsAt(2, e.show(pool, "three").Err)
	e.picksUp(pool, "one", "a")
}

func queueKept(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a")
	e.queues(pool, 1, "one")
	_, err := e.giveBack(pool, keys[0])
	e.must(err)
	for range 2 { // the old holder's key, and none
		key := keys[0]
		for _, key := range []tms.LeaseKey{key, byValue("a")} {
			want := tms.ErrLeaseLost
			if key.LeaseID == "" {
				want = tms.ErrNotHolder
			}
			_, err = e.keep(pool, key)
			e.refused(err, want)
			_, err = e.giveBack(pool, key)
			e.refused(err, want)
			e.refused(e.drop(pool, key), want)
		}
	}
	g := e.generate(pool, "a")
	e.equal("generated again", g.Existing, 1)
	e.picksUp(pool, "one", "a")
}

func queuePickUp(e *env) {
	pool, keys := e.busy(tms.PolicyChange{LeaseTTL: new(10 * second)}, "a")
	e.queues(pool, 1, "one")
	_, err := e.giveBack(pool, keys[0])
	e.must(err)
	e.advance(900 * ms)
	t := e.picksUp(pool, "one", "a")
	e.equal("begin", t.Lease.AssignedAt, e.instant(0))
	e.equal("end", t.Lease.ExpiresAt, e.instant(10*second))
	e.equal("ttl", t.Lease.TTL, 10*second)
	e.equal("client", t.Lease.ClientID, "of one")
	e.advance(9 * second)
	kept, err := e.keep(pool, keyOf(t))
	e.must(err)
	e.equal("end", kept.Lease.ExpiresAt, e.instant(10*second))
	e.equal("fence", kept.Lease.Fence, t.Lease.Fence)
	e.equal("how often assigned", e.lookUp(pool, "a").Past.Assigned, int64(2))
}

func queueLapse(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a")
	e.queues(pool, 1, "one", "two")
	_, err := e.giveBack(pool, keys[0])
	e.must(err)
	e.advance(tms.PickupTime)
	e.equal("holder", e.look(pool, "a").Lease.ClientID, "of one")
	e.queues(pool, 1, "two")
	e.advance(ms)
	e.equal("holder", e.look(pool, "a").Lease.ClientID, "of two")
	e.waitsAt(1, e.show(pool, "one").Err)
	e.picksUp(pool, "two", "a")
}

func queueLapseTraceless(e *env) {
	for _, what := range []tms.OnLeaseExpiry{tms.ExpiryReleases, tms.ExpiryDeletes, tms.ExpiryQuarantines} {
		pool := e.pool(tms.PolicyChange{OnLeaseExpiry: &what, Grace: new(minute), Cooldown: new(second),
			LeaseTTL: new(second)})
		e.queues(pool, 1, "one")
		e.fill(pool, "a")
		before := e.instant(5 * minute)
		e.equal("holder", e.look(pool, "a").Lease.ClientID, "of one")
		e.advance(tms.PickupTime + ms)
		e.sweepAll(pool)
		t := e.lookUp(pool, "a")
		e.equal("state", t.State, tms.Available)
		e.equal("end of the token clock", t.ExpiresAt, before)
		e.equal("past", *t.Past, tms.Past{})
		e.equal("sizes", e.stats(pool), tms.Stats{Available: 1})
	}
}

func queueRenewed(e *env) {
	pool, keys := e.busy(tms.PolicyChange{LeaseTTL: new(minute)}, "a")
	e.queues(pool, 1, "one", "two")
	for range 30 {
		e.advance(tms.PresenceTime)
		e.queues(pool, 2, "two")
		e.queues(pool, 1, "one")
	}
	_, err := e.giveBack(pool, keys[0])
	e.must(err)
	e.picksUp(pool, "one", "a")
}

func queueLeave(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a")
	e.queues(pool, 1, "one", "two", "three", "four")
	e.must(e.Leave(e.Context(), pool, []string{"two", "nobody"}, false))
	e.queues(pool, 2, "three", "four")
	_, err := e.giveBack(pool, keys[0])
	e.must(err)
	e.must(e.Leave(e.Context(), pool, []string{"one"}, false))
	e.equal("holder", e.look(pool, "a").Lease.ClientID, "of three")
	e.picksUp(pool, "three", "a")
	e.refused(e.Leave(e.Context(), newName(), []string{"one"}, false), tms.ErrPoolNotFound)
}
