package server

import (
	"context"
	"fmt"
	"net/http"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// assign is the one endpoint that may wait, and whose effect is taken back where the client does not hear of it.
func (s *Server) assign(c *call) (int, any, error) {
	pool, request, err := s.assignRequest(c)
	if err != nil {
		return 0, nil, err
	}
	c.lighten() // what may wait holds nobody up
	if request.Wait > 0 {
		if err := s.waiting.enter(); err != nil {
			return 0, nil, err
		}
		defer s.waiting.leave()
	}
	ctx, cancel := s.patience(c, request.Wait)
	defer cancel()
	results, err := s.store.Assign(ctx, pool, []tms.AssignRequest{request})
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return 0, nil, err
	}
	if request.RequestID == "" { // with one, a repeat fetches the same leases
		c.given = results[0].Tokens
	}
	answer := api.AssignedOf(results[0].Tokens, request.Count)
	answer.Warnings = request.Warnings(results[0].Tokens)
	return http.StatusOK, answer, nil
}

func (s *Server) assignRequest(c *call) (pool string, request tms.AssignRequest, err error) {
	var r api.AssignRequest
	if err := fromBodyWithID(c, &r, &r.RequestID); err != nil {
		return "", request, err
	}
	if pool, err = api.PoolName(r.Pool); err != nil {
		return "", request, err
	}
	if request, err = r.AssignRequest(); err == nil && request.Wait > s.config.MaxWait {
		err = tms.Invalid("wait", "must be at most %v", api.Duration(s.config.MaxWait))
	}
	return pool, request, err
}

// patience returns the context in which a call assigns. One that waits ends when its client hangs up, and has the time
// to wait beyond the usual one. One that does not wait goes on: if it ended in the middle, nobody would know what it
// had been given, and nobody could take it back.
func (s *Server) patience(c *call, wait time.Duration) (context.Context, context.CancelFunc) {
	if wait == 0 {
		return outlasting(c.Context())
	}
	c.mayTake(wait + s.config.WriteTimeout)
	return c.Context(), func() {}
}

// requestsContext is the key in a request's context of the one that ends when Serve cuts off its requests.
type requestsContext struct{}

// outlasting returns a context that goes on when the client hangs up, and ends when the server cuts its requests off.
func outlasting(ctx context.Context) (context.Context, context.CancelFunc) {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	requests, ok := ctx.Value(requestsContext{}).(context.Context)
	if !ok {
		return lasting, cancel
	}
	stop := context.AfterFunc(requests, cancel)
	return lasting, func() { stop(); cancel() }
}

const takeBackTimeout = 2 * time.Second

// takeBack ends the leases that a client was given who will not hear of them, and returns the error that says so.
func (s *Server) takeBack(c *call) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), takeBackTimeout)
	defer cancel()
	keys := make([]tms.LeaseKey, len(c.given))
	for i, token := range c.given {
		keys[i] = tms.LeaseKey{Token: token.Value, LeaseID: token.Lease.ID}
	}
	_, err := s.store.Unblock(ctx, c.given[0].Pool, keys)
	c.given = nil
	if err != nil { // which must not lend its code: the assign was not refused
		return &goneError{fmt.Errorf("server: the leases of a client that hung up stay until they expire: %v", err)}
	}
	return &goneError{tms.Refuse(tms.ErrStoreUnavailable, "the client hung up before it was answered; it holds nothing")}
}
