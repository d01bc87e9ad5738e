package storetest

import (
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Taker is a store that can be told that another process took over its pools, which may have done more than this one
// knows.
type Taker interface{ TakeOver(t testing.TB) }

var takeoverRules = []rule{
	{"NothingIsGivenAtFirst", "in the first second after a takeover no token is given, whatever it is", takenQuiet},
	{"ShortLeasesSettleForASecond", "a pool settles for a second at least, so that servers can say what they know",
		takenShort},
	{"OldTokensAreGivenWhenSettled",
		"what was available before a takeover is given when the longest lease is over, and none of it before",
		takenOld},
	{"DrawnSinceIsGiven", "while a pool settles a token is given whose value TMS drew since the takeover", takenDrawn},
	{"BroughtSinceIsNotGiven", "while a pool settles a token is not given whose value a caller brings, new or not",
		takenBrought},
	{"NoSignOfLifeUnsettles",
		"while a pool settles no keep-alive, generate or restore brings an old token to those that are given",
		takenSigns},
	{"InheritedLeaseStands", "while a pool settles no lease ends by its clock that was granted before the takeover",
		takenInherited},
	{"InheritedLeaseIsGivenBack",
		"while a pool settles a lease from before the takeover can be ended, and its token is not given",
		takenReturned},
	{"LeasedSinceComesBack", "while a pool settles a token is given that was leased and came back since the takeover",
		takenSince},
	{"LongerLeasesAreWaitedFor", "a pool settles for as long as the longest lease that it granted or renewed",
		takenLonger},
	{"WhatWasGrantedIsWaitedFor", "a pool settles for as long as the longest lease that it granted, however long",
		takenGranted},
	{"LowerLeaseTTLIsWaitedFor", "a pool settles for as long as the lease_ttl that it had may last", takenLower},
	{"InheritedRequestIsNotRepeated", "a repeated request is refused if its lease is from before the takeover",
		takenRepeat},
	{"NoTokenDiesWhileItSettles", "while a pool settles no token dies, and all token clocks are wound at the end",
		takenClocks},
	{"FencesRiseOverATakeover", "fences rise over a takeover", takenFences},
	{"PoolSaysUntilWhenItSettles", "a pool that settles says until when", takenSays},
	{"TakeoverWhileItSettles", "a takeover of a pool that settles lets it settle anew", takenTwice},
}

var takeoverQueueRules = []rule{
	{"WaitersWaitThroughTheSettling", "those who wait when a pool settles are served when it has settled, in order",
		takenWaiters},
	{"DrawnSinceGoesToAWaiter", "while a pool settles a token that TMS drew since goes to the longest waiter",
		takenWaiterDrawn},
	{"HandedBeforeIsTakenBack",
		"what was handed before a takeover and not picked up is given to nobody until the pool has settled",
		takenHanded},
}

// RunTakeover checks the rules of takeovers. The opened stores must be [Taker]s.
func RunTakeover(t *testing.T, open Opener) {
	clock := NewClock()
	for _, r := range takeoverRules {
		t.Run(r.name, func(t *testing.T) { r.check(t, open, clock) })
	}
}

// RunQueueTakeover checks those of takeovers of pools that have a queue, which the opened stores must keep.
func RunQueueTakeover(t *testing.T, open Opener) {
	clock := NewClock()
	for _, r := range takeoverQueueRules {
		t.Run(r.name, func(t *testing.T) { r.check(t, open, clock) })
	}
}

// takeOver lets another process take over, and the clock move to where it has done so for certain: a pool's clock may
// be ahead by a second then.
func (e *env) takeOver() {
	e.Helper()
	e.advance(2 * second)
	e.stores[0].(Taker).TakeOver(e.tester.(testing.TB))
}

// quiet is when the first second after a takeover is over, and overdue how much longer than its lease_ttl a pool may
// settle: what is stored of its clock may be late by a second.
const (
	quiet   = 2500 * ms
	overdue = 2 * second
)

// settlesYet checks that nothing can be given, though nobody holds it.
func (e *env) settlesYet(pool string) {
	e.Helper()
	e.refused(e.tryTake(pool, tms.AssignRequest{}).Err, tms.ErrPoolSettling)
}

// drawn generates a token whose value TMS draws.
func (e *env) drawn(pool string) string {
	e.Helper()
	g, err := e.Generate(e.Context(), pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
	e.must(err)
	return g.Tokens[0]
}

func takenQuiet(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(minute)})
	e.fill(pool, "a")
	e.takeOver()
	e.settlesYet(pool)
	e.drawn(pool)
	e.settlesYet(pool)
	if after := refusalOf(e.tryTake(pool, tms.AssignRequest{}).Err).RetryAfter; after <= 0 || after > second+ms {
		e.Errorf("the next token is said to be given in %v, want a second at most", after)
	}
}

