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
	slice       = 15 * time.Second // of a wait in one request, which proxies let pass
	reportSlice = time.Second      // where somebody wants to hear how it stands
	shortSlice  = 10 * time.Millisecond
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
		granted, err := c.assign(ctx, pool, request, nil)
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
	case "", tms.ErrPoolNotFound, tms.ErrStoreUnavailable:
		return false
	}
	return true
}

// granted are the tokens of one assign.
type granted struct {
	tokens []tms.Token
	sent   time.Time // when the request that was answered with them was sent
	doubt  bool      // of an error: tokens may have been taken
}

// assign asks, and waits as the request says, one slice after the other. It calls onWait, if there is one, with every
// refusal between two slices.
func (c *Client) assign(
	ctx context.Context, pool string, r tms.AssignRequest, onWait func(tms.Refusal),
) (granted, error) {
	if r.Ticket != "" {
		return granted{}, tms.Invalid("ticket", "is not for clients; say wait")
	}
	r.RequestID = orDrawn(r.RequestID)
	p, until, longest := c.patience(ctx), time.Now().Add(r.Wait), slice
	if onWait != nil {
		longest = reportSlice
	}
	for {
		r.Wait = max(0, min(longest, (time.Until(until)+time.Millisecond-1).Truncate(time.Millisecond)))
		sent := time.Now()
		tokens, err := c.assignOnce(ctx, pool, r)
		switch {
		case err == nil:
			return granted{tokens: tokens, sent: sent}, nil
		case r.Wait > shortSlice && waitsTooLong(err):
			longest = min(reportSlice, (r.Wait / 2).Truncate(time.Millisecond))
		case !errors.Is(err, tms.ErrNoTokenAvailable):
			p.held(min(r.Wait, time.Since(sent)))
			if !p.again(ctx, err, true) {
				err = p.explain(ctx, err)
				return granted{doubt: p.doubt && tms.CodeOf(err) == ""}, err
			}
		case time.Until(until) <= 0:
			return granted{}, err
		default:
			p.answered(until)
			if err := goOnWaiting(ctx, err, time.Since(sent) < r.Wait, onWait); err != nil {
				return granted{}, err
			}
		}
	}
}

// waitsTooLong says whether the server refused a request because it was set to let nobody wait so long.
func waitsTooLong(err error) bool {
	var refusal *tms.Refusal
	return errors.As(err, &refusal) && refusal.Code == tms.ErrInvalidRequest && refusal.Field == "wait"
}

func (c *Client) assignOnce(ctx context.Context, pool string, r tms.AssignRequest) ([]tms.Token, error) {
	a := ask{verb: "assign", method: http.MethodPost, path: api.PathAssign, wait: r.Wait}
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
		if g, err := c.assign(ctx, pool, r, nil); err == nil {
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
