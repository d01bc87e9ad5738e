package server

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

func TestPoolsAreListedInPages(t *testing.T) {
	h := start(t, Config{})
	want := []string{"default"}
	for i := range 5 {
		name := fmt.Sprintf("pool-%d", i)
		ok[api.Pool](h, 201, "PUT", "/pools/"+name, "")
		want = append(want, name)
	}
	for limit := 1; limit <= 7; limit++ {
		var names []string
		pages, cursor := 0, ""
		for more := true; more; more = cursor != "" {
			page := ok[api.Pools](h, 200, "GET", fmt.Sprintf("/pools?limit=%d&cursor=%s", limit, cursor), "")
			for _, p := range page.Pools {
				names = append(names, p.Pool)
			}
			pages, cursor = pages+1, page.NextCursor
		}
		if diff := cmp.Diff(want, names); diff != "" || pages != (len(want)+limit-1)/limit {
			t.Errorf("limit %d: %d pages\n%s", limit, pages, diff)
		}
	}
}

// putIf puts a pool with headers, given as name and value in turn.
func (h *harness) putIf(path, body string, headers ...string) answer {
	h.t.Helper()
	r, err := http.NewRequest(http.MethodPut, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Content-Type", api.JSON)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return h.send(r)
}

// TestPutHeedsItsConditions: whoever wants to make a pool, or to change one, and nothing else, can say so.
func TestPutHeedsItsConditions(t *testing.T) {
	h := start(t, Config{})
	for _, c := range []struct {
		headers []string
		status  int
		says    string
	}{
		{[]string{"If-Match", "*"}, 404, `"code":"pool_not_found"`},
		{[]string{"If-None-Match", "*"}, 201, `"policy":{`},
		{[]string{"If-None-Match", "*"}, 412, `"code":"pool_exists"`},
		{[]string{"If-Match", "*"}, 200, `"was":{`},
		{nil, 200, `"was":{`},
		{[]string{"If-Match", `"v1"`}, 400, `"field":"If-Match"`},
		{[]string{"If-None-Match", ""}, 400, `"field":"If-None-Match"`},
		{[]string{"If-None-Match", "*", "If-None-Match", "*"}, 400, `"field":"If-None-Match"`},
		{[]string{"If-None-Match", "*", "If-Match", "*"}, 400, `"field":"If-Match"`},
	} {
		if a := h.putIf("/pools/p", `{"grace":"2s"}`, c.headers...); a.status != c.status ||
			!strings.Contains(a.text, c.says) {
			t.Errorf("PUT with %q: %d %s, want %d %s", c.headers, a.status, a.text, c.status, c.says)
		}
	}
	a := h.putIf("/pools/p", `{"grace":"3s"}`)
	if !strings.Contains(a.text, `"grace":"3s"`) || !strings.Contains(a.text, `"grace":"2s"`) {
		t.Errorf("a change does not say what is and what was: %s", a.text)
	}
}

func TestPoolIsMadeChangedAndDeleted(t *testing.T) {
	h := start(t, Config{})
	made := ok[api.Pool](h, 201, "PUT", "/pools/p", `{"max_tokens":5,"grace":"2s"}`)
	changed := ok[api.Pool](h, 200, "PUT", "/pools/p", `{"max_tokens":6}`)
	if *made.Policy.MaxTokens != 5 || *changed.Policy.MaxTokens != 6 || *changed.Policy.Grace != 2*time.Second ||
		changed.Tokens != nil {
		t.Errorf("made %+v, changed %+v", made, changed)
	}
	ok[api.Generated](h, 201, "POST", api.PathGenerate, `{"pool":"p","count":3}`)
	ok[api.Token](h, 200, "POST", api.PathAssign, `{"pool":"p"}`)
	h.advance(time.Hour)
	shown := ok[api.Pool](h, 200, "GET", "/pools/p", "")
	if *shown.Tokens != (api.Counts{}) || shown.Expired.Deleted != 3 {
		t.Errorf("after an hour: tokens %+v, expired %+v", *shown.Tokens, *shown.Expired)
	}
	ok[api.PoolDeleted](h, 200, "DELETE", "/pools/p", "")
	h.refused(tms.ErrPoolNotFound, "", "GET", "/pools/p", "")
	h.refused(tms.ErrPoolNotFound, "", "DELETE", "/pools/p", "")
	if a := h.do("DELETE", "/pools/default", ""); a.status != 400 {
		t.Errorf("default can be deleted: %d %s", a.status, a.text)
	}
}

func TestTokensAreListedInPages(t *testing.T) {
	h := start(t, Config{})
	ok[api.Generated](h, 201, "POST", api.PathGenerate, `{"tokens":["a","b","c","d","e"]}`)
	ok[api.Assigned](h, 200, "POST", api.PathAssign, `{"count":2,"client_id":"me & you"}`)
	if all := h.list(2, url.Values{}); !slices.Equal(all, []string{"a", "b", "c", "d", "e"}) {
		t.Errorf("listed %v", all)
	}
	held := h.list(3, url.Values{"state": {"assigned"}})
	if len(held) != 2 || !slices.Equal(held, h.list(1, url.Values{"client_id": {"me & you"}})) {
		t.Errorf("assigned are %v", held)
	}
	if free := h.list(1, url.Values{"state": {"available"}}); len(free) != 3 {
		t.Errorf("available are %v", free)
	}
	if none := h.list(1, url.Values{"state": {"quarantined"}}); none != nil {
		t.Errorf("quarantined are %v", none)
	}
}

// list returns the values of all pages, sorted.
func (h *harness) list(limit int, query url.Values) (values []string) {
	h.t.Helper()
	query.Set("limit", itoa(limit))
	for {
		page := ok[api.Tokens](h, 200, "GET", "/pools/default/tokens?"+query.Encode(), "")
		for _, token := range page.Tokens {
			values = append(values, token.Token)
		}
		if page.NextCursor == "" {
			slices.Sort(values)
			return values
		}
		query.Set("cursor", page.NextCursor)
	}
}

// TestBadRequests has requests that are refused wherever they come from, with the field that the refusal names. What
// bodies can do wrong beyond that is in the tests of package api.
func TestBadRequests(t *testing.T) {
	h := start(t, Config{})
	for _, c := range []struct{ method, path, body, field string }{
		{"POST", "/assign-token", `{"pool":"UPPER"}`, "pool"},
		{"POST", "/assign-token", `{"pool":"../etc"}`, "pool"},
		{"POST", "/assign-token?pool=default", "", "pool"},
		{"POST", "/assign-token", `{"count":1,"count":2}`, "count"},
		{"POST", "/assign-token", `{"count":1e999}`, "count"},
		{"POST", "/lookup-token", "", "token"},
		{"POST", "/lookup-token", `{"token":"a\u0007b"}`, "token"},
		{"GET", "/pools?limit=0", "", "limit"},
		{"GET", "/pools?limit=ten", "", "limit"},
		{"GET", "/pools?limit=99999999999999999999", "", "limit"},
		{"GET", "/pools?offset=7", "", "offset"},
		{"GET", "/pools?cursor=%00", "", "cursor"},
		{"GET", "/pools/UPPER", "", "pool"},
		{"GET", "/pools/a%2Fb", "", "pool"},
		{"GET", "/pools/default?x=1", "", "x"},
		{"DELETE", "/pools/default", `{"pool":"other"}`, ""},
		{"PUT", "/pools/UPPER", "", "pool"},
		{"PUT", "/pools/p", `{"policy":{}}`, "policy"},
		{"PUT", "/pools/p", `{"max_tokens":0}`, "max_tokens"},
		{"PUT", "/pools/p", `{"max_tokens":100000001}`, "max_tokens"},
		{"PUT", "/pools/p", `{"lease_ttl":"0s"}`, "lease_ttl"},
		{"PUT", "/pools/p", `{"lease_ttl":60}`, "lease_ttl"},
		{"PUT", "/pools/p", `{"token_ttl":"721h"}`, "token_ttl"},
		{"PUT", "/pools/p", `{"selection":"best"}`, "selection"},
		{"PUT", "/pools/p", `{"on_lease_expiry":""}`, "on_lease_expiry"},
		{"PUT", "/pools/p", `{"paused":1}`, "paused"},
		{"GET", "/pools/default/tokens?state=gone", "", "state"},
		{"GET", "/pools/default/tokens?client_id=%0A", "", "client_id"},
		{"GET", "/pools/default/tokens?cursor=nonsense", "", "cursor"},
		{"GET", "/pools/UPPER/tokens", "", "pool"},
	} {
		h.refused(tms.ErrInvalidRequest, c.field, c.method, c.path, c.body)
	}
	h.refused(tms.ErrPoolNotFound, "", "GET", "/pools/p", "") // no refused PUT has made it
}
