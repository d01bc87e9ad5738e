package embedded

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/manankarani/token-manager/internal/store/storetest"
)

// fenceOf opens a store on the directory and returns the fence of an assignment.
func fenceOf(t *testing.T, dir string, clock *storetest.Clock) int64 {
	t.Helper()
	s, err := Open(Options{Dir: dir, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, s)
	fill(t, s, 1)
	return take(t, s, 1)[0].Lease.Fence
}

// A directory that was copied and put back issues no fence again that it issued after the copy was made.
func TestFencesRiseOverARestoredCopy(t *testing.T) {
	clock, dir := storetest.NewClock(), t.TempDir()
	fenceOf(t, dir, clock)
	early := copyOf(t, dir)
	clock.Advance(time.Millisecond)
	last := int64(0)
	for range 3 {
		last = max(last, fenceOf(t, dir, clock))
	}
	clock.Advance(time.Second)
	if again := fenceOf(t, early, clock); again <= last {
		t.Errorf("the restored copy issues fence %d, after %d had been issued", again, last)
	}
}

// Where the clock stands, or was set back, they rise all the same in one directory.
func TestFencesRiseOverOpenings(t *testing.T) {
	clock, dir, last := storetest.NewClock(), t.TempDir(), int64(0)
	for range 3 {
		fence := fenceOf(t, dir, clock)
		if fence <= last {
			t.Errorf("fence %d was issued after %d", fence, last)
		}
		last = fence
		clock.Advance(-time.Hour)
	}
}

// What is written in advance is not the end: the counter goes on above it, and the next opening stays above that.
func TestFencesRiseOverWhatWasReserved(t *testing.T) {
	clock, dir := storetest.NewClock(), t.TempDir()
	s, err := Open(Options{Dir: dir, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, 5)
	s.lastFence += fencesReserved - 2
	highest := take(t, s, 4)[3].Lease.Fence
	crashed := copyOf(t, dir)
	shut(t, s)
	for _, dir := range []string{dir, crashed} {
		if fence := fenceOf(t, dir, clock); fence <= highest {
			t.Errorf("fence %d was issued after %d", fence, highest)
		}
	}
}

// A directory of an earlier layout, whose fences counted its openings, goes on above them, however many there were.
func TestFencesRiseOverTheEarlierLayouts(t *testing.T) {
	for _, openings := range []int64{1, 1 << 19} {
		clock, dir := storetest.NewClock(), t.TempDir()
		s, err := Open(Options{Dir: dir, Now: clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.journal.setNow(versionKey, []byte{2}, epochKey, encodeNumber(openings)); err != nil {
			t.Fatal(err)
		}
		if err := s.journal.db.Delete(fenceKey, pebble.Sync); err != nil {
			t.Fatal(err)
		}
		shut(t, s)
		if fence, last := fenceOf(t, dir, clock), openings<<epochBits+1<<epochBits-1; fence <= last {
			t.Errorf("fence %d was issued after %d", fence, last)
		}
	}
}
