package server

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/manankarani/token-manager/api"
)

// sent sends a request with the header X-Request-Id, unless it is empty, and returns that of the answer, and the
// instance of its problem.
func (h *harness) sent(method, path, body, trace string) (answered, instance string) {
	h.t.Helper()
	request, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	request.Header.Set("Content-Type", api.JSON)
	if trace != "" {
		request.Header[headerTrace] = []string{trace}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		h.t.Fatal(err)
	}
	defer response.Body.Close()
	var problem api.Problem
	json.NewDecoder(response.Body).Decode(&problem)
	return response.Header.Get(headerTrace), problem.Instance
}

// A request has the name that its caller gives it, or one of its own where something is written of it; and the answer,
// the problem and the log have the same.
func TestRequestsHaveNames(t *testing.T) {
	h := start(t, Config{})
	for _, given := range []string{"abc-1", "a/b?c%", strings.Repeat("x", maxTrace)} {
		if got, _ := h.sent("GET", "/pools", "", given); got != given {
			t.Errorf("%q is answered as %q", given, got)
		}
		got, instance := h.sent("POST", api.PathLookup, `{"token":"a"}`, given)
		if back, err := url.PathUnescape(instance); got != given || back != given || err != nil {
			t.Errorf("%q is answered as %q, and in the problem as %q", given, got, instance)
		}
	}
	if got, _ := h.sent("GET", "/pools", "", ""); got != "" {
		t.Errorf("a request of which nothing is written has the name %q", got)
	}
	for _, given := range []string{"", "two words", "a\tb", "é", strings.Repeat("x", maxTrace+1)} {
		got, instance := h.sent("POST", api.PathLookup, `{"token":"a"}`, given)
		if len(got) != 22 || instance != got {
			t.Errorf("%q is answered as %q, and in the problem as %q", given, got, instance)
		}
		waitFor(t, "true", func() string {
			if strings.Contains(h.logs.String(), `"trace":"`+got+`"`) {
				return "true"
			}
			return "false"
		})
	}
}

// Lines of requests are written as the operator asked for, at the level info, with their names, and with whom they came
// from.
func TestRequestsAreLoggedAsAskedFor(t *testing.T) {
	for mode, want := range map[string]string{"": "", LogNone: "", LogErrors: "404", LogAll: "200 404"} {
		h := start(t, Config{LogRequests: mode})
		fine, _ := h.sent("GET", "/pools", "", "")
		h.sent("POST", api.PathLookup, `{"token":"a"}`, "")
		if (fine != "") != (mode == LogAll) {
			t.Errorf("%s: an answer without an error has the name %q", mode, fine)
		}
		waitFor(t, "2", func() string { return itoa(strings.Count(h.logs.String(), `"msg":"request"`)) })
		var seen []string
		for line := range strings.Lines(h.logs.String()) {
			var said struct {
				Level, Msg, Trace, Address string
				Status                     json.Number
			}
			json.Unmarshal([]byte(line), &said)
			if said.Msg != "request" || said.Level != "INFO" {
				continue
			}
			if seen = append(seen, said.Status.String()); said.Trace == "" || said.Address != "127.0.0.1" {
				t.Errorf("%s: it is written as %s", mode, line)
			}
		}
		if got := strings.Join(seen, " "); got != want {
			t.Errorf("%s: of the requests these are written: %q, want %q", mode, got, want)
		}
	}
}
