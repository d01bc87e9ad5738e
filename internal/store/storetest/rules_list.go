package storetest

import (
	"slices"
	"strings"
	"time"

	tms "github.com/manankarani/token-manager"
)

var listRules = []rule{
	{"ListingShowsEveryToken", "the pages of a listing hold every token exactly once, in any page size", listAll},
	{"ListingFilters", "a listing lets through the tokens of a state, and those of a client", listFilters},
	{"ListingIsOrdered", "within a state a listing goes by instant, then by value", listOrdered},
	{"ListingIsStable", "a token that stays as it is while pages are read is on exactly one of them", listStable},
	{"PagesAreBounded", "a page looks at no more than limit tokens, and may hold fewer", listBounded},
	{"BadCursorIsRefused", "a cursor that is none of this pool's is refused with invalid_request", listBadCursor},
	{"LookupByLease",
		"a lookup with a lease_id shows the token while that is its lease, and else is lease_lost", lookupByLease},
	{"ListingHidesLeaseIDs", "neither listing nor lookup shows a lease_id", listHides},
}

func valuesOf(tokens []tms.Token) []string {
	values := make([]string, 0, len(tokens))
	for _, t := range tokens {
		values = append(values, t.Value)
	}
	return values
}

// sorted returns the values in order.
func sorted(values []string) []string {
	slices.Sort(values)
	return values
}

func listAll(e *env) {
	pool := e.pool(tms.PolicyChange{Cooldown: new(minute)})
	want := sorted(numbered("t", 40)) // all of the same instant
	e.fill(pool, want...)
	for i, t := range e.takeAs(pool, tms.AssignRequest{Count: 20}) {
		if i%2 == 0 {
			_, err := e.giveBack(pool, keyOf(t))
			e.must(err)
		}
	}
	for _, limit := range []int{1, 2, 7, 39, 40, 41, 1000} {
		e.equal("listed", sorted(valuesOf(e.list(pool, tms.Filter{}, limit))), want)
	}
}

func listFilters(e *env) {
	pool, _ := oneOfEach(e)
	e.fill(pool, "mine")
	e.takeAs(pool, tms.AssignRequest{Count: 2, ClientID: "a client, with {spaces}: é"})
	for _, f := range []struct {
		filter tms.Filter
		want   []string
	}{
		{tms.Filter{State: tms.Available}, []string{}},
		{tms.Filter{State: tms.Assigned}, []string{"assigned", "available", "mine"}},
		{tms.Filter{State: tms.Cooling}, []string{"cooling"}},
		{tms.Filter{State: tms.Quarantined}, []string{"quarantined"}},
		{tms.Filter{ClientID: "a client, with {spaces}: é"}, []string{"available", "mine"}},
		{tms.Filter{ClientID: "a client, with {spaces}: é", State: tms.Assigned}, []string{"available", "mine"}},
		{tms.Filter{ClientID: "a client, with {spaces}: é", State: tms.Cooling}, []string{}},
		{tms.Filter{ClientID: "nobody"}, []string{}},
	} {
		for _, limit := range []int{1, 2, 100} {
			e.equal("listed", sorted(valuesOf(e.list(pool, f.filter, limit))), f.want)
		}
	}
}

func listOrdered(e *env) {
	pool := aged(e, tms.SelectFIFO)
	e.equal("available", valuesOf(e.list(pool, tms.Filter{}, 3)), []string{"b", "a", "d", "c"})
	for _, more := range []time.Duration{3 * second, second, 0, second} { // of b, a, d, c
		e.takeAs(pool, tms.AssignRequest{TTL: minute + more})
	}
	e.equal("assigned", valuesOf(e.list(pool, tms.Filter{}, 3)), []string{"d", "a", "c", "b"})
}