func takenShort(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(100 * ms)})
	e.fill(pool, "a")
	e.stores[0].(Taker).TakeOver(e.tester.(testing.TB))
	e.settlesYet(pool)
	e.advance(900 * ms)
	e.settlesYet(pool)
	e.advance(2 * second)
	e.take(pool)
}

func takenOld(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(minute)})
	e.fill(pool, "a", "b", "c")
	e.takeOver()
	e.settlesYet(pool)
	e.advance(minute - second)
	e.settlesYet(pool)
	e.refused(e.tryTake(pool, tms.AssignRequest{Prefer: "a"}).Err, tms.ErrPoolSettling)
	e.advance(second + overdue)
	e.takeAs(pool, tms.AssignRequest{Count: 3})
}

func takenDrawn(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(minute)})
	e.fill(pool, "a")
	e.takeOver()
	value := e.drawn(pool)
	e.advance(quiet)
	e.equal("the token", e.take(pool).Value, value)
	e.settlesYet(pool)
}

func takenBrought(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(minute)})
	e.fill(pool, "a")
	e.takeOver()
	e.must(e.drop(pool, byValue("a")))
	e.fill(pool, "a", "new")
	e.advance(quiet)
	e.fill(pool, "newer")
	e.settlesYet(pool)
	e.advance(minute)
	e.takeAs(pool, tms.AssignRequest{Count: 3})
}

func takenSigns(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(minute), Cooldown: new(second)})
	e.fill(pool, "available", "cooling", "quarantined")
	for _, value := range []string{"cooling", "quarantined"} {
		key := keyOf(e.takeAs(pool, tms.AssignRequest{Prefer: value})[0])
		key.Quarantine = value == "quarantined"
		e.gives(pool, key)
	}
	e.takeOver()
	e.advance(quiet)
	for _, value := range []string{"available", "cooling", "quarantined"} {
		e.equal("existing", e.generate(pool, value).Existing, 1)
		_, err := e.keep(pool, byValue(value))
		e.must(err)
		_, err = e.Restore(e.Context(), pool, []string{value})
		e.must(err)
	}
	e.settlesYet(pool)
	e.advance(2 * second)
	e.settlesYet(pool)
	e.advance(minute)
	e.takeAs(pool, tms.AssignRequest{Count: 2})
}

func takenInherited(e *env) {
	for _, what := range []tms.OnLeaseExpiry{tms.ExpiryReleases, tms.ExpiryDeletes, tms.ExpiryQuarantines} {
		pool := e.pool(tms.PolicyChange{LeaseTTL: new(minute), OnLeaseExpiry: &what})
		e.fill(pool, "a", "b")
		a := e.takeAs(pool, tms.AssignRequest{TTL: 10 * second, Prefer: "a"})[0]
		b := e.takeAs(pool, tms.AssignRequest{TTL: 10 * second, Prefer: "b"})[0]
		e.takeOver()
		e.advance(30 * second)
		e.sweepAll(pool)
		e.is(pool, "a", tms.Assigned)
		_, err := e.keep(pool, tms.LeaseKey{Token: "b", LeaseID: b.Lease.ID, TTL: 2 * minute})
		e.must(err)
		e.advance(30*second + overdue)
		e.sweepAll(pool)
		t, err := e.Token(e.Context(), pool, tms.LeaseKey{Token: "a"})
		if err == nil && t.State == tms.Assigned {
			e.Errorf("where it %s, the lease stands when the pool has settled", what)
		}
		e.is(pool, "b", tms.Assigned)
		_, err = e.keep(pool, keyOf(a))
		if err == nil {
			e.Errorf("a lease is kept alive that is over")
		}
	}
}

