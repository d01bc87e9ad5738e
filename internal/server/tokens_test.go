package server

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

func itoa(n int) string { return strconv.Itoa(n) }

// TestUnknownTokenIsNotFound: the first implementation of this design answered 500 to a token that it did not know.
func TestUnknownTokenIsNotFound(t *testing.T) {
	h := start(t, Config{})
	for _, r := range [][3]string{
		{"POST", api.PathKeepAlive, `{"token":"ghost"}`}, {"POST", api.PathKeepAlive,
			`{"token":"ghost","lease_id":"none"}`},
		{"POST", api.PathUnblock, `{"token":"ghost"}`}, {"POST", api.PathUnblock,
			`{"token":"ghost","lease_id":"none"}`},
		{"DELETE", api.PathDelete, `{"token":"ghost"}`}, {"DELETE", api.PathDelete,
			`{"token":"ghost","lease_id":"none"}`},
		{"DELETE", api.PathDelete + "?token=ghost", ""}, {"POST", api.PathLookup, `{"token":"ghost"}`},
	} {
		if a := h.do(r[0], r[1], r[2]); a.status != http.StatusNotFound ||
			!strings.Contains(a.text, `"code":"token_not_found"`) {
			t.Errorf("%s %s %s: %d %s", r[0], r[1], r[2], a.status, a.text)
		}
	}
}

func TestUnknownPoolIsNotFound(t *testing.T) {
	h := start(t, Config{})
	for _, r := range [][2]string{
		{"POST " + api.PathGenerate, `{"pool":"typo"}`}, {"POST " + api.PathAssign, `{"pool":"typo"}`},
		{"POST " + api.PathKeepAlive, `{"pool":"typo","token":"a"}`},
		{"POST " + api.PathUnblock, `{"pool":"typo","leases":[{"token":"a"}]}`},
		{"DELETE " + api.PathDelete + "?pool=typo&token=a", ""}, {"POST " + api.PathLookup,
			`{"pool":"typo","token":"a"}`},
		{"GET /pools/typo", ""}, {"DELETE /pools/typo", ""}, {"GET /pools/typo/tokens", ""},
	} {
		method, path, _ := strings.Cut(r[0], " ")
		h.refused(tms.ErrPoolNotFound, "", method, path, r[1])
	}
}

func TestRefusalsOfTheVerbs(t *testing.T) {
	h := start(t, Config{})
	ok[api.Pool](h, 201, "PUT", "/pools/strict", `{"max_tokens":2,"max_lease":"1m","require_lease_id":true}`)
	p := h.refused(tms.ErrNoTokenAvailable, "", "POST", api.PathAssign, `{"pool":"strict"}`)
	if p.RetryAfterMS != 0 {
		t.Errorf("an empty pool says to come back in %d ms", p.RetryAfterMS)
	}
	ok[api.Generated](h, 201, "POST", api.PathGenerate, `{"pool":"strict","tokens":["a"]}`)
	h.refused(tms.ErrPoolFull, "", "POST", api.PathGenerate, `{"pool":"strict","count":2}`)
	h.refused(tms.ErrNotAssigned, "", "POST", api.PathUnblock, `{"pool":"strict","token":"a"}`)
	lease := ok[api.Token](h, 200, "POST", api.PathAssign, `{"pool":"strict"}`)
	h.refused(tms.ErrNotHolder, "", "POST", api.PathUnblock, `{"pool":"strict","token":"a"}`)
	h.refused(tms.ErrLeaseLost, "", "POST", api.PathKeepAlive, `{"pool":"strict","token":"a","lease_id":"other"}`)
	h.refused(tms.ErrMaxLeaseExceeded, "", "POST", api.PathKeepAlive,
		`{"pool":"strict","token":"a","lease_id":"`+lease.LeaseID+`"}`)
	ok[api.Pool](h, 200, "PUT", "/pools/strict", `{"paused":true}`)
	h.refused(tms.ErrPoolPaused, "", "POST", api.PathAssign, `{"pool":"strict"}`)
}

