package storetest

import (
	"time"

	tms "github.com/manankarani/token-manager"
)

var historyRules = []rule{
	{"HistoryIsTold", "a token's history says of each lease, the last one first, who held it with which fence, from " +
		"when to when, its last renewal and how it ended", historyTold},
	{"HistoryIsToldWhereAsked", "the history is told where the key asks for it, and nowhere else", historyAsked},
	{"HistoryIsBounded", "a pool remembers as many leases of a token as its policy says, and a lower number holds " +
		"at once", historyBounded},
	{"HistoryIsForgotten", "with a token its history is gone", historyForgotten},
	{"HistoryOfAllWaysBack", "a lease that ends with a batch, with its client or with its request is in the history",
		historyWays},
}

// history returns the leases of the token that have ended.
func (e *env) history(pool, value string) []tms.PastLease {
	e.Helper()
	t, err := e.Token(e.Context(), pool, tms.LeaseKey{Token: value, History: true})
	e.must(err)
	return t.Past.Ended
}

// pastOf returns what is told of a lease that begins now.
func (e *env) pastOf(t tms.Token) tms.PastLease {
	l := t.Lease
	return tms.PastLease{Fence: l.Fence, Holder: l.Holder, ClientID: l.ClientID, AssignedAt: e.instant(0),
		RenewedAt: e.instant(0)}
}

func historyTold(e *env) {
	pool := e.pool(tms.PolicyChange{TokenTTL: new(0 * ms), Grace: new(second), Cooldown: new(second)})
	e.fill(pool, "a")
	e.equal("at first", e.history(pool, "a"), []tms.PastLease{})
	t := e.takeAs(pool, tms.AssignRequest{ClientID: "one two"})[0]
	first := e.pastOf(t)
	e.advance(2 * second)
	_, err := e.keep(pool, keyOf(t))
	e.must(err)
	first.RenewedAt = e.instant(0)
	e.equal("while it lasts", e.history(pool, "a"), []tms.PastLease{})
	e.advance(second)
	_, err = e.giveBack(pool, keyOf(t))
	e.must(err)
	first.EndedAt, first.End = e.instant(0), tms.EndReleased
	e.equal("when it was given back", e.history(pool, "a"), []tms.PastLease{first})
	e.advance(second + ms)
	second, third := historyOfOthers(e, pool)
	e.equal("in the end", e.history(pool, "a"), []tms.PastLease{third, second, first})
}

// historyOfOthers lets one lease expire, and has another token put aside and restored. It returns what is told of them.
func historyOfOthers(e *env, pool string) (expired, aside tms.PastLease) {
	t := e.takeAs(pool, tms.AssignRequest{TTL: 3 * second})[0]
	expired = e.pastOf(t)
	expired.EndedAt, expired.End = e.instant(4*second), tms.EndExpired
	e.advance(minute)
	t = e.takeAs(pool, tms.AssignRequest{ClientID: "three"})[0]
	aside = e.pastOf(t)
	e.advance(second)
	aside.EndedAt, aside.End = e.instant(0), tms.EndQuarantined
	_, err := e.giveBack(pool, tms.LeaseKey{Token: "a", LeaseID: t.Lease.ID, Quarantine: true})
	e.must(err)
	e.advance(second)
	_, err = e.Restore(e.Context(), pool, []string{"a"})
	e.must(err)
	_, err = e.giveBack(pool, tms.LeaseKey{Token: "a", Quarantine: true}) // which nobody holds
	e.must(err)
	return expired, aside
}

func historyAsked(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	for range 2 {
		_, err := e.giveBack(pool, keyOf(e.take(pool)))
		e.must(err)
	}
	e.equal("where it is asked for", len(e.history(pool, "a")), 2)
	e.equal("in a lookup", len(e.lookUp(pool, "a").Past.Ended), 0)
	e.equal("in a list", len(e.list(pool, tms.Filter{}, 10)[0].Past.Ended), 0)
	t := e.take(pool)
	asked, err := e.Token(e.Context(), pool, tms.LeaseKey{Token: "a", LeaseID: t.Lease.ID, History: true})
	e.must(err)
	e.equal("with the lease_id", len(asked.Past.Ended), 2)
}

