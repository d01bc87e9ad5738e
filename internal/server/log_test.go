package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/manankarani/token-manager/api"
)

// TestLogsHoldNoSecrets sends token values, lease ids and client ids in every place of a request, good and bad, and
// looks for them in the logs.
func TestLogsHoldNoSecrets(t *testing.T) {
	h := start(t, Config{})
	h.do("POST", api.PathGenerate, `{"tokens":["SECRET-a","SECRET-b"]}`)
	lease := ok[api.Token](h, 200, "POST", api.PathAssign, `{"client_id":"SECRET-c"}`)
	for _, r := range [][3]string{
		{"POST", api.PathKeepAlive, `{"token":"` + lease.Token + `","lease_id":"` + lease.LeaseID + `"}`},
		{"POST", api.PathKeepAlive, `{"token":"SECRET-x","lease_id":"SECRET-y"}`},
		{"POST", api.PathUnblock, `{"token":"SECRET-x","SECRET-field":1}`},
		{"POST", api.PathUnblock, `{"token":"SECRET-x" SECRET`},
		{"POST", api.PathLookup, `{"token":"SECRET\u0000"}`},
		{"DELETE", api.PathDelete + "?token=SECRET-b&lease_id=SECRET-z", ""},
		{"DELETE", api.PathDelete + "?SECRET=1", ""},
		{"DELETE", api.PathDelete + "/SECRET-b", ""},
		{"GET", "/pools/SECRET", ""},
		{"GET", "/pools/default/tokens?cursor=SECRET", ""},
		{"GET", "/pools/default/tokens?client_id=SECRET-c", ""},
		{"SECRET", "/livez", ""},
	} {
		h.do(r[0], r[1], r[2])
	}
	waitFor(t, "14", func() string { return itoa(strings.Count(h.logs.String(), `"msg":"request"`)) })
	logged := h.logs.String()
	if strings.Contains(logged, "SECRET") || strings.Contains(logged, lease.LeaseID) {
		t.Error("the logs hold a secret:\n" + logged)
	}
}

// TestPanics: a panic is answered with 500 and logged with the place, but not with the panic's value.
func TestPanics(t *testing.T) {
	h := start(t, Config{Store: strange{token: func(context.Context) error { panic("token SECRET") }}})
	a := h.do("POST", api.PathLookup, `{"token":"a"}`)
	if a.status != 500 || !strings.Contains(a.text, `"code":"failed"`) || strings.Contains(a.text, "SECRET") {
		t.Errorf("%d %s", a.status, a.text)
	}
	waitFor(t, "1", func() string { return itoa(strings.Count(h.logs.String(), "ERROR")) })
	if logged := h.logs.String(); !strings.Contains(logged, "panic with a string") ||
		!strings.Contains(logged, "log_test.go") || strings.Contains(logged, "SECRET") {
		t.Errorf("logged %s", logged)
	}
}

// TestFailuresAreLoggedNotShown: what an operator needs to know of a failure is nothing to the client.
func TestFailuresAreLoggedNotShown(t *testing.T) {
	h := start(t, Config{Store: strange{token: func(context.Context) error { return errors.New("disk on fire") }}})
	a := h.do("POST", api.PathLookup, `{"token":"a"}`)
	if a.status != 500 || strings.Contains(a.text, "fire") {
		t.Errorf("%d %s", a.status, a.text)
	}
	waitFor(t, "1", func() string { return itoa(strings.Count(h.logs.String(), "ERROR")) })
	if logged := h.logs.String(); !strings.Contains(logged, "disk on fire") {
		t.Errorf("logged %s", logged)
	}
}

// observed collects what a server reports to Config.Observe.
type observed struct {
	mu   sync.Mutex
	seen []string
}

func (o *observed) observe(route, method string, status int, _ time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, fmt.Sprint(method, " ", route, " ", status))
}

func (o *observed) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.seen) == 0 {
		return "nothing"
	}
	return o.seen[len(o.seen)-1]
}

func TestRequestsAreCountedByRoute(t *testing.T) {
	var o observed
	h := start(t, Config{Observe: o.observe, Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusOK)
	})})
	for _, c := range [][4]string{
		{"POST", "/generate-token", "", "POST /generate-token 201"},
		{"POST", "/assign-token", "{", "POST /assign-token 400"},
		{"GET", "/pools/default", "", "GET /pools/{pool} 200"},
		{"HEAD", "/pools/other", "", "HEAD /pools/{pool} 404"},
		{"PATCH", "/pools/default", "", "PATCH /pools/{pool} 405"},
		{"BREW", "/coffee", "", "other other 404"},
		{"GET", "/metrics", "", "GET /metrics 200"},
	} {
		h.do(c[0], c[1], c[2])
		waitFor(t, c[3], o.last)
	}
}

// TestClientsThatGiveUpAreCountedApart: while the store works, and before the body has arrived.
func TestClientsThatGiveUpAreCountedApart(t *testing.T) {
	var o observed
	inside := make(chan struct{})
	h := start(t, Config{Observe: o.observe, Store: strange{token: func(ctx context.Context) error {
		close(inside)
		<-ctx.Done()
		return ctx.Err()
	}}})
	request := "POST %s HTTP/1.1\r\nHost: tms\r\nContent-Type: application/json\r\nContent-Length: " +
		"%d\r\n\r\n{\"token\":\"a\"}"
	h.hangUp(fmt.Sprintf(request, api.PathLookup, 13), inside)
	waitFor(t, "POST /lookup-token 499", o.last)
	arrived := make(chan struct{})
	close(arrived)
	h.hangUp(fmt.Sprintf(request, api.PathUnblock, 14), arrived)
	waitFor(t, "POST /unblock-token 499", o.last)
}

// hangUp sends raw bytes and closes the connection when told to.
func (h *harness) hangUp(sent string, when <-chan struct{}) {
	h.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		h.t.Fatal(err)
	}
	fmt.Fprint(c, sent)
	<-when
	c.Close()
}

// waitFor waits until got returns want: the books are written after the answer.
func waitFor(t *testing.T, want string, got func() string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); got() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got %q, want %q", got(), want)
		}
	}
}

// TestTheLogHasTheTimeOfARequest: as a number of milliseconds, which needs no knowledge of Go.
func TestTheLogHasTheTimeOfARequest(t *testing.T) {
	h := start(t, Config{})
	h.do("GET", api.PathLive, "")
	waitFor(t, "1", func() string { return itoa(strings.Count(h.logs.String(), "\n")) })
	var line struct {
		Elapsed *float64 `json:"elapsed_ms"`
	}
	if err := json.Unmarshal([]byte(h.logs.String()), &line); err != nil || line.Elapsed == nil || *line.Elapsed <= 0 ||
		*line.Elapsed > 60_000 {
		t.Errorf("logged %s, error %v", h.logs, err)
	}
}
