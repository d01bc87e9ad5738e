package client

import (
	"cmp"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	tms "github.com/manankarani/token-manager"
)

// A lease is renewed for the first time after a third of its usable time, so that two lost renewals do no harm, and is
// taken along from half of that on when others are renewed, so that those of one pool come to be renewed together.
const (
	renewals     = 3
	earlyPart    = 6
	shortestStep = 10 * time.Millisecond // between two attempts
)

// keeper keeps the leases of one pool alive. One goroutine looks at all of them when the earliest is due; requests have
// goroutines of their own, so that none can hold up a deadline.
type keeper struct {
	pool      string
	clock     clock
	keepAlive verb
	unblock   verb
	ctx       context.Context // of the requests; ends with the keeper
	attempts  sync.WaitGroup
	wake      chan struct{} // says that there is an earlier instant, or nothing left to keep

	mu   sync.Mutex
	held map[*Held]struct{}
	next time.Time // when the goroutine looks again
}

// verb is keep-alive or unblock of a store.
type verb func(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error)

// run ends when no lease is left and retire agrees.
func (k *keeper) run(retire func(*keeper) bool) {
	timer, naps := time.NewTimer(0), time.NewTicker(lookForNaps)
	defer timer.Stop()
	defer naps.Stop()
	slept := k.clock.naps()
	for {
		select {
		case <-timer.C:
		case <-k.wake:
		case <-naps.C:
			if slept == k.clock.naps() {
				continue
			}
		}
		slept = k.clock.naps()
		next, some := k.look(k.clock.now())
		if !some && retire(k) {
			return
		}
		timer.Reset(next.Sub(k.clock.now()))
	}
}

// look ends what is over, has renewed what is due, and returns when to look again, if there is anything left.
func (k *keeper) look(now time.Time) (next time.Time, some bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.endOverdue(now)
	for batch := range slices.Chunk(k.due(now), tms.MaxBatch) {
		k.start(batch, now)
	}
	k.next = time.Time{}
	for h := range k.held {
		if at := h.nextStep(); k.next.IsZero() || at.Before(k.next) {
			k.next = at
		}
	}
	return k.next, len(k.held) > 0
}

func (k *keeper) endOverdue(now time.Time) {
	for h := range k.held {
		if !now.Before(h.deadline) {
			k.end(h, h.why(now))
		}
	}
}

// due returns the leases to renew now: none, or those that are due with those that are due soon.
func (k *keeper) due(now time.Time) []*Held {
	var due []*Held
	must := false
	for h := range k.held {
		if h.renewAt.After(now.Add(h.early())) {
			continue
		}
		if h.stalled(now) {
			h.renewAt = now.Add(max(shortestStep, h.early()))
			continue
		}
		due = append(due, h)
		must = must || !h.renewAt.After(now)
	}
	if !must {
		return nil
	}
	return due
}

// start makes an attempt for the batch in a goroutine of its own. Others may be made before it has ended.
func (k *keeper) start(batch []*Held, now time.Time) {
	next := time.Duration(math.MaxInt64)
	for _, h := range batch {
		h.attempted(now)
		next = min(next, h.renewAt.Sub(now))
	}
	ctx := context.WithValue(k.ctx, answerWithin{}, next*9/10) // or the next one goes over other connections
	k.attempts.Go(func() { k.renew(ctx, batch) })
}

// renew makes one attempt for the batch, or for each half of one that is too long for the server or a proxy.
func (k *keeper) renew(ctx context.Context, batch []*Held) {
	keys := make([]tms.LeaseKey, len(batch))
	brief := alike(batch)
	for i, h := range batch {
		keys[i] = h.key()
		keys[i].Brief = brief
	}
	sent := k.clock.now()
	results, err := k.keepAlive(ctx, k.pool, keys)
	if half := len(batch) / 2; half > 0 && errors.Is(err, tms.ErrBodyTooLarge) {
		k.attempts.Go(func() { k.renew(ctx, batch[:half]) })
		k.renew(ctx, batch[half:])
		return
	}
	k.settle(batch, results, err, sent)
}