// A new value that begins or ends with a blank is refused, whoever brings it; one that the pool has from before is a
// token like any other.
func TestBlanksAtTheEndsOfAToken(t *testing.T) {
	h := start(t, Config{})
	h.refused(tms.ErrInvalidRequest, "tokens[1]", "POST", api.PathGenerate, `{"tokens":["a","b "]}`)
	h.refused(tms.ErrInvalidRequest, "tokens[0]", "POST", api.PathGenerate, `{"tokens":[{"token":" "}]}`)
	if _, err := h.store.Generate(t.Context(), tms.DefaultPool,
		tms.GenerateRequest{Tokens: []tms.NewToken{{Value: " old "}}}); err != nil {
		t.Fatal(err)
	}
	lease := ok[api.Token](h, 200, "POST", api.PathAssign, `{"prefer":" old "}`)
	key := `{"token":" old ","lease_id":"` + lease.LeaseID + `"}`
	ok[api.Token](h, 200, "POST", api.PathKeepAlive, key)
	ok[api.Token](h, 200, "POST", api.PathUnblock, strings.Replace(key, "{", `{"outcome":"quarantine",`, 1))
	ok[api.Token](h, 200, "POST", api.PathRestore, `{"token":" old "}`)
	ok[api.Token](h, 200, "POST", api.PathLookup, `{"token":" old "}`)
	ok[api.Token](h, 200, "DELETE", api.PathDelete, `{"token":" old "}`)
}

// TestRetryAfter: where the store knows when a token comes back, so does the client, in both forms.
func TestRetryAfter(t *testing.T) {
	h := start(t, Config{})
	ok[api.Generated](h, 201, "POST", api.PathGenerate, "")
	ok[api.Token](h, 200, "POST", api.PathAssign, `{"ttl":"2500ms"}`)
	a := h.do("POST", api.PathAssign, "")
	if a.status != 404 || a.header.Get("Retry-After") != "3" || !strings.Contains(a.text, `"retry_after_ms":25`) {
		t.Errorf("got %d, Retry-After %q, %s", a.status, a.header.Get("Retry-After"), a.text)
	}
}

func TestBatchesAnswerInOrder(t *testing.T) {
	h := start(t, Config{})
	made := ok[api.Generated](h, 201, "POST", api.PathGenerate,
		`{"tokens":["a","b",{"token":"c","metadata":{"k":"v"}},"a"]}`)
	if diff := cmp.Diff([]any{[]string{"a", "b", "c", "a"}, "", 3, 1},
		[]any{made.Tokens, made.Token, made.Created, made.Existing}); diff != "" {
		t.Error(diff)
	}
	leases := ok[api.Assigned](h, 200, "POST", api.PathAssign, `{"count":2,"client_id":"me"}`).Leases
	if len(leases) != 2 || leases[0].LeaseID == "" || leases[0].ClientID != "me" || leases[0].RenewAfterMS != 20_000 {
		t.Fatalf("leases %+v", leases)
	}
	h.refused(tms.ErrNoTokenAvailable, "", "POST", api.PathAssign, `{"count":2}`)
	held, free := leases[0], "abc"
	for _, l := range leases {
		free = strings.ReplaceAll(free, l.Token, "")
	}
	keys := `{"leases":[{"token":"ghost"},{"token":"` + held.Token + `","lease_id":"` + held.LeaseID + `"},{"token":"` +
		free + `"},` +
		`{"token":"` + leases[1].Token + `","lease_id":"wrong"}]}`
	want := []string{"token_not_found", held.Token + " assigned", free + " available", "lease_lost"}
	checkResults(t, "keep-alive", want, ok[api.Results](h, 200, "POST", api.PathKeepAlive, keys))
	want = []string{"token_not_found", held.Token + " available", "not_assigned", "lease_lost"}
	checkResults(t, "unblock", want, ok[api.Results](h, 200, "POST", api.PathUnblock, keys))
	want = []string{"token_not_found", "lease_lost", free + " deleted", "lease_lost"}
	checkResults(t, "delete", want, ok[api.Results](h, 200, "DELETE", api.PathDelete, keys))
}

func checkResults(t *testing.T, verb string, want []string, got api.Results) {
	t.Helper()
	var said []string
	for _, r := range got.Results {
		switch {
		case r.Problem != nil:
			said = append(said, string(r.Problem.Code))
		case r.Deleted:
			said = append(said, r.Token.Token+" deleted")
		default:
			said = append(said, r.Token.Token+" "+string(r.State))
		}
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("%s (-want +got):\n%s", verb, diff)
	}
}

// TestLeaseIDsAreShownToTheirHolderOnly: assign shows the lease_id, keep-alive where it was given, nothing else does.
func TestLeaseIDsAreShownToTheirHolderOnly(t *testing.T) {
	h := start(t, Config{})
	ok[api.Generated](h, 201, "POST", api.PathGenerate, `{"tokens":["a"]}`)
	id := ok[api.Token](h, 200, "POST", api.PathAssign, "").LeaseID
	if kept := ok[api.Token](h, 200, "POST", api.PathKeepAlive,
		`{"token":"a","lease_id":"`+id+`"}`); kept.LeaseID != id ||
		id == "" {
		t.Errorf("the holder %q is shown %q", id, kept.LeaseID)
	}
	for _, r := range [][3]string{
		{"POST", api.PathKeepAlive, `{"token":"a"}`}, {"POST", api.PathLookup, `{"token":"a"}`},
		{"GET", "/pools/default/tokens", ""},
		{"GET", "/pools", ""}, {"GET", "/pools/default", ""}, {"POST", api.PathUnblock, `{"token":"a"}`},
	} {
		if a := h.do(r[0], r[1], r[2]); a.status != 200 || strings.Contains(a.text, id) ||
			strings.Contains(a.text, `"lease_id":`) {
			t.Errorf("%s %s: %d %s", r[0], r[1], a.status, a.text)
		}
	}
}

