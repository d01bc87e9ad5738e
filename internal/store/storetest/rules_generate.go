package storetest

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	tms "github.com/manankarani/token-manager"
)

var generateRules = []rule{
	{"GenerateDrawsValues", "a value that the user leaves out is drawn: 22 base62 characters, unique", generateDraws},
	{"GenerateBringsValues", "brought values are answered in order, and their tokens are available", generateBrings},
	{"GenerateCountsExisting",
		"a value that the pool has, or that stands twice in the request, counts as existing", generateExisting},
	{"GenerateWindsTheClock",
		"generate winds the token clock of an existing token and changes nothing else of it", generateWinds},
	{"GenerateKeepsMetadata",
		"a token keeps the metadata it was brought with, in every answer about it", generateMetadata},
	{"GenerateTellsOfOtherMetadata",
		"a token that has other metadata than is brought for it counts as differing, and keeps its own",
		generateDiffers},
	{"UpdateChangesMetadata",
		"an update gives existing tokens, in any state, the metadata that is brought for them, and changes " +
			"nothing else",
		generateUpdates},
	{"UpdateMovesToTheNewLabels", "an updated token is found by its new labels, and no more by its old ones",
		updateRelabels},
	{"RepeatedUpdateChangesOnce", "an update that is repeated with its request_id changes nothing more", updateRepeats},
	{"PoolHasAMaximum", "generate beyond max_tokens is refused with pool_full, and creates nothing", generateFull},
	{"DeadTokensTakeNoRoom",
		"a token whose clock has run out does not count towards max_tokens, swept or not", generateOverDead},
	{"EveryStateTakesRoom", "max_tokens counts the tokens in any state", generateAllStates},
	{"GenerateTenThousand", "one generate takes 10,000 tokens", generateMany},
	{"LabelledBatchIsBounded",
		"in a pool with labels one generate takes 1,000 tokens, and more are refused by the field " +
			"that says how many, or by a client taken in parts", generateLabelled},
	{"TokenTTLZeroIsForEver", "token_ttl 0 means that the token clock never runs out", tokenTTLZero},
}

func described(value string, pairs ...string) tms.NewToken {
	return tms.NewToken{Value: value, Metadata: mapOf(pairs...)}
}

func (e *env) put(pool string, update bool, tokens ...tms.NewToken) tms.Generated {
	e.Helper()
	return e.generateAs(pool, tms.GenerateRequest{Tokens: tokens, Update: update})
}

// counted are the counts of a generate.
func counted(g tms.Generated) []int { return []int{g.Created, g.Existing, g.Differing} }

func generateDiffers(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.put(pool, false, described("same", "k", "v", "l", "w"), described("other", "k", "v"), tms.NewToken{Value: "bare"})
	g := e.put(pool, false, described("same", "l", "w", "k", "v"), described("other", "k", "x"),
		described("bare", "k", "v"),
		described("new", "k", "v"), described("new", "k", "x"), described("other", "k", "y"))
	e.equal("created, existing and differing", counted(g), []int{1, 5, 2})
	e.equal("created, existing and differing without metadata", counted(e.generate(pool, "same", "other")),
		[]int{0, 2, 0})
	for value, metadata := range map[string]map[string]string{"other": mapOf("k", "v"), "bare": nil,
		"new": mapOf("k", "v")} {
		e.equal("metadata of "+value, e.look(pool, value).Metadata, metadata)
	}
}