// alike reports whether the leases were granted the same TTL, so that what is said of all of them is enough.
func alike(batch []*Held) bool {
	for _, h := range batch {
		if h.token.Lease.TTL != batch[0].token.Lease.TTL {
			return false
		}
	}
	return true
}

// settle notes what became of an attempt that was sent at an instant. Where it failed, all of the batch try again at
// once, after a pause of random length.
func (k *keeper) settle(batch []*Held, results []tms.TokenResult, err error, sent time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now, part := k.clock.now(), rand.Float64()
	for i, h := range batch {
		if _, ok := k.held[h]; !ok {
			continue
		}
		if err == nil {
			k.settleOne(h, results[i], sent, now, part)
		} else {
			k.settleOne(h, tms.TokenResult{Err: err}, sent, now, part)
		}
		k.hasten(h.nextStep())
	}
	k.rouseIfEmpty()
}

func (k *keeper) settleOne(h *Held, r tms.TokenResult, sent, now time.Time, part float64) {
	code := tms.CodeOf(r.Err)
	switch gone := endOf(r); {
	case gone != nil:
		k.end(h, gone)
	case code == tms.ErrMaxLeaseExceeded:
		h.final, h.renewAt = r.Err, h.deadline
	case r.Err == nil:
		h.extend(sent, r.Token.Lease.TTL)
	case !sent.Before(h.sent): // no later attempt has succeeded
		h.failed(r.Err, now, part)
	}
}

// endOf reports whether a result means that the lease is no more.
func endOf(r tms.TokenResult) error {
	switch tms.CodeOf(r.Err) {
	case tms.ErrLeaseLost, tms.ErrNotAssigned, tms.ErrNotHolder:
		return ErrLost
	case tms.ErrTokenNotFound, tms.ErrPoolNotFound:
		return ErrDeleted
	}
	if r.Err == nil && r.Token.Lease == nil {
		return ErrLost
	}
	return nil
}

// end ends a lease for good.
func (k *keeper) end(h *Held, reason error) {
	delete(k.held, h)
	h.err = reason
	h.cancel(reason)
}

// drop ends a lease for the reason, unless it has ended before, and returns what had ended it.
func (k *keeper) drop(h *Held, reason error) error {
	before := k.check(h)
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.held[h]; ok {
		k.end(h, reason)
		k.rouseIfEmpty()
		return nil
	}
	return cmp.Or(before, h.err)
}

// check returns what has ended the lease. It looks at the clock, in case the goroutine did not get to it.
func (k *keeper) check(h *Held) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := k.clock.now(); h.err == nil && !now.Before(h.deadline) {
		k.end(h, h.why(now))
		k.rouseIfEmpty()
	}
	return h.err
}

// add begins to keep the leases.
func (k *keeper) add(helds []*Held) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, h := range helds {
		k.held[h] = struct{}{}
		k.hasten(h.nextStep())
	}
}

// hasten has the goroutine look at that instant, if it would come later.
func (k *keeper) hasten(at time.Time) {
	if k.next.IsZero() || at.Before(k.next) {
		k.next = at
		k.rouse()
	}
}

func (k *keeper) rouseIfEmpty() {
	if len(k.held) == 0 {
		k.rouse()
	}
}

func (k *keeper) rouse() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// release gives the tokens of leases back that are no longer kept, and returns what became of each.
func (k *keeper) release(ctx context.Context, helds []*Held, quarantine bool) []error {
	keys := make([]tms.LeaseKey, len(helds))
	for i, h := range helds {
		keys[i] = h.key()
		keys[i].Quarantine = quarantine
	}
	results, err := k.unblock(ctx, k.pool, keys)
	errs := make([]error, len(helds))
	for i := range helds {
		switch {
		case err != nil:
			errs[i] = err
		case results[i].Err != nil:
			errs[i] = cmp.Or(endOf(results[i]), results[i].Err)
		}
	}
	return errs
}
