package redis_test

import (
	"bufio"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

const million = 1_000_000

// BenchmarkFlat compares the verbs in a pool of 1,000 tokens with those in one of a million.
func BenchmarkFlat(b *testing.B) {
	s := open(b, redistest.New(b), redis.Options{})
	storetest.BenchFlat(b, s, 1_000, million)
}

// BenchmarkVerbs measures each verb alone, one call at a time, and what it costs Redis.
func BenchmarkVerbs(b *testing.B) {
	for _, size := range []int{1_000, million} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			server := redistest.New(b)
			s, c := open(b, server, redis.Options{}), raw(b, server)
			grow(b, s, "p", size)
			b.Run("Cycle", func(b *testing.B) { benchCycle(b, s, c) })
			b.Run("CycleOf64", func(b *testing.B) { benchCycle64(b, s, c) })
		})
	}
}

// benchCycle measures a cycle of three verbs.
func benchCycle(b *testing.B, s *redis.Store, c rueidis.Client) {
	metered(b, c, 3*b.N, func() {
		for range b.N {
			cycle(b, s)
		}
	})
}

// benchCycle64 measures cycles of 64 clients at once.
func benchCycle64(b *testing.B, s *redis.Store, c rueidis.Client) {
	metered(b, c, 3*b.N, func() {
		var clients sync.WaitGroup
		for i := range 64 {
			clients.Go(func() {
				for range (b.N + i) / 64 {
					cycle(b, s)
				}
			})
		}
		clients.Wait()
	})
}

// cycle assigns a token, keeps it alive and gives it back.
func cycle(b *testing.B, s *redis.Store) {
	results, err := s.Assign(b.Context(), "p", []tms.AssignRequest{{ClientID: "bench"}})
	if err != nil || results[0].Err != nil {
		b.Error(err, results)
		return
	}
	t := results[0].Tokens[0]
	keys := []tms.LeaseKey{{Token: t.Value, LeaseID: t.Lease.ID}}
	if _, err := s.KeepAlive(b.Context(), "p", keys); err != nil {
		b.Error(err)
	}
	if _, err := s.Unblock(b.Context(), "p", keys); err != nil {
		b.Error(err)
	}
}

// BenchmarkDatabases compares lookups in one database of a Redis with lookups in two in turn: the time of a function in
// the best of b.N rounds, which is what a busy machine spares.
func BenchmarkDatabases(b *testing.B) {
	server := redistest.New(b)
	c := raw(b, server)
	lookup := append([]string{"FCALL", "tms1_token", strconv.Itoa(len(redis.KeyNames))}, redis.PoolKeys("p")...)
	var turn []rueidis.Completed
	for i, place := range []string{"", "@1"} {
		s := open(b, server, redis.Options{URL: fmt.Sprint(server.URL(), "/", i)})
		put(b, s, "p", tms.PolicyChange{})
		fill(b, s, "p", "x")
		turn = append(turn, c.B().Arbitrary("SELECT", strconv.Itoa(i)).Build().Pin(),
			c.B().Arbitrary(append(slices.Clip(lookup), place, "x")...).Build().Pin())
	}
	for n := 1; n <= 2; n++ {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			best := math.Inf(1)
			for range b.N {
				ask(b, c, "CONFIG", "RESETSTAT")
				for _, result := range c.DoMulti(b.Context(), slices.Repeat(turn[:2*n], 500/n)...) {
					must(b, result.Error())
				}
				best = min(best, functionTime(b, c))
			}
			b.ReportMetric(best, "function-µs/call")
		})
	}
}

// functionTime returns how many µs a function took in the mean since the statistics were reset.
func functionTime(t testing.TB, c rueidis.Client) float64 {
	t.Helper()
	text, err := ask(t, c, "INFO", "commandstats").ToString()
	must(t, err)
	found := regexp.MustCompile(`cmdstat_fcall:.*usec_per_call=([\d.]+)`).FindStringSubmatch(text)
	took, err := strconv.ParseFloat(found[1], 64)
	must(t, err)
	return took
}

// BenchmarkKeepAlive1000 measures a batch of 1,000 keep-alives.
func BenchmarkKeepAlive1000(b *testing.B) {
	server := redistest.New(b)
	s, c := open(b, server, redis.Options{}), raw(b, server)
	grow(b, s, "p", 10_000)
	results, err := s.Assign(b.Context(), "p", []tms.AssignRequest{{ClientID: "bench", Count: 1_000, TTL: time.Hour}})
	must(b, err)
	var keys []tms.LeaseKey
	for _, t := range results[0].Tokens {
		keys = append(keys, tms.LeaseKey{Token: t.Value, LeaseID: t.Lease.ID})
	}
	metered(b, c, 1_000*b.N, func() {
		for range b.N {
			_, err := s.KeepAlive(b.Context(), "p", keys)
			must(b, err)
		}
	})
}

