package client

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
)

// BenchmarkHold10000 has the keeper renew 10,000 leases at a server that costs nothing, and reports what one costs the
// client: its memory while it is held, and the processor's time of one renewal.
func BenchmarkHold10000(b *testing.B) {
	const n = 10_000
	results := make([]tms.TokenResult, n)
	for i := range results {
		results[i].Token.Lease = &tms.Lease{TTL: time.Hour}
	}
	keep := func(context.Context, string, []tms.LeaseKey) ([]tms.TokenResult, error) { return results, nil }
	k := &keeper{pool: "p", keepAlive: keep, ctx: b.Context(), wake: make(chan struct{}, 1), held: map[*Held]struct{}{}}
	tokens := make([]tms.Token, n)
	for i := range tokens {
		tokens[i] = tms.Token{Pool: "p", Value: fmt.Sprint(i), Lease: &tms.Lease{ID: fmt.Sprint(i), TTL: time.Hour}}
	}
	before := heap()
	helds := make([]*Held, n)
	for i := range helds {
		var err error
		if helds[i], err = newHeld(b.Context(), acquire{}, tokens[i], time.Now()); err != nil {
			b.Fatal(err)
		}
		helds[i].keeper = k
	}
	k.add(helds)
	memory := heap() - before
	for b.Loop() {
		k.look(time.Now().Add(40 * time.Minute)) // when all are due
		k.attempts.Wait()
	}
	b.ReportMetric(float64(memory)/n, "B/lease")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/lease")
	runtime.KeepAlive(helds)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
