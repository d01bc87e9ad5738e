package storetest

import (
	"errors"

	tms "github.com/manankarani/token-manager"
)

var assignRules = []rule{
	{"AssignGivesALease", "assign gives a token with its metadata, a new lease and both clocks", assignLease},
	{"AssignTakesItsOwnTTL", "an assignment lasts as long as the request says, else the pool's lease_ttl", assignTTL},
	{"AssignIsCappedByMaxLease", "no assignment lasts longer than max_lease, and that is no error", assignCapped},
	{"AssignGivesAllOrNone", "a request gets as many tokens as it asks for, or none", assignCount},
	{"AssignAnswersEachRequest", "assign answers each request of a batch, in order", assignBatch},
	{"AssignSaysWhenToRetry", "no_token_available says when a token may come back, where the store knows", assignRetry},
	{"PausedPoolGivesNothing", "a paused pool refuses assign with pool_paused; everything else goes on", assignPaused},
	{"RandomReachesEveryToken", "selection random gives any token, each as likely as the other", selectRandom},
	{"FIFOGivesTheOldest", "selection fifo gives the token whose last sign of life is longest ago", selectFIFO},
	{"LIFOGivesTheLatest", "selection lifo gives the token whose last sign of life is latest", selectLIFO},
	{"ExpiryIsNoSignOfLife", "a token whose lease expired keeps its place by its last sign of life", selectAfterExpiry},
	{"AssignSkipsDeadTokens", "assign gives no token whose clock has run out, whatever the selection", assignSkipsDead},
	{"AssignTakesWhatIsDue", "thousands of leases that ended unswept are assignable at once", assignDue},
	{"FencesRise",
		"each assignment of a token has a greater fence, over delete and generate, of token and of pool", fencesRise},
}

func assignLease(e *env) {
	pool := e.pool(tms.PolicyChange{})
	_, err := e.Generate(e.Context(), pool, tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "a",
		Metadata: map[string]string{"k": "v"}}}})
	e.must(err)
	e.advance(second)
	got := e.takeAs(pool, tms.AssignRequest{ClientID: "worker 7"})[0]
	want := tms.Token{Pool: pool, Value: "a", State: tms.Assigned, Metadata: map[string]string{"k": "v"},
		ExpiresAt: e.instant(5 * minute), Lease: &tms.Lease{ID: got.Lease.ID, Fence: got.Lease.Fence,
			ClientID: "worker 7", AssignedAt: e.instant(0), ExpiresAt: e.instant(minute), TTL: minute}}
	e.equal("assigned", got, want)
	e.advance(second)
	want.Lease.ID, want.Lease.TTL = "", minute-second
	e.equal("looked up", e.look(pool, "a"), want)
	e.equal("sizes", e.stats(pool), tms.Stats{Assigned: 1})
}

func assignTTL(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(10 * second)})
	e.fill(pool, "a", "b")
	e.equal("the pool's", e.take(pool).Lease.ExpiresAt, e.instant(10*second))
	own := e.takeAs(pool, tms.AssignRequest{TTL: 25 * second})[0]
	e.equal("its own", own.Lease.ExpiresAt, e.instant(25*second))
	e.equal("its own TTL", own.Lease.TTL, 25*second)
}

func assignCapped(e *env) {
	pool := e.pool(tms.PolicyChange{MaxLease: new(30 * second)})
	e.fill(pool, "a", "b")
	e.equal("by lease_ttl", e.take(pool).Lease.TTL, 30*second)
	own := e.takeAs(pool, tms.AssignRequest{TTL: 31 * second})[0]
	e.equal("by its own TTL", own.Lease.ExpiresAt, e.instant(30*second))
}

func assignCount(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, numbered("t", 5)...)
	e.refused(e.tryTake(pool, tms.AssignRequest{Count: 6}).Err, tms.ErrNoTokenAvailable)
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 5})
	seen := map[string]bool{}
	for _, t := range e.takeAs(pool, tms.AssignRequest{Count: 4, ClientID: "c"}) {
		seen[t.Value] = true
		e.equal("client_id", t.Lease.ClientID, "c")
	}
	e.equal("different tokens", len(seen), 4)
	e.refused(e.tryTake(pool, tms.AssignRequest{Count: 2}).Err, tms.ErrNoTokenAvailable)
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 1, Assigned: 4})
}

func assignBatch(e *env) {
	pool := e.pool(tms.PolicyChange{Selection: new(tms.SelectFIFO)})
	e.fill(pool, "a", "b", "c", "d")
	results, err := e.Assign(e.Context(), pool, []tms.AssignRequest{
		{ClientID: "one"}, {ClientID: "five", Count: 5}, {ClientID: "two", Count: 2, TTL: second}, {Count: 2}, {}, {}})
	e.must(err)
	var got []string
	for _, r := range results {
		text := string(tms.CodeOf(r.Err))
		for _, t := range r.Tokens {
			text += t.Value + t.Lease.ClientID + " "
		}
		got = append(got, text)
	}
	none := string(tms.ErrNoTokenAvailable)
	e.equal("results", got, []string{"aone ", none, "btwo ctwo ", none, "d ", none})
}

