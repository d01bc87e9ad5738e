package storetest

import (
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"

	tms "github.com/manankarani/token-manager"
)

// What cannot be had blocks nobody.
var reachRules = []rule{
	{"MoreThanTheMaximumIsInvalid", "a count above max_tokens is refused with the field, waiting or not", reachMaximum},
	{"MoreThanTheQuotaIsRefused", "a count above max_leases_per_client is refused at once, waiting or not", reachQuota},
	{"MoreThanThePoolHoldsWaits",
		"who asks for more than the pool holds waits in their place, and others are served past them", reachWaits},
	{"EnoughIsServed", "who asked for more than the pool held is served in their turn when it holds enough",
		reachServed},
	{"LessThanEnoughLetsOthersPast", "a waiter for whom the pool comes to hold too little lets those behind past",
		reachLost},
	{"RefusalsSayTheSame",
		"a refusal says how many are available, how many wait, and the place, whoever asked for how many", reachSays},
}

func reachMaximum(e *env) {
	pool := e.pool(tms.PolicyChange{MaxTokens: new(5)})
	e.fill(pool, "a")
	for _, r := range []tms.AssignRequest{{Count: 6}, {Count: 6, Ticket: "one"}, {Count: 6, RequestID: "r"}} {
		err := e.tryTake(pool, r).Err
		e.refused(err, tms.ErrInvalidRequest)
		e.equal("field", refusalOf(err).Field, "count")
	}
	e.refused(e.tryTake(pool, tms.AssignRequest{Count: 5}).Err, tms.ErrNoTokenAvailable)
	e.waitsAt(1, e.tryTake(pool, tms.AssignRequest{Count: 5, Ticket: "five"}).Err)
	e.change(pool, tms.PolicyChange{MaxTokens: new(4)})
	e.refused(e.tryTake(pool, tms.AssignRequest{Count: 5, Ticket: "five"}).Err, tms.ErrInvalidRequest)
	e.take(pool)
}

func reachQuota(e *env) {
	pool := e.pool(tms.PolicyChange{MaxLeasesPerClient: new(2)})
	e.fill(pool, "a")
	for _, ticket := range []string{"", "one"} {
		r := tms.AssignRequest{ClientID: "c", Count: 3, Ticket: ticket}
		e.refused(e.tryTake(pool, r).Err, tms.ErrQuotaExceeded)
	}
	e.equal("waiting", e.stats(pool).Waiting, 0)
}

// wantsAll asks for so many tokens.
func (e *env) wantsAll(pool, ticket string, count int) tms.AssignResult {
	return e.tryTake(pool, tms.AssignRequest{Ticket: ticket, ClientID: "of " + ticket, Count: count})
}

func reachWaits(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, numbered("t", 10)...)
	e.waitsAt(1, e.wantsAll(pool, "all", 11).Err)
	e.equal("waiting", e.stats(pool).Waiting, 1)
	e.take(pool)
	e.must(e.wantsAll(pool, "some", 8).Err)
	e.waitsAt(1, e.wantsAll(pool, "two", 2).Err)
	e.waitsAt(1, e.wantsAll(pool, "all", 11).Err)
	e.refused(e.tryTake(pool, tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable) // two are owed what there is
}

func reachServed(e *env) {
	pool := e.pool(tms.PolicyChange{Cooldown: new(second)})
	e.fill(pool, "a", "b", "c")
	e.waitsAt(1, e.wantsAll(pool, "four", 4).Err)
	given := e.takeAs(pool, tms.AssignRequest{Count: 3})
	e.waitsAt(1, e.show(pool, "one").Err)
	e.fill(pool, "d")
	e.equal("kept back", e.stats(pool).Available, 1)
	e.queues(pool, 2, "one")
	for _, t := range given {
		_, err := e.giveBack(pool, keyOf(t))
		e.must(err)
	}
	e.advance(second)
	e.waitsAt(1, e.wantsAll(pool, "four", 4).Err)
	e.queues(pool, 2, "one")
	e.advance(ms)
	e.must(e.wantsAll(pool, "four", 4).Err)
}

func reachLost(e *env) {
	steps := map[string]func(pool string, held tms.Token) error{
		"deleted": func(pool string, held tms.Token) error { return e.drop(pool, keyOf(held)) },
		"quarantined": func(pool string, held tms.Token) error {
			key := keyOf(held)
			key.Quarantine = true
			_, err := e.giveBack(pool, key)
			return err
		},
	}
	for name, step := range steps {
		pool := e.pool(tms.PolicyChange{})
		held := e.held(pool, "a", "b", "c")
		e.waitsAt(1, e.wantsAll(pool, "three", 3).Err)
		e.queues(pool, 2, "one", "two")
		_, err := e.giveBack(pool, keyOf(held[0]))
		e.must(err)
		e.is(pool, held[0].Value, tms.Available)
		e.must(step(pool, held[1]))
		if holder := e.look(pool, held[0].Value).Lease; holder == nil || holder.ClientID != "of one" {
			e.Fatalf("when a token is %s, another is held by %+v", name, holder)
		}
		e.waitsAt(1, e.wantsAll(pool, "three", 3).Err)
		e.fill(pool, "d")
		e.is(pool, "d", tms.Available) // whoever wants three stands where they stood, before the other
		e.queues(pool, 2, "two")
	}
}

func reachSays(e *env) {
	pool := e.pool(tms.PolicyChange{})
	held := e.held(pool, "a", "b", "c", "d")
	for i, count := range []int{3, 2, 1} {
		e.waitsAt(i+1, e.wantsAll(pool, fmt.Sprint("wants ", count), count).Err)
	}
	e.waitsAt(4, e.wantsAll(pool, "wants 9", 9).Err)
	for _, t := range held[:2] {
		_, err := e.giveBack(pool, keyOf(t))
		e.must(err)
	}
	says := func(r tms.AssignRequest) tms.Refusal {
		refusal := *refusalOf(e.tryTake(pool, r).Err)
		refusal.RetryAfter, refusal.HeldBy, refusal.HeldSince, refusal.Detail = 0, "", time.Time{}, ""
		return refusal
	}
	want := func(available, place int) tms.Refusal {
		return tms.Refusal{Code: tms.ErrNoTokenAvailable, Available: available, Waiting: 4, Place: place}
	}
	for _, c := range []struct {
		request tms.AssignRequest
		want    tms.Refusal
	}{
		{tms.AssignRequest{}, want(2, 0)},
		{tms.AssignRequest{Count: 5}, want(2, 0)},
		{tms.AssignRequest{RequestID: "r"}, want(2, 0)},
		{tms.AssignRequest{Ticket: "wants 3", ClientID: "of wants 3", Count: 3}, want(2, 1)},
		{tms.AssignRequest{Ticket: "wants 1", ClientID: "of wants 1", Count: 1}, want(2, 3)},
		{tms.AssignRequest{Ticket: "wants 9", ClientID: "of wants 9", Count: 9}, want(2, 4)},
	} {
		if diff := cmp.Diff(c.want, says(c.request)); diff != "" {
			e.Errorf("%+v is told: want -, got +\n%s", c.request, diff)
		}
	}
	e.must(e.Leave(e.Context(), pool, []string{"wants 3"}, false))
	e.must(e.wantsAll(pool, "wants 2", 2).Err)
	e.waitsAt(1, e.wantsAll(pool, "wants 1", 1).Err)
}
