package client

import (
	"context"
	"errors"
	"time"

	tms "github.com/manankarani/token-manager"
)

const giveBackFor = 3 * time.Second // how long it is tried to give back what an abandoned request may have taken

// Assign asks for tokens: see [tms.Store]. Each request is a step of its own, in order, and is repeated safely: it
// carries a RequestID, drawn where it has none. It waits as its Wait says, in as many requests to the server as that
// takes, and keeps its place between them. Where it ends without tokens, as it does when ctx ends, a request without a
// RequestID of the caller's leaves nothing behind: what the server may have given it is given back, and its place given
// up, in the background, for which [Client.Close] waits. An error that stands in a result without a Code means that the
// outcome of that request, and of those after it, is unknown.
func (c *Client) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	ctx, done, err := c.work.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	results := make([]tms.AssignResult, len(requests))
	paused := 0
	for i, request := range requests {
		granted, err := c.assign(ctx, pool, request)
		err = ofClosed(ctx, err)
		if err != nil && i == 0 && !ofItem(err) {
			return nil, err
		}
		if errors.Is(err, tms.ErrPoolPaused) {
			paused++
		}
		results[i] = tms.AssignResult{Tokens: granted.tokens, Err: err}
	}
	if paused > 0 && paused == len(requests) {
		return nil, results[0].Err
	}
	return results, nil
}

// ofItem reports whether the error is of one request, and not of the whole batch. A paused pool still answers repeats.
func ofItem(err error) bool {
	switch tms.CodeOf(err) {
	case "", tms.ErrPoolNotFound, tms.ErrStoreUnavailable, tms.ErrStoreReset, tms.ErrOverloaded:
		return false
	}
	return true
}

// waitsTooLong reports whether the server refused a request because it was set to let nobody wait so long.
func waitsTooLong(err error) bool {
	var refusal *tms.Refusal
	return errors.As(err, &refusal) && refusal.Code == tms.ErrInvalidRequest && refusal.Field == "wait"
}

// unleased reports whether the token has no lease. One without time is one: it ran out before the request was repeated.
func unleased(t tms.Token) bool { return t.Value == "" || t.Lease == nil || t.Lease.ID == "" }

// goOnWaiting tells how it stands. It pauses where the server answered before the time was up, which it does when it
// stops.
func goOnWaiting(ctx context.Context, err error, early bool, onWait func(tms.Refusal)) error {
	var refusal *tms.Refusal
	if onWait != nil && errors.As(err, &refusal) {
		onWait(*refusal)
	}
	if early {
		return sleep(ctx, backoff(2))
	}
	return ctx.Err()
}

func keysOf(tokens []tms.Token) []tms.LeaseKey {
	keys := make([]tms.LeaseKey, len(tokens))
	for i, t := range tokens {
		keys[i] = tms.LeaseKey{Token: t.Value, LeaseID: t.Lease.ID}
	}
	return keys
}