func takenReturned(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(minute), MaxLeasesPerClient: new(5)})
	e.fill(pool, "a", "b", "c")
	held := e.takeAs(pool, tms.AssignRequest{ClientID: "c", Count: 3, RequestID: "r"})
	e.takeOver()
	e.advance(quiet)
	e.gives(pool, keyOf(held[0]))
	e.gives(pool, byValue(held[1].Value))
	_, err := e.UnblockClient(e.Context(), pool, "c")
	e.must(err)
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 3})
	e.refused(e.tryTake(pool, tms.AssignRequest{ClientID: "d"}).Err, tms.ErrPoolSettling)
	e.advance(minute)
	e.takeAs(pool, tms.AssignRequest{ClientID: "d", Count: 3})
}

func takenSince(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(minute)})
	e.fill(pool, "old")
	e.take(pool)
	e.takeOver()
	value := e.drawn(pool)
	e.advance(quiet)
	e.gives(pool, keyOf(e.take(pool)))
	t := e.takeAs(pool, tms.AssignRequest{TTL: second})[0]
	e.equal("the token that came back", t.Value, value)
	_, err := e.keep(pool, keyOf(t))
	e.must(err)
	e.advance(second)
	e.settlesYet(pool)
	e.advance(ms)
	e.equal("the token whose lease ended", e.take(pool).Value, value)
	e.is(pool, "old", tms.Assigned)
}

func takenLonger(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(second)})
	e.fill(pool, "a", "b")
	e.gives(pool, keyOf(e.takeAs(pool, tms.AssignRequest{TTL: minute})[0]))
	e.takeOver()
	e.advance(minute - second)
	e.settlesYet(pool)
	e.advance(second + overdue)
	t := e.take(pool)
	_, err := e.keep(pool, tms.LeaseKey{Token: t.Value, LeaseID: t.Lease.ID, TTL: 2 * minute})
	e.must(err)
	e.gives(pool, keyOf(t))
	e.takeOver()
	e.advance(2*minute - second)
	e.settlesYet(pool)
	e.advance(10 * minute)
	e.fill(pool, "c")
	e.takeOver()
	e.advance(quiet)
	e.take(pool)
}

// takenGranted heeds that a store may grant less than is asked for.
func takenGranted(e *env) {
	for name, policy := range map[string]tms.PolicyChange{
		"of the pool":    {LeaseTTL: new(3 * time.Hour)},
		"of the request": {LeaseTTL: new(second)},
	} {
		pool := e.pool(policy)
		e.fill(pool, "a")
		t := e.takeAs(pool, tms.AssignRequest{TTL: 3 * time.Hour})[0]
		e.gives(pool, keyOf(t))
		e.takeOver()
		e.advance(t.Lease.TTL - 5*second)
		if code := tms.CodeOf(e.tryTake(pool, tms.AssignRequest{}).Err); code != tms.ErrPoolSettling {
			e.Errorf("with a ttl %s the pool has settled before %v are over: %q", name, t.Lease.TTL, code)
		}
		e.advance(5*second + overdue)
		e.take(pool)
	}
}

func takenLower(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(minute)})
	e.fill(pool, "a")
	e.change(pool, tms.PolicyChange{LeaseTTL: new(second)})
	e.takeOver()
	e.advance(minute - 5*second)
	e.settlesYet(pool)
	e.advance(5*second + overdue)
	e.take(pool)
}

func takenRepeat(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(minute)})
	e.fill(pool, "a")
	request := tms.AssignRequest{RequestID: "r", ClientID: "c"}
	e.takeAs(pool, request)
	e.takeAs(pool, request)
	e.takeOver()
	e.refused(e.tryTake(pool, request).Err, tms.ErrLeaseLost)
	e.drawn(pool)
	e.advance(quiet)
	request.RequestID = "s"
	lease := e.takeAs(pool, request)[0].Lease
	e.equal("repeated", e.takeAs(pool, request)[0].Lease.ID, lease.ID)
}

