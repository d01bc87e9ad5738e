package storetest

import (
	"slices"
	"strconv"
	"sync"

	tms "github.com/manankarani/token-manager"
)

var repeatRules = []rule{
	{"RepeatedAssignTakesOneToken", "an assign that is repeated with its request_id is answered with the same leases",
		repeatAssign},
	{"RepeatedAssignShowsLeasesAsTheyStand", "a repeat says how long its leases last now, not how long they did",
		repeatLeaseNow},
	{"RepeatAfterTheLeaseIsRefused",
		"a repeat whose lease has ended since is refused with lease_lost and takes nothing",
		repeatLost},
	{"RepeatedGenerateCreatesOnce", "a generate that is repeated with its request_id is answered with the same values",
		repeatGenerate},
	{"RequestIDOfAnotherRequestIsRefused", "a request_id that comes with other content is refused and nothing changes",
		repeatReused},
	{"RefusalsAreNotRemembered", "a request that was refused can be repeated with its request_id and be served",
		repeatRefused},
	{"RepeatsAreAnsweredWhilePaused",
		"a paused pool answers a repeat, which takes nothing, and refuses everything else",
		repeatPaused},
	{"RequestsAreForgottenInTime", "a request is remembered for request_ttl, to the millisecond, and then is new",
		repeatForgotten},
	{"RequestsArePoolsOwn", "a request_id of one pool means nothing in another, or in the pool made again",
		repeatPools},
	{"UnblockedRequestsHoldNothing",
		"unblock of a request ends what it was given, once, and what it was not given yet it is never given",
		repeatUnblocked},
	{"UnblockedRequestsAreForgottenInTime",
		"a request that was unblocked is new after request_ttl, and a generate is left as it is", repeatUnblockedAnew},
	{"UnblockRacesForTheRequest", "of an assign and an unblock of it at once nothing stays assigned",
		repeatUnblockRace},
	{"RepeatsRaceForOneToken", "of many repeats at once, on any server, one takes a token and all are given it",
		repeatRace},
}

func (e *env) generateAs(pool string, request tms.GenerateRequest) tms.Generated {
	e.Helper()
	g, err := e.Generate(e.Context(), pool, request)
	e.must(err)
	return g
}

func repeatAssign(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.generateAs(pool, tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "a", Metadata: map[string]string{"k": "v"}},
		{Value: "b"}, {Value: "c"}}})
	request := tms.AssignRequest{ClientID: "c", Count: 2, TTL: minute, RequestID: "r 1"}
	first := e.takeAs(pool, request)
	e.equal("repeated", e.takeAs(pool, request), first)
	request.Wait = second
	e.equal("repeated with another wait", e.takeAs(pool, request), first)
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 1, Assigned: 2})
	_, err := e.keep(pool, keyOf(first[1]))
	e.must(err)
	one := tms.AssignRequest{RequestID: "r 2"}
	third := e.takeAs(pool, one)
	e.equal("the last, repeated while nothing is free", e.takeAs(pool, one), third)
}

func repeatLeaseNow(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	request := tms.AssignRequest{RequestID: "r"}
	first := e.takeAs(pool, request)[0]
	e.advance(20 * second)
	again := e.takeAs(pool, request)[0]
	e.equal("ttl", again.Lease.TTL, 40*second)
	e.equal("end", again.Lease.ExpiresAt, first.Lease.ExpiresAt)
	_, err := e.keep(pool, keyOf(first))
	e.must(err)
	e.equal("ttl after a keep-alive", e.takeAs(pool, request)[0].Lease.TTL, minute)
}

func repeatLost(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a", "b")
	for i, end := range []func(t tms.Token){
		func(t tms.Token) { _, err := e.giveBack(pool, keyOf(t)); e.must(err) },
		func(t tms.Token) {
			_, err := e.giveBack(pool, keyOf(t))
			e.must(err)
			e.takeAs(pool, tms.AssignRequest{Prefer: t.Value})
		},
		func(t tms.Token) { e.advance(minute + ms) },
		func(t tms.Token) { e.must(e.drop(pool, keyOf(t))) },
	} {
		request := tms.AssignRequest{RequestID: strconv.Itoa(i)}
		t := e.takeAs(pool, request)[0]
		end(t)
		before := e.sizes(pool)
		e.refused(e.tryTake(pool, request).Err, tms.ErrLeaseLost)
		e.equal("sizes", e.sizes(pool), before)
	}
}

