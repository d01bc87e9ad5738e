package storetest

import (
	"fmt"
	"slices"
	"sync/atomic"

	tms "github.com/manankarani/token-manager"
)

var choiceRules = []rule{
	{"PreferredTokenIsGiven", "assign gives the preferred token, first, if it is available, and any other if not",
		choicePrefer},
	{"MatchGivesOnlyWhatSuits", "assign with a match gives tokens whose metadata has all its values, and no others",
		choiceMatch},
	{"MatchNeedsLabels", "a match by a key that is no label of the pool is refused by its name", choiceLabels},
	{"MatchFollowsTheSelection", "random, fifo and lifo hold among the tokens that suit", choiceSelection},
	{"MatchFindsOneInMany", "of many tokens the one that suits is found, and found to be dead in time", choiceNeedle},
	{"LabelsAreFixedWhileThereAreTokens", "labels can be changed only while the pool holds no tokens", choiceFixed},
	{"QuotaHolds", "a client holds at most max_leases_per_client leases, whoever else holds how many", quotaHolds},
	{"QuotaCountsLiveLeases", "leases that ended, in whatever way, count no more, from the first instant", quotaCounts},
	{"QuotaNeedsAClient", "in a pool with a quota assign must name a client", quotaNeedsClient},
	{"QuotaIsTurnedOnWhileNothingIsAssigned", "a quota can be turned on or off only while no token is assigned",
		quotaFixed},
	{"QuotaUnderPressure", "many assigns of one client at once never take it beyond its quota", quotaRace},
	{"ClientIsListed", "in a pool with a quota the listing by client shows its leases and looks at no others",
		clientListed},
	{"ClientGivesAllBack", "UnblockClient ends all leases of one client and of no other, also more than 1,000",
		clientUnblocks},
	{"ClientNeedsItsIndex", "UnblockClient in a pool without a quota is refused", clientNoIndex},
	{"UnblockQuarantines", "unblock with quarantine puts the token aside, whatever the cooldown", quarantineUnblock},
	{"RestoreBringsBack", "restore brings a quarantined token back, available at once, and no other",
		quarantineRestore},
	{"PastIsRemembered", "a token knows how often it was assigned and expired, since when, and by whom",
		pastRemembered},
	{"PastIsForgotten", "with a token its past is gone", pastForgotten},
}

// described generates tokens with metadata: value, then pairs.
func (e *env) described(pool, value string, pairs ...string) {
	e.Helper()
	e.generateAs(pool, tms.GenerateRequest{Tokens: []tms.NewToken{{Value: value, Metadata: mapOf(pairs...)}}})
}

func mapOf(pairs ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

func choicePrefer(e *env) {
	for _, selection := range []tms.Selection{tms.SelectRandom, tms.SelectFIFO, tms.SelectLIFO} {
		pool := e.pool(tms.PolicyChange{Selection: &selection, Labels: &[]string{"k"}})
		values := numbered("t", 9)
		e.fill(pool, values...)
		e.equal("preferred", e.takeAs(pool, tms.AssignRequest{Prefer: "t5"})[0].Value, "t5")
		three := e.takeAs(pool, tms.AssignRequest{Prefer: "t4", Count: 3})
		e.equal("the first of three", three[0].Value, "t4")
		for _, not := range []string{"t5", "missing"} {
			if e.takeAs(pool, tms.AssignRequest{Prefer: not})[0].Value == "t5" {
				e.Errorf("a token that is assigned was given")
			}
		}
		e.described(pool, "x", "k", "v")
		match := tms.AssignRequest{Prefer: "t8", Match: mapOf("k", "v")}
		e.equal("preferred, but it does not suit", e.takeAs(pool, match)[0].Value, "x")
	}
}

func choiceMatch(e *env) {
	pool := e.pool(tms.PolicyChange{Labels: &[]string{"site", "kind", "é:1"}})
	e.described(pool, "1", "site", "Oslo", "kind", "a", "é:1", "x", "other", "y")
	e.described(pool, "2", "site", "Oslo", "kind", "b")
	e.described(pool, "3", "site", "Oslo:", "kind", "")
	e.fill(pool, "4")
	try := func(want string, pairs ...string) {
		e.Helper()
		result := e.tryTake(pool, tms.AssignRequest{Match: mapOf(pairs...)})
		if want == "" {
			e.refused(result.Err, tms.ErrNoTokenAvailable)
			return
		}
		e.must(result.Err)
		e.equal("matched", result.Tokens[0].Value, want)
		_, err := e.giveBack(pool, keyOf(result.Tokens[0]))
		e.must(err)
	}
	try("1", "kind", "a")
	try("1", "site", "Oslo", "é:1", "x")
	try("1", "site", "Oslo", "kind", "a", "é:1", "x")
	try("2", "site", "Oslo", "kind", "b")
	try("3", "site", "Oslo:")
	try("3", "kind", "")
	try("", "kind", "c")
	try("", "site", "Oslo", "kind", "")
	e.refused(e.tryTake(pool, tms.AssignRequest{Count: 3, Match: mapOf("site", "Oslo")}).Err, tms.ErrNoTokenAvailable)
	both := e.takeAs(pool, tms.AssignRequest{Count: 2, Match: mapOf("site", "Oslo")})
	e.equal("both", slices.Sorted(slices.Values(valuesOf(both))), []string{"1", "2"})
	try("", "site", "Oslo")
	e.must(e.drop(pool, byValue("3")))
	try("", "site", "Oslo:")
}

func choiceLabels(e *env) {
	pool := e.pool(tms.PolicyChange{Labels: &[]string{"site"}})
	e.described(pool, "1", "site", "Oslo", "kind", "a")
	err := e.tryTake(pool, tms.AssignRequest{Match: mapOf("site", "Oslo", "kind", "a")}).Err
	e.refused(err, tms.ErrInvalidRequest)
	e.equal("field", refusalOf(err).Field, "match.kind")
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 1})
}

