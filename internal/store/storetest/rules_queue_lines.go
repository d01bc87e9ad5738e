package storetest

import (
	"context"
	"fmt"
	"slices"

	tms "github.com/manankarani/token-manager"
)

func queueMany(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a", "b", "c")
	both := tms.AssignRequest{Count: 2, Ticket: "both", ClientID: "of both"}
	e.waitsAt(1, e.tryTake(pool, both).Err)
	e.queues(pool, 2, "one")
	for _, key := range keys[:2] {
		e.refused(e.tryTake(pool, tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
		_, err := e.giveBack(pool, key)
		e.must(err)
		e.waitsAt(map[string]int{"a": 2, "b": 1}[key.Token], e.show(pool, "one").Err)
	}
	e.equal("tokens of both", len(e.takeAs(pool, both)), 2)
	_, err := e.giveBack(pool, keys[2])
	e.must(err)
	e.picksUp(pool, "one", "c")
}

func queueKeptBack(e *env) {
	for _, leaves := range []bool{true, false} {
		pool, keys := e.busy(tms.PolicyChange{Labels: &[]string{"site"}}, "a", "b", "c")
		e.waitsAt(1, e.tryTake(pool, tms.AssignRequest{Count: 3, Ticket: "all"}).Err)
		e.queues(pool, 2, "one")
		oslo := tms.AssignRequest{Match: map[string]string{"site": "Oslo"}, Ticket: "oslo"}
		e.waitsAt(1, e.tryTake(pool, oslo).Err)
		_, err := e.Generate(e.Context(), pool,
			tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "o", Metadata: map[string]string{"site": "Oslo"}}}})
		e.must(err)
		_, err = e.giveBack(pool, keys[0])
		e.must(err)
		e.equal("kept back", e.stats(pool).Available, 2)
		if leaves {
			e.must(e.Leave(e.Context(), pool, []string{"all"}, false))
		} else {
			e.advance(tms.PresenceTime)
			e.queues(pool, 2, "one")
			e.waitsAt(1, e.tryTake(pool, oslo).Err)
			e.advance(ms)
			e.sweep(pool, 10)
		}
		e.picksUp(pool, "one", "a")
		e.equal("the token from Oslo", e.takeAs(pool, oslo)[0].Value, "o")
	}
}

// queueKeptEverywhere lets whoever was owed every token lose their place without a word, and the step that finds out be
// any.
func queueKeptEverywhere(e *env) {
	steps := map[string]func(pool string){
		"sweep":  func(pool string) { e.sweep(pool, 10) },
		"lookup": func(pool string) { e.lookUp(pool, "red") },
		"assign": func(pool string) { e.refused(e.tryTake(pool, tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable) },
	}
	for name, step := range steps {
		pool := e.pool(tms.PolicyChange{Labels: &[]string{"colour"}})
		colours := []string{"red", "blue"}
		e.held(pool, "h1", "h2", "h3")
		e.waitsAt(1, e.tryTake(pool, tms.AssignRequest{Count: 3, Ticket: "many"}).Err)
		for _, colour := range colours {
			e.waitsAt(1, e.tryTake(pool, coloured(colour)).Err)
			_, err := e.Generate(e.Context(), pool,
				tms.GenerateRequest{Tokens: []tms.NewToken{{Value: colour,
					Metadata: map[string]string{"colour": colour}}}})
			e.must(err)
		}
		e.equal("kept back", e.stats(pool).Available, 2)
		e.advance(tms.PresenceTime)
		for _, colour := range colours {
			e.waitsAt(1, e.tryTake(pool, coloured(colour)).Err)
		}
		e.advance(ms)
		step(pool)
		for _, colour := range colours {
			if token := e.look(pool, colour); token.State != tms.Assigned || token.Lease.ClientID != colour {
				e.Fatalf("after %s the %s token is %+v", name, colour, token)
			}
			e.equal("picked up", e.takeAs(pool, coloured(colour))[0].Value, colour)
		}
	}
}

// queueKeptInOrder serves who wants several with other tokens than those that were kept back for them.
func queueKeptInOrder(e *env) {
	pool := e.pool(tms.PolicyChange{Labels: &[]string{"colour"}, Selection: new(tms.SelectLIFO)})
	e.held(pool, "h1", "h2")
	e.keepsBack(pool)
	e.advance(ms)
	e.fill(pool, "b", "c")
	e.areHeld(pool, map[string]string{"b": "many", "c": "many", "kept": "red"})
	e.waitsAt(1, e.show(pool, "any").Err)
}

// queueKeptForTheSilent lets the first of a queue fall silent in the step in which a lease ends.
func queueKeptForTheSilent(e *env) {
	pool := e.pool(tms.PolicyChange{Labels: &[]string{"colour"}, Selection: new(tms.SelectLIFO), LeaseTTL: new(second)})
	e.held(pool, "ends")
	lives := e.held(pool, "lives")[0]
	e.keepsBack(pool)
	e.advance(tms.PresenceTime)
	e.waitsAt(1, e.tryTake(pool, coloured("red")).Err)
	e.queues(pool, 2, "any")
	_, err := e.keep(pool, keyOf(lives))
	e.must(err)
	e.advance(ms)
	e.sweep(pool, 10)
	e.areHeld(pool, map[string]string{"ends": "of any", "kept": "red"})
}

// keepsBack lets many, who wants two tokens, red, and any wait in this order, and generates a red token, kept, that is
// kept back for many.
func (e *env) keepsBack(pool string) {
	e.Helper()
	e.waitsAt(1, e.tryTake(pool, tms.AssignRequest{Count: 2, Ticket: "many", ClientID: "many"}).Err)
	e.waitsAt(1, e.tryTake(pool, coloured("red")).Err)
	e.queues(pool, 2, "any")
	_, err := e.Generate(e.Context(), pool,
		tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "kept", Metadata: map[string]string{"colour": "red"}}}})
	e.must(err)
	e.equal("kept back", e.stats(pool).Available, 1)
}

