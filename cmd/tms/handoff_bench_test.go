package main

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// BenchmarkHandOff measures the time from sending an unblock to having the answer of the assign that waited for it:
// real processes, one connection each, on one server and across two. It reports the median and the 99th percentile.
func BenchmarkHandOff(b *testing.B) {
	b.Run("memory", func(b *testing.B) { p := startServe(b, "--store", "memory:"); benchHandOff(b, p, p) })
	b.Run("embedded", func(b *testing.B) {
		p := startServe(b, "--store", "embedded:"+b.TempDir())
		benchHandOff(b, p, p)
	})
	b.Run("redis", func(b *testing.B) {
		p := startServe(b, "--store", redistest.New(b).URL())
		benchHandOff(b, p, p)
	})
	b.Run("redis-two-servers", func(b *testing.B) {
		url := redistest.New(b).URL()
		benchHandOff(b, startServe(b, "--store", url), startServe(b, "--store", url))
	})
}

func benchHandOff(b *testing.B, waits, gives *process) {
	gives.must(200, http.MethodPut, "/pools/default", object{"token_ttl": "0s"})
	gives.must(201, http.MethodPost, "/generate-token", nil)
	held := gives.must(200, http.MethodPost, "/assign-token", nil)
	var took []time.Duration
	for b.Loop() {
		next := make(chan reply, 1)
		go func() { next <- waits.must(200, http.MethodPost, "/assign-token", object{"wait": "30s"}) }()
		gives.untilWaiting(b)
		start := time.Now()
		gives.must(200, http.MethodPost, "/unblock-token", object{"token": held.Token, "lease_id": held.LeaseID})
		held = <-next
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// untilWaiting returns when somebody waits.
func (p *process) untilWaiting(b *testing.B) {
	for {
		var pool poolNow
		if p.get(b, "/pools/default", &pool); pool.Waiting == 1 {
			return
		}
	}
}
