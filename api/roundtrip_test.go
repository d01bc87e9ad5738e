package api

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	tms "github.com/manankarani/token-manager"
)

// sent is a value as it arrives when it has been written and read again.
func sent[T any](t *rapid.T, value T) (read T) {
	var wire bytes.Buffer
	if err := Encode(&wire, value); err != nil {
		t.Fatal(err)
	}
	if err := DecodeAnswer(wire.Bytes(), &read); err != nil {
		t.Fatalf("%s: %v", wire.String(), err)
	}
	return read
}

// asked is a request as a server reads it.
func asked[T any](t *rapid.T, request *T) *T {
	var wire bytes.Buffer
	if err := Encode(&wire, request); err != nil {
		t.Fatal(err)
	}
	read := new(T)
	if err := Decode(wire.Bytes(), read); err != nil {
		t.Fatalf("%s: %v", wire.String(), err)
	}
	return read
}

func same(t *rapid.T, want, got any) {
	if diff := cmp.Diff(want, got, cmp.Comparer(sameError)); diff != "" {
		t.Fatalf("sent and received differ (-sent +received):\n%s", diff)
	}
}

func sameError(a, b error) bool {
	var ra, rb *tms.Refusal
	if errors.As(a, &ra) && errors.As(b, &rb) {
		return *ra == *rb
	}
	return (a == nil) == (b == nil) && tms.CodeOf(a) == tms.CodeOf(b)
}

var (
	texts     = rapid.StringMatching(`[ -~äß€]{1,12}`)
	maybeText = rapid.OneOf(rapid.Just(""), texts)
	counts    = rapid.IntRange(0, tms.MaxMaxTokens)
	spans     = rapid.Map(rapid.Int64Range(0, tms.MaxTTL.Milliseconds()),
		func(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond })
	instants  = rapid.Map(rapid.Int64Range(1, 1<<42), func(ms int64) time.Time { return time.UnixMilli(ms) })
	maybeTime = rapid.OneOf(rapid.Just(time.Time{}), instants)
	maybeMap  = rapid.OneOf(rapid.Just[map[string]string](nil), rapid.MapOfN(texts, maybeText, 1, 4))
	states    = rapid.SampledFrom([]tms.State{tms.Available, tms.Assigned, tms.Cooling, tms.Quarantined})
)

func drawToken(t *rapid.T) tms.Token {
	token := tms.Token{
		Pool: "p", Value: texts.Draw(t, "value"), State: states.Draw(t, "state"),
		Metadata:  maybeMap.Draw(t, "metadata"),
		ExpiresAt: maybeTime.Draw(t, "expires"), ReadyAt: maybeTime.Draw(t, "ready"),
	}
	if token.State == tms.Assigned {
		token.Lease = &tms.Lease{
			ID: maybeText.Draw(t, "lease"), Fence: rapid.Int64Range(1, 1<<53-1).Draw(t, "fence"),
			ClientID:   maybeText.Draw(t, "client"),
			AssignedAt: instants.Draw(t, "assigned"), ExpiresAt: instants.Draw(t, "end"),
			TTL: spans.Draw(t, "ttl") - time.Hour,
		}
	}
	return token
}

func drawPast(t *rapid.T, token tms.Token) tms.Token {
	if token.Lease != nil {
		token.Lease.ID = "" // which nobody is shown but its holder
	}
	token.Past = &tms.Past{
		Assigned: rapid.Int64Min(0).Draw(t, "count"), Expired: rapid.Int64Min(0).Draw(t, "expired"),
		LastClient: maybeText.Draw(t, "last"), Since: maybeTime.Draw(t, "since"),
	}
	return token
}

func drawRefusal(t *rapid.T) *tms.Refusal {
	codes := slices.Sorted(maps.Keys(statuses))
	codes = slices.DeleteFunc(codes, func(c tms.Code) bool { return c == CodeFailed })
	r := &tms.Refusal{Code: rapid.SampledFrom(codes).Draw(t, "code"), Field: maybeText.Draw(t, "field"),
		Detail: texts.Draw(t, "detail"), RetryAfter: spans.Draw(t, "after")}
	if r.Code == tms.ErrNoTokenAvailable {
		r.Waiting, r.Place = counts.Draw(t, "waiting"), counts.Draw(t, "place")
	}
	return r
}

