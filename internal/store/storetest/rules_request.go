package storetest

import (
	"context"
	"strings"

	tms "github.com/manankarani/token-manager"
)

var requestRules = []rule{
	{"BatchesAnswerEachKey", "a batch answers each key in order, as if one came after the other", batchInOrder},
	{"BriefBatches", "a batch that is brief does what it does otherwise, and says how long each lease lasts at least",
		batchBrief},
	{"SameTokenTwiceInABatch", "a token that stands twice in a batch meets each step after the other", batchTwice},
	{"LongBatches", "a batch of 10,000 keys is carried out, in steps", batchLong},
	{"EmptyBatches", "an empty batch has no results and is no error", batchEmpty},
	{"AnyValueIsAValue", "a token may be named by any printable text up to 512 bytes without a blank at its ends",
		hostileValues},
	{"AnyClientIDIsOne", "a client_id may be any printable text up to 256 bytes, or empty", hostileClients},
	{"CancelledIsAnError", "a method whose context is over ends with an error", cancelled},
}

// codes returns the code of each result; "" where there is none.
func codes(results []tms.TokenResult) (all []tms.Code) {
	for _, r := range results {
		all = append(all, tms.CodeOf(r.Err))
	}
	return all
}

func batchInOrder(e *env) {
	pool, lease := oneOfEach(e)
	keys := []tms.LeaseKey{byValue("missing"), keyOf(lease), byValue("available"),
		{Token: "assigned", LeaseID: "wrong"},
		byValue("quarantined"), byValue("cooling"), {Token: "cooling", LeaseID: "x"}, byValue("assigned")}
	kept, err := e.KeepAlive(e.Context(), pool, keys)
	e.must(err)
	e.equal("keep-alive", codes(kept), []tms.Code{tms.ErrTokenNotFound, "", "", tms.ErrLeaseLost, "", "",
		tms.ErrLeaseLost,
		""})
	freed, err := e.Unblock(e.Context(), pool, keys)
	e.must(err)
	e.equal("unblock", codes(freed), []tms.Code{tms.ErrTokenNotFound, "", tms.ErrNotAssigned, tms.ErrLeaseLost,
		tms.ErrNotAssigned, tms.ErrNotAssigned, tms.ErrLeaseLost, tms.ErrNotAssigned})
	gone, err := e.Delete(e.Context(), pool, keys)
	e.must(err)
	var got []tms.Code
	for _, err := range gone {
		got = append(got, tms.CodeOf(err))
	}
	e.equal("delete", got, []tms.Code{tms.ErrTokenNotFound, tms.ErrLeaseLost, "", tms.ErrLeaseLost, "", "",
		tms.ErrTokenNotFound, ""})
	e.equal("sizes", e.sizes(pool), tms.Stats{})
}

func batchBrief(e *env) {
	pool, lease := oneOfEach(e)
	keys := []tms.LeaseKey{byValue("missing"), keyOf(lease), byValue("available"),
		{Token: "assigned", LeaseID: "wrong"}, byValue("quarantined"),
		{Token: "assigned", LeaseID: lease.Lease.ID, TTL: 2 * minute}}
	for i := range keys {
		keys[i].Brief = true
	}
	for _, part := range [][]tms.LeaseKey{keys, keys[1:2]} {
		e.advance(second)
		kept, err := e.KeepAlive(e.Context(), pool, part)
		e.must(err)
		if len(part) > 1 {
			e.equal("keep-alive", codes(kept), []tms.Code{tms.ErrTokenNotFound, "", "", tms.ErrLeaseLost, "", ""})
		}
		got, stands := kept[len(part)-1].Token.Lease, e.look(pool, "assigned").Lease
		if got == nil || got.TTL < minute || got.TTL > stands.TTL || len(part) == 1 && got.TTL != stands.TTL {
			e.Errorf("a brief keep-alive says %+v of the lease %+v", got, stands)
		}
	}
	freed, err := e.Unblock(e.Context(), pool, keys[1:4])
	e.must(err)
	e.equal("unblock", codes(freed), []tms.Code{"", tms.ErrNotAssigned, tms.ErrLeaseLost})
	if token := freed[0].Token; token.Lease != nil || token.Value != "assigned" {
		e.Errorf("a brief unblock says %+v", token)
	}
	e.is(pool, "assigned", tms.Cooling)
	plain := e.pool(tms.PolicyChange{})
	e.fill(plain, "a")
	key := keyOf(e.take(plain))
	key.Brief = true
	freed, err = e.Unblock(e.Context(), plain, []tms.LeaseKey{key})
	e.must(err)
	e.equal("unblock", codes(freed), []tms.Code{""})
	e.is(plain, "a", tms.Available)
}

func batchTwice(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	key := keyOf(e.take(pool))
	kept, err := e.KeepAlive(e.Context(), pool, []tms.LeaseKey{key, {Token: "a", LeaseID: key.LeaseID, TTL: 2 * minute},
		key})
	e.must(err)
	e.equal("keep-alive", codes(kept), []tms.Code{"", "", ""})
	e.equal("first end", kept[0].Token.Lease.ExpiresAt, e.instant(minute))
	e.equal("last end", kept[2].Token.Lease.ExpiresAt, e.instant(2*minute))
	freed, err := e.Unblock(e.Context(), pool, []tms.LeaseKey{key, key, byValue("a")})
	e.must(err)
	e.equal("unblock", codes(freed), []tms.Code{"", tms.ErrLeaseLost, tms.ErrNotAssigned})
	gone, err := e.Delete(e.Context(), pool, []tms.LeaseKey{byValue("a"), byValue("a")})
	e.must(err)
	e.equal("first delete", gone[0], nil)
	e.refused(gone[1], tms.ErrTokenNotFound)
}

