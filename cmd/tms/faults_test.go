package main

import (
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/manankarani/token-manager/internal/loopback"
)

// fault is something that happens to a server, and is over when it returns.
type fault struct {
	name   string
	happen func(m *mortal, draw *rand.Rand)
}

func (s *soak) count(fault string) {
	n, _ := s.faults.LoadOrStore(fault, &atomic.Int64{})
	n.(*atomic.Int64).Add(1)
}

func (s *soak) serverFaults() []fault {
	return []fault{
		{"server killed", func(m *mortal, draw *rand.Rand) {
			m.end()
			s.rest(draw, 800*time.Millisecond)
			if !m.start(s.t.Context()) {
				s.t.Errorf("a server that was killed does not start: %s", m.stderr)
			}
		}},
		{"server stopped", func(m *mortal, draw *rand.Rand) {
			m.cmd.Process.Signal(syscall.SIGSTOP)
			s.rest(draw, 1200*time.Millisecond)
			m.cmd.Process.Signal(syscall.SIGCONT)
		}},
	}
}

func (s *soak) wireFaults() []fault {
	silence := func(w *loopback.Wire, draw *rand.Rand) {
		w.Hush()
		s.rest(draw, 1200*time.Millisecond)
		w.Speak()
	}
	return []fault{
		{"wire to clients cut", func(m *mortal, _ *rand.Rand) { m.near.Cut() }},
		{"wire to Redis cut", func(m *mortal, _ *rand.Rand) { m.far.Cut() }},
		{"wire to clients silent", func(m *mortal, draw *rand.Rand) { silence(m.near, draw) }},
		{"wire to Redis silent", func(m *mortal, draw *rand.Rand) { silence(m.far, draw) }},
	}
}

func (s *soak) redisFaults() []fault {
	return []fault{
		{"Redis stopped", func(_ *mortal, draw *rand.Rand) {
			s.redis.Stop()
			s.rest(draw, 1200*time.Millisecond)
			s.redis.Continue()
		}},
		{"Redis killed", func(_ *mortal, draw *rand.Rand) {
			s.redis.Kill()
			s.rest(draw, 800*time.Millisecond)
			s.redis.Start()
		}},
	}
}