func choiceSelection(e *env) {
	pool := e.pool(tms.PolicyChange{Labels: &[]string{"k"}, Selection: new(tms.SelectFIFO)})
	for i := range 6 {
		e.described(pool, fmt.Sprint(i), "k", fmt.Sprint(i%2))
		e.advance(ms)
	}
	odd := tms.AssignRequest{Match: mapOf("k", "1")}
	e.equal("fifo", e.takeAs(pool, odd)[0].Value, "1")
	e.change(pool, tms.PolicyChange{Selection: new(tms.SelectLIFO)})
	e.equal("lifo", e.takeAs(pool, odd)[0].Value, "5")
	e.change(pool, tms.PolicyChange{Selection: new(tms.SelectRandom)})
	e.equal("random", e.takeAs(pool, odd)[0].Value, "3")
	seen := map[string]bool{}
	for range 100 {
		t := e.takeAs(pool, tms.AssignRequest{Match: mapOf("k", "0")})[0]
		seen[t.Value] = true
		_, err := e.giveBack(pool, keyOf(t))
		e.must(err)
	}
	e.equal("drawn at random", len(seen), 3)
}

func choiceNeedle(e *env) {
	pool := e.pool(tms.PolicyChange{Labels: &[]string{"k"}})
	for values := range slices.Chunk(numbered("t", 3000), tms.MaxLabelledBatch) {
		e.fill(pool, values...)
	}
	e.described(pool, "needle", "k", "v")
	request := tms.AssignRequest{Match: mapOf("k", "v"), TTL: second}
	e.equal("found", e.takeAs(pool, request)[0].Value, "needle")
	e.advance(second + ms)
	e.equal("found again when its lease ended", e.takeAs(pool, request)[0].Value, "needle")
	e.advance(5*minute + ms)
	e.refused(e.tryTake(pool, request).Err, tms.ErrNoTokenAvailable)
}

func choiceFixed(e *env) {
	pool := e.pool(tms.PolicyChange{Labels: &[]string{"a", "b"}})
	e.fill(pool, "t")
	e.change(pool, tms.PolicyChange{Labels: &[]string{"b", "a"}, Grace: new(second)})
	_, err := e.PutPool(e.Context(), pool, tms.PolicyChange{Labels: &[]string{"a"}, Grace: new(minute)})
	e.refused(err, tms.ErrPoolInUse)
	got, _, err := e.Pool(e.Context(), pool)
	e.must(err)
	e.equal("grace", got.Policy.Grace, second)
	e.advance(5*minute + ms)
	e.equal("labels", e.change(pool, tms.PolicyChange{Labels: &[]string{}}).Policy.Labels, []string(nil))
}

func quotaHolds(e *env) {
	pool := e.pool(tms.PolicyChange{MaxLeasesPerClient: new(2)})
	e.fill(pool, numbered("t", 10)...)
	mine := tms.AssignRequest{ClientID: "me"}
	e.refused(e.tryTake(pool, tms.AssignRequest{ClientID: "me", Count: 3}).Err, tms.ErrQuotaExceeded)
	first := e.takeAs(pool, mine)[0]
	e.takeAs(pool, mine)
	e.refused(e.tryTake(pool, mine).Err, tms.ErrQuotaExceeded)
	e.takeAs(pool, tms.AssignRequest{ClientID: "you", Count: 2})
	results, err := e.Assign(e.Context(), pool, []tms.AssignRequest{{ClientID: "they"}, mine,
		{ClientID: "they", Count: 2},
		{ClientID: "they"}})
	e.must(err)
	for i, want := range []tms.Code{"", tms.ErrQuotaExceeded, tms.ErrQuotaExceeded, ""} {
		e.equal(fmt.Sprint("item ", i), tms.CodeOf(results[i].Err), want)
	}
	_, err = e.giveBack(pool, keyOf(first))
	e.must(err)
	e.takeAs(pool, mine)
	e.change(pool, tms.PolicyChange{MaxLeasesPerClient: new(3)})
	e.takeAs(pool, mine)
	e.refused(e.tryTake(pool, mine).Err, tms.ErrQuotaExceeded)
}

