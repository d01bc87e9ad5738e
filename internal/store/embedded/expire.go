package embedded

import (
	"context"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// deadline is an instant and the token whose clock runs out then; [rules.Never] and nil where there is none.
type deadline struct {
	at int64
	*entry
}

// deadlineOf returns when the first token of an index is due, which is ttl after its instant.
func deadlineOf(x *index, ttl time.Duration) deadline {
	e := x.first()
	if e == nil {
		return deadline{rules.Never, nil}
	}
	return deadline{x.earliest() + ttl.Milliseconds(), e}
}

func earlier(a, b deadline) deadline {
	if b.at < a.at {
		return b
	}
	return a
}

// nextReturn returns the next lease to end, token not to be picked up, or cooldown to be over. A handed token stands
// among the assigned too, where it seems to have a grace that it has not; its own index says so first.
func (p *pool) nextReturn() deadline {
	back := earlier(deadlineOf(p.mortal(), p.policy.Grace), deadlineOf(p.cooling, 0))
	return earlier(back, deadlineOf(p.handed, 0))
}

// nextDeath returns the next token clock to run out of a token that nobody holds.
func (p *pool) nextDeath() deadline {
	if p.policy.TokenTTL == 0 {
		return deadline{rules.Never, nil}
	}
	d := earlier(deadlineOf(p.available, p.policy.TokenTTL), deadlineOf(p.coolingSeen, p.policy.TokenTTL))
	if d.entry != nil {
		d.at = max(d.at, p.policy.Until+p.policy.TokenTTL.Milliseconds())
	}
	return d
}

func (p *pool) nextDeadline() deadline { return earlier(p.nextReturn(), p.nextDeath()) }

// settle carries out the deadlines of one token that have passed, and reports whether it still lives.
func (t *step) settle(e *entry) (alive bool) {
	there := e.record()
	if t.now <= there.Due(t.policy) {
		return true
	}
	record, alive, counts := there.At(t.policy, t.now)
	t.expired = t.expired.Add(counts)
	if alive {
		t.put(e, record)
	} else {
		t.drop(e)
	}
	return alive
}

// expire settles at most limit tokens, the longest overdue first, and reports whether more are due.
func (t *step) expire(limit int) (more bool) {
	for range limit {
		d := t.nextDeadline()
		if d.at >= t.now {
			return false
		}
		t.settle(d.entry)
	}
	return t.nextDeadline().at < t.now
}

// tidy lets tickets age whose time is over, and reports whether more are there than it may.
func (t *step) tidy() (more bool) {
	for range maxStep {
		if t.queue.due() >= t.now {
			return false
		}
		t.age(t.queue.first())
	}
	return t.queue.due() < t.now
}

// Expire implements [tms.Sweeper].
func (s *Store) Expire(ctx context.Context, pool string, limit int) (result tms.Expired, err error) {
	err = s.do(ctx, pool, func(t *step) error {
		result.Now = t.store.clock.wall(t.now)
		if late := t.now - t.nextDeadline().at; late > 0 {
			result.Overdue = time.Duration(late) * time.Millisecond
		}
		t.expire(limit)
		t.forget(limit)
		t.handOff()
		result.NextDue = t.store.clock.wall(min(t.nextDeadline().at, t.queue.due(), t.policy.Next(t.now)))
		result.ExpiryCounts = t.expired.Sub(t.before)
		return nil
	})
	return result, err
}