func generateUpdates(e *env) {
	pool := e.pool(tms.PolicyChange{Cooldown: new(minute), MaxLeasesPerClient: new(9)})
	values := []string{"free", "held", "resting", "broken", "bare"}
	for _, value := range values {
		e.put(pool, false, described(value, "k", "v"))
	}
	held := e.takeAs(pool, tms.AssignRequest{ClientID: "c", Prefer: "held"})[0]
	for value, quarantine := range map[string]bool{"resting": false, "broken": true} {
		key := keyOf(e.takeAs(pool, tms.AssignRequest{ClientID: "c", Prefer: value})[0])
		key.Quarantine = quarantine
		_, err := e.giveBack(pool, key)
		e.must(err)
	}
	before := map[string]tms.Token{}
	for _, value := range values {
		before[value] = e.lookUp(pool, value)
	}
	g := e.put(pool, true, described("free", "k", "x"), described("held", "l", "y"), described("resting", "k", "x"),
		described("broken", "k", "x", "l", "y"), tms.NewToken{Value: "bare"}, described("new", "k", "x"),
		described("free", "k", "z"))
	e.equal("created, existing and differing", counted(g), []int{1, 6, 4})
	for value, metadata := range map[string]map[string]string{
		"free": mapOf("k", "x"), "held": mapOf("l", "y"), "resting": mapOf("k", "x"),
		"broken": mapOf("k", "x", "l", "y"),
		"bare":   mapOf("k", "v"),
	} {
		want := before[value]
		want.Metadata = metadata
		e.equal(value, e.lookUp(pool, value), want)
	}
	kept, err := e.keep(pool, keyOf(held))
	e.must(err)
	e.equal("metadata in an answer", kept.Metadata, mapOf("l", "y"))
	e.equal("differing now", counted(e.put(pool, true, described("free", "k", "x"))), []int{0, 1, 0})
}

func updateRelabels(e *env) {
	pool := e.pool(tms.PolicyChange{Labels: &[]string{"site", "floor"}})
	oslo, bergen := mapOf("site", "Oslo"), mapOf("site", "Bergen")
	e.put(pool, false, described("a", "site", "Oslo", "floor", "1"), described("b", "site", "Oslo"))
	held := e.takeAs(pool, tms.AssignRequest{Prefer: "b"})[0]
	e.put(pool, true, described("a", "site", "Bergen", "floor", "1"), described("b", "site", "Bergen"))
	e.refused(e.tryTake(pool, tms.AssignRequest{Match: oslo}).Err, tms.ErrNoTokenAvailable)
	a := e.takeAs(pool, tms.AssignRequest{Match: mapOf("site", "Bergen", "floor", "1")})[0]
	e.equal("the relabelled", a.Value, "a")
	_, err := e.giveBack(pool, keyOf(held))
	e.must(err)
	e.refused(e.tryTake(pool, tms.AssignRequest{Match: oslo}).Err, tms.ErrNoTokenAvailable)
	e.equal("the one relabelled under its lease", e.takeAs(pool, tms.AssignRequest{Match: bergen})[0].Value, "b")
}

func updateRepeats(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.put(pool, false, described("a", "k", "v"))
	request := tms.GenerateRequest{Tokens: []tms.NewToken{described("a", "k", "x")}, RequestID: "r", Update: true}
	first := e.generateAs(pool, request)
	e.equal("created, existing and differing", counted(first), []int{0, 1, 1})
	e.put(pool, true, described("a", "k", "y"))
	e.equal("repeated", e.generateAs(pool, request), first)
	e.equal("metadata", e.look(pool, "a").Metadata, mapOf("k", "y"))
	request.Update = false
	_, err := e.Generate(e.Context(), pool, request)
	e.refused(err, tms.ErrRequestIDReused)
}

func generateDraws(e *env) {
	pool := e.pool(tms.PolicyChange{})
	g := e.generate(pool, make([]string, 100)...)
	e.equal("created", g.Created, 100)
	e.equal("existing", g.Existing, 0)
	e.equal("expires_at", g.ExpiresAt, e.instant(5*minute))
	shape, seen := regexp.MustCompile(`^[0-9A-Za-z]{22}$`), map[string]bool{}
	for _, value := range g.Tokens {
		if seen[value] || !shape.MatchString(value) {
			e.Fatalf("drawn value %q is not 22 base62 characters, or not unique", value)
		}
		seen[value] = true
		e.is(pool, value, tms.Available)
	}
	e.equal("values", len(seen), 100)
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 100})
}

