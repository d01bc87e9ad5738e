package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

const (
	marginPart  = 10 // of the lease
	shortMargin = 50 * time.Millisecond
)

// Acquire takes a token of the pool ("" is the pool default) and holds it until [Held.Close], the end of its lease, or
// [Client.Close]. It waits its turn where [Wait] says so, and ends with the last refusal, [tms.ErrNoTokenAvailable],
// when that time is over. When ctx ends first it returns ctx's error and holds nothing; a token that the server may
// have given it meanwhile is given back. What becomes of ctx after it returned does not matter to the lease.
func (c *Client) Acquire(ctx context.Context, pool string, opts ...AcquireOption) (*Held, error) {
	helds, err := c.AcquireN(ctx, pool, 1, opts...)
	if err != nil {
		return nil, err
	}
	return helds[0], nil
}

// AcquireN takes n tokens at once, all or none, as [Client.Acquire] takes one. Each is held and closed by itself.
func (c *Client) AcquireN(ctx context.Context, pool string, n int, opts ...AcquireOption) ([]*Held, error) {
	pool, err := api.PoolName(pool)
	if err != nil {
		return nil, err
	}
	if n < 1 {
		return nil, tms.Invalid("count", "must be 1 to %d", tms.MaxAssignCount)
	}
	a := acquire{clock: c.clock}
	for _, set := range opts {
		set(&a)
	}
	a.request.Count = n
	ctx, done, err := c.work.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	helds, err := c.take(ctx, pool, a)
	return helds, ofClosed(ctx, err)
}

// take has the tokens assigned and held, or gives back what may have been assigned. Where the wait has time left it
// asks again: anew for leases that ended before they could be held, and for the same ones where nobody could say
// whether they stand.
func (c *Client) take(ctx context.Context, pool string, a acquire) ([]*Held, error) {
	w := c.asking(ctx, pool, a.request)
	w.onWait = a.onWait
	if a.onWait != nil {
		w.most = min(slice, max(shortSlice, a.hears.Truncate(time.Millisecond)))
	}
	for {
		g, err := w.ask(ctx)
		if err != nil {
			return nil, err
		}
		helds, err := c.hold(ctx, pool, a, g)
		switch {
		case err == nil:
			return helds, nil
		case isGone(err) && w.anew(), isPassing(err) && time.Until(w.until) > 0 && ctx.Err() == nil:
			continue
		}
		c.work.inBackground(giveBackFor, func(ctx context.Context) { c.Unblock(ctx, pool, keysOf(g.tokens)) })
		return nil, err
	}
}

func isGone(err error) bool { return errors.Is(err, ErrLost) || errors.Is(err, ErrDeleted) }

func isPassing(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.passing
}

// hold has the tokens kept alive.
func (c *Client) hold(ctx context.Context, pool string, a acquire, g granted) ([]*Held, error) {
	if err := c.confirm(ctx, pool, &g); err != nil {
		return nil, err
	}
	helds := make([]*Held, len(g.tokens))
	for i, token := range g.tokens {
		var err error
		if helds[i], err = newHeld(ctx, a, token, g.sent); err != nil {
			return nil, err
		}
	}
	return helds, c.keepers.keep(pool, helds)
}

// confirm renews leases that were asked for so long ago, because they were waited for, that much of their time would be
// counted as over.
func (c *Client) confirm(ctx context.Context, pool string, g *granted) error {
	if c.clock.now().Sub(g.sent) <= g.tokens[0].Lease.TTL/marginPart {
		return nil
	}
	results, sent, err := c.keepAlive(ctx, pool, keysOf(g.tokens))
	if err != nil {
		return begun(err)
	}
	for i, r := range results {
		// it lasts as long as it may; only a look tells how long that is
		if tms.CodeOf(r.Err) == tms.ErrMaxLeaseExceeded {
			r.Token, r.Err = c.Token(ctx, pool, keysOf(g.tokens)[i])
		}
		if gone := endOf(r); gone != nil {
			return fmt.Errorf("client: %w before it could be held", gone)
		}
		if r.Err != nil {
			return r.Err
		}
		if r.Token.Lease.Fence != g.tokens[i].Lease.Fence {
			return fmt.Errorf("client: %w before it could be held", ErrLost)
		}
		g.tokens[i].Lease.TTL = r.Token.Lease.TTL
	}
	g.sent = sent
	return nil
}

func newHeld(ctx context.Context, a acquire, token tms.Token, sent time.Time) (*Held, error) {
	ttl := token.Lease.TTL
	h := &Held{token: token, margin: a.marginOf(ttl), progress: a.progress, clock: a.clock}
	h.began = h.clock.now()
	if h.margin >= ttl {
		return nil, fmt.Errorf("client: the lease lasts %v, no longer than the margin of %v", ttl, h.margin)
	}
	h.ctx, h.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	h.extend(sent, ttl)
	return h, nil
}

// marginOf returns the margin of a lease of that length.
func (a acquire) marginOf(ttl time.Duration) time.Duration {
	if a.margin != nil {
		if margin := a.margin(ttl); margin > 0 {
			return margin
		}
	}
	return max(shortMargin, ttl/marginPart)
}
