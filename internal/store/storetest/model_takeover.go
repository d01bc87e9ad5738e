package storetest

import (
	"testing"

	"github.com/manankarani/token-manager/internal/rules"
)

// lostFences is how many fences another process may have issued that are not known.
const lostFences = 1 << 24

// TakeOver lets all pools settle, as if another process had begun to serve them, a millisecond later.
func (m *Model) TakeOver(testing.TB) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock.Advance(ms)
	now := m.clock.Millis()
	m.fence += lostFences
	for _, p := range m.pools {
		granted := p.longest
		if p.lasting < now {
			granted = 0
		}
		p.policy.Settling = p.policy.TakenOver(now-rules.Stale-1, granted, m.fence)
	}
}

// lasts remembers a ttl that was granted or renewed, if it is above the pool's.
func (p *modelPool) lasts(ttl, now int64) {
	if ttl <= p.policy.LeaseTTL.Milliseconds() {
		return
	}
	if p.lasting < now {
		p.longest, p.lasting = 0, 0
	}
	p.longest, p.lasting = max(p.longest, ttl), max(p.lasting, now+ttl)
}