func batchLong(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, numbered("t", tms.MaxBatch)...)
	results, err := e.Assign(e.Context(), pool, make([]tms.AssignRequest, tms.MaxBatch))
	e.must(err)
	keys := make([]tms.LeaseKey, 0, tms.MaxBatch)
	for _, r := range results {
		e.must(r.Err)
		keys = append(keys, keyOf(r.Tokens[0]))
	}
	e.equal("sizes", e.stats(pool), tms.Stats{Assigned: tms.MaxBatch})
	e.advance(second)
	kept, err := e.KeepAlive(e.Context(), pool, keys)
	e.must(err)
	e.inOrder(keys, kept)
	freed, err := e.Unblock(e.Context(), pool, keys)
	e.must(err)
	e.inOrder(keys, freed)
	gone, err := e.Delete(e.Context(), pool, valuesOnly(keys))
	e.must(err)
	for _, err := range gone {
		e.must(err)
	}
	e.equal("sizes", e.stats(pool), tms.Stats{})
}

// inOrder checks that every key was carried out.
func (e *env) inOrder(keys []tms.LeaseKey, results []tms.TokenResult) {
	e.Helper()
	e.equal("results", len(results), len(keys))
	for i, r := range results {
		e.must(r.Err)
		if r.Token.Value != keys[i].Token {
			e.Fatalf("result %d is of %s instead of %s", i, r.Token.Value, keys[i].Token)
		}
	}
}

func valuesOnly(keys []tms.LeaseKey) []tms.LeaseKey {
	bare := make([]tms.LeaseKey, len(keys))
	for i, key := range keys {
		bare[i].Token = key.Token
	}
	return bare
}

func batchEmpty(e *env) {
	pool := e.pool(tms.PolicyChange{})
	assigned, err := e.Assign(e.Context(), pool, nil)
	e.must(err)
	kept, err := e.KeepAlive(e.Context(), pool, nil)
	e.must(err)
	freed, err := e.Unblock(e.Context(), pool, nil)
	e.must(err)
	gone, err := e.Delete(e.Context(), pool, nil)
	e.must(err)
	e.equal("results", len(assigned)+len(kept)+len(freed)+len(gone), 0)
}

// hostile are values that mean something to somebody: to Redis, to Lua, to JSON, to a shell, to a path.
var hostile = []string{
	"two  spaces", "{}", "{tag}", "a:b:c", `"quoted" 'twice' \`, "*?[a-z]", "../../etc/passwd", "$HOME;`id`", "%s%d%00",
	"0", "-1", "1e3", "1.0", "NaN", "nil", "null", "false", "cjson.null", "(1", "[1", "+inf", "-",
	"日本語 токен 🎟", "é", "e\u0301", "\ufffd", "<b>&amp;</b>", "a,b\u00a7", "pool", "available",
	strings.Repeat("x", tms.MaxTokenBytes), strings.Repeat("é", tms.MaxTokenBytes/2),
	strings.Repeat("x", tms.MaxTokenBytes-1) + "y",
}

func hostileValues(e *env) {
	pool := e.pool(tms.PolicyChange{Cooldown: new(second)})
	for _, value := range hostile {
		e.must(tms.ValidateNewToken("token", value))
	}
	e.equal("values", e.generate(pool, hostile...).Tokens, hostile)
	e.equal("listed", sorted(valuesOf(e.list(pool, tms.Filter{}, 1))), sorted(append([]string{}, hostile...)))
	for range hostile {
		t := e.take(pool)
		_, err := e.keep(pool, keyOf(t))
		e.must(err)
		e.is(pool, t.Value, tms.Assigned)
		_, err = e.giveBack(pool, keyOf(t))
		e.must(err)
		e.is(pool, t.Value, tms.Cooling)
	}
	e.advance(second + ms)
	for _, value := range hostile {
		e.is(pool, value, tms.Available)
		e.must(e.drop(pool, byValue(value)))
		e.is(pool, value, "")
	}
}

func hostileClients(e *env) {
	pool := e.pool(tms.PolicyChange{})
	clients := append([]string{"", " ", " c  d ", strings.Repeat("c", tms.MaxClientIDBytes)}, hostile[:29]...)
	for _, client := range clients {
		e.must(tms.AssignRequest{ClientID: client}.Validate())
		e.fill(pool, "token of '"+client+"'")
		t := e.takeAs(pool, tms.AssignRequest{ClientID: client})[0]
		e.equal("client_id", t.Lease.ClientID, client)
		e.equal("client_id looked up", e.look(pool, t.Value).Lease.ClientID, client)
		if client != "" {
			e.equal("listed", valuesOf(e.list(pool, tms.Filter{ClientID: client}, 100)), []string{t.Value})
		}
	}
}

func cancelled(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	errs := methods(e, ctx, pool)
	_, errs["PutPool"] = e.PutPool(ctx, pool, tms.PolicyChange{})
	_, errs["Pools"] = e.Pools(ctx, "", 10)
	for method, err := range errs {
		if err == nil {
			e.Errorf("%s with a context that is over says that it succeeded", method)
		}
	}
}
