package storetest

import (
	"errors"
	"fmt"
	"time"

	tms "github.com/manankarani/token-manager"
)

var refusalRules = []rule{
	{"RefusalSaysWhoHolds",
		"no_token_available says how many are available, who holds the lease that ends first and since when, " +
			"and when the next token is due, to whoever asks for any token or for a certain one", refusalHolder},
}

// refusalQueueRules need a queue.
var refusalQueueRules = []rule{
	{"RefusalSaysThatOthersWait",
		"where others wait for what is available, no_token_available says so, and how much it is",
		refusalOthersWait},
	{"RefusalNamesNobodyOnTheWay", "a token that is on its way to somebody who waits is held by nobody yet",
		refusalOnTheWay},
}

// none asks for tokens that must be refused, and returns the refusal.
func (e *env) none(pool string, request tms.AssignRequest) tms.Refusal {
	e.Helper()
	err := e.tryTake(pool, request).Err
	e.refused(err, tms.ErrNoTokenAvailable)
	var r *tms.Refusal
	if !errors.As(err, &r) {
		e.Fatalf("%v tells nothing of the pool", err)
	}
	return *r
}

func refusalHolder(e *env) {
	pool := e.pool(tms.PolicyChange{Labels: new([]string{"city"}), Selection: new(tms.SelectFIFO)})
	for _, request := range []tms.AssignRequest{{Count: 3}, {Count: 3, Match: mapOf("city", "Oslo")},
		{Count: 3, RequestID: "r"}} {
		r := e.none(pool, request)
		e.equal("of an empty pool", r, tms.Refusal{Code: tms.ErrNoTokenAvailable, Detail: "0 available, 3 asked for"})
	}
	for _, value := range []string{"a", "b", "c"} {
		e.described(pool, value, "city", "Oslo")
	}
	e.takeAs(pool, tms.AssignRequest{ClientID: "late", TTL: 10 * minute})
	e.advance(second)
	since := e.instant(0)
	e.takeAs(pool, tms.AssignRequest{ClientID: "build 7"})
	e.advance(500 * ms)
	for range 2 {
		for _, request := range []tms.AssignRequest{{Count: 3}, {Count: 3, Match: mapOf("city", "Oslo")},
			{Count: 3, RequestID: "r"}} {
			e.equal("refusal", e.none(pool, request), tms.Refusal{Code: tms.ErrNoTokenAvailable, Available: 1,
				RetryAfter: minute - 500*ms + ms, HeldBy: "build 7", HeldSince: since,
				Detail: fmt.Sprintf(`1 available, 3 asked for; "build 7" has held one since %s; the next is due in `+
					`1m0s`,
					since.UTC().Format(time.RFC3339))})
		}
	}
}

func refusalOthersWait(e *env) {
	pool := e.pool(tms.PolicyChange{Selection: new(tms.SelectFIFO)})
	e.fill(pool, "a", "b", "c")
	since := e.instant(0)
	e.takeAs(pool, tms.AssignRequest{})
	e.none(pool, tms.AssignRequest{Count: 3, Ticket: "wants three"})
	for range 2 {
		for _, request := range []tms.AssignRequest{{}, {Prefer: "b"}} {
			e.equal("refusal", e.none(pool, request), tms.Refusal{Code: tms.ErrNoTokenAvailable, Available: 2,
				Waiting:    1,
				RetryAfter: minute + ms, HeldSince: since,
				Detail: fmt.Sprintf("2 available, 1 asked for, but others wait for what is available; 1 in the queue; "+
					"somebody has held one since %s; the next is due in 1m0s", since.UTC().Format(time.RFC3339))})
		}
	}
}

func refusalOnTheWay(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	lease := e.takeAs(pool, tms.AssignRequest{ClientID: "first"})[0]
	e.none(pool, tms.AssignRequest{ClientID: "second", Ticket: "second"})
	_, err := e.giveBack(pool, keyOf(lease))
	e.must(err)
	r := e.none(pool, tms.AssignRequest{})
	if r.HeldBy != "" || !r.HeldSince.IsZero() || r.RetryAfter != tms.PickupTime+ms {
		e.Fatalf("a token on its way is held by %q since %v, and due in %v", r.HeldBy, r.HeldSince, r.RetryAfter)
	}
}
