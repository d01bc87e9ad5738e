package wait

import (
	"context"
	"time"
)

const warnEvery = time.Minute // at most, while wakes are not heard

// listen wakes those whose turn the store calls out, until the store is closed.
func (s *Store) listen() {
	var warned time.Time
	for s.life.Err() == nil {
		err := s.queue.Listen(s.life, s.wake)
		if err != nil && s.life.Err() == nil {
			if time.Since(warned) >= warnEvery {
				s.options.Logger.Warn("wakes are not heard for now, so that waiters are served up to a second later",
					"error", err)
				warned = time.Now()
			}
			pause(s.life, s.options.Beat/4)
		}
	}
}

func (s *Store) wake(ticket string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		l.wake(ticket)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
