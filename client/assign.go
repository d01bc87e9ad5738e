package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

const (
	hangUp      = 100 * time.Millisecond
	giveBackFor = 3 * time.Second // how long it is tried to give back what an abandoned request may have taken
)

// Assign asks for tokens: see [tms.Store]. Each request is a step of its own, in order, and is repeated safely: it
// carries a RequestID, drawn where it has none. It waits as its Wait says, in as many requests to the server as that
// takes, and keeps its place between them. An error that stands in a result without a Code means that the outcome of
// that request, and of those after it, is unknown.
func (c *Client) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	results := make([]tms.AssignResult, len(requests))
	paused := 0
	for i, request := range requests {
		granted, err := c.assign(ctx, pool, request)
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

// ofItem says whether the error is of one request, and not of the whole batch. A paused pool still answers repeats.
func ofItem(err error) bool {
	switch tms.CodeOf(err) {
	case "", tms.ErrPoolNotFound, tms.ErrStoreUnavailable, tms.ErrOverloaded:
		return false
	}
	return true
}

// waitsTooLong says whether the server refused a request because it was set to let nobody wait so long.
func waitsTooLong(err error) bool {
	var refusal *tms.Refusal
	return errors.As(err, &refusal) && refusal.Code == tms.ErrInvalidRequest && refusal.Field == "wait"
}

func (c *Client) assignOnce(ctx context.Context, pool string, r tms.AssignRequest) ([]tms.Token, error) {
	a := ask{verb: "assign", method: http.MethodPost, path: api.PathAssign, wait: r.Wait, within: c.requestTimeout}
	if r.Wait > 0 {
		a.within = min(a.within, lateAnswer)
	}
	a.body = api.AssignRequestOf(pool, r)
	var answer api.Assigned
	if err := c.send(ctx, a, &answer); err != nil {
		return nil, err
	}
	tokens, want := answer.TMS(), max(1, r.Count)
	if len(tokens) != want || slices.ContainsFunc(tokens, unleased) {
		return nil, c.failed(a, fmt.Errorf("the answer is not that of a TMS server: it should have %d leases", want))
	}
	return tokens, nil
}

// unleased says whether the token has no lease. One without time is one: it ran out before the request was repeated.
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

// abandon gives back what a request may have taken whose answer nobody waited for: the same request, repeated without
// waiting, says what it took, or takes nothing that others wait for. It gives the server a moment to see that the
// caller has hung up, because what it hands out until then would be found by no repeat.
func (c *Client) abandon(pool string, r tms.AssignRequest) {
	r.Wait = 0
	c.work.inBackground(giveBackFor, func(ctx context.Context) {
		if sleep(ctx, hangUp) != nil {
			return
		}
		if g, err := c.assign(ctx, pool, r); err == nil {
			c.Unblock(ctx, pool, keysOf(g.tokens))
		}
	})
}

func keysOf(tokens []tms.Token) []tms.LeaseKey {
	keys := make([]tms.LeaseKey, len(tokens))
	for i, t := range tokens {
		keys[i] = tms.LeaseKey{Token: t.Value, LeaseID: t.Lease.ID}
	}
	return keys
}