func historyBounded(e *env) {
	pool := e.pool(tms.PolicyChange{History: new(3)})
	e.fill(pool, "a")
	var fences []int64
	lease := func() {
		t := e.take(pool)
		fences = append([]int64{t.Lease.Fence}, fences...)
		_, err := e.giveBack(pool, keyOf(t))
		e.must(err)
	}
	told := func(want int) {
		e.Helper()
		history := e.history(pool, "a")
		e.equal("how many are told", len(history), want)
		for i, past := range history {
			e.equal("a fence", past.Fence, fences[i])
		}
	}
	for n := range 5 {
		lease()
		told(min(n+1, 3))
	}
	e.change(pool, tms.PolicyChange{History: new(2)})
	told(2)
	e.change(pool, tms.PolicyChange{History: new(0)})
	told(0)
	lease()
	e.change(pool, tms.PolicyChange{History: new(tms.MaxHistory)})
	told(0)
	for range 20 {
		lease()
	}
	told(20)
}

func historyForgotten(e *env) {
	pool := e.pool(tms.PolicyChange{TokenTTL: new(second)})
	for _, forget := range []func(){
		func() { e.must(e.drop(pool, byValue("a"))) },
		func() { e.advance(minute) },
	} {
		e.fill(pool, "a")
		_, err := e.giveBack(pool, keyOf(e.take(pool)))
		e.must(err)
		forget()
		e.is(pool, "a", "")
		e.fill(pool, "a")
		e.equal("history", e.history(pool, "a"), []tms.PastLease{})
		e.must(e.drop(pool, byValue("a")))
	}
}

func historyWays(e *env) {
	pool := e.pool(tms.PolicyChange{MaxLeasesPerClient: new(5), OnLeaseExpiry: new(tms.ExpiryReleases)})
	e.fill(pool, "a", "b")
	ends := []func(tokens []tms.Token) error{
		func(tokens []tms.Token) error {
			_, err := e.Unblock(e.Context(), pool, []tms.LeaseKey{keyOf(tokens[0]), keyOf(tokens[1])})
			return err
		},
		func([]tms.Token) error {
			_, err := e.UnblockClient(e.Context(), pool, "c")
			return err
		},
		func([]tms.Token) error {
			_, err := e.UnblockRequest(e.Context(), pool, "r3")
			return err
		},
	}
	for n, end := range ends {
		request := tms.AssignRequest{ClientID: "c", Count: 2, RequestID: "r" + string(rune('1'+n))}
		tokens := e.takeAs(pool, request)
		e.advance(time.Second)
		e.must(end(tokens))
		for _, t := range tokens {
			last := e.history(pool, t.Value)[0]
			e.equal("client_id", last.ClientID, "c")
			e.equal("fence", last.Fence, t.Lease.Fence)
			e.equal("how it ended", last.End, tms.EndReleased)
			e.equal("when", last.EndedAt, e.instant(0))
			e.equal("how many", len(e.history(pool, t.Value)), n+1)
		}
	}
}

func historyByForce(e *env) {
	if e.parts() {
		return
	}
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	for _, aside := range []bool{false, true} {
		e.takeAs(pool, tms.AssignRequest{ClientID: tms.Owned("ci", "job")})
		_, err := e.giveBack(pool, tms.LeaseKey{Token: "a", By: "boss", Quarantine: aside})
		e.must(err)
		last := e.history(pool, "a")[0]
		e.equal("by", last.By, "boss")
		e.equal("holder", last.Holder, "ci")
		e.equal("client_id", last.ClientID, "job")
	}
	_, err := e.Restore(e.Context(), pool, []string{"a"})
	e.must(err)
	key := keyOf(e.take(pool))
	key.By = "boss"
	_, err = e.giveBack(pool, key)
	e.must(err)
	e.equal("by, with the lease_id", e.history(pool, "a")[0].By, "")
}
