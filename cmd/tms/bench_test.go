package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// BenchmarkServe measures what a request of the cycle assign, keep-alive, unblock costs a server process over 64
// connections with 100,000 tokens, and beside it, in the same run, what it costs a process that only decodes and
// encodes the same bodies. Times differ from machine to machine; the ratio of the two is what TMS adds to net/http.
func BenchmarkServe(b *testing.B) {
	b.Run("memory", func(b *testing.B) { benchServe(b, nil, "memory:") })
	b.Run("embedded", func(b *testing.B) { benchServe(b, nil, "embedded:"+b.TempDir()) })
	b.Run("redis", func(b *testing.B) {
		redis := redistest.New(b)
		benchServe(b, redis, redis.URL())
	})
}

func benchServe(b *testing.B, redis *redistest.Server, store string) {
	p, empty := startServe(b, "--store", store), startEmpty(b)
	p.must(200, http.MethodPut, "/pools/default", object{"token_ttl": "0s"})
	for range 10 {
		p.must(201, http.MethodPost, "/generate-token", object{"count": 10_000})
	}
	served, redisBefore := meter{pid: p.cmd.Process.Pid}, 0.0
	plain := meter{pid: empty.cmd.Process.Pid}
	if redis != nil {
		redisBefore = cpuSeconds(b, redis.Pid())
	}
	for b.Loop() {
		plain.round(b, empty)
		served.round(b, p)
	}
	b.ReportMetric(served.perRequest(), "server-µs/request")
	b.ReportMetric(plain.perRequest(), "empty-µs/request")
	b.ReportMetric(served.perRequest()/plain.perRequest(), "server/empty")
	if redis != nil {
		b.ReportMetric((cpuSeconds(b, redis.Pid())-redisBefore)*1e6/float64(served.requests), "redis-µs/request")
	}
}

// meter adds up the processor time of a process over rounds of requests.
type meter struct {
	pid      int
	seconds  float64
	requests int
}

func (m *meter) perRequest() float64 { return m.seconds * 1e6 / float64(m.requests) }

// round runs 20 cycles on each of 64 connections.
func (m *meter) round(b *testing.B, p *process) {
	const clients, cycles = 64, 20
	before := cpuSeconds(b, m.pid)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range cycles {
				if err := cycle(p); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	m.seconds += cpuSeconds(b, m.pid) - before
	m.requests += clients * cycles * 3
}

func cycle(p *process) error {
	lease, err := p.call(http.MethodPost, api.PathAssign, object{"client_id": "bench"})
	key := object{"token": lease.Token, "lease_id": lease.LeaseID}
	for _, path := range []string{api.PathKeepAlive, api.PathUnblock} {
		if err != nil || lease.Status != http.StatusOK {
			return fmt.Errorf("status %d, code %q, error %v", lease.Status, lease.Code, err)
		}
		lease, err = p.call(http.MethodPost, path, key)
	}
	return err
}

// cpuSeconds returns the processor time that a process has taken so far, as Linux counts it in hundredths.
func cpuSeconds(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatalf("this benchmark runs on Linux: %v", err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	if err1 != nil || err2 != nil {
		b.Fatal(err1, err2)
	}
	return (user + system) / 100
}

// startEmpty starts a process that decodes requests and encodes answers of the same shape, and does nothing else.
func startEmpty(b *testing.B) *process { return startProcess(b, exec.Command("empty")) }

// serveEmpty is the process that startEmpty starts.
func serveEmpty() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("tms empty serves on http://%s\n", listener.Addr())
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+api.PathAssign, answerEmpty)
	mux.HandleFunc("POST "+api.PathKeepAlive, answerEmpty)
	mux.HandleFunc("POST "+api.PathUnblock, answerEmpty)
	panic(http.Serve(listener, mux))
}

func answerEmpty(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Pool     string `json:"pool"`
		Token    string `json:"token"`
		LeaseID  string `json:"lease_id"`
		ClientID string `json:"client_id"`
		TTL      string `json:"ttl"`
		Count    int    `json:"count"`
	}
	if json.NewDecoder(r.Body).Decode(&request) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", api.JSON)
	if r.URL.Path == api.PathUnblock {
		json.NewEncoder(w).Encode(emptyToken{"default", request.Token, "available"})
		return
	}
	json.NewEncoder(w).Encode(emptyLease{
		Pool: "default", Token: "4XBWieO4Hyd8GL4UOf5NyT", State: "assigned", LeaseID: "4XBWieO4Hyd8GL4UOf5NyT",
		Fence:    1 << 33,
		ClientID: "bench", AssignedAt: "2030-01-02T12:00:00.000Z", LeaseExpiresAt: "2030-01-02T12:01:00.000Z",
		TTLMS: 60_000, RenewAfterMS: 20_000, ExpiresAt: "2030-01-02T12:05:00.000Z",
	})
}

type emptyToken struct {
	Pool  string `json:"pool"`
	Token string `json:"token"`
	State string `json:"state"`
}

type emptyLease struct {
	Pool           string `json:"pool"`
	Token          string `json:"token"`
	State          string `json:"state"`
	LeaseID        string `json:"lease_id"`
	Fence          int64  `json:"fence"`
	ClientID       string `json:"client_id"`
	AssignedAt     string `json:"assigned_at"`
	LeaseExpiresAt string `json:"lease_expires_at"`
	TTLMS          int64  `json:"ttl_ms"`
	RenewAfterMS   int64  `json:"renew_after_ms"`
	ExpiresAt      string `json:"expires_at"`
}
