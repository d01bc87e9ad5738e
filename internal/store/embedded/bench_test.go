package embedded

import (
	"maps"
	"runtime"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

// The work of a step alone, without a disk behind it.
func BenchmarkFlatInMemory(b *testing.B) {
	storetest.BenchFlat(b, must(b, Options{}), 1_000, 1_000_000)
}

func BenchmarkFlatOnDisk(b *testing.B) {
	storetest.BenchFlat(b, must(b, Options{Dir: b.TempDir(), SyncInterval: time.Second}), 1_000, 1_000_000)
}

func BenchmarkFlatOnDiskFsync(b *testing.B) {
	storetest.BenchFlat(b, must(b, Options{Dir: b.TempDir()}), 1_000, 1_000_000)
}

func BenchmarkGenerateTenThousand(b *testing.B) {
	s := must(b, Options{Dir: b.TempDir()})
	most := tms.MaxMaxTokens
	s.PutPool(b.Context(), tms.DefaultPool, tms.PolicyChange{MaxTokens: &most})
	for b.Loop() {
		fill(b, s, tms.MaxBatch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*tms.MaxBatch), "ns/token")
}

// Opening a directory with a million tokens.
func BenchmarkOpenAMillion(b *testing.B) {
	o := Options{Dir: b.TempDir()}
	s, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	for range 100 {
		fill(b, s, tms.MaxBatch)
	}
	s.Close()
	for b.Loop() {
		s, err := Open(o)
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}

// What a million available tokens take of memory, as the operating system sees it, and of it what is in use; and what
// metadata adds that is as long in JSON as the second of them says.
func BenchmarkMemoryOfAMillion(b *testing.B) {
	const million = 1_000_000
	for name, metadata := range map[string]map[string]string{
		"plain":          nil,
		"metadata of 50": {"host": "db-12345.example.com", "user": "tester"},
	} {
		b.Run(name, func(b *testing.B) {
			s := must(b, Options{Dir: b.TempDir()})
			before := usage()
			for range b.N {
				for range million / tms.MaxBatch {
					request := tms.GenerateRequest{Tokens: make([]tms.NewToken, tms.MaxBatch)}
					for i := range request.Tokens {
						request.Tokens[i].Metadata = maps.Clone(metadata)
					}
					if _, err := s.Generate(b.Context(), tms.DefaultPool, request); err != nil {
						b.Fatal(err)
					}
				}
			}
			after := usage()
			b.ReportMetric(float64(after.Sys-after.HeapReleased)/float64(b.N*million), "B/token")
			runtime.GC()
			b.ReportMetric(float64(usage().HeapAlloc-before.HeapAlloc)/float64(b.N*million), "B-in-use/token")
		})
	}
}

func usage() (m runtime.MemStats) {
	runtime.ReadMemStats(&m)
	return m
}

func must(b *testing.B, o Options) *Store {
	s, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}