// areHeld ends the test unless each of the tokens is assigned to its client.
func (e *env) areHeld(pool string, clients map[string]string) {
	e.Helper()
	for value, client := range clients {
		if token := e.look(pool, value); token.State != tms.Assigned || token.Lease.ClientID != client {
			e.Fatalf("%s is %+v of %+v", value, token, token.Lease)
		}
	}
}

// coloured returns a request for a token of the colour, which is its ticket as well.
func coloured(colour string) tms.AssignRequest {
	return tms.AssignRequest{Ticket: colour, ClientID: colour, Match: map[string]string{"colour": colour}}
}

func queueLanes(e *env) {
	pool := e.pool(tms.PolicyChange{Labels: &[]string{"site", "kind"}, Selection: new(tms.SelectFIFO)})
	match := func(ticket string, pairs ...string) tms.AssignRequest {
		r := tms.AssignRequest{Ticket: ticket, ClientID: "of " + ticket, Match: map[string]string{}}
		for i := 0; i < len(pairs); i += 2 {
			r.Match[pairs[i]] = pairs[i+1]
		}
		return r
	}
	oslo, fast, both, more := match("oslo", "site", "Oslo"), match("fast", "kind", "fast"),
		match("both", "kind", "fast", "site", "Oslo"), match("more", "site", "Oslo")
	for _, r := range []tms.AssignRequest{oslo, fast, both} {
		e.waitsAt(1, e.tryTake(pool, r).Err)
	}
	e.waitsAt(2, e.tryTake(pool, more).Err)
	e.queues(pool, 1, "any")
	give := func(value, site, kind string) {
		metadata := map[string]string{"site": site, "kind": kind}
		_, err := e.Generate(e.Context(), pool, tms.GenerateRequest{Tokens: []tms.NewToken{{Value: value,
			Metadata: metadata}}})
		e.must(err)
	}
	holder := func(value string) string { return e.look(pool, value).Lease.ClientID }
	give("1", "Rome", "slow")
	e.equal("one that suits only whoever takes any", holder("1"), "of any")
	give("2", "Oslo", "fast")
	e.equal("one that suits all that are left", holder("2"), "of oslo")
	give("3", "Oslo", "fast")
	e.equal("the next such", holder("3"), "of fast")
	give("4", "Oslo", "fast")
	e.equal("the next such", holder("4"), "of both")
	e.refused(e.tryTake(pool, match("", "site", "Oslo")).Err, tms.ErrNoTokenAvailable)
	give("5", "Rome", "fast")
	e.is(pool, "5", tms.Available)
	give("6", "Oslo", "slow")
	e.equal("the last", holder("6"), "of more")
	e.equal("picked up", e.takeAs(pool, both)[0].Value, "4")
	e.equal("what suits nobody who waits is there for all", e.take(pool).Value, "5")
}

func queueOtherContent(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a")
	e.queues(pool, 1, "one")
	other := tms.AssignRequest{ClientID: "somebody else", Ticket: "one"}
	e.refused(e.tryTake(pool, other).Err, tms.ErrRequestIDReused)
	_, err := e.giveBack(pool, keys[0])
	e.must(err)
	e.refused(e.tryTake(pool, other).Err, tms.ErrRequestIDReused)
	e.picksUp(pool, "one", "a")
}

func queueQuota(e *env) {
	pool := e.pool(tms.PolicyChange{MaxLeasesPerClient: new(1), Selection: new(tms.SelectFIFO)})
	ask := func(client, ticket string) tms.AssignResult {
		return e.tryTake(pool, tms.AssignRequest{ClientID: client, Ticket: ticket})
	}
	e.waitsAt(1, ask("c", "one").Err)
	e.waitsAt(2, ask("c", "two").Err)
	e.waitsAt(3, ask("d", "three").Err)
	e.fill(pool, "a", "b")
	e.equal("holder", e.look(pool, "a").Lease.ClientID, "c")
	e.equal("holder", e.look(pool, "b").Lease.ClientID, "d")
	e.must(ask("c", "one").Err)
	e.refused(ask("c", "two").Err, tms.ErrQuotaExceeded)
	e.must(ask("d", "three").Err)
	e.equal("waiting", e.stats(pool).Waiting, 0)
}

