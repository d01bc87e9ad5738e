package main

import (
	"fmt"
	"net/http"
	"os"
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
func cpuSeconds(b testing.TB, pid int) float64 {
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
