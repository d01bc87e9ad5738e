package expiry

import (
	"context"
	"errors"
	"sync"

	tms "github.com/manankarani/token-manager"
)

// Store returns the manager's store for those who change it: the manager hears from it which pools are used, and sweeps
// them at least once an interval. It is a [tms.Readier] if the manager's store is.
func (m *Manager) Store() tms.Store {
	w := &watched{Store: m.store, used: &m.used}
	if readier, ok := m.store.(tms.Readier); ok {
		return &ready{w, readier}
	}
	return w
}

// used holds the pools that were used since their last sweep.
type used struct {
	some chan struct{} // holds one element while there are fresh ones

	mu    sync.RWMutex
	names map[string]bool
	fresh []string // those that the manager has not asked for yet
}

// note takes down that a call on the pool has ended.
func (u *used) note(pool string, err error) {
	if errors.Is(err, tms.ErrPoolNotFound) {
		return // names that callers make up
	}
	u.mu.RLock()
	noted := u.names[pool]
	u.mu.RUnlock()
	if noted {
		return
	}
	u.mu.Lock()
	if !u.names[pool] {
		u.names[pool], u.fresh = true, append(u.fresh, pool)
	}
	u.mu.Unlock()
	select {
	case u.some <- struct{}{}:
	default:
	}
}

func (u *used) take() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	fresh := u.fresh
	u.fresh = nil
	return fresh
}

// forget is called before a sweep of the pool.
func (u *used) forget(pool string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.names, pool)
}

// watched is a store whose pools are noted after what may bring an earlier deadline.
type watched struct {
	tms.Store
	used *used
}

type ready struct {
	*watched
	tms.Readier
}

func (w *watched) PutPool(ctx context.Context, name string, change tms.PolicyChange) (tms.Pool, error) {
	p, err := w.Store.PutPool(ctx, name, change)
	w.used.note(name, err)
	return p, err
}

func (w *watched) DeletePool(ctx context.Context, name string) error {
	err := w.Store.DeletePool(ctx, name)
	w.used.note(name, err)
	return err
}

func (w *watched) Generate(ctx context.Context, pool string, request tms.GenerateRequest) (tms.Generated, error) {
	generated, err := w.Store.Generate(ctx, pool, request)
	w.used.note(pool, err)
	return generated, err
}

func (w *watched) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	results, err := w.Store.Assign(ctx, pool, requests)
	w.used.note(pool, err)
	return results, err
}

func (w *watched) KeepAlive(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	results, err := w.Store.KeepAlive(ctx, pool, keys)
	w.used.note(pool, err)
	return results, err
}

func (w *watched) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	results, err := w.Store.Unblock(ctx, pool, keys)
	w.used.note(pool, err)
	return results, err
}

func (w *watched) UnblockClient(ctx context.Context, pool, clientID string) (int, error) {
	n, err := w.Store.UnblockClient(ctx, pool, clientID)
	w.used.note(pool, err)
	return n, err
}

func (w *watched) Restore(ctx context.Context, pool string, values []string) ([]tms.TokenResult, error) {
	results, err := w.Store.Restore(ctx, pool, values)
	w.used.note(pool, err)
	return results, err
}