func takenClocks(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(minute), TokenTTL: new(30 * second), Cooldown: new(10 * second)})
	e.fill(pool, "a", "b")
	e.gives(pool, keyOf(e.take(pool)))
	e.takeOver()
	e.advance(minute - second)
	e.sweepAll(pool)
	e.equal("tokens", e.stats(pool).Total(), 2)
	if left := e.look(pool, "a").ExpiresAt.Sub(e.clock.Now()); left < 30*second || left > 30*second+overdue+second {
		e.Errorf("a token clock has %v left, want 30 s after the settling", left)
	}
	e.advance(30 * second)
	e.sweepAll(pool)
	e.equal("tokens", e.stats(pool).Total(), 2)
	e.advance(second + overdue)
	e.sweepAll(pool)
	e.equal("tokens", e.stats(pool).Total(), 0)
}

func takenFences(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(second)})
	e.fill(pool, "a")
	last := int64(0)
	for range 4 {
		t := e.take(pool)
		if t.Lease.Fence <= last {
			e.Fatalf("fence %d after %d", t.Lease.Fence, last)
		}
		last = t.Lease.Fence
		e.gives(pool, keyOf(t))
		e.takeOver()
		e.advance(5 * second)
	}
}

func takenSays(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(minute)})
	until := func() time.Time {
		p, _, err := e.Pool(e.Context(), pool)
		e.must(err)
		return p.SettlingUntil
	}
	e.equal("at first", until(), time.Time{})
	e.takeOver()
	if left := until().Sub(e.clock.Now()); left < minute-second || left > minute+overdue {
		e.Errorf("the pool settles for %v, want a minute", left)
	}
	e.advance(minute + overdue)
	e.equal("in the end", until(), time.Time{})
}

func takenTwice(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(minute)})
	e.fill(pool, "a")
	e.takeOver()
	e.drawn(pool)
	e.advance(30 * second)
	t := e.take(pool)
	e.takeOver()
	e.drawn(pool)
	e.advance(30 * second)
	e.gives(pool, keyOf(t))
	e.take(pool)
	e.settlesYet(pool)
	e.advance(30*second + overdue)
	e.takeAs(pool, tms.AssignRequest{Count: 2})
}

func takenWaiters(e *env) {
	pool, _ := e.busy(tms.PolicyChange{LeaseTTL: new(10 * second)}, "a")
	e.fill(pool, "b")
	e.takeOver()
	for range 8 {
		e.waitsSettling(pool, "one")
		e.waitsSettling(pool, "two")
		e.advance(900 * ms)
	}
	for range 8 {
		e.show(pool, "one")
		e.show(pool, "two")
		e.advance(900 * ms)
	}
	e.equal("waiting", e.stats(pool).Waiting, 0)
	e.equal("assigned", e.stats(pool).Assigned, 2)
}

// waitsSettling shows a ticket, which must wait on.
func (e *env) waitsSettling(pool, ticket string) {
	e.Helper()
	result := e.show(pool, ticket)
	e.refused(result.Err, tms.ErrPoolSettling)
	if refusalOf(result.Err).Place == 0 {
		e.Errorf("%s has no place in the queue", ticket)
	}
}

func takenWaiterDrawn(e *env) {
	pool, _ := e.busy(tms.PolicyChange{LeaseTTL: new(minute)}, "a")
	e.takeOver()
	value := e.drawn(pool)
	for range 3 {
		e.waitsSettling(pool, "one")
		e.waitsSettling(pool, "two")
		e.advance(900 * ms)
		if e.look(pool, value).State == tms.Assigned {
			break
		}
	}
	e.picksUp(pool, "one", value)
	e.waitsSettling(pool, "two")
	another := e.drawn(pool)
	e.picksUp(pool, "two", another)
}

func takenHanded(e *env) {
	pool, keys := e.busy(tms.PolicyChange{LeaseTTL: new(minute)}, "a")
	e.queues(pool, 1, "one")
	e.advance(2 * second)
	e.queues(pool, 1, "one")
	e.gives(pool, keys[0])
	e.equal("holder", e.look(pool, "a").Lease.ClientID, "of one")
	e.stores[0].(Taker).TakeOver(e.tester.(testing.TB))
	e.equal("touched", e.generate(pool, "a").Existing, 1)
	for range 5 {
		e.advance(900 * ms)
		e.waitsSettling(pool, "one")
	}
	e.is(pool, "a", tms.Available)
}
