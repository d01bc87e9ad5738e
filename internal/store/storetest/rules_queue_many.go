package storetest

import (
	"fmt"
	"slices"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Where the stores had differed, or no rule had looked.
var moreQueueRules = []rule{
	{"PickUpIsASignOfLife", "a token's clock begins anew when the token is picked up, not when it is handed",
		pickUpWinds},
	{"TicketOverTheQuotaLosesItsPlace", "a waiter whose client holds its share leaves the queue when it is shown",
		quotaPlace},
	{"PolicyChangesLiveLeases", "a grace that changes holds for the leases that stand", graceRaised},
	{"ManyWhoLeftKeepNobodyOut", "nobody waits behind tickets that are void, however many they are", manyVoid},
	{"TakenOutInABatchLeavesToThoseBehind",
		"what was kept back for a ticket that a batch takes out goes to who waits, not to those later in the batch",
		batchOrder},
	{"FreedAmongTheVoidGoesToWhoWaits",
		"a token that comes back while many tickets are void goes to who waits, not to who comes next", freedAmongVoid},
	{"UnblockClientEndsAllButTheHanded", "all leases of a client are ended, and none of the tokens it was handed",
		manyHanded},
}

func pickUpWinds(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.queues(pool, 1, "one")
	e.fill(pool, "a")
	e.advance(900 * ms)
	t := e.picksUp(pool, "one", "a")
	e.equal("end of the token clock", t.ExpiresAt, e.instant(5*minute))
	e.equal("end of the token clock, looked up", e.look(pool, "a").ExpiresAt, e.instant(5*minute))
}

func quotaPlace(e *env) {
	pool := e.pool(tms.PolicyChange{MaxLeasesPerClient: new(1)})
	ask := func(client, ticket string) tms.AssignResult {
		return e.tryTake(pool, tms.AssignRequest{ClientID: client, Ticket: ticket})
	}
	for i, client := range []string{"c", "c", "d"} {
		e.waitsAt(i+1, ask(client, fmt.Sprint("ticket ", i)).Err)
	}
	e.fill(pool, "a")
	e.refused(ask("c", "ticket 1").Err, tms.ErrQuotaExceeded)
	e.equal("waiting", e.stats(pool).Waiting, 1)
	e.waitsAt(1, ask("d", "ticket 2").Err)
}

func graceRaised(e *env) {
	pool := e.pool(tms.PolicyChange{TokenTTL: new(0 * ms)})
	e.fill(pool, "a")
	t := e.take(pool)
	e.change(pool, tms.PolicyChange{Grace: new(24 * time.Hour)})
	e.advance(24 * time.Hour)
	kept, err := e.keep(pool, keyOf(t))
	e.must(err)
	e.equal("fence", kept.Lease.Fence, t.Lease.Fence)
	e.change(pool, tms.PolicyChange{Grace: new(0 * ms)})
	e.advance(minute)
	e.is(pool, "a", tms.Assigned)
	e.advance(ms)
	e.is(pool, "a", tms.Available)
}

func manyVoid(e *env) {
	for _, r := range []tms.AssignRequest{{}, {RequestID: "one"}, {Ticket: "late", Count: 2}} {
		pool := e.pool(tms.PolicyChange{})
		e.equal("served", len(e.showAll(pool, append(ticketed("dead"), ticketed("gone")...))), 0)
		e.advance(tms.TicketTTL + ms)
		e.fill(pool, "a", "b")
		e.takeAs(pool, r)
		e.equal("waiting", e.stats(pool).Waiting, 0)
	}
}

func manyHanded(e *env) {
	pool := e.pool(tms.PolicyChange{MaxLeasesPerClient: new(5000), Selection: new(tms.SelectFIFO)})
	e.fill(pool, numbered("leased ", 25)...)
	e.takeAs(pool, tms.AssignRequest{ClientID: "c", Count: 20})
	e.takeAs(pool, tms.AssignRequest{ClientID: "c", Count: 5, TTL: tms.PickupTime / 2})
	requests := ticketed("wait")
	for i := range requests {
		requests[i].ClientID = "c"
	}
	e.equal("served", len(e.showAll(pool, requests)), 0)
	for part := range slices.Chunk(numbered("handed ", crowd), crowd/3) {
		e.fill(pool, part...)
	}
	n, err := e.UnblockClient(e.Context(), pool, "c")
	e.must(err)
	e.equal("leases that were ended", n, 25)
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 25, Assigned: crowd})
}

func (e *env) fillLabelled(pool, value string, metadata map[string]string) {
	e.Helper()
	token := tms.NewToken{Value: value, Metadata: metadata}
	e.generateAs(pool, tms.GenerateRequest{Tokens: []tms.NewToken{token}})
}

func batchOrder(e *env) {
	pool := e.pool(tms.PolicyChange{Labels: &[]string{"x", "y"}, MaxLeasesPerClient: new(2)})
	e.held(pool, "h1", "h2")
	many := tms.AssignRequest{Ticket: "many", ClientID: "c", Count: 2}
	e.waitsAt(1, e.tryTake(pool, many).Err)
	e.waitsAt(1, e.tryTake(pool, tms.AssignRequest{Ticket: "old", ClientID: "old",
		Match: map[string]string{"y": "1"}}).Err)
	e.fillLabelled(pool, "t", map[string]string{"x": "1", "y": "1"})
	e.change(pool, tms.PolicyChange{MaxLeasesPerClient: new(1)})
	results, err := e.Assign(e.Context(), pool, []tms.AssignRequest{
		many, {Ticket: "new", ClientID: "new", Match: map[string]string{"x": "1"}},
	})
	e.must(err)
	e.refused(results[0].Err, tms.ErrQuotaExceeded)
	e.waitsAt(1, results[1].Err)
	e.equal("to whom it was handed", e.look(pool, "t").Lease.ClientID, "old")
}

func freedAmongVoid(e *env) {
	pool := e.pool(tms.PolicyChange{TokenTTL: new(0 * ms), Labels: &[]string{"x"}})
	e.fillLabelled(pool, "t", map[string]string{"x": "1"})
	held := e.take(pool)
	e.equal("served", len(e.showAll(pool, ticketed("dead"))), 0)
	e.advance(tms.PresenceTime - ms)
	e.waitsAt(1, e.tryTake(pool, tms.AssignRequest{Ticket: "old", ClientID: "old",
		Match: map[string]string{"x": "1"}}).Err)
	e.advance(2 * ms)
	_, err := e.giveBack(pool, keyOf(held))
	e.must(err)
	e.refused(e.tryTake(pool, tms.AssignRequest{ClientID: "new"}).Err, tms.ErrNoTokenAvailable)
	e.equal("to whom it was handed", e.look(pool, "t").Lease.ClientID, "old")
}