func listStable(e *env) {
	pool := e.pool(tms.PolicyChange{Selection: new(tms.SelectFIFO)})
	e.fill(pool, numbered("moves", 10)...)
	e.advance(second)
	e.fill(pool, numbered("stays", 20)...)
	seen, cursor := map[string]int{}, ""
	for range 1000 {
		page, err := e.Tokens(e.Context(), pool, tms.Filter{}, cursor, 4)
		e.must(err)
		for _, t := range page.Tokens {
			seen[t.Value]++
		}
		if cursor = page.Next; cursor == "" {
			break
		}
		e.shuffle(pool)
	}
	for _, value := range numbered("stays", 20) {
		e.equal("times that "+value+" was listed", seen[value], 1)
	}
}

// shuffle changes some of the tokens that listStable lets move.
func (e *env) shuffle(pool string) {
	e.advance(ms)
	t := e.take(pool)
	if !strings.HasPrefix(t.Value, "moves") {
		e.Fatalf("fifo gave %s", t.Value)
	}
	if t.Lease.Fence%2 == 0 {
		e.must(e.drop(pool, keyOf(t)))
	}
	e.generate(pool, "moves new "+tms.NewValue())
}

func listBounded(e *env) {
	pool := e.pool(tms.PolicyChange{Selection: new(tms.SelectFIFO)})
	e.fill(pool, numbered("t", 30)...)
	e.takeAs(pool, tms.AssignRequest{Count: 29})
	e.takeAs(pool, tms.AssignRequest{ClientID: "rare"})
	pages, cursor, found := 0, "", 0
	for {
		page, err := e.Tokens(e.Context(), pool, tms.Filter{ClientID: "rare"}, cursor, 5)
		e.must(err)
		found += len(page.Tokens)
		pages++
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	e.equal("found", found, 1)
	if pages < 6 {
		e.Fatalf("%d pages of at most 5 tokens cannot have looked at 30", pages)
	}
}

func listBadCursor(e *env) {
	pool, other := e.pool(tms.PolicyChange{}), e.pool(tms.PolicyChange{})
	e.fill(pool, "a", "b", "c")
	e.fill(other, "a", "b", "c")
	page, err := e.Tokens(e.Context(), other, tms.Filter{}, "", 1)
	e.must(err)
	for _, cursor := range []string{page.Next, "nonsense", "{}", " ", "AAAA", page.Next + "x",
		strings.Repeat("9", 2000)} {
		_, err := e.Tokens(e.Context(), pool, tms.Filter{}, cursor, 10)
		e.refused(err, tms.ErrInvalidRequest)
	}
}

func listHides(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	want := e.take(pool)
	want.Lease.ID = ""
	e.equal("looked up", e.look(pool, "a"), want)
	want.Past = e.lookUp(pool, "a").Past
	e.equal("listed", e.list(pool, tms.Filter{}, 10), []tms.Token{want})
}

func lookupByLease(e *env) {
	pool := e.pool(tms.PolicyChange{RequireLeaseID: new(true)})
	e.generate(pool, "a", "b")
	first := e.takeAs(pool, tms.AssignRequest{Prefer: "a"})[0]
	found, err := e.Token(e.Context(), pool, keyOf(first))
	e.must(err)
	e.equal("the token", found, e.lookUp(pool, "a"))
	_, err = e.giveBack(pool, keyOf(first))
	e.must(err)
	second := e.takeAs(pool, tms.AssignRequest{Prefer: "a"})[0]
	for what, key := range map[string]tms.LeaseKey{
		"the lease before":        keyOf(first),
		"a lease that never was":  {Token: "a", LeaseID: "guessed"},
		"a lease of another":      {Token: "b", LeaseID: second.Lease.ID},
		"what stands for no name": {Token: "a", LeaseID: "-"},
	} {
		if found, err := e.Token(e.Context(), pool, key); tms.CodeOf(err) != tms.ErrLeaseLost {
			e.Errorf("%s: got %+v, error %v", what, found, err)
		}
	}
	_, err = e.Token(e.Context(), pool, tms.LeaseKey{Token: "c", LeaseID: second.Lease.ID})
	e.refused(err, tms.ErrTokenNotFound)
}