func repeatGenerate(e *env) {
	pool := e.pool(tms.PolicyChange{})
	request := tms.GenerateRequest{RequestID: "r", Tokens: []tms.NewToken{{Value: "mine",
		Metadata: map[string]string{"k": "v"}},
		{}, {Metadata: map[string]string{"n": "1"}}, {Value: "mine"}}}
	first := e.generateAs(pool, request)
	e.equal("created", first.Created, 3)
	e.advance(second)
	e.must(e.drop(pool, byValue("mine")))
	e.equal("repeated", e.generateAs(pool, request), first)
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 2})
	if first.Tokens[1] == first.Tokens[2] || len(first.Tokens[1]) != 22 {
		e.Errorf("drawn values %q", first.Tokens)
	}
	other := e.generateAs(pool, tms.GenerateRequest{RequestID: "other", Tokens: make([]tms.NewToken, 2)})
	if slices.Contains(first.Tokens, other.Tokens[0]) {
		e.Errorf("another request drew the same value")
	}
}

func repeatReused(e *env) {
	pool := e.pool(tms.PolicyChange{Labels: &[]string{"k"}})
	e.fill(pool, "a", "b", "c")
	e.takeAs(pool, tms.AssignRequest{ClientID: "c", RequestID: "r"})
	for _, other := range []tms.AssignRequest{{}, {ClientID: "d"}, {ClientID: "c", Count: 2},
		{ClientID: "c", TTL: second},
		{ClientID: "c", Prefer: "b"}, {ClientID: "c", Match: map[string]string{"k": "v"}}} {
		other.RequestID = "r"
		e.refused(e.tryTake(pool, other).Err, tms.ErrRequestIDReused)
	}
	_, err := e.Generate(e.Context(), pool, tms.GenerateRequest{RequestID: "r", Tokens: newTokens("d")})
	e.refused(err, tms.ErrRequestIDReused)
	e.generateAs(pool, tms.GenerateRequest{RequestID: "g", Tokens: newTokens("d")})
	_, err = e.Generate(e.Context(), pool, tms.GenerateRequest{RequestID: "g", Tokens: newTokens("e")})
	e.refused(err, tms.ErrRequestIDReused)
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 3, Assigned: 1})
}

func repeatRefused(e *env) {
	pool := e.pool(tms.PolicyChange{MaxTokens: new(1)})
	request := tms.AssignRequest{RequestID: "r"}
	e.refused(e.tryTake(pool, request).Err, tms.ErrNoTokenAvailable)
	two := tms.GenerateRequest{RequestID: "g", Tokens: newTokens("a", "b")}
	_, err := e.Generate(e.Context(), pool, two)
	e.refused(err, tms.ErrPoolFull)
	e.change(pool, tms.PolicyChange{MaxTokens: new(2)})
	e.equal("created", e.generateAs(pool, two).Created, 2)
	e.takeAs(pool, request)
}

func repeatPaused(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a", "b", "c")
	request := tms.AssignRequest{RequestID: "r"}
	first := e.takeAs(pool, request)
	lost := tms.AssignRequest{RequestID: "lost"}
	_, err := e.giveBack(pool, keyOf(e.takeAs(pool, lost)[0]))
	e.must(err)
	e.change(pool, tms.PolicyChange{Paused: new(true)})
	e.equal("repeated", e.takeAs(pool, request), first)
	e.refused(e.tryTake(pool, lost).Err, tms.ErrLeaseLost)
	e.refused(e.tryTake(pool, tms.AssignRequest{RequestID: "r", Count: 2}).Err, tms.ErrRequestIDReused)
	e.refused(e.tryTake(pool, tms.AssignRequest{RequestID: "new"}).Err, tms.ErrPoolPaused)
	results, err := e.Assign(e.Context(), pool, []tms.AssignRequest{{RequestID: "new"}, request, {}, lost})
	e.must(err)
	e.equal("repeated among others", results[1], tms.AssignResult{Tokens: first})
	for i, want := range map[int]tms.Code{0: tms.ErrPoolPaused, 2: tms.ErrPoolPaused, 3: tms.ErrLeaseLost} {
		e.refused(results[i].Err, want)
	}
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 2, Assigned: 1})
	e.change(pool, tms.PolicyChange{Paused: new(false)})
	e.takeAs(pool, tms.AssignRequest{RequestID: "new"})
}

func repeatForgotten(e *env) {
	pool := e.pool(tms.PolicyChange{RequestTTL: new(second), LeaseTTL: new(minute)})
	e.fill(pool, "a", "b", "c")
	request := tms.AssignRequest{RequestID: "r"}
	first := e.takeAs(pool, request)[0]
	e.advance(second)
	e.sweepAll(pool)
	e.equal("repeated at the last instant", e.takeAs(pool, request)[0].Value, first.Value)
	e.advance(ms)
	if again := e.takeAs(pool, request)[0]; again.Value == first.Value {
		e.Errorf("the request was remembered for too long")
	}
	e.advance(second + ms)
	e.sweepAll(pool)
	e.takeAs(pool, request)
	e.equal("sizes", e.stats(pool), tms.Stats{Assigned: 3})
}