func TestDeleteByQuery(t *testing.T) {
	h := start(t, Config{})
	ok[api.Generated](h, 201, "POST", api.PathGenerate, `{"tokens":["a b&c","d"]}`)
	if got := ok[api.Token](h, 200, "DELETE", api.PathDelete+"?pool=default&token=a+b%26c", ""); got.Token != "a b&c" ||
		!got.Deleted {
		t.Errorf("deleted %+v", got)
	}
	h.refused(tms.ErrLeaseLost, "", "DELETE", api.PathDelete+"?token=d&lease_id=x", "")
	h.refused(tms.ErrInvalidRequest, "", "DELETE", api.PathDelete+"?token=d", `{"token":"d"}`)
	h.refused(tms.ErrInvalidRequest, "token", "DELETE", api.PathDelete+"?token=d&token=e", "")
	h.refused(tms.ErrInvalidRequest, "tokn", "DELETE", api.PathDelete+"?tokn=d", "")
	h.refused(tms.ErrInvalidRequest, "", "DELETE", api.PathDelete+"?token=%zz", "")
	h.refused(tms.ErrInvalidRequest, "token", "DELETE", api.PathDelete, "")
	h.refused(tms.ErrInvalidRequest, "token", "DELETE", api.PathDelete+"?token=%ff", "")
	ok[api.Token](h, 200, "POST", api.PathLookup, `{"token":"d"}`)
}

// TestAnEmptyFieldIsNoneThatWasLeftOut: who sends the lease_id of a variable that nobody set must not end the lease of
// another.
func TestAnEmptyFieldIsNoneThatWasLeftOut(t *testing.T) {
	h := start(t, Config{})
	ok[api.Generated](h, 201, "POST", api.PathGenerate, `{"tokens":["a"]}`)
	id := ok[api.Token](h, 200, "POST", api.PathAssign, `{"client_id":"victim"}`).LeaseID
	for _, path := range []string{api.PathKeepAlive, api.PathUnblock} {
		h.refused(tms.ErrInvalidRequest, "lease_id", "POST", path, `{"token":"a","lease_id":""}`)
		h.refused(tms.ErrInvalidRequest, "leases[0].lease_id", "POST", path, `{"leases":[{"token":"a","lease_id":""}]}`)
	}
	h.refused(tms.ErrInvalidRequest, "lease_id", "DELETE", api.PathDelete, `{"token":"a","lease_id":""}`)
	h.refused(tms.ErrInvalidRequest, "lease_id", "DELETE", api.PathDelete+"?token=a&lease_id=", "")
	h.refused(tms.ErrInvalidRequest, "pool", "DELETE", api.PathDelete+"?token=a&pool=", "")
	h.refused(tms.ErrInvalidRequest, "request_id", "POST", api.PathGenerate, `{"request_id":""}`)
	for _, parameter := range []string{"state", "client_id", "limit"} {
		h.refused(tms.ErrInvalidRequest, parameter, "GET", "/pools/default/tokens?"+parameter+"=", "")
	}
	ok[api.Tokens](h, 200, "GET", "/pools/default/tokens?cursor=", "")
	ok[api.Token](h, 200, "POST", api.PathKeepAlive, `{"token":"a","lease_id":"`+id+`"}`)
}

func TestTokensThatNeverExpireHaveNoExpiry(t *testing.T) {
	h := start(t, Config{})
	ok[api.Pool](h, 201, "PUT", "/pools/forever", `{"token_ttl":"0s","cooldown":"10s"}`)
	a := h.do("POST", api.PathGenerate, `{"pool":"forever"}`)
	if strings.Contains(a.text, "expires_at") {
		t.Error(a.text)
	}
	lease := ok[api.Token](h, 200, "POST", api.PathAssign, `{"pool":"forever"}`)
	rested := ok[api.Token](h, 200, "POST", api.PathUnblock, `{"pool":"forever","token":"`+lease.Token+`"}`)
	if rested.State != tms.Cooling || rested.ReadyAt.Sub(time.UnixMilli(h.now.Load())) != 10*time.Second {
		t.Errorf("after unblock: %+v", rested)
	}
}