func generateBrings(e *env) {
	pool := e.pool(tms.PolicyChange{TokenTTL: new(minute)})
	want := tms.Generated{Tokens: []string{"c", "a", "b"}, Created: 3, ExpiresAt: e.instant(minute)}
	e.equal("generated", e.generate(pool, "c", "a", "b"), want)
	e.equal("token", e.look(pool, "a"),
		tms.Token{Pool: pool, Value: "a", State: tms.Available, ExpiresAt: e.instant(minute)})
}

func generateExisting(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	g := e.generate(pool, "a", "b", "b", "c")
	e.equal("values", g.Tokens, []string{"a", "b", "b", "c"})
	e.equal("created and existing", []int{g.Created, g.Existing}, []int{2, 2})
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 3})
}

func generateWinds(e *env) {
	pool := e.pool(tms.PolicyChange{TokenTTL: new(minute), LeaseTTL: new(2 * minute)})
	e.fill(pool, "a")
	lease := e.take(pool)
	e.fill(pool, "b")
	e.advance(minute)
	g := e.generate(pool, "a", "b")
	e.equal("created and existing", []int{g.Created, g.Existing}, []int{0, 2})
	e.equal("expires_at", g.ExpiresAt, e.instant(minute))
	e.equal("expires_at of b", e.look(pool, "b").ExpiresAt, e.instant(minute))
	assigned := e.look(pool, "a")
	e.equal("expires_at of a", assigned.ExpiresAt, e.instant(minute))
	e.equal("lease of a", assigned.Lease.ExpiresAt, lease.Lease.ExpiresAt)
	e.equal("fence of a", assigned.Lease.Fence, lease.Lease.Fence)
}

func generateMetadata(e *env) {
	pool := e.pool(tms.PolicyChange{OnLeaseExpiry: new(tms.ExpiryQuarantines), Cooldown: new(minute)})
	first := map[string]string{"region": "eu", "ключ": "значение \"}{:\n"}
	tokens := []tms.NewToken{{Value: "a", Metadata: first}, {Value: "a", Metadata: map[string]string{"twice": "no"}}}
	_, err := e.Generate(e.Context(), pool, tms.GenerateRequest{Tokens: tokens})
	e.must(err)
	tokens[0].Metadata = map[string]string{"region": "us"}
	_, err = e.Generate(e.Context(), pool, tms.GenerateRequest{Tokens: tokens})
	e.must(err)
	lease := e.take(pool)
	e.equal("of assign", lease.Metadata, first)
	kept, err := e.keep(pool, keyOf(lease))
	e.must(err)
	e.equal("of keep-alive", kept.Metadata, first)
	back, err := e.giveBack(pool, keyOf(lease))
	e.must(err)
	e.equal("of unblock", back.Metadata, first)
	e.equal("of lookup", e.look(pool, "a").Metadata, first)
	e.equal("of the listing", e.list(pool, tms.Filter{}, 10)[0].Metadata, first)
	e.must(e.drop(pool, byValue("a")))
	e.fill(pool, "a")
	e.equal("of a token generated again", e.look(pool, "a").Metadata, map[string]string(nil))
}

func generateFull(e *env) {
	pool := e.pool(tms.PolicyChange{MaxTokens: new(3)})
	e.fill(pool, "a", "b")
	e.advance(minute)
	_, err := e.Generate(e.Context(), pool, tms.GenerateRequest{Tokens: newTokens("c", "a", "d")})
	e.refused(err, tms.ErrPoolFull)
	e.is(pool, "c", "")
	e.equal("expires_at of a", e.look(pool, "a").ExpiresAt, e.instant(4*minute))
	e.fill(pool, "c")
	e.equal("existing", e.generate(pool, "a", "b", "c").Existing, 3)
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 3})
	e.must(e.drop(pool, byValue("a")))
	e.fill(pool, "d")
}