// BenchmarkGenerate10000 measures a batch of 10,000 new tokens.
func BenchmarkGenerate10000(b *testing.B) {
	server := redistest.New(b)
	s, c := open(b, server, redis.Options{}), raw(b, server)
	put(b, s, "p", tms.PolicyChange{MaxTokens: new(tms.MaxMaxTokens)})
	metered(b, c, tms.MaxBatch*b.N, func() {
		for range b.N {
			_, err := s.Generate(b.Context(), "p", tms.GenerateRequest{Tokens: make([]tms.NewToken, tms.MaxBatch)})
			must(b, err)
		}
	})
}

// BenchmarkMemory reports the bytes that Redis holds for an available and for an assigned token.
func BenchmarkMemory(b *testing.B) {
	const size = 200_000
	for range b.N {
		server := redistest.New(b)
		s, c := open(b, server, redis.Options{}), raw(b, server)
		must(b, s.Ready(b.Context()))
		empty := field(b, c, "used_memory")
		grow(b, s, "p", size)
		available := field(b, c, "used_memory")
		for range size / tms.MaxAssignCount {
			_, err := s.Assign(b.Context(), "p", []tms.AssignRequest{{ClientID: "worker-123", Count: tms.MaxAssignCount,
				TTL: time.Hour}})
			must(b, err)
		}
		assigned := field(b, c, "used_memory")
		b.ReportMetric((available-empty)/size, "B/available")
		b.ReportMetric((assigned-empty)/size, "B/assigned")
	}
}

// grow brings a pool to n tokens that live for ever.
func grow(b *testing.B, s *redis.Store, pool string, n int) {
	b.Helper()
	put(b, s, pool, tms.PolicyChange{TokenTTL: new(time.Duration(0))})
	for ; n > 0; n -= tms.MaxBatch {
		_, err := s.Generate(b.Context(), pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, min(n, tms.MaxBatch))})
		must(b, err)
	}
}

// metered runs f, and reports the CPU that Redis took, in µs for each of n.
func metered(b *testing.B, c rueidis.Client, n int, f func()) {
	b.Helper()
	before := cpu(b, c)
	b.ResetTimer()
	f()
	b.ReportMetric((cpu(b, c)-before)*1e6/float64(n), "redis-µs/op")
}

// cpu returns the seconds of CPU that Redis has taken.
func cpu(t testing.TB, c rueidis.Client) float64 {
	return field(t, c, "used_cpu_user") + field(t, c, "used_cpu_sys")
}

// field returns a number that INFO shows.
func field(t testing.TB, c rueidis.Client, name string) float64 {
	t.Helper()
	text, _ := ask(t, c, "INFO", "all").ToString()
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+":"); ok {
			n, err := strconv.ParseFloat(value, 64)
			must(t, err)
			return n
		}
	}
	t.Fatalf("INFO has no %s", name)
	return 0
}

// BenchmarkReplicas compares 64 callers on a Redis with two replicas that wait for none, and for both of them.
func BenchmarkReplicas(b *testing.B) {
	for _, need := range []int{0, 2} {
		b.Run(fmt.Sprintf("N=%d", need), func(b *testing.B) {
			s, master, _ := replicated(b, 2, need)
			_, err := s.Generate(b.Context(), "p", tms.GenerateRequest{Tokens: make([]tms.NewToken, 2_000)})
			must(b, err)
			before := field(b, raw(b, master), "total_connections_received")
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					token := take(b, s, "p")
					release(b, s, "p", token.Value)
				}
			})
			b.StopTimer()
			b.ReportMetric(field(b, raw(b, master), "total_connections_received")-before, "connections")
		})
	}
}

// BenchmarkTakeover measures the step that takes over a pool, by how many tokens it holds.
func BenchmarkTakeover(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint(n, " tokens"), func(b *testing.B) {
			server := redistest.New(b)
			s, c := open(b, server, redis.Options{}), raw(b, server)
			put(b, s, "p", tms.PolicyChange{MaxTokens: new(2_000_000), TokenTTL: new(time.Duration(0))})
			for left := n; left > 0; left -= 10_000 {
				tokens := make([]tms.NewToken, min(left, 10_000))
				_, err := s.Generate(b.Context(), "p", tms.GenerateRequest{Tokens: tokens})
				must(b, err)
			}
			for b.Loop() {
				ask(b, c, "HSET", "tms:{p}:pool", "run_id", "another", "epoch", "0")
				if _, _, err := s.Pool(b.Context(), "p"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
