package server

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/internal/store/embedded"
	"github.com/manankarani/token-manager/internal/telemetry"

	tms "github.com/manankarani/token-manager"
)

// The benchmarks call handlers without a network, so that what TMS adds to net/http can be read as a difference: a
// keep-alive in full, and a handler that only decodes and encodes the same bodies with the library of Go itself.

const benchKey = `{"token":"a","lease_id":"4XBWieO4Hyd8GL4UOf5NyT"}`

func BenchmarkKeepAlive(b *testing.B) { benchKeepAlive(b, benchKey) }

// BenchmarkKeepAliveOf1000 is one request for 1,000 leases.
func BenchmarkKeepAliveOf1000(b *testing.B) {
	benchKeepAlive(b, `{"leases":[`+strings.Repeat(benchKey+",", 999)+benchKey+`]}`)
}

func benchKeepAlive(b *testing.B, body string) {
	registry := prometheus.NewRegistry()
	store, err := embedded.Open(embedded.Options{NewID: func() string { return "4XBWieO4Hyd8GL4UOf5NyT" }})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	wrapped := telemetry.Wrap(store, registry)
	wrapped.Generate(b.Context(), tms.DefaultPool, tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "a"}}})
	wrapped.Assign(b.Context(), tms.DefaultPool, []tms.AssignRequest{{}})
	bench(b, New(Config{Store: wrapped, Observe: telemetry.Requests(registry)}).Handler(), body)
}

func BenchmarkEmptyHandler(b *testing.B) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+api.PathKeepAlive, func(w http.ResponseWriter, r *http.Request) {
		var request struct {
			Pool    string `json:"pool"`
			Token   string `json:"token"`
			LeaseID string `json:"lease_id"`
		}
		if json.NewDecoder(r.Body).Decode(&request) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", api.JSON)
		json.NewEncoder(w).Encode(plainLease{
			Pool: "default", Token: request.Token, State: "assigned", LeaseID: request.LeaseID, Fence: 1, TTLMS: 60_000,
			RenewAfterMS: 20_000,
			AssignedAt:   "2030-01-02T12:00:00.000Z", LeaseExpiresAt: "2030-01-02T12:01:00.000Z",
			ExpiresAt: "2030-01-02T12:05:00.000Z",
		})
	})
	bench(b, mux, benchKey)
}

// plainLease has the wire of a lease in plain types.
type plainLease struct {
	Pool           string `json:"pool"`
	Token          string `json:"token"`
	State          string `json:"state"`
	LeaseID        string `json:"lease_id"`
	Fence          int64  `json:"fence"`
	AssignedAt     string `json:"assigned_at"`
	LeaseExpiresAt string `json:"lease_expires_at"`
	TTLMS          int64  `json:"ttl_ms"`
	RenewAfterMS   int64  `json:"renew_after_ms"`
	ExpiresAt      string `json:"expires_at"`
}

// discard is a ResponseWriter that keeps the status alone.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

func bench(b *testing.B, handler http.Handler, body string) {
	b.ReportAllocs()
	for b.Loop() {
		r, err := http.NewRequest("POST", api.PathKeepAlive, io.NopCloser(strings.NewReader(body)))
		if err != nil {
			b.Fatal(err)
		}
		r.ContentLength = int64(len(body))
		r.Header.Set("Content-Type", api.JSON)
		w := &discard{http.Header{}, 200}
		handler.ServeHTTP(w, r)
		if w.status != 200 {
			b.Fatal(w.status)
		}
	}
}