func assignRetry(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a", "b")
	e.takeAs(pool, tms.AssignRequest{TTL: 40 * second})
	e.advance(5 * second)
	e.takeAs(pool, tms.AssignRequest{TTL: 20 * second})
	e.advance(5 * second)
	err := e.tryTake(pool, tms.AssignRequest{}).Err
	e.refused(err, tms.ErrNoTokenAvailable)
	var refusal *tms.Refusal
	if !errors.As(err, &refusal) || refusal.RetryAfter < 15*second || refusal.RetryAfter > 16*second {
		e.Fatalf("a lease ends in 15 s, but the refusal says %+v", err)
	}
	e.advance(refusal.RetryAfter + ms)
	e.take(pool)
}

func assignPaused(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a", "b")
	lease := e.take(pool)
	e.change(pool, tms.PolicyChange{Paused: new(true)})
	_, err := e.Assign(e.Context(), pool, []tms.AssignRequest{{}})
	e.refused(err, tms.ErrPoolPaused)
	_, err = e.keep(pool, keyOf(lease))
	e.must(err)
	_, err = e.giveBack(pool, keyOf(lease))
	e.must(err)
	e.fill(pool, "c")
	e.must(e.drop(pool, byValue("c")))
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 2})
	e.change(pool, tms.PolicyChange{Paused: new(false)})
	e.take(pool)
}

func selectRandom(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, numbered("t", 4)...)
	seen := map[string]int{}
	for range 120 { // one of four is missing, or has a quarter of its share, once in a million
		t := e.take(pool)
		seen[t.Value]++
		_, err := e.giveBack(pool, keyOf(t))
		e.must(err)
	}
	for value, n := range seen {
		if n < 8 || len(seen) < 4 {
			e.Fatalf("of 120 random choices of 4 tokens %d were %s: %v", n, value, seen)
		}
	}
}

// aged makes a pool whose tokens had their last sign of life in the order b, a, d, c, with a and d in the same instant.
func aged(e *env, selection tms.Selection) string {
	pool := e.pool(tms.PolicyChange{Selection: new(selection)})
	e.fill(pool, "c", "b")
	e.advance(second)
	e.fill(pool, "d", "a")
	e.advance(second)
	_, err := e.keep(pool, byValue("c"))
	e.must(err)
	return pool
}

// order takes all tokens, one by one.
func order(e *env, pool string, n int) (values string) {
	for range n {
		values += e.take(pool).Value
	}
	return values
}

func selectFIFO(e *env) {
	pool := aged(e, tms.SelectFIFO)
	first := e.takeAs(pool, tms.AssignRequest{Count: 2})
	e.equal("first", first[0].Value+first[1].Value, "ba")
	e.advance(second)
	_, err := e.giveBack(pool, keyOf(first[0]))
	e.must(err)
	e.equal("order", order(e, pool, 3), "dcb")
}

func selectLIFO(e *env) {
	pool := aged(e, tms.SelectLIFO)
	first := e.takeAs(pool, tms.AssignRequest{Count: 2})
	e.equal("first", first[0].Value+first[1].Value, "cd")
	e.advance(second)
	_, err := e.giveBack(pool, keyOf(first[1]))
	e.must(err)
	e.equal("order", order(e, pool, 3), "dab")
}

func selectAfterExpiry(e *env) {
	pool := e.pool(tms.PolicyChange{Selection: new(tms.SelectFIFO), LeaseTTL: new(second)})
	e.fill(pool, "a")
	e.advance(second)
	e.fill(pool, "b")
	e.equal("oldest", e.take(pool).Value, "a") // its last sign of life is now that of b
	e.advance(second / 2)
	e.fill(pool, "c")
	e.advance(second/2 + ms)
	e.equal("order", order(e, pool, 3), "abc")
}

func assignSkipsDead(e *env) {
	for _, selection := range []tms.Selection{tms.SelectRandom, tms.SelectFIFO, tms.SelectLIFO} {
		pool := e.pool(tms.PolicyChange{Selection: new(selection), TokenTTL: new(minute)})
		e.fill(pool, numbered("dead", 300)...)
		e.advance(second)
		e.fill(pool, "living")
		e.advance(minute - second + ms)
		e.refused(e.tryTake(pool, tms.AssignRequest{Count: 2}).Err, tms.ErrNoTokenAvailable)
		e.equal(string(selection), e.take(pool).Value, "living")
	}
}

func assignDue(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, numbered("t", 3000)...)
	for range 3 {
		e.takeAs(pool, tms.AssignRequest{Count: 1000})
	}
	e.refused(e.tryTake(pool, tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
	e.advance(minute + ms)
	for range 3 {
		e.takeAs(pool, tms.AssignRequest{Count: 1000})
	}
}

func fencesRise(e *env) {
	pool := e.pool(tms.PolicyChange{})
	last := int64(0)
	assign := func() {
		t := e.take(pool)
		if t.Lease.Fence <= last {
			e.Fatalf("fence %d after %d", t.Lease.Fence, last)
		}
		last = t.Lease.Fence
		_, err := e.giveBack(pool, keyOf(t))
		e.must(err)
	}
	e.fill(pool, "a")
	assign()
	assign()
	e.must(e.drop(pool, byValue("a")))
	e.fill(pool, "a")
	assign()
	e.must(e.DeletePool(e.Context(), pool))
	e.change(pool, tms.PolicyChange{})
	e.fill(pool, "a")
	assign()
}
