package embedded

import (
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

func must(b *testing.B, o Options) *Store {
	s, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}