func quotaCounts(e *env) {
	pool := e.pool(tms.PolicyChange{MaxLeasesPerClient: new(1), LeaseTTL: new(minute), Grace: new(second)})
	e.fill(pool, numbered("t", 10)...)
	mine := tms.AssignRequest{ClientID: "me"}
	t := e.takeAs(pool, mine)[0]
	e.advance(30 * second)
	_, err := e.keep(pool, keyOf(t))
	e.must(err)
	e.advance(minute + second)
	e.refused(e.tryTake(pool, mine).Err, tms.ErrQuotaExceeded) // it can still be revived
	e.advance(ms)
	t = e.takeAs(pool, mine)[0]
	e.must(e.drop(pool, keyOf(t)))
	t = e.takeAs(pool, mine)[0]
	_, err = e.giveBack(pool, tms.LeaseKey{Token: t.Value, LeaseID: t.Lease.ID, Quarantine: true})
	e.must(err)
	e.takeAs(pool, mine)
}

func quotaNeedsClient(e *env) {
	pool := e.pool(tms.PolicyChange{MaxLeasesPerClient: new(1)})
	e.fill(pool, "a")
	err := e.tryTake(pool, tms.AssignRequest{}).Err
	e.refused(err, tms.ErrInvalidRequest)
	e.equal("field", refusalOf(err).Field, "client_id")
}

func quotaFixed(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	t := e.take(pool)
	on, off := tms.PolicyChange{MaxLeasesPerClient: new(1)}, tms.PolicyChange{MaxLeasesPerClient: new(0)}
	_, err := e.PutPool(e.Context(), pool, on)
	e.refused(err, tms.ErrPoolInUse)
	_, err = e.giveBack(pool, keyOf(t))
	e.must(err)
	e.change(pool, on)
	e.takeAs(pool, tms.AssignRequest{ClientID: "c"})
	_, err = e.PutPool(e.Context(), pool, off)
	e.refused(err, tms.ErrPoolInUse)
	e.advance(minute + ms)
	e.change(pool, off)
	e.take(pool)
}

func quotaRace(e *env) {
	pool := e.pool(tms.PolicyChange{MaxLeasesPerClient: new(3)})
	e.fill(pool, numbered("t", 40)...)
	var won atomic.Int64
	parallel(32, func(i int) {
		result := e.tryTake(pool, tms.AssignRequest{ClientID: fmt.Sprint("client ", i%4)})
		e.expect("assign", result.Err, "", tms.ErrQuotaExceeded)
		won.Add(int64(len(result.Tokens)))
	})
	e.equal("leases of four clients", won.Load(), int64(12))
}

func clientListed(e *env) {
	pool := e.pool(tms.PolicyChange{MaxLeasesPerClient: new(1000)})
	e.fill(pool, numbered("t", 300)...)
	e.takeAs(pool, tms.AssignRequest{ClientID: "other", Count: 250})
	mine := valuesOf(e.takeAs(pool, tms.AssignRequest{ClientID: "me", Count: 10}))
	slices.Sort(mine)
	page, err := e.Tokens(e.Context(), pool, tms.Filter{ClientID: "me"}, "", 10)
	e.must(err)
	e.equal("on the first page, which looks at ten", slices.Sorted(slices.Values(valuesOf(page.Tokens))), mine)
	e.equal("read in pages of 3", len(e.list(pool, tms.Filter{ClientID: "me"}, 3)), 10)
	e.equal("of nobody", len(e.list(pool, tms.Filter{ClientID: "nobody"}, 3)), 0)
	e.equal("available and mine", len(e.list(pool, tms.Filter{ClientID: "me", State: tms.Available}, 3)), 0)
}

func clientUnblocks(e *env) {
	pool := e.pool(tms.PolicyChange{MaxLeasesPerClient: new(5000)})
	e.fill(pool, numbered("t", 2600)...)
	for range 5 {
		e.takeAs(pool, tms.AssignRequest{ClientID: "me", Count: 500})
	}
	other := e.takeAs(pool, tms.AssignRequest{ClientID: "other", Count: 50})
	n, err := e.UnblockClient(e.Context(), pool, "me")
	e.must(err)
	e.equal("given back", n, 2500)
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 2550, Assigned: 50})
	_, err = e.keep(pool, keyOf(other[7]))
	e.must(err)
	n, err = e.UnblockClient(e.Context(), pool, "me")
	e.must(err)
	e.equal("given back again", n, 0)
}

