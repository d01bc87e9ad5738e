package client

import (
	"sync"
	"time"
)

// A monotonic clock may stand still while the machine is suspended, and the server's goes on. So leases are counted by
// a clock that has the naps of the machine added.

// clock is the one by which leases are counted. The zero value knows of no naps.
type clock struct {
	slept func() time.Duration // for how long the machine was suspended since it started; nil: never
}

const lookForNaps = time.Second // how often it is looked whether the machine was suspended, which no timer tells

// naps returns for how long the machine was suspended.
func (c clock) naps() time.Duration {
	if c.slept == nil {
		return 0
	}
	return c.slept()
}

func (c clock) now() time.Time { return time.Now().Add(c.naps()) }

// sleeper is a machine that can tell for how long it was suspended.
type sleeper struct {
	read func() time.Duration // differs by a little from one time to the next

	mu    sync.Mutex
	total time.Duration
}

// leastNap is what two readings differ by without one.
const leastNap = 50 * time.Millisecond

func (s *sleeper) slept() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.read(); now-s.total > leastNap {
		s.total = now
	}
	return s.total
}

// machine is the one on which this runs.
var machine = &sleeper{read: suspended}
