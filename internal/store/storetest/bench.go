package storetest

import (
	"slices"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
)

// BenchFlat measures assign, keep-alive and unblock in a pool of small and in one of large size, one after the other in
// the same loop, and reports the medians and their ratios. Noise of the machine meets both alike, so that a ratio holds
// where a time does not.
func BenchFlat(b *testing.B, store tms.Sweeper, small, large int) {
	pools := []benchPool{{store: store, name: "small"}, {store: store, name: "large"}}
	pools[0].fill(b, small)
	pools[1].fill(b, large)
	b.ResetTimer()
	for range b.N {
		for i := range pools {
			pools[i].cycle(b)
		}
	}
	b.StopTimer()
	for verb, name := range benchVerbs {
		few, many := median(pools[0].took[verb]), median(pools[1].took[verb])
		b.ReportMetric(float64(many), name+"-large-ns")
		b.ReportMetric(float64(many)/float64(few), name+"-large/small")
	}
}

var benchVerbs = [...]string{"assign", "keepalive", "unblock"}

type benchPool struct {
	store tms.Sweeper
	name  string
	took  [len(benchVerbs)][]time.Duration
}

// fill brings the pool to n tokens that live for ever, in batches of 10,000.
func (p *benchPool) fill(b *testing.B, n int) {
	forever := time.Duration(0)
	if _, err := p.store.PutPool(b.Context(), p.name, tms.PolicyChange{TokenTTL: &forever}); err != nil {
		b.Fatal(err)
	}
	_, stats, err := p.store.Pool(b.Context(), p.name)
	if err != nil {
		b.Fatal(err)
	}
	for have := stats.Total(); have < n; have += tms.MaxBatch {
		batch := make([]tms.NewToken, min(tms.MaxBatch, n-have))
		if _, err := p.store.Generate(b.Context(), p.name, tms.GenerateRequest{Tokens: batch}); err != nil {
			b.Fatal(err)
		}
	}
}

// cycle assigns a token, keeps it alive and gives it back.
func (p *benchPool) cycle(b *testing.B) {
	var token tms.Token
	p.time(b, 0, func() error {
		results, err := p.store.Assign(b.Context(), p.name, []tms.AssignRequest{{ClientID: "bench"}})
		if err == nil {
			token, err = results[0].Tokens[0], results[0].Err
		}
		return err
	})
	keys := []tms.LeaseKey{keyOf(token)}
	p.time(b, 1, func() error { return firstError(p.store.KeepAlive(b.Context(), p.name, keys)) })
	p.time(b, 2, func() error { return firstError(p.store.Unblock(b.Context(), p.name, keys)) })
}

func (p *benchPool) time(b *testing.B, verb int, f func() error) {
	start := time.Now()
	err := f()
	p.took[verb] = append(p.took[verb], time.Since(start))
	if err != nil {
		b.Fatal(err)
	}
}

func firstError(results []tms.TokenResult, err error) error {
	if err == nil {
		err = results[0].Err
	}
	return err
}

func median(took []time.Duration) time.Duration {
	slices.Sort(took)
	return max(1, took[len(took)/2])
}