func generateOverDead(e *env) {
	const size = 1500
	pool := e.pool(tms.PolicyChange{MaxTokens: new(size), TokenTTL: new(minute)})
	e.fill(pool, numbered("old", size)...)
	e.advance(minute)
	_, err := e.Generate(e.Context(), pool, tms.GenerateRequest{Tokens: newTokens("new")})
	e.refused(err, tms.ErrPoolFull)
	e.advance(ms)
	e.fill(pool, numbered("new", size)...)
	e.is(pool, "old0", "")
	e.sweepAll(pool)
	e.equal("sizes", e.sizes(pool), tms.Stats{Available: size})
}

func generateAllStates(e *env) {
	pool := e.pool(tms.PolicyChange{MaxTokens: new(4), Cooldown: new(minute), Selection: new(tms.SelectFIFO),
		OnLeaseExpiry: new(tms.ExpiryQuarantines)})
	e.fill(pool, "a", "b", "c", "d")
	e.takeAs(pool, tms.AssignRequest{TTL: second})
	e.advance(second + ms)
	_, err := e.giveBack(pool, keyOf(e.take(pool)))
	e.must(err)
	e.take(pool)
	e.equal("sizes", e.sizes(pool), tms.Stats{Available: 1, Assigned: 1, Cooling: 1, Quarantined: 1})
	_, err = e.Generate(e.Context(), pool, tms.GenerateRequest{Tokens: newTokens("e")})
	e.refused(err, tms.ErrPoolFull)
}

func generateMany(e *env) {
	pool := e.pool(tms.PolicyChange{})
	values := numbered(strings.Repeat("n", 20), tms.MaxBatch)
	e.fill(pool, values...)
	e.equal("existing", e.generate(pool, values...).Existing, tms.MaxBatch)
	e.equal("sizes", e.stats(pool), tms.Stats{Available: tms.MaxBatch})
}

func generateLabelled(e *env) {
	pool := e.pool(tms.PolicyChange{Labels: &[]string{"k"}})
	values := numbered("n", tms.MaxLabelledBatch+1)
	drawn := make([]tms.NewToken, len(values))
	for field, tokens := range map[string][]tms.NewToken{"tokens": newTokens(values...), "count": drawn} {
		before := e.stats(pool).Available
		made, err := e.Generate(e.Context(), pool, tms.GenerateRequest{Tokens: tokens, RequestID: field})
		if err == nil && e.parts() {
			e.equal("created", made.Created, len(tokens))
			continue
		}
		e.refused(err, tms.ErrInvalidRequest)
		if refusal, ok := errors.AsType[*tms.Refusal](err); !ok || refusal.Field != field {
			e.Errorf("%v is a refusal of another field than %s", err, field)
		}
		e.equal("available", e.stats(pool).Available, before)
	}
	e.generate(pool, values[:tms.MaxLabelledBatch]...)
}

// parts reports whether the store is a client that sends what is too much for one request in parts.
func (e *env) parts() bool {
	_, parts := e.stores[0].(interface{ InParts() })
	return parts
}

func tokenTTLZero(e *env) {
	pool := e.pool(tms.PolicyChange{TokenTTL: new(0 * second)})
	if g := e.generate(pool, "a"); !g.ExpiresAt.IsZero() {
		e.Fatalf("expires_at is %v instead of zero", g.ExpiresAt)
	}
	e.advance(10 * tms.MaxTTL)
	e.equal("token", e.look(pool, "a"), tms.Token{Pool: pool, Value: "a", State: tms.Available})
	done := e.sweep(pool, 10)
	if done.Total() != 0 || !done.NextDue.IsZero() {
		e.Fatalf("nothing will be due, but the sweep says %+v", done)
	}
	e.take(pool)
}

// numbered returns values that begin with the prefix.
func numbered(prefix string, n int) []string {
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return values
}
