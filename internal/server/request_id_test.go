package server

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// keyed sends a request with the given headers Idempotency-Key.
func (h *harness) keyed(path, body string, keys ...string) answer {
	h.t.Helper()
	r, err := http.NewRequest("POST", h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Content-Type", api.JSON)
	for _, key := range keys {
		r.Header.Add("Idempotency-Key", key)
	}
	return h.send(r)
}

// TestTheHeaderMeansTheSameAsTheField repeats an assign and a generate, told by the one and by the other.
func TestTheHeaderMeansTheSameAsTheField(t *testing.T) {
	h := start(t, Config{})
	for _, path := range []string{api.PathGenerate, api.PathAssign} {
		key := "key of " + path
		first := h.keyed(path, "", key)
		for name, again := range map[string]answer{
			"header": h.keyed(path, "{}", key),
			"field":  h.keyed(path, `{"request_id":"`+key+`"}`),
			"both":   h.keyed(path, `{"request_id":"`+key+`"}`, key),
		} {
			if first.status > 201 || again.status != first.status || again.text != first.text {
				t.Errorf("%s by %s: first %d %s, then %d %s", path, name, first.status, first.text, again.status,
					again.text)
			}
		}
	}
	if _, stats, err := h.store.Pool(t.Context(), "default"); err != nil || stats.Total() != 1 || stats.Assigned != 1 {
		t.Errorf("the pool has %+v, error %v; want one token, assigned", stats, err)
	}
}

func TestBadRequestIDs(t *testing.T) {
	h := start(t, Config{})
	for name, keys := range map[string][]string{
		"another than in the body": {"k-2"},
		"two that differ":          {"k-1", "k-2"},
		"empty":                    {""},
		"too long":                 {strings.Repeat("k", tms.MaxRequestID+1)},
		"10 KB":                    {strings.Repeat("k", 10_000)},
		"a tab":                    {"k\t1"},
		"not UTF-8":                {"k\xff"},
		"a zero-width space":       {"k\u200b1"},
	} {
		body := "{}"
		if name == "another than in the body" {
			body = `{"request_id":"k-1"}`
		}
		for _, path := range []string{api.PathGenerate, api.PathAssign} {
			if a := h.keyed(path, body, keys...); a.status != 400 || !strings.Contains(a.text, `"field":"request_id"`) {
				t.Errorf("%s, %s: %d %s", path, name, a.status, a.text)
			}
		}
	}
	if _, stats, err := h.store.Pool(t.Context(), "default"); err != nil || stats.Total() != 0 {
		t.Errorf("the pool has %+v, error %v", stats, err)
	}
}

func TestOtherRoutesPassOverTheHeader(t *testing.T) {
	h := start(t, Config{})
	ok[api.Generated](h, 201, "POST", api.PathGenerate, `{"tokens":["a"]}`)
	for _, path := range []string{api.PathKeepAlive, api.PathLookup} {
		if a := h.keyed(path, `{"token":"a"}`, strings.Repeat("k", 1_000), "other"); a.status != 200 {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
	}
}

// TestHeadersCannotBeInjected sends control characters where net/http's client would not.
func TestHeadersCannotBeInjected(t *testing.T) {
	s := serve(t, Config{Store: (&harness{t: t}).open()})
	for _, key := range []string{"a\x00b", "a\rb", "a\x7fb", "a\x1bb"} {
		c := s.dial(t)
		fmt.Fprintf(c, "POST /generate-token HTTP/1.1\r\nHost: tms\r\nConnection: close\r\nIdempotency-Key: "+
			"%s\r\nContent-Length: 0\r\n\r\n", key)
		if text, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 400 ") {
			t.Errorf("%q: %s, error %v", key, text, err)
		}
	}
	s.stop()
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}
