package server

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/internal/store/embedded"
	"github.com/manankarani/token-manager/internal/telemetry"
	"github.com/manankarani/token-manager/internal/wait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// harness is a server over a real store and real HTTP, whose clock and ids the test decides.
type harness struct {
	t     *testing.T
	store tms.Store
	stop  func()       // ends the waiting
	now   atomic.Int64 // ms
	url   string
	logs  *logs
}

// start starts a server; the configuration's Store and Logger are set where they are not.
func start(t *testing.T, config Config) *harness {
	t.Helper()
	h := &harness{t: t, logs: &logs{}}
	h.now.Store(time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC).UnixMilli())
	if config.Store == nil {
		config.Store = h.open()
	}
	h.store = config.Store
	config.Logger = slog.New(slog.NewJSONHandler(h.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	srv := httptest.NewServer(New(config).Handler())
	t.Cleanup(func() { srv.Close(); http.DefaultClient.CloseIdleConnections() })
	h.url = srv.URL
	return h
}

// open opens a store and wraps it as tms serve does.
func (h *harness) open() tms.Sweeper {
	var ids atomic.Int64
	opened, err := embedded.Open(embedded.Options{
		Now:   func() time.Time { return time.UnixMilli(h.now.Load()) },
		NewID: func() string { return fmt.Sprintf("drawn%017d", ids.Add(1)) },
	})
	if err != nil {
		h.t.Fatal(err)
	}
	waiting := wait.Wrap(opened, wait.Options{})
	h.t.Cleanup(func() { waiting.Close() })
	h.stop = waiting.Stop
	return telemetry.Wrap(waiting, prometheus.NewRegistry())
}

func (h *harness) advance(d time.Duration) { h.now.Add(d.Milliseconds()) }

// logs is what a server has logged.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	text   string
}

// do sends a request with a JSON body, if there is one, and checks the answer against openapi.yaml.
func (h *harness) do(method, path, body string) answer {
	h.t.Helper()
	r, err := http.NewRequest(method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", api.JSON)
	}
	return h.send(r)
}

func (h *harness) send(r *http.Request) answer {
	h.t.Helper()
	var sent []byte
	if r.Body != nil && r.Body != http.NoBody {
		sent, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	a := answer{response.StatusCode, response.Header, string(text)}
	r.Body = io.NopCloser(bytes.NewReader(sent))
	h.check(r, a)
	return a
}

var described = sync.OnceValues(func() (routers.Router, error) {
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	if err != nil {
		return nil, err
	}
	return gorillamux.NewRouter(doc)
})

// check checks an answer against openapi.yaml, and what the server accepted against what the document lets it.
func (h *harness) check(r *http.Request, a answer) {
	h.t.Helper()
	router, err := described()
	if err != nil {
		h.t.Fatal(err)
	}
	route, params, err := router.FindRoute(r)
	if err != nil {
		h.checkUndescribed(r, a)
		return
	}
	request := &openapi3filter.RequestValidationInput{Request: r, Route: route, PathParams: params,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}}
	if a.status < 300 {
		if err := openapi3filter.ValidateRequest(h.t.Context(), request); err != nil {
			h.t.Errorf("%s %s was accepted against openapi.yaml: %v", r.Method, r.URL.Path, err)
		}
	}
	response := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: request, Status: a.status, Header: a.header,
		Body: io.NopCloser(strings.NewReader(a.text)),
	}
	if err := openapi3filter.ValidateResponse(h.t.Context(), response); err != nil {
		h.t.Errorf("%s %s: %d %s\nis not as openapi.yaml says: %v", r.Method, r.URL.Path, a.status, a.text, err)
	}
}

// checkUndescribed checks the answer to a request that openapi.yaml does not have.
func (h *harness) checkUndescribed(r *http.Request, a answer) {
	h.t.Helper()
	if r.Method == http.MethodHead && a.text == "" {
		return
	}
	var p api.Problem
	err := json.Unmarshal([]byte(a.text), &p)
	if err != nil || a.header.Get("Content-Type") != api.ProblemJSON || p.Status != a.status ||
		api.Status(p.Code) != a.status {
		h.t.Errorf("%s %s: %d %s is no problem", r.Method, r.URL.Path, a.status, a.text)
	}
}

// ok sends a request that must be answered with the status, and decodes the answer.
func ok[Answer any](h *harness, status int, method, path, body string) (decoded Answer) {
	h.t.Helper()
	a := h.do(method, path, body)
	if a.status != status {
		h.t.Fatalf("%s %s %s: %d %s, want %d", method, path, body, a.status, a.text, status)
	}
	if err := json.Unmarshal([]byte(a.text), &decoded); err != nil {
		h.t.Fatal(err)
	}
	return decoded
}

// refused sends a request that must be refused with the code, and the field where one is given.
func (h *harness) refused(code tms.Code, field, method, path, body string) api.Problem {
	h.t.Helper()
	a := h.do(method, path, body)
	var p api.Problem
	if err := json.Unmarshal([]byte(a.text), &p); err != nil || p.Code != code || p.Field != field ||
		a.status != api.Status(code) {
		h.t.Errorf("%s %s %.100s: %d %.300s, want %d %s of field %q", method, path, body, a.status, a.text,
			api.Status(code),
			code, cmp.Or(field, "none"))
	}
	return p
}
