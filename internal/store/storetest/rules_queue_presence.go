package storetest

import tms "github.com/manankarani/token-manager"

// A place in the queue and the right to be handed something are two things.
var presenceRules = []rule{
	{"SilentTicketIsAbsent", "a ticket that is not shown for a second is handed nothing, and keeps its place",
		absentBySilence},
	{"SilentTicketLosesItsPlace", "a ticket that is not shown for two seconds is out of the queue", absentTooLong},
	{"LeaveMayKeepThePlace",
		"a ticket that leaves and keeps its place is handed nothing until it is shown, when it stands where it stood",
		leaveKeeps},
	{"LeaveThatKeepsThePlacePassesOn",
		"what a ticket was handed goes to the next when it leaves, though it keeps its place", leavePassesOn},
	{"PlaceIsKeptForAWhile", "a place that is kept is lost two seconds after the ticket has left", leaveLoses},
	{"NotPickedUpKeepsThePlace", "a ticket that picks nothing up is absent, and loses its place a second later",
		lapseKeeps},
	{"AbsentKeepNobodyWaiting", "tickets that are absent keep nobody from a token, with a ticket or without",
		absentHarmless},
	{"WhatATicketWasGivenIsRemembered",
		"a ticket that was given tokens is answered the same when it is shown again, for ten seconds", answeredAgain},
	{"WhatHasEndedIsNotAnsweredAgain", "a ticket whose leases have ended since joins the queue anew", answeredAnew},
	{"KeptBackTokensGoOnFromTheAbsent", "tokens that are kept back for a ticket go on when it is absent",
		absentKeepsNothing},
}

func absentBySilence(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a", "b")
	e.queues(pool, 1, "one", "two", "three")
	e.advance(tms.PresenceTime)
	e.queues(pool, 2, "two", "three")
	e.advance(ms)
	e.equal("waiting", e.stats(pool).Waiting, 2)
	_, err := e.giveBack(pool, keys[0])
	e.must(err)
	e.equal("holder", e.look(pool, "a").Lease.ClientID, "of two")
	e.queues(pool, 1, "one", "three")
	_, err = e.giveBack(pool, keys[1])
	e.must(err)
	e.picksUp(pool, "one", "b")
}

func absentTooLong(e *env) {
	pool, _ := e.busy(tms.PolicyChange{TokenTTL: new(0 * ms)}, "a")
	e.queues(pool, 1, "one", "two")
	e.equal("a sweep comes back for the queue", e.sweep(pool, 10).NextDue, e.instant(tms.PresenceTime))
	e.advance(tms.PresenceTime)
	e.queues(pool, 2, "two")
	e.advance(ms)
	e.equal("a sweep comes back for the absent", e.sweep(pool, 10).NextDue, e.instant(tms.PresenceTime-ms))
	e.advance(tms.PresenceTime - ms)
	e.queues(pool, 1, "two")
	e.queues(pool, 1, "one") // at the last instant
	e.queues(pool, 2, "two")
	for place := 2; place >= 1; place-- {
		e.advance(tms.PresenceTime)
		e.queues(pool, place, "two")
	}
	e.advance(ms)
	e.queues(pool, 2, "one")
	e.advance(tms.TicketTTL + ms)
	e.sweep(pool, 10)
	e.equal("waiting", e.stats(pool).Waiting, 0)
}

func leaveKeeps(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a", "b")
	e.queues(pool, 1, "one", "two", "three")
	e.must(e.Leave(e.Context(), pool, []string{"one", "nobody"}, true))
	e.equal("waiting", e.stats(pool).Waiting, 2)
	_, err := e.giveBack(pool, keys[0])
	e.must(err)
	e.equal("holder", e.look(pool, "a").Lease.ClientID, "of two")
	e.queues(pool, 1, "one", "three")
	_, err = e.giveBack(pool, keys[1])
	e.must(err)
	e.picksUp(pool, "one", "b")
}

func leavePassesOn(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a", "b")
	e.queues(pool, 1, "one", "two", "three")
	_, err := e.giveBack(pool, keys[0])
	e.must(err)
	e.equal("holder", e.look(pool, "a").Lease.ClientID, "of one")
	e.must(e.Leave(e.Context(), pool, []string{"one"}, true))
	e.equal("holder", e.look(pool, "a").Lease.ClientID, "of two")
	e.queues(pool, 1, "one", "three")
	e.picksUp(pool, "two", "a")
	_, err = e.giveBack(pool, keys[1])
	e.must(err)
	e.picksUp(pool, "one", "b")
}

