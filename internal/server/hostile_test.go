package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// raw sends a request to the handler itself: what is this large takes openapi.yaml's checker long.
func (h *harness) raw(path, body string, into any) int {
	h.t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", api.JSON)
	w := httptest.NewRecorder()
	New(Config{Store: h.store}).Handler().ServeHTTP(w, r)
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		h.t.Fatalf("%s: %d %.200s: %v", path, w.Code, w.Body, err)
	}
	return w.Code
}

// TestTheLargestBatches puts as many tokens aside at once as a batch can name, brings them back, and is refused one
// more.
func TestTheLargestBatches(t *testing.T) {
	h := start(t, Config{})
	var made api.Generated
	h.raw(api.PathGenerate, `{"count":10000}`, &made)
	for range tms.MaxBatch / tms.MaxAssignCount {
		var leases api.Assigned
		if status := h.raw(api.PathAssign, `{"count":1000}`, &leases); status != 200 ||
			len(leases.Leases) != tms.MaxAssignCount {
			t.Fatalf("assign: status %d, %d leases", status, len(leases.Leases))
		}
	}
	keys := make([]string, len(made.Tokens))
	for i, token := range made.Tokens {
		keys[i] = fmt.Sprintf(`{"token":%q,"outcome":%q}`, token, [2]string{"quarantine", "release"}[i%2])
	}
	h.batch(api.PathUnblock, "leases", keys, map[string]int{"quarantined": 5_000, "available": 5_000})
	values := make([]string, len(made.Tokens))
	for i, token := range made.Tokens {
		values[i] = fmt.Sprintf("%q", token)
	}
	h.batch(api.PathRestore, "tokens", values, map[string]int{"available": 5_000, "not_quarantined": 5_000})
	var p api.Problem
	for path, body := range map[string]string{api.PathUnblock: listOf("leases", append(keys, keys[0])),
		api.PathRestore: listOf("tokens", append(values, values[0]))} {
		if status := h.raw(path, body, &p); status != 400 || p.Field != "leases" && p.Field != "tokens" {
			t.Errorf("%s with one too many: %d %+v", path, status, p)
		}
	}
}

func listOf(field string, entries []string) string {
	return `{"` + field + `":[` + strings.Join(entries, ",") + `]}`
}

// batch sends a batch and counts its results by state or code.
func (h *harness) batch(path, field string, entries []string, want map[string]int) {
	h.t.Helper()
	var results api.Results
	status := h.raw(path, listOf(field, entries), &results)
	got := map[string]int{}
	for _, r := range results.Results {
		if r.Problem != nil {
			got[string(r.Code)]++
		} else {
			got[string(r.State)]++
		}
	}
	if status != 200 || fmt.Sprint(got) != fmt.Sprint(want) {
		h.t.Errorf("%s: status %d, results %v, want %v", path, status, got, want)
	}
}

// TestHugeMatches has large bodies that ask for what no token has.
func TestHugeMatches(t *testing.T) {
	h := start(t, Config{})
	h.store.PutPool(t.Context(), "p", tms.PolicyChange{Labels: &[]string{"seat"}})
	var many strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&many, `"k%d":"v",`, i)
	}
	for name, body := range map[string]string{
		"many keys":     `{"pool":"p","match":{` + many.String() + `"seat":"v"}}`,
		"a long key":    `{"pool":"p","match":{"` + strings.Repeat("k", 1<<20) + `":"v"}}`,
		"a long value":  `{"pool":"p","match":{"seat":"` + strings.Repeat("v", 1<<20) + `"}}`,
		"with wait":     `{"pool":"p","wait":"30s","match":{` + many.String() + `"seat":"v"}}`,
		"objects in it": `{"pool":"p","match":{"seat":` + strings.Repeat(`{"a":`, 100_000),
		"half a key":    `{"pool":"p","match":{"seat\ud800":"v"}}`,
		"no label":      `{"pool":"p","wait":"30s","match":{"floor":"3"}}`,
	} {
		var p api.Problem
		status := h.raw(api.PathAssign, body, &p)
		if status != 400 || !strings.HasPrefix(p.Field, "match") || len(p.Field)+len(p.Detail) > 600 {
			t.Errorf("%s: %d, field %.100q, detail %.300q", name, status, p.Field, p.Detail)
		}
	}
	if _, stats, err := h.store.Pool(t.Context(), "p"); err != nil || stats.Waiting != 0 {
		t.Errorf("%d wait for what cannot be, error %v", stats.Waiting, err)
	}
}
