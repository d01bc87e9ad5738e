package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Held is a token with a lease that is kept alive in the background. It is safe for concurrent use.
type Held struct {
	keeper *keeper
	token  tms.Token
	ctx    context.Context
	cancel context.CancelCauseFunc

	clock      clock
	margin     time.Duration
	progress   time.Duration // see RequireProgress
	began      time.Time
	progressed atomic.Int64 // when Progress was called last, as time since began

	closing  sync.Once
	closeErr error

	// The keeper's mutex guards what follows.
	sent     time.Time // when the last request that renewed the lease was sent
	deadline time.Time // when the lease is over
	renewAt  time.Time // when the next attempt is due
	failures int       // attempts in a row
	last     error     // of the last attempt
	final    error     // the refusal after which there is no sense in renewing
	err      error     // why the lease has ended
}

// Token returns the token's value.
func (h *Held) Token() string { return h.token.Value }

// Pool returns the name of the token's pool.
func (h *Held) Pool() string { return h.token.Pool }

// LeaseID returns the proof of the lease. It is a secret.
func (h *Held) LeaseID() string { return h.token.Lease.ID }

// Fence returns the number that grew with this assignment of the token: see [tms.Lease].
func (h *Held) Fence() int64 { return h.token.Lease.Fence }

// Metadata returns what the token was brought with. It must not be changed.
func (h *Held) Metadata() map[string]string { return h.token.Metadata }

// Context returns a context that ends with the lease, margin included, and never later. [context.Cause] of it is what
// Err returns. It has the values of Acquire's context, not its end.
func (h *Held) Context() context.Context { return heldContext{h.ctx, h} }

// heldContext looks at the clock when it is asked, in case the goroutine that ends it did not get to it.
type heldContext struct {
	context.Context
	held *Held
}

func (c heldContext) Err() error {
	c.held.Err()
	return c.Context.Err()
}

// Deadline returns until when the lease lasts, margin deducted, if nothing renews it any more. Its monotonic clock is
// the one that counts.
func (h *Held) Deadline() time.Time {
	h.keeper.mu.Lock()
	defer h.keeper.mu.Unlock()
	return h.deadline.Add(-h.clock.naps())
}

// Margin returns how long before its end, as this process counts it, the lease is taken for lost: see the option
// [Margin]. It does not change.
func (h *Held) Margin() time.Duration { return h.margin }

// Err returns nil while the lease stands, and otherwise why it does not: one of [ErrReleased], [ErrExpired],
// [ErrNoProgress], [ErrLost], [ErrDeleted] and [tms.ErrMaxLeaseExceeded], wrapped. A lease that has ended never comes
// back.
func (h *Held) Err() error { return h.keeper.check(h) }

// Progress says that the work goes on: see [RequireProgress]. It is cheap.
func (h *Held) Progress() { h.progressed.Store(int64(h.clock.now().Sub(h.began))) }

// Close ends the lease and gives the token back. It returns nil if the lease stood until then and the server confirmed
// its end; what Err said where it had ended before; or what kept the server from hearing of it, within 5 seconds. The
// token then comes back when the lease ends. The first call of Close or Quarantine counts, and all return the same.
func (h *Held) Close() error { return h.close(false) }

// Quarantine is Close for a token that turned out to be broken: it is put aside instead of being given to others.
func (h *Held) Quarantine() error { return h.close(true) }

func (h *Held) close(quarantine bool) error {
	h.closing.Do(func() { h.closeErr = h.release(quarantine) })
	return h.closeErr
}

// release tells the server, unless it was the server who ended the lease. One that has run out here may still stand
// there.
func (h *Held) release(quarantine bool) error {
	ended, patience := h.keeper.drop(h, ErrReleased), releaseFor
	switch {
	case errors.Is(ended, ErrReleased): // by Client.Close
		return nil
	case errors.Is(ended, ErrLost), errors.Is(ended, ErrDeleted):
		return ended
	case ended != nil:
		patience /= 5
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.ctx), patience)
	defer cancel()
	err := h.keeper.release(ctx, []*Held{h}, quarantine)[0]
	if err != nil && ended == nil {
		return fmt.Errorf("client: giving back a token of pool %s: %w", h.Pool(), err)
	}
	return ended
}

func (h *Held) key() tms.LeaseKey {
	return tms.LeaseKey{Token: h.token.Value, LeaseID: h.token.Lease.ID}
}

// nextStep returns when the keeper has something to do.
func (h *Held) nextStep() time.Time {
	if h.renewAt.Before(h.deadline) {
		return h.renewAt
	}
	return h.deadline
}

// early returns how long before it is due the lease may be renewed.
func (h *Held) early() time.Duration { return h.deadline.Sub(h.sent) / earlyPart }

// stalled reports whether the work makes no progress, where that is required.
func (h *Held) stalled(now time.Time) bool {
	return h.progress > 0 && now.Sub(h.began)-time.Duration(h.progressed.Load()) > h.progress
}

// attempted notes that an attempt was made. The next is due when a third of what is left has passed without an answer;
// both may then be under way.
func (h *Held) attempted(now time.Time) {
	h.renewAt = now.Add(max(shortestStep, h.deadline.Sub(now)/renewals))
}

// extend counts the lease anew from when its renewal was sent. It never shortens it.
func (h *Held) extend(sent time.Time, ttl time.Duration) {
	h.failures, h.last = 0, nil
	h.sent = sent
	if deadline := sent.Add(ttl - h.margin); deadline.After(h.deadline) {
		h.deadline = deadline
	}
	h.renewAt = sent.Add(h.deadline.Sub(sent) / renewals)
}

// failed has the next attempt made after a part of the longest pause.
func (h *Held) failed(err error, now time.Time, part float64) {
	longest := min(mostPause, firstPause<<min(h.failures, 10), h.deadline.Sub(now)/4)
	h.renewAt = now.Add(max(shortestStep, time.Duration(part*float64(longest))))
	h.failures++
	h.last = err
}

// why says what ended a lease whose time is over.
func (h *Held) why(now time.Time) error {
	switch {
	case h.final != nil:
		return h.final
	case h.stalled(now):
		return ErrNoProgress
	case h.last != nil:
		return fmt.Errorf("%w: %v", ErrExpired, h.last)
	}
	return ErrExpired
}