func clientNoIndex(e *env) {
	pool := e.pool(tms.PolicyChange{})
	_, err := e.UnblockClient(e.Context(), pool, "me")
	e.refused(err, tms.ErrInvalidRequest)
	_, err = e.UnblockClient(e.Context(), newName(), "me")
	e.refused(err, tms.ErrPoolNotFound)
}

func quarantineUnblock(e *env) {
	pool := e.pool(tms.PolicyChange{Cooldown: new(minute)})
	e.fill(pool, "a", "b")
	t := e.takeAs(pool, tms.AssignRequest{Prefer: "a"})[0]
	e.advance(second)
	results, err := e.Unblock(e.Context(), pool, []tms.LeaseKey{{Token: "a", LeaseID: t.Lease.ID, Quarantine: true},
		{Token: "b", Quarantine: true}, {Token: "a", LeaseID: "wrong", Quarantine: true}})
	e.must(err)
	e.equal("codes", codes(results), []tms.Code{"", "", tms.ErrLeaseLost})
	e.equal("state", results[0].Token.State, tms.Quarantined)
	e.advance(10 * minute)
	e.is(pool, "a", tms.Quarantined)
	e.equal("sizes", e.sizes(pool), tms.Stats{Quarantined: 2})
}

func quarantineRestore(e *env) {
	pool := e.pool(tms.PolicyChange{Cooldown: new(minute), Selection: new(tms.SelectFIFO)})
	e.fill(pool, "a", "b")
	_, err := e.giveBack(pool, tms.LeaseKey{Token: "a", LeaseID: e.take(pool).Lease.ID, Quarantine: true})
	e.must(err)
	e.advance(3 * minute)
	results, err := e.Restore(e.Context(), pool, []string{"a", "b", "missing", "a"})
	e.must(err)
	e.equal("codes", codes(results), []tms.Code{"", tms.ErrNotQuarantined, tms.ErrTokenNotFound, tms.ErrNotQuarantined})
	e.equal("state", results[0].Token.State, tms.Available)
	e.equal("its clock is wound", results[0].Token.ExpiresAt, e.instant(5*minute))
	e.advance(4 * minute)
	e.equal("given", e.take(pool).Value, "a")
	empty, err := e.Restore(e.Context(), pool, nil)
	e.must(err)
	e.equal("of nothing", len(empty), 0)
	_, err = e.Restore(e.Context(), newName(), []string{"a"})
	e.refused(err, tms.ErrPoolNotFound)
}

func pastRemembered(e *env) {
	pool := e.pool(tms.PolicyChange{TokenTTL: new(0 * ms), Grace: new(second)})
	e.fill(pool, "a")
	past := func(want tms.Past) {
		e.Helper()
		e.equal("past", *e.lookUp(pool, "a").Past, want)
		e.equal("past, listed", *e.list(pool, tms.Filter{}, 10)[0].Past, want)
	}
	past(tms.Past{})
	begun := e.instant(0)
	t := e.takeAs(pool, tms.AssignRequest{ClientID: "one two"})[0]
	e.advance(second)
	_, err := e.keep(pool, keyOf(t))
	e.must(err)
	past(tms.Past{Assigned: 1, LastClient: "one two", Since: begun})
	_, err = e.giveBack(pool, keyOf(t))
	e.must(err)
	past(tms.Past{Assigned: 1, LastClient: "one two", Since: e.instant(0)})
	e.advance(second)
	e.takeAs(pool, tms.AssignRequest{})
	ended := e.instant(minute + second)
	e.advance(3 * minute)
	past(tms.Past{Assigned: 2, Expired: 1, Since: ended})
	t = e.takeAs(pool, tms.AssignRequest{ClientID: "three"})[0]
	_, err = e.giveBack(pool, tms.LeaseKey{Token: "a", LeaseID: t.Lease.ID, Quarantine: true})
	e.must(err)
	past(tms.Past{Assigned: 3, Expired: 1, LastClient: "three", Since: e.instant(0)})
	e.advance(second)
	_, err = e.Restore(e.Context(), pool, []string{"a"})
	e.must(err)
	past(tms.Past{Assigned: 3, Expired: 1, LastClient: "three", Since: e.instant(0)})
	if t.Past != nil {
		e.Errorf("assign shows a past")
	}
}

func pastForgotten(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	t := e.takeAs(pool, tms.AssignRequest{ClientID: "c"})[0]
	_, err := e.giveBack(pool, keyOf(t))
	e.must(err)
	e.must(e.drop(pool, byValue("a")))
	e.fill(pool, "a")
	e.equal("past", *e.lookUp(pool, "a").Past, tms.Past{})
}
