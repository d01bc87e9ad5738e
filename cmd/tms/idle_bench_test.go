package main

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// BenchmarkIdlePools measures what pools with a token that nobody uses cost a server process and Redis, in percent of a
// core over more than a round of the expiry manager, and how long a lookup takes beside them. It takes a quarter of an
// hour.
func BenchmarkIdlePools(b *testing.B) {
	for _, pools := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("redis/%d", pools), func(b *testing.B) {
			redis := redistest.New(b)
			benchIdle(b, redis, redis.URL(), pools)
		})
		b.Run(fmt.Sprintf("memory/%d", pools), func(b *testing.B) { benchIdle(b, nil, "memory:", pools) })
	}
}

func benchIdle(b *testing.B, redis *redistest.Server, store string, pools int) {
	p := startServe(b, "--store", store)
	fillPools(p, pools)
	time.Sleep(15 * time.Second) // until they no longer count as used
	window := 5 * time.Second
	if pools > 1 {
		window = 5 * time.Minute
	}
	pids := map[string]int{"server-%": p.cmd.Process.Pid}
	if redis != nil {
		pids["redis-%"] = redis.Pid()
	}
	for b.Loop() {
		before := map[string]float64{}
		for name, pid := range pids {
			before[name] = cpuSeconds(b, pid)
		}
		time.Sleep(window)
		for name, pid := range pids {
			b.ReportMetric((cpuSeconds(b, pid)-before[name])/window.Seconds()*100, name)
		}
		took := lookUps(p, 5_000)
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "lookup-p50-µs")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "lookup-p99-µs")
	}
}

// fillPools makes pools with one token each.
func fillPools(p *process, pools int) {
	const clients = 32
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for i := c; i < pools; i += clients {
				name := fmt.Sprint("pool-", i)
				p.call(http.MethodPut, "/pools/"+name, object{"token_ttl": "0s"})
				p.must(http.StatusCreated, http.MethodPost, "/generate-token",
					object{"pool": name, "tokens": []string{"a"}})
			}
		})
	}
	all.Wait()
}

// lookUps returns how long lookups of a token took, in order.
func lookUps(p *process, n int) (took []time.Duration) {
	for range n {
		start := time.Now()
		p.must(http.StatusOK, http.MethodPost, "/lookup-token", object{"pool": "pool-0", "token": "a"})
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took
}
