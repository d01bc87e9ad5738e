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

// KeepAlive pushes on the lease of each key: see [tms.Store].
func (c *Client) KeepAlive(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	results, _, err := c.keepAlive(ctx, pool, keys)
	return results, err
}

// keepAlive says also when the first of the requests that were answered was sent.
func (c *Client) keepAlive(
	ctx context.Context, pool string, keys []tms.LeaseKey,
) (_ []tms.TokenResult, first time.Time, _ error) {
	results, err := inBatches(keys, func(keys []tms.LeaseKey) ([]tms.TokenResult, error) {
		var answer changed
		sent, _, err := c.do(ctx, keepAliveAsk(pool, keys), &answer)
		if first.IsZero() {
			first = sent
		}
		return answer.of(pool, keys), err
	})
	return results, first, err
}

// keepAliveOnce makes one attempt, with at most [tms.MaxBatch] keys.
func (c *Client) keepAliveOnce(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	var answer changed
	if err := c.send(ctx, keepAliveAsk(pool, keys), &answer); err != nil {
		return nil, err
	}
	return complete(answer.of(pool, keys), len(keys))
}

// changed is the answer to a keep-alive or an unblock, in whichever form it was asked for.
type changed struct {
	api.Results
	api.Short
}

func (a changed) of(pool string, keys []tms.LeaseKey) []tms.TokenResult {
	if a.Results.Results != nil {
		return a.Results.TMS()
	}
	return a.Short.TMS(pool, keys)
}

func keepAliveAsk(pool string, keys []tms.LeaseKey) ask {
	return ask{
		verb: "keep-alive", method: http.MethodPost, path: api.PathKeepAlive, repeat: true, batch: true,
		body: api.KeepAliveRequestOf(pool, keys),
	}
}

// Unblock ends the lease of each key: see [tms.Store]. It is repeated only where every key names its lease. Where an
// answer was lost, a lease that has ended counts as ended by this call, and its token is returned without a State.
func (c *Client) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	named := !slices.ContainsFunc(keys, func(k tms.LeaseKey) bool { return k.LeaseID == "" })
	return inBatches(keys, func(keys []tms.LeaseKey) ([]tms.TokenResult, error) {
		a := ask{verb: "unblock", method: http.MethodPost, path: api.PathUnblock, repeat: named, batch: true}
		a.body = api.UnblockRequestOf(pool, keys)
		var answer changed
		_, doubt, err := c.do(ctx, a, &answer)
		results := answer.of(pool, keys)
		for i := range results {
			if doubt && tms.CodeOf(results[i].Err) == tms.ErrLeaseLost {
				results[i] = tms.TokenResult{Token: tms.Token{Pool: pool, Value: keys[i].Token}}
			}
		}
		return results, err
	})
}

// UnblockClient ends every lease of the client: see [tms.Store]. It is not repeated where an answer was lost.
func (c *Client) UnblockClient(ctx context.Context, pool, clientID string) (int, error) {
	if clientID == "" {
		return 0, tms.Invalid("client_id", "must be given")
	}
	a := ask{verb: "unblock client", method: http.MethodPost, path: api.PathUnblock}
	a.body = api.UnblockRequest{Pool: pool, ClientID: clientID}
	var answer api.ClientUnblocked
	_, _, err := c.do(ctx, a, &answer)
	return answer.Unblocked, err
}

// UnblockRequest ends the leases of an assign, and its place in the queue: see [tms.Store]. Where an answer was lost,
// leases that the call itself has ended may not be counted.
func (c *Client) UnblockRequest(ctx context.Context, pool, requestID string) (int, error) {
	if requestID == "" {
		return 0, tms.Invalid("request_id", "must be given")
	}
	a := ask{verb: "unblock request", method: http.MethodPost, path: api.PathUnblock, repeat: true}
	a.body = api.UnblockRequest{Pool: pool, RequestID: requestID}
	var answer api.RequestUnblocked
	_, _, err := c.do(ctx, a, &answer)
	return answer.Unblocked, err
}

// Restore returns each quarantined token to the pool: see [tms.Store]. Where an answer was lost, a token that is not
// quarantined counts as restored by this call, and is returned without a State.
func (c *Client) Restore(ctx context.Context, pool string, values []string) ([]tms.TokenResult, error) {
	return inBatches(values, func(values []string) ([]tms.TokenResult, error) {
		a := ask{verb: "restore", method: http.MethodPost, path: api.PathRestore, repeat: true, batch: true}
		a.body = api.RestoreRequest{Pool: pool, Tokens: values}
		var answer api.Results
		_, doubt, err := c.do(ctx, a, &answer)
		results := answer.TMS()
		for i := range results {
			if doubt && tms.CodeOf(results[i].Err) == tms.ErrNotQuarantined {
				results[i] = tms.TokenResult{Token: tms.Token{Pool: pool, Value: values[i]}}
			}
		}
		return results, err
	})
}

// Delete deletes the token of each key: see [tms.Store]. Where an answer was lost, a token that is not there counts as
// deleted by this call.
func (c *Client) Delete(ctx context.Context, pool string, keys []tms.LeaseKey) ([]error, error) {
	return inBatches(keys, func(keys []tms.LeaseKey) ([]error, error) {
		a := ask{verb: "delete", method: http.MethodDelete, path: api.PathDelete, repeat: true, batch: true}
		a.body = api.DeleteRequestOf(pool, keys)
		var answer api.Results
		_, doubt, err := c.do(ctx, a, &answer)
		refusals := answer.Errs()
		for i, refusal := range refusals {
			if doubt && tms.CodeOf(refusal) == tms.ErrTokenNotFound {
				refusals[i] = nil
			}
		}
		return refusals, err
	})
}

// Whoami returns who the server takes the client for. Codes: [tms.ErrUnauthenticated].
func (c *Client) Whoami(ctx context.Context) (tms.Caller, error) {
	var answer api.Caller
	_, _, err := c.do(ctx, ask{verb: "whoami", method: http.MethodGet, path: api.PathWhoami, repeat: true}, &answer)
	return answer.TMS(), err
}

// inBatches calls verb with as many keys at a time as one request may hold. Where those are too long for the server or
// a proxy, so that nothing was done, it goes on with half as many.
func inBatches[Key, Result any](keys []Key, verb func([]Key) ([]Result, error)) ([]Result, error) {
	all := make([]Result, 0, len(keys))
	for most := tms.MaxBatch; len(all) < len(keys); {
		batch := keys[len(all):min(len(all)+most, len(keys))]
		results, err := verb(batch)
		if half := len(batch) / 2; half > 0 && errors.Is(err, tms.ErrBodyTooLarge) {
			most = half
			continue
		}
		if err == nil {
			results, err = complete(results, len(batch))
		}
		if err != nil && len(all) > 0 {
			err = fmt.Errorf("client: %d of %d were done: %w", len(all), len(keys), uncoded(begun(err)))
		}
		if err != nil {
			return nil, err
		}
		all = append(all, results...)
	}
	return all, nil
}

func complete[Result any](results []Result, want int) ([]Result, error) {
	if len(results) != want {
		return nil, fmt.Errorf("client: the server answered %d of %d keys", len(results), want)
	}
	return results, nil
}

func orDrawn(requestID string) string {
	if requestID == "" {
		return tms.NewValue()
	}
	return requestID
}
