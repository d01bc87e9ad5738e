package client

import (
	"context"
	"errors"
	"time"
)

// Acquire takes a token of the pool ("" is the pool default) and holds it until [Held.Close], the end of its lease, or
// [Client.Close]. It waits its turn where [Wait] says so, and ends with the last refusal, [tms.ErrNoTokenAvailable], when
// that time is over. When ctx ends first it returns ctx's error and holds nothing; a token that the server may have given
// it meanwhile is given back. What becomes of ctx after it returned does not matter to the lease.
func (c *Client) Acquire(ctx context.Context, pool string, opts ...AcquireOption) (*Held, error) {
	helds, err := c.AcquireN(ctx, pool, 1, opts...)
	if err != nil {
		return nil, err
	}
	return helds[0], nil
}

// AcquireN takes n tokens at once, all or none, as [Client.Acquire] takes one. Each is held and closed by itself.
func (c *Client) AcquireN(ctx context.Context, pool string, n int, opts ...AcquireOption) ([]*Held, error) {
	return nil, errors.ErrUnsupported
}

// Held is a token with a lease that is kept alive in the background. It is safe for concurrent use.
type Held struct {
}

// Token returns the token's value.
func (h *Held) Token() string { return "" }

// Pool returns the name of the token's pool.
func (h *Held) Pool() string { return "" }

// LeaseID returns the proof of the lease. It is a secret.
func (h *Held) LeaseID() string { return "" }

// Fence returns the number that grew with this assignment of the token: see [tms.Lease].
func (h *Held) Fence() int64 { return 0 }

// Metadata returns what the token was brought with. It must not be changed.
func (h *Held) Metadata() map[string]string { return nil }

// Context returns a context that ends with the lease, margin included, and never later. [context.Cause] of it is what
// Err returns. It has the values of Acquire's context, not its end.
func (h *Held) Context() context.Context { return nil }

// Deadline returns until when the lease lasts, margin deducted, if nothing renews it any more.
func (h *Held) Deadline() time.Time { return time.Time{} }

// Err returns nil while the lease stands, and otherwise why it does not: one of [ErrReleased], [ErrExpired],
// [ErrNoProgress], [ErrLost], [ErrDeleted] and [tms.ErrMaxLeaseExceeded], wrapped. A lease that has ended never comes
// back.
func (h *Held) Err() error { return nil }

// Progress says that the work goes on: see [RequireProgress]. It is cheap.
func (h *Held) Progress() {}

// Close ends the lease and gives the token back. It returns nil if the lease stood until then and the server confirmed
// its end; what Err says where it had ended before; or what kept the server from hearing of it, within 5 seconds. The
// token then comes back when the lease ends. The first call of Close or Quarantine counts, and all return the same.
func (h *Held) Close() error { return nil }

// Quarantine is Close for a token that turned out to be broken: it is put aside instead of being given to others.
func (h *Held) Quarantine() error { return nil }