func leaveLoses(e *env) {
	pool, _ := e.busy(tms.PolicyChange{}, "a")
	e.queues(pool, 1, "one", "two")
	e.advance(tms.PresenceTime)
	e.must(e.Leave(e.Context(), pool, []string{"one"}, true))
	for range 2 {
		e.queues(pool, 1, "two")
		e.advance(tms.TicketTTL / 2)
	}
	e.queues(pool, 1, "one", "two")
	e.must(e.Leave(e.Context(), pool, []string{"one"}, true))
	for range 2 {
		e.queues(pool, 1, "two")
		e.advance(tms.TicketTTL / 2)
	}
	e.queues(pool, 1, "two")
	e.advance(ms)
	e.queues(pool, 2, "one")
}

func lapseKeeps(e *env) {
	for _, late := range []bool{false, true} {
		pool, keys := e.busy(tms.PolicyChange{}, "a")
		e.queues(pool, 1, "one", "two", "three")
		_, err := e.giveBack(pool, keys[0])
		e.must(err)
		e.advance(tms.PickupTime)
		e.queues(pool, 1, "two", "three")
		e.advance(ms)
		e.picksUp(pool, "two", "a")
		place := 1
		if late {
			e.advance(tms.PresenceTime - ms)
			e.queues(pool, 1, "three")
			e.advance(ms)
			place = 2
		}
		e.queues(pool, place, "one")
	}
}

func absentHarmless(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a", "b")
	e.queues(pool, 1, "one", "two")
	e.must(e.Leave(e.Context(), pool, []string{"one", "two"}, true))
	for _, key := range keys {
		_, err := e.giveBack(pool, key)
		e.must(err)
	}
	e.take(pool)
	e.must(e.show(pool, "three").Err)
	e.queues(pool, 1, "two")
	e.queues(pool, 1, "one", "two")
}

func absentKeepsNothing(e *env) {
	for _, leaves := range []bool{true, false} {
		pool, keys := e.busy(tms.PolicyChange{}, "a", "b")
		e.waitsAt(1, e.tryTake(pool, tms.AssignRequest{Count: 2, Ticket: "both"}).Err)
		e.advance(tms.PresenceTime)
		e.queues(pool, 2, "one")
		_, err := e.giveBack(pool, keys[0])
		e.must(err)
		e.is(pool, "a", tms.Available)
		if leaves {
			e.must(e.Leave(e.Context(), pool, []string{"both"}, true))
		} else {
			e.advance(ms)
		}
		e.equal("holder", e.look(pool, "a").Lease.ClientID, "of one")
	}
}

func answeredAgain(e *env) {
	for _, waits := range []bool{true, false} {
		pool := e.pool(tms.PolicyChange{})
		r := tms.AssignRequest{Ticket: "both", ClientID: "c", Count: 2}
		if waits {
			e.waitsAt(1, e.tryTake(pool, r).Err)
		}
		e.fill(pool, "a", "b", "c")
		given := e.takeAs(pool, r)
		for range 2 {
			e.advance(tms.AnswerTime / 2)
			e.equal("given again", keysOf(e.takeAs(pool, r)), keysOf(given))
		}
		e.equal("sizes", e.sizes(pool), tms.Stats{Available: 1, Assigned: 2})
		other := r
		other.Count = 1
		e.refused(e.tryTake(pool, other).Err, tms.ErrRequestIDReused)
		e.advance(ms)
		e.must(e.tryTake(pool, other).Err)
	}
}

func keysOf(tokens []tms.Token) (keys []tms.LeaseKey) {
	for _, t := range tokens {
		keys = append(keys, keyOf(t))
	}
	return keys
}

func answeredAnew(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(second)})
	e.fill(pool, "a")
	given := e.picksUp(pool, "one", "a")
	_, err := e.giveBack(pool, keyOf(given))
	e.must(err)
	again := e.picksUp(pool, "one", "a")
	if again.Lease.ID == given.Lease.ID {
		e.Fatalf("a lease that has ended is given again")
	}
	e.queues(pool, 1, "two")
	e.advance(second)
	e.queues(pool, 1, "two")
	e.advance(ms)
	e.queues(pool, 1, "one") // behind who was handed the token
	e.picksUp(pool, "two", "a")
}
