package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// BenchmarkWhileLeasesEnd measures how long an assign takes, 200 a second, while many leases of its pool have ended at
// one instant, beside how long it takes before, and after how long all are back. GET /pools is read each second.
func BenchmarkWhileLeasesEnd(b *testing.B) {
	for _, leases := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("redis/%d", leases), func(b *testing.B) {
			benchLeasesEnd(b, startServe(b, "--store", redistest.New(b).URL()), leases)
		})
		b.Run(fmt.Sprintf("embedded/%d", leases), func(b *testing.B) {
			benchLeasesEnd(b, startServe(b, "--store", "embedded:"+b.TempDir()), leases)
		})
	}
}

func benchLeasesEnd(b *testing.B, p *process, leases int) {
	for b.Loop() {
		p.call(http.MethodPut, "/pools/default", object{"token_ttl": "0s", "max_tokens": 2 * leases})
		for made := 0; made < leases+10_000; made += 10_000 {
			p.must(http.StatusCreated, http.MethodPost, "/generate-token", object{"count": 10_000})
		}
		end := time.Now().Add(5*time.Second + time.Duration(leases)*30*time.Microsecond)
		for taken := 0; taken < leases; taken += 1_000 {
			ttl := strconv.FormatInt(time.Until(end).Milliseconds(), 10) + "ms"
			p.must(http.StatusOK, http.MethodPost, "/assign-token", object{"count": 1_000, "ttl": ttl})
		}
		b.ReportMetric(time.Until(end).Seconds(), "left-s")
		idle := p.assigns(end, func() bool { return false })
		begun := time.Now()
		due := p.assigns(begun.Add(5*time.Minute), func() bool { return p.released() >= leases })
		b.ReportMetric(time.Since(begun).Seconds(), "back-s")
		for name, took := range map[string][]time.Duration{"idle": idle, "due": due} {
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, name+"-p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, name+"-p99-ms")
		}
	}
}

// released returns how many leases have ended by themselves in the pool.
func (p *process) released() int {
	response, err := p.client.Get(p.url + "/pools/default")
	if err != nil {
		return -1
	}
	defer response.Body.Close()
	var now struct{ Expired struct{ Released int } }
	if json.NewDecoder(response.Body).Decode(&now) != nil {
		return -1
	}
	return now.Expired.Released
}

// assigns assigns and returns a token 200 times a second until an instant, or until it is over, of which it asks once a
// second. It returns how long the assigns took, in order.
func (p *process) assigns(until time.Time, over func() bool) (took []time.Duration) {
	var mu sync.Mutex
	var asking sync.WaitGroup
	for i := 0; time.Now().Before(until) && (i%200 != 199 || !over()); i++ {
		asking.Go(func() {
			start := time.Now()
			a := p.must(http.StatusOK, http.MethodPost, "/assign-token", nil)
			lasted := time.Since(start)
			p.must(http.StatusOK, http.MethodPost, "/unblock-token",
				object{"token": a.Token, "lease_id": a.LeaseID})
			mu.Lock()
			took = append(took, lasted)
			mu.Unlock()
		})
		time.Sleep(5 * time.Millisecond)
	}
	asking.Wait()
	slices.Sort(took)
	return took
}