// TestAnswersComeBack sends what a store answers over the wire.
func TestAnswersComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		token := drawToken(t)
		same(t, token, sent(t, LeaseOf(token)).TMS())
		same(t, []tms.Token{token}, sent(t, AssignedOf([]tms.Token{token}, 1)).TMS())
		same(t, []tms.Token{token, token}, sent(t, AssignedOf([]tms.Token{token, token}, 2)).TMS())
		refusal := drawRefusal(t)
		same(t, refusal, sent(t, NewProblem(refusal)).Err())
		same(t, []tms.TokenResult{{Token: token}, {Err: refusal}}, sent(t, resultsOf(LeaseOf(token), refusal)).TMS())
		same(t, []error{nil, refusal}, sent(t, resultsOf(Token{Pool: "p", Token: "t", Deleted: true}, refusal)).Errs())
		known := drawPast(t, token)
		same(t, known, sent(t, TokenOf(known)).TMS())
		page := tms.Page{Tokens: []tms.Token{known, known}, Next: maybeText.Draw(t, "next")}
		same(t, page, sent(t, Tokens{[]Token{TokenOf(known), TokenOf(known)}, page.Next}).TMS())
	})
}

func resultsOf(token Token, refusal error) Results {
	return Results{[]Result{{Token: &token}, {Problem: NewProblem(refusal)}}}
}

func TestGeneratedAndPoolsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		generated := tms.Generated{
			Tokens: rapid.SliceOfN(texts, 1, 4).Draw(t, "tokens"), Created: counts.Draw(t, "created"),
			Existing:  counts.Draw(t, "existing"),
			Differing: counts.Draw(t, "differing"), ExpiresAt: maybeTime.Draw(t, "expires"),
		}
		same(t, generated, sent(t, GeneratedOf("p", generated)).TMS())
		pool := tms.Pool{Name: "p", Policy: drawPolicy(t)}
		stats := tms.Stats{
			Available: counts.Draw(t, "available"), Assigned: counts.Draw(t, "assigned"),
			Cooling:     counts.Draw(t, "cooling"),
			Quarantined: counts.Draw(t, "quarantined"), Waiting: counts.Draw(t, "waiting"),
			Expired: tms.ExpiryCounts{Released: rapid.Int64Min(0).Draw(t, "r"),
				Quarantined: rapid.Int64Min(0).Draw(t, "q"),
				Deleted:     rapid.Int64Min(0).Draw(t, "d")},
		}
		gotPool, gotStats := sent(t, PoolStatsOf(pool, stats)).TMS()
		same(t, pool, gotPool)
		same(t, stats, gotStats)
		if rapid.Bool().Draw(t, "changed") {
			pool.Was = new(drawPolicy(t))
		}
		gotPool, gotStats = sent(t, PoolOf(pool)).TMS()
		same(t, pool, gotPool)
		same(t, tms.Stats{}, gotStats)
	})
}

func drawPolicy(t *rapid.T) tms.Policy {
	return tms.Policy{
		MaxTokens: counts.Draw(t, "max_tokens"), LeaseTTL: spans.Draw(t, "lease_ttl"),
		MaxLease: spans.Draw(t, "max_lease"),
		TokenTTL: spans.Draw(t, "token_ttl"), Grace: spans.Draw(t, "grace"), Cooldown: spans.Draw(t, "cooldown"),
		OnLeaseExpiry: rapid.SampledFrom([]tms.OnLeaseExpiry{tms.ExpiryReleases, tms.ExpiryDeletes,
			tms.ExpiryQuarantines}).Draw(t, "expiry"),
		Selection: rapid.SampledFrom([]tms.Selection{tms.SelectRandom, tms.SelectFIFO, tms.SelectLIFO}).Draw(t,
			"selection"),
		RequireLeaseID: rapid.Bool().Draw(t, "require"), Paused: rapid.Bool().Draw(t, "paused"),
		MaxLeasesPerClient: counts.Draw(t, "quota"), RequestTTL: spans.Draw(t, "request_ttl"),
		Labels: rapid.SampledFrom([][]string{nil, {"a"}, {"a", "b", "c"}}).Draw(t, "labels"),
	}
}

