package embedded

import (
	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// granted returns the longest ttl above the pool's, in ms, that was granted and may last; 0: none.
func (p *pool) granted(now int64) int64 {
	if p.lasting < now {
		return 0
	}
	return p.longest
}

// lasts remembers a ttl, in ms, that was granted or renewed, if it is above the pool's.
func (t *step) lasts(ttl int64) {
	over := t.now + ttl
	if ttl <= t.policy.LeaseTTL.Milliseconds() || ttl <= t.longest && over <= t.lasting {
		return
	}
	if t.lasting < t.now {
		t.longest, t.lasting = 0, 0
	}
	t.longest, t.lasting = max(t.longest, ttl), max(t.lasting, over+ttl/8+rules.Stale)
	t.store.journal.setSettling(t.pool)
}

// settleOn goes on with the settling of the pool. What can be given that could not be before may suit waiters.
func (t *step) settleOn() {
	phase := t.policy.Phase(t.now)
	if phase == t.phase {
		return
	}
	t.phase, t.kept = phase, true
	if phase == rules.Settled {
		t.fresh = nil
	}
}

// mortal returns the index of those leases that can end: while the pool settles, the inherited ones stand still.
func (p *pool) mortal() *index {
	if p.fresh != nil {
		return p.fresh
	}
	return p.assigned
}

// listFresh puts the token among those that were leased since the takeover, or takes it out of there.
func (p *pool) listFresh(e *entry, in bool) {
	if p.fresh != nil && !p.policy.Inherited(e.held()) {
		p.fresh.hold(position(e), in)
	}
}

// token returns the token with this record as whoever asks sees it, in wall-clock time.
func (t *step) token(e *entry, r rules.Record, reveal bool) tms.Token {
	ahead := t.store.clock.ahead()
	r.Seen, r.Metadata = t.policy.Wound(r.Seen), e.metadata().unpack()
	return r.Shift(ahead).Token(t.name, e.value(), t.policy, t.now+ahead, reveal)
}

// withPast returns the same with what the record remembers of its leases.
func (t *step) withPast(e *entry, r rules.Record) tms.Token {
	return r.Shift(t.store.clock.ahead()).WithPast(t.token(e, r, false))
}
