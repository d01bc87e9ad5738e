package storetest

import (
	"testing"

	"github.com/manankarani/token-manager/internal/rules"
)

// TakeOver lets all pools settle, as if another process had begun to serve them, a millisecond later.
func (m *Model) TakeOver(testing.TB) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock.Advance(ms)
	now := m.clock.Millis()
	for _, p := range m.pools {
		longest := p.policy.LeaseTTL.Milliseconds()
		if p.lasting >= now {
			longest = max(longest, p.longest)
		}
		p.policy.Settling = rules.TakenOver(now-rules.Stale-1, longest, m.fence)
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