// TestRequestsArriveAsTheyWereMeant writes what a client asks for and reads it as the server does. A count that was
// left out arrives as one.
func TestRequestsArriveAsTheyWereMeant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		assign := tms.AssignRequest{
			ClientID: maybeText.Draw(t, "client"), Count: rapid.IntRange(0, tms.MaxAssignCount).Draw(t, "count"),
			TTL:    drawTTL(t),
			Prefer: maybeText.Draw(t, "prefer"), Match: maybeMap.Draw(t, "match"), RequestID: maybeText.Draw(t, "id"),
			Wait: spans.Draw(t, "wait"),
		}
		got, err := asked(t, AssignRequestOf("p", assign)).AssignRequest()
		same(t, assign.Validate(), err)
		assign.Count = max(assign.Count, 1)
		same(t, assign, got)
		generate := drawGenerate(t)
		gotGenerate, err := asked(t, GenerateRequestOf("p", generate)).GenerateRequest()
		same(t, nil, err)
		same(t, generate, gotGenerate)
	})
}

func drawTTL(t *rapid.T) time.Duration {
	if ttl := spans.Draw(t, "ttl"); ttl >= tms.MinTTL {
		return ttl
	}
	return 0
}

func drawGenerate(t *rapid.T) tms.GenerateRequest {
	r := tms.GenerateRequest{RequestID: maybeText.Draw(t, "id"), Update: rapid.Bool().Draw(t, "update")}
	for range rapid.IntRange(1, 4).Draw(t, "tokens") {
		r.Tokens = append(r.Tokens, tms.NewToken{Value: strings.TrimSpace(maybeText.Draw(t, "value")),
			Metadata: maybeMap.Draw(t, "metadata")})
	}
	return r
}

func TestKeysArriveAsTheyWereMeant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := tms.LeaseKey{Token: texts.Draw(t, "token"), LeaseID: maybeText.Draw(t, "lease")}
		got, batch, err := asked(t, DeleteRequestOf("p", []tms.LeaseKey{key, key})).Keys()
		same(t, []any{[]tms.LeaseKey{key, key}, true, nil}, []any{got, batch, err})
		renewed := key
		renewed.TTL = drawTTL(t)
		got, batch, err = asked(t, KeepAliveRequestOf("p", []tms.LeaseKey{renewed, key})).Keys()
		same(t, []any{[]tms.LeaseKey{renewed, key}, true, nil}, []any{got, batch, err})
		broken := key
		broken.Quarantine = rapid.Bool().Draw(t, "quarantine")
		got, batch, err = asked(t, UnblockRequestOf("p", []tms.LeaseKey{broken, key})).Keys()
		same(t, []any{[]tms.LeaseKey{broken, key}, true, nil}, []any{got, batch, err})
	})
}

// TestWhatIsNotAsItShouldBeIsAFailure: a failure that the server tells of, and answers that no server of ours sends.
func TestWhatIsNotAsItShouldBeIsAFailure(t *testing.T) {
	for name, err := range map[string]error{
		"failed":             NewProblem(errors.New("secret")).Err(),
		"a foreign problem":  (&Problem{Status: 502, Title: "Bad Gateway"}).Err(),
		"an empty result":    Result{}.TMS().Err,
		"a failed result":    Result{Problem: NewProblem(errors.New("secret"))}.TMS().Err,
		"a result of delete": Results{[]Result{{}}}.Errs()[0],
	} {
		if err == nil || tms.CodeOf(err) != "" || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want an error without a code", name, err)
		}
	}
	if err := (Result{Token: &Token{}}).Err(); err != nil {
		t.Errorf("the error of a token is %v", err)
	}
}

func TestAnswersOfNewerServersAreRead(t *testing.T) {
	var results Results
	err := DecodeAnswer([]byte(`{"results":[{"token":"a","state":"available","colour":"red"},{"code":"tired",`+
		`"status":418,"hint":"x"}],"more":1}`), &results)
	if err != nil || len(results.Results) != 2 || results.Results[0].TMS().Token.Value != "a" ||
		tms.CodeOf(results.Results[1].Err()) != "tired" {
		t.Errorf("read %+v, error %v", results, err)
	}
	var lease Token
	if err := DecodeAnswer([]byte(`{"token":"a","expires_at":"yesterday"}`), &lease); err == nil {
		t.Error("an instant that is none was read")
	}
}
