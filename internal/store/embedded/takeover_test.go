package embedded

import (
	"testing"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

// taken is a store whose pools another process takes over from time to time.
type taken struct{ *Store }

func (s taken) TakeOver(testing.TB) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takeOver()
}

func TestTakeoverInMemory(t *testing.T)      { storetest.RunTakeover(t, takenOver) }
func TestQueueTakeoverInMemory(t *testing.T) { storetest.RunQueueTakeover(t, takenOver) }

func takenOver(t testing.TB, clock *storetest.Clock) []tms.Sweeper {
	return []tms.Sweeper{taken{open(t, Options{Now: clock.Now})}}
}

// putBack is a store whose directory is put back by hand from time to time, as it is.
type putBack struct {
	*Store
	o Options
}

func (s *putBack) TakeOver(t testing.TB) {
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := MarkPutBack(s.o.Dir); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.Store, err = Open(s.o); err != nil {
		t.Fatal(err)
	}
}

func TestTakeoverOnDisk(t *testing.T) {
	storetest.RunTakeover(t, func(t testing.TB, clock *storetest.Clock) []tms.Sweeper {
		o := Options{Dir: t.TempDir(), Now: clock.Now}
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		p := &putBack{s, o}
		t.Cleanup(func() { shut(t, p.Store) })
		return []tms.Sweeper{p}
	})
}
