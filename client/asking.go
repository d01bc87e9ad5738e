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
	firstSlice = time.Second      // of a wait in its first request, so that a server is soon known to let it wait
	slice      = 15 * time.Second // in each further one, which proxies let pass
	shortSlice = 10 * time.Millisecond

	reportSlice = time.Second // where somebody wants to hear how it stands

	lateAnswer = 5 * time.Second // how long after a slice its answer may come, before it is taken for lost
)

// asking is one assign on its way, which may take many requests. All of them carry one RequestID, so that they are one
// request to the server: it keeps its place between them, and what it was given in an answer that got lost.
type asking struct {
	*Client
	*patience
	pool    string
	request tms.AssignRequest
	onWait  func(tms.Refusal)

	own     bool          // the RequestID was drawn here
	sent    bool          // under this RequestID something was, by which it may have tokens or a place in the queue
	until   time.Time     // when the wait is over
	longest time.Duration // of what the next request waits
	most    time.Duration // of what any request waits
}

// granted are the tokens of one assign.
type granted struct {
	tokens []tms.Token
	sent   time.Time // when the request that was answered with them was sent, by the client's clock
}

func (c *Client) asking(ctx context.Context, pool string, r tms.AssignRequest) *asking {
	a := &asking{Client: c, patience: c.patience(ctx), pool: pool, request: r, own: r.RequestID == ""}
	a.until, a.longest, a.most = time.Now().Add(r.Wait), firstSlice, slice
	a.request.RequestID = orDrawn(r.RequestID)
	return a
}

// assign asks, and waits as the request says.
func (c *Client) assign(ctx context.Context, pool string, r tms.AssignRequest) (granted, error) {
	if r.Ticket != "" {
		return granted{}, tms.Invalid("ticket", "is not for clients; say wait")
	}
	return c.asking(ctx, pool, r).ask(ctx)
}

// ask asks until there are tokens, a refusal, or no sense in asking again. It waits, one slice after the other, and
// calls onWait, if there is one, with every refusal between two of them. Without tokens it leaves nothing behind.
func (a *asking) ask(ctx context.Context) (granted, error) {
	g, err := a.askOn(ctx)
	if err != nil && a.own && a.sent {
		a.work.inBackground(giveBackFor, func(ctx context.Context) {
			a.UnblockRequest(ctx, a.pool,
				a.request.RequestID)
		})
	}
	return g, err
}

func (a *asking) askOn(ctx context.Context) (granted, error) {
	for {
		r := a.request
		r.Wait = max(0, min(a.longest, (time.Until(a.until)+time.Millisecond-1).Truncate(time.Millisecond)))
		began, sent := time.Now(), a.clock.now()
		tokens, err := a.once(ctx, r)
		a.note(r, err)
		switch {
		case err == nil:
			a.answered(a.until)
			return granted{tokens, sent}, nil
		case r.Wait > shortSlice && waitsTooLong(err):
			a.most = (r.Wait / 2).Truncate(time.Millisecond)
			a.longest = a.most
		case errors.Is(err, tms.ErrLeaseLost) && a.anew():
		case !tms.NoneYet(err):
			a.reached(err, a.until)
			if !a.again(ctx, err, true) {
				return granted{}, a.explain(ctx, err)
			}
		case time.Until(a.until) <= 0:
			return granted{}, err
		default:
			a.answered(a.until)
			a.longest = a.most
			if err := goOnWaiting(ctx, err, time.Since(began) < r.Wait, a.onWait); err != nil {
				return granted{}, err
			}
		}
	}
}

// anew makes it another request, where there is still time to wait, after the lease that it was given has ended before
// anybody knew of it. It reports whether it did. A RequestID of the caller's stays what it is.
func (a *asking) anew() bool {
	if !a.own || time.Until(a.until) <= 0 {
		return false
	}
	a.answered(a.until)
	a.request.RequestID, a.sent = tms.NewValue(), false
	return true
}

// note notes what a request leaves behind: a place in the queue where it waited, and tokens, perhaps, where nobody
// knows what became of it.
func (a *asking) note(r tms.AssignRequest, err error) {
	var f *failure
	unknown := errors.As(err, &f) && !f.unchanged
	a.sent = a.sent || unknown || r.Wait > 0 && tms.NoneYet(err)
}

// once sends one request.
func (a *asking) once(ctx context.Context, r tms.AssignRequest) ([]tms.Token, error) {
	q := ask{verb: "assign", method: http.MethodPost, path: api.PathAssign, wait: r.Wait, within: a.requestTimeout}
	if a.request.Wait > 0 {
		q.within = min(q.within, lateAnswer)
	}
	q.body = api.AssignRequestOf(a.pool, r)
	var answer api.Assigned
	if err := a.send(ctx, q, &answer); err != nil {
		return nil, err
	}
	tokens, want := answer.TMS(), max(1, r.Count)
	if len(tokens) != want || slices.ContainsFunc(tokens, unleased) {
		return nil, a.failed(q, fmt.Errorf("the answer is not that of a TMS server: it should have %d leases", want))
	}
	return tokens, nil
}