func queuePaused(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a", "b")
	e.queues(pool, 1, "one", "two")
	e.change(pool, tms.PolicyChange{Paused: new(true)})
	_, err := e.giveBack(pool, keys[0])
	e.must(err)
	e.is(pool, "a", tms.Available)
	e.refused(e.show(pool, "one").Err, tms.ErrPoolPaused)
	e.change(pool, tms.PolicyChange{Paused: new(false)})
	e.equal("holder", e.look(pool, "a").Lease.ClientID, "of one")
	e.picksUp(pool, "one", "a")
	e.waitsAt(1, e.show(pool, "two").Err)
}

func queuePoolGone(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a", "b")
	e.queues(pool, 1, "one", "two")
	_, err := e.giveBack(pool, keys[0])
	e.must(err)
	e.must(e.DeletePool(e.Context(), pool))
	e.refused(e.show(pool, "one").Err, tms.ErrPoolNotFound)
	e.change(pool, tms.PolicyChange{})
	e.equal("sizes", e.stats(pool), tms.Stats{})
	e.waitsAt(1, e.show(pool, "two").Err)
	e.fill(pool, "a")
	e.picksUp(pool, "two", "a")
}

// queueRace lets holders give back while everybody in the queue shows their tickets over and over.
func queueRace(e *env) {
	const waiters, tokens = 60, 4
	pool, keys := e.busy(tms.PolicyChange{}, numbered("t", tokens)...)
	var tickets []string
	for i := range waiters {
		tickets = append(tickets, fmt.Sprintf("ticket %d", i))
	}
	e.queues(pool, 1, tickets...)
	var fences [waiters]int64
	give := make(chan tms.LeaseKey, tokens)
	for _, key := range keys {
		give <- key
	}
	parallel(waiters+1, func(i int) {
		if i == waiters {
			for range waiters {
				_, err := e.giveBack(pool, <-give)
				e.expect("unblock", err, "")
			}
			return
		}
		for {
			result := e.show(pool, tickets[i])
			e.expect("assign", result.Err, "", tms.ErrNoTokenAvailable)
			if e.Failed() {
				return
			}
			if result.Err == nil {
				fences[i] = result.Tokens[0].Lease.Fence
				give <- keyOf(result.Tokens[0])
				return
			}
		}
	})
	if !slices.IsSorted(fences[:]) {
		e.Errorf("fences, which rise with every hand-over, do not follow the order of joining: %v", fences)
	}
	e.equal("waiting", e.stats(pool).Waiting, 0)
}

func queueDead(e *env) {
	pool, keys := e.busy(tms.PolicyChange{LeaseTTL: new(minute)}, numbered("t", 20)...)
	for i := range 50 {
		e.waitsAt(i+1, e.show(pool, fmt.Sprint("dead ", i)).Err)
	}
	_, err := e.Unblock(e.Context(), pool, keys)
	e.must(err)
	e.equal("waiting", e.stats(pool).Waiting, 30)
	e.equal("assigned", e.stats(pool).Assigned, 20)
	for range 4 {
		e.advance(tms.PickupTime + ms)
		e.sweepAll(pool)
	}
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 20})
	e.takeAs(pool, tms.AssignRequest{Count: 20})
}

// Leave takes tickets out of the queue of the next store in turn.
func (w *witness) Leave(ctx context.Context, pool string, tickets []string, keep bool) error {
	return w.next().(tms.Queue).Leave(ctx, pool, tickets, keep)
}

// queueRelabelled also updates a token that was handed on: the hand-over stands.
func queueRelabelled(e *env) {
	pool := e.pool(tms.PolicyChange{Labels: &[]string{"site"}})
	e.put(pool, false, described("a", "site", "Oslo"), described("b", "site", "Oslo"))
	bergen := tms.AssignRequest{Match: mapOf("site", "Bergen"), Ticket: "first"}
	later := bergen
	later.Ticket = "later"
	e.waitsAt(1, e.tryTake(pool, bergen).Err)
	e.waitsAt(2, e.tryTake(pool, later).Err)
	e.put(pool, true, described("a", "site", "Bergen"))
	e.is(pool, "a", tms.Assigned)
	e.put(pool, true, described("a", "site", "Oslo"))
	e.equal("the token of the first", e.takeAs(pool, bergen)[0].Value, "a")
	e.waitsAt(1, e.tryTake(pool, later).Err)
	e.put(pool, true, described("b", "site", "Bergen"))
	e.equal("the token of the later", e.takeAs(pool, later)[0].Value, "b")
}
