package telemetry

import (
	"context"
	"time"

	tms "github.com/manankarani/token-manager"
)

// wrapped is a store whose operations are counted and timed.
type wrapped struct {
	tms.Sweeper
	verbs map[verb]*meter // of every verb; never changed
	waits *waits
}

// ready is a wrapped store that can say whether it is fit to serve.
type ready struct {
	*wrapped
	tms.Readier
}

func (w *wrapped) PutPool(ctx context.Context, name string, change tms.PolicyChange) (tms.Pool, error) {
	start := time.Now()
	p, err := w.Sweeper.PutPool(ctx, name, change)
	w.verbs[putPool].whole(start, err)
	return p, err
}

func (w *wrapped) Pool(ctx context.Context, name string) (tms.Pool, tms.Stats, error) {
	start := time.Now()
	p, stats, err := w.Sweeper.Pool(ctx, name)
	w.verbs[pool].whole(start, err)
	return p, stats, err
}

func (w *wrapped) Pools(ctx context.Context, after string, limit int) (tms.PoolPage, error) {
	start := time.Now()
	page, err := w.Sweeper.Pools(ctx, after, limit)
	w.verbs[pools].whole(start, err)
	return page, err
}

func (w *wrapped) DeletePool(ctx context.Context, name string) error {
	start := time.Now()
	err := w.Sweeper.DeletePool(ctx, name)
	w.verbs[deletePool].whole(start, err)
	return err
}

func (w *wrapped) Generate(ctx context.Context, pool string, request tms.GenerateRequest) (tms.Generated, error) {
	start := time.Now()
	generated, err := w.Sweeper.Generate(ctx, pool, request)
	w.verbs[generate].whole(start, err)
	return generated, err
}

func (w *wrapped) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	start := time.Now()
	results, err := w.Sweeper.Assign(ctx, pool, requests)
	each(w.verbs[assign], start, len(requests), results, func(r tms.AssignResult) error { return r.Err }, err)
	w.waits.observe(pool, start, requests, results, err)
	return results, err
}

func (w *wrapped) KeepAlive(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	start := time.Now()
	results, err := w.Sweeper.KeepAlive(ctx, pool, keys)
	each(w.verbs[keepAlive], start, len(keys), results, errOfToken, err)
	return results, err
}

func (w *wrapped) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	start := time.Now()
	results, err := w.Sweeper.Unblock(ctx, pool, keys)
	each(w.verbs[unblock], start, len(keys), results, errOfToken, err)
	return results, err
}

func (w *wrapped) UnblockClient(ctx context.Context, pool, clientID string) (int, error) {
	start := time.Now()
	n, err := w.Sweeper.UnblockClient(ctx, pool, clientID)
	w.verbs[unblockClient].whole(start, err)
	return n, err
}

func (w *wrapped) UnblockRequest(ctx context.Context, pool, requestID string) (int, error) {
	start := time.Now()
	n, err := w.Sweeper.UnblockRequest(ctx, pool, requestID)
	w.verbs[unblockRequest].whole(start, err)
	return n, err
}

func (w *wrapped) Restore(ctx context.Context, pool string, values []string) ([]tms.TokenResult, error) {
	start := time.Now()
	results, err := w.Sweeper.Restore(ctx, pool, values)
	each(w.verbs[restore], start, len(values), results, errOfToken, err)
	return results, err
}

func (w *wrapped) Delete(ctx context.Context, pool string, keys []tms.LeaseKey) ([]error, error) {
	start := time.Now()
	results, err := w.Sweeper.Delete(ctx, pool, keys)
	each(w.verbs[deleting], start, len(keys), results, func(err error) error { return err }, err)
	return results, err
}

func (w *wrapped) Expire(ctx context.Context, pool string, limit int) (tms.Expired, error) {
	start := time.Now()
	expired, err := w.Sweeper.Expire(ctx, pool, limit)
	w.verbs[expire].whole(start, err)
	return expired, err
}

func (w *wrapped) Token(ctx context.Context, pool string, key tms.LeaseKey) (tms.Token, error) {
	start := time.Now()
	found, err := w.Sweeper.Token(ctx, pool, key)
	w.verbs[token].whole(start, err)
	return found, err
}

func (w *wrapped) Tokens(ctx context.Context, pool string, f tms.Filter, cursor string, limit int) (tms.Page, error) {
	start := time.Now()
	page, err := w.Sweeper.Tokens(ctx, pool, f, cursor, limit)
	w.verbs[tokens].whole(start, err)
	return page, err
}

func (w *wrapped) Waiters(ctx context.Context, pool string, limit int) ([]tms.Waiter, error) {
	start := time.Now()
	all, err := w.Sweeper.Waiters(ctx, pool, limit)
	w.verbs[waiters].whole(start, err)
	return all, err
}

func errOfToken(r tms.TokenResult) error { return r.Err }
