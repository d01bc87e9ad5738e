package storetest

import (
	"fmt"

	tms "github.com/manankarani/token-manager"
)

var listedRules = []rule{
	{"WaitersAreListed", "who waits is listed in the order of joining, with place, client, since when and what it " +
		"asks for", queueListed},
	{"OnlyWhoWaitsIsListed", "who is absent, was handed something or was served is not listed", queueListedOnly},
	{"WaitersAreListedInPart", "of many waiters no more are listed than are asked for", queueListedInPart},
}

func (e *env) waiters(pool string, limit int) []tms.Waiter {
	e.Helper()
	all, err := e.Waiters(e.Context(), pool, limit)
	e.must(err)
	return all
}

func ticketOf(n int) string { return fmt.Sprint("ticket-", n) }

// queueUp shows a ticket, which waits.
func (e *env) queueUp(pool string, r tms.AssignRequest) {
	e.Helper()
	e.refused(e.tryTake(pool, r).Err, tms.ErrNoTokenAvailable)
}

func queueListed(e *env) {
	pool := e.pool(tms.PolicyChange{Labels: &[]string{"seat"}})
	e.equal("in a pool without a queue", len(e.waiters(pool, 10)), 0)
	var want []tms.Waiter
	for n, w := range []tms.Waiter{
		{Place: 1, Holder: "ci", ClientID: "one two", Count: 1},
		{Place: 1, Count: 1, Match: map[string]string{"seat": "Os:lo 1"}},
		{Place: 2, ClientID: "three", Count: 2},
		{Place: 2, Count: 1, Match: map[string]string{"seat": "Os:lo 1"}},
	} {
		w.Since = e.instant(0)
		want = append(want, w)
		e.queueUp(pool, tms.AssignRequest{Ticket: ticketOf(n), ClientID: tms.Owned(w.Holder, w.ClientID),
			Count: w.Count, Match: w.Match})
		e.advance(10 * ms)
	}
	e.equal("who waits", e.waiters(pool, 10), want)
	e.queueUp(pool, tms.AssignRequest{Ticket: ticketOf(0), ClientID: tms.Owned("ci", "one two"), Count: 1})
	e.equal("who waits, when one was shown again", e.waiters(pool, 10), want)
	_, err := e.Waiters(e.Context(), newName(), 10)
	e.refused(err, tms.ErrPoolNotFound)
}

func queueListedOnly(e *env) {
	pool := e.pool(tms.PolicyChange{})
	for n := range 3 {
		e.queueUp(pool, tms.AssignRequest{Ticket: ticketOf(n), ClientID: ticketOf(n)})
	}
	e.fill(pool, "a") // which is handed to the first
	listed := e.waiters(pool, 10)
	e.equal("how many wait", len(listed), 2)
	e.equal("who is next", listed[0].ClientID, ticketOf(1))
	e.equal("its place", listed[0].Place, 1)
	e.must(e.Leave(e.Context(), pool, []string{ticketOf(1)}, true))
	listed = e.waiters(pool, 10)
	e.equal("how many wait, one being absent", len(listed), 1)
	e.equal("who is next", listed[0].ClientID, ticketOf(2))
	e.advance(tms.PresenceTime + ms)
	e.equal("how many wait when all are silent", len(e.waiters(pool, 10)), 0)
}

func queueListedInPart(e *env) {
	pool := e.pool(tms.PolicyChange{})
	for n := range 5 {
		e.queueUp(pool, tms.AssignRequest{Ticket: ticketOf(n)})
	}
	e.equal("how many are listed", len(e.waiters(pool, 3)), 3)
	e.equal("how many are listed", len(e.waiters(pool, 1)), 1)
	e.equal("how many are listed", len(e.waiters(pool, 5)), 5)
}
