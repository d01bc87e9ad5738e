package server

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/getkin/kin-openapi/openapi3"
	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// TestTheDocumentHasTheRoutes compares the table of routes with openapi.yaml, path by path and method by method, and
// the query parameters that the document has with those that the routes take.
func TestTheDocumentHasTheRoutes(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	var served, written []string
	for _, r := range New(Config{}).routes() {
		served = append(served, r.method+" "+r.pattern)
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			written = append(written, method+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(written)
	if diff := gocmp.Diff(served, written); diff != "" {
		t.Errorf("routes.go and openapi.yaml differ (-routes.go +openapi.yaml):\n%s", diff)
	}
}

func TestTheDocumentHasTheLimits(t *testing.T) {
	h := start(t, Config{})
	text := string(api.OpenAPI)
	for pattern, want := range map[string]int{
		`count: \{type: integer, minimum: 1, maximum: (10000),`:       tms.MaxBatch,
		`count: \{type: integer, minimum: 1, maximum: (1000),`:        tms.MaxAssignCount,
		`TokenValue: \{.*maxLength: (512)`:                            tms.MaxTokenBytes,
		`ClientID: \{.*maxLength: (256)`:                              tms.MaxClientIDBytes,
		`LeaseID: \{.*maxLength: (64)`:                                tms.MaxLeaseIDBytes,
		`RequestID:\s+type: string\s+minLength: 1\s+maxLength: (128)`: tms.MaxRequestID,
		`labels:\s+type: array\s+maxItems: (3)`:                       tms.MaxLabels,
		`items: \{type: string, minLength: 1, maxLength: (64)`:        tms.MaxLabelBytes,
		`max_leases_per_client:\s+\{.*maximum: (100000000)`:           tms.MaxMaxTokens,
		`max_tokens: \{.*maximum: (100000000)`:                        tms.MaxMaxTokens,
	} {
		if found := regexp.MustCompile(pattern).FindStringSubmatch(text); found == nil || found[1] != itoa(want) {
			t.Errorf("openapi.yaml has no %s with %d", pattern, want)
		}
	}
	ok[api.Tokens](h, 200, "GET", "/pools/default/tokens?limit="+itoa(api.MaxPage), "")
	h.refused(tms.ErrInvalidRequest, "limit", "GET", "/pools/default/tokens?limit="+itoa(api.MaxPage+1), "")
}

func TestUnknownRoutes(t *testing.T) {
	h := start(t, Config{})
	for _, path := range []string{"/", "/nope", "/generate-token/", "/pools/default/", "/pools/default/tokens/x",
		"/Livez",
		"/debug/pprof/"} {
		h.refused(tms.ErrNotFound, "", "GET", path, "")
		h.refused(tms.ErrNotFound, "", "POST", path, `{"pool":"default"}`)
	}
}

// TestPathsAreTakenAsTheyAre: one with an empty part, as from a variable that nobody set, is not that of another route.
func TestPathsAreTakenAsTheyAre(t *testing.T) {
	h := start(t, Config{LocalOnly: true})
	h.store.PutPool(t.Context(), "tokens", tms.PolicyChange{})
	for _, c := range [][2]string{
		{"POST", "//generate-token"}, {"GET", "/pools//tokens"}, {"GET", "//"}, {"GET", "/./livez"},
		{"GET", "/livez/../readyz"},
		{"PUT", "/pools/.."}, {"DELETE", "/pools/."}, {"DELETE", "//delete-token?token=secret"},
		{"GET", "/pools/tokens//"},
	} {
		h.refused(tms.ErrNotFound, "", c[0], c[1], "")
	}
	r, err := http.NewRequest(http.MethodPost, h.url+"//generate-token", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "evil.example"
	if a := h.send(r); a.status != http.StatusForbidden {
		t.Errorf("a request of another host: %d %s", a.status, a.text)
	}
}

func TestWrongMethods(t *testing.T) {
	h := start(t, Config{})
	for path, allow := range map[string]string{
		api.PathGenerate: "POST", api.PathAssign: "POST", api.PathKeepAlive: "POST", api.PathUnblock: "POST",
		api.PathLookup: "POST", api.PathRestore: "POST",
		api.PathDelete: "DELETE", api.PathPools: "GET, HEAD", "/pools/default": "DELETE, GET, HEAD, PUT",
		"/pools/default/tokens": "GET, HEAD", api.PathLive: "GET, HEAD", api.PathOpenAPI: "GET, HEAD",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"} {
			if slices.Contains(strings.Split(allow, ", "), method) {
				continue
			}
			h.refused(tms.ErrMethodNotAllowed, "", method, path, "")
			if a := h.do(method, path, ""); a.header.Get("Allow") != allow {
				t.Errorf("%s %s allows %q, want %q", method, path, a.header.Get("Allow"), allow)
			}
		}
	}
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	h := start(t, Config{Version: "1.2.3"})
	for _, path := range []string{api.PathPools, "/pools/default", "/pools/default/tokens", api.PathLive, api.PathReady,
		api.PathOpenAPI} {
		get, head := h.do("GET", path, ""), h.do("HEAD", path, "")
		if get.status != 200 || head.status != 200 || head.text != "" ||
			head.header.Get("Content-Length") != itoa(len(get.text)) {
			t.Errorf("%s: GET %d with %d bytes, HEAD %d with %q and %q", path, get.status, len(get.text),
				head.status, head.text,
				head.header)
		}
	}
	if strings.Contains(h.logs.String(), `"status":`+itoa(StatusClientGone)) {
		t.Error("an answered HEAD counts as one whose client is gone")
	}
}

func TestMediaTypes(t *testing.T) {
	h := start(t, Config{})
	for contentType, status := range map[string]int{
		"application/json":                  201,
		"Application/JSON; charset=UTF-8":   201,
		"application/json; charset=latin-1": 415,
		"application/x-www-form-urlencoded": 415,
		"text/plain":                        415,
		"":                                  415,
		"application/json; =":               415,
		"application/merge-patch+json":      415,
	} {
		if a := h.post(contentType, "", `{"count":1}`); a.status != status {
			t.Errorf("%q: %d %s, want %d", contentType, a.status, a.text, status)
		}
	}
	if a := h.post(api.JSON, "gzip", `{"count":1}`); a.status != 415 || !strings.Contains(a.text, "Content-Encoding") {
		t.Errorf("gzip: %d %s", a.status, a.text)
	}
	for name, twice := range map[string][]string{"Content-Type": {api.JSON, "text/plain"},
		"Content-Encoding": {"identity", "gzip"}} {
		r, err := http.NewRequest("POST", h.url+api.PathGenerate, strings.NewReader(`{"count":1}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", api.JSON)
		r.Header[name] = twice
		if a := h.send(r); a.status != 415 {
			t.Errorf("%s twice: %d %s", name, a.status, a.text)
		}
	}
	if a := h.post("text/plain", "", ""); a.status != 201 {
		t.Errorf("no body needs no type: %d %s", a.status, a.text)
	}
}

func (h *harness) post(contentType, encoding, body string) answer {
	h.t.Helper()
	r, err := http.NewRequest("POST", h.url+api.PathGenerate, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Content-Encoding", encoding)
	return h.send(r)
}

func TestBodiesThatAreTooLarge(t *testing.T) {
	h := start(t, Config{Limits: Limits{MaxBodyBytes: 100}})
	fits := `{"count":1` + strings.Repeat(" ", 89) + `}`
	ok[api.Generated](h, 201, "POST", api.PathGenerate, fits)
	h.refused(tms.ErrBodyTooLarge, "", "POST", api.PathGenerate, fits+" ")
	body := fits + strings.Repeat(" ", 10_000_000)
	for size, status := range map[int]int{0: 201, 100: 201, 101: 413, 10_000_000: 413} {
		r, err := http.NewRequest("POST", h.url+api.PathGenerate, strings.NewReader(body[:size]))
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = -1 // sent in chunks
		r.Header.Set("Content-Type", api.JSON)
		if a := h.send(r); a.status != status {
			t.Errorf("%d bytes in chunks: %d %s, want %d", size, a.status, a.text, status)
		}
	}
}