func repeatPools(e *env) {
	pool, other := e.pool(tms.PolicyChange{}), e.pool(tms.PolicyChange{})
	request := tms.AssignRequest{RequestID: "r"}
	for _, p := range []string{pool, other} {
		e.fill(p, "a")
		e.takeAs(p, request)
	}
	e.must(e.DeletePool(e.Context(), pool))
	e.change(pool, tms.PolicyChange{})
	e.fill(pool, "a")
	e.takeAs(pool, request)
	e.equal("sizes", e.stats(pool), tms.Stats{Assigned: 1})
}

func repeatRace(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, numbered("t", 20)...)
	var mu sync.Mutex
	given := map[string]bool{}
	parallel(32, func(int) {
		result := e.tryTake(pool, tms.AssignRequest{ClientID: "c", RequestID: "r"})
		e.expect("assign", result.Err, "")
		mu.Lock()
		defer mu.Unlock()
		for _, t := range result.Tokens {
			given[t.Lease.ID] = true
		}
	})
	e.equal("leases", len(given), 1)
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 19, Assigned: 1})
}

// endRequest unblocks a request.
func (e *env) endRequest(pool, id string) int {
	e.Helper()
	n, err := e.UnblockRequest(e.Context(), pool, id)
	e.must(err)
	return n
}

func repeatUnblocked(e *env) {
	pool := e.pool(tms.PolicyChange{Cooldown: new(minute)})
	e.fill(pool, "a", "b", "c", "d")
	request := tms.AssignRequest{ClientID: "c", Count: 2, RequestID: "r"}
	first := e.takeAs(pool, request)
	_, err := e.giveBack(pool, keyOf(first[0]))
	e.must(err)
	e.equal("ended", e.endRequest(pool, "r"), 1)
	e.equal("ended again", e.endRequest(pool, "r"), 0)
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 2, Cooling: 2})
	_, err = e.keep(pool, keyOf(first[1]))
	e.refused(err, tms.ErrLeaseLost)
	e.refused(e.tryTake(pool, request).Err, tms.ErrLeaseLost)
	e.equal("ended before it came", e.endRequest(pool, "early"), 0)
	for n := range 3 {
		e.refused(e.tryTake(pool, tms.AssignRequest{RequestID: "early", Count: n}).Err, tms.ErrLeaseLost)
	}
	_, err = e.Generate(e.Context(), pool, tms.GenerateRequest{RequestID: "early", Tokens: newTokens("e")})
	e.refused(err, tms.ErrRequestIDReused)
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 2, Cooling: 2})
	_, err = e.UnblockRequest(e.Context(), newName(), "r")
	e.refused(err, tms.ErrPoolNotFound)
}

func queueUnblocked(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a")
	request := tms.AssignRequest{RequestID: "r", Ticket: "one"}
	e.refused(e.tryTake(pool, request).Err, tms.ErrNoTokenAvailable)
	e.queues(pool, 2, "two")
	_, err := e.giveBack(pool, keys[0])
	e.must(err)
	e.equal("ended", e.endRequest(pool, "r"), 0)
	e.refused(e.tryTake(pool, request).Err, tms.ErrLeaseLost)
	e.must(e.Leave(e.Context(), pool, []string{"one"}, false))
	e.refused(e.tryTake(pool, request).Err, tms.ErrLeaseLost)
	e.picksUp(pool, "two", "a")
}

func repeatUnblockedAnew(e *env) {
	pool := e.pool(tms.PolicyChange{RequestTTL: new(second)})
	e.endRequest(pool, "r")
	request := tms.GenerateRequest{RequestID: "g", Tokens: make([]tms.NewToken, 2)}
	made := e.generateAs(pool, request)
	e.equal("of a generate", e.endRequest(pool, "g"), 0)
	e.equal("repeated", e.generateAs(pool, request), made)
	e.advance(second)
	e.refused(e.tryTake(pool, tms.AssignRequest{RequestID: "r"}).Err, tms.ErrLeaseLost)
	e.advance(ms)
	e.takeAs(pool, tms.AssignRequest{RequestID: "r"})
	e.advance(minute + ms)
	e.equal("of a lease that has run out", e.endRequest(pool, "r"), 0)
	e.equal("available", e.stats(pool).Available, 2)
}

func repeatUnblockRace(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, numbered("t", 4)...)
	parallel(32, func(i int) {
		id := strconv.Itoa(i / 4)
		if i%4 == 3 {
			_, err := e.UnblockRequest(e.Context(), pool, id)
			e.expect("unblock", err, "")
			return
		}
		e.expect("assign", e.tryTake(pool, tms.AssignRequest{RequestID: id}).Err, "", tms.ErrLeaseLost,
			tms.ErrNoTokenAvailable)
	})
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 4})
}
