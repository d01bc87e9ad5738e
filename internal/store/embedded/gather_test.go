package embedded

import (
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	tms "github.com/manankarani/token-manager"
)

// countSyncs counts the syncs of the store that is opened next.
func countSyncs(t testing.TB) *atomic.Int64 {
	real, syncs := diskFS, new(atomic.Int64)
	diskFS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSync {
			syncs.Add(1)
		}
		return nil
	}))
	t.Cleanup(func() { diskFS = real })
	return syncs
}

// fillFor puts a token in the pool for each caller.
func fillFor(t testing.TB, s *Store, callers int) {
	var tokens []tms.NewToken
	for n := range callers {
		tokens = append(tokens, tms.NewToken{Value: fmt.Sprint("t", n)})
	}
	if _, err := s.Generate(t.Context(), tms.DefaultPool, tms.GenerateRequest{Tokens: tokens}); err != nil {
		t.Fatal(err)
	}
}

// serveSteps carries out a step of the store for each byte that comes over a connection, and answers with one.
func serveSteps(t testing.TB, s *Store) (addr string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for n := 0; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			key := tms.LeaseKey{Token: fmt.Sprint("t", n)}
			serving.Go(func() {
				defer conn.Close()
				for b := make([]byte, 1); ; conn.Write(b) {
					if _, err := conn.Read(b); err != nil {
						return
					}
					if _, err := s.KeepAlive(t.Context(), tms.DefaultPool, []tms.LeaseKey{key}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	})
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}

// ask has so many callers ask over a connection each, so often.
func ask(t testing.TB, addr string, callers, times int) {
	var asking sync.WaitGroup
	for range callers {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		asking.Go(func() {
			defer conn.Close()
			b := make([]byte, 1)
			for range times {
				conn.Write(b)
				if _, err := conn.Read(b); err != nil {
					t.Error(err)
				}
			}
		})
	}
	asking.Wait()
}

// On one processor, too, callers share an fsync.
func TestCallersShareSyncsOnOneProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const callers, times = 64, 200
	syncs := countSyncs(t)
	s := open(t, Options{Dir: t.TempDir()})
	fillFor(t, s, callers)
	addr, before := serveSteps(t, s), syncs.Load()
	ask(t, addr, callers, times)
	n := syncs.Load() - before
	if callers*times < 10*n {
		t.Errorf("%d requests took %d syncs", callers*times, n)
	}
}

// How many requests share an fsync, and how long they take, on one processor and on all.
func BenchmarkShare(b *testing.B) {
	for name, processors := range map[string]int{"one": 1, "all": runtime.NumCPU()} {
		b.Run(name, func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
			syncs := countSyncs(b)
			s := must(b, Options{Dir: b.TempDir()})
			fillFor(b, s, 64)
			addr, before := serveSteps(b, s), syncs.Load()
			b.ResetTimer()
			ask(b, addr, 64, max(1, b.N/64))
			b.ReportMetric(float64(max(64, b.N))/float64(max(1, syncs.Load()-before)), "requests/sync")
		})
	}
}
