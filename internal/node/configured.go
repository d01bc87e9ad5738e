package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Times of the watch over a store.
const (
	readyTimeout   = 2 * time.Second // longest time in which the store reports whether it is ready
	lookWhileReady = 5 * time.Second // between two looks
	lookWhileNot   = time.Second
)

// configured is a store that is not ready before it has the pools of the configuration. It is a [tms.Readier].
type configured struct {
	tms.Sweeper
	pools  map[string]tms.PolicyChange
	logger *slog.Logger
	found  func(ready bool) // is told what each look has found
	set    atomic.Bool      // the pools are
}

// Ready implements [tms.Readier].
func (c *configured) Ready(ctx context.Context) error {
	if readier, ok := c.Sweeper.(tms.Readier); ok {
		if err := readier.Ready(ctx); err != nil {
			return err
		}
	}
	if !c.set.Load() {
		return tms.Refuse(tms.ErrStoreUnavailable, "the pools of the configuration are not set yet")
	}
	return nil
}

// look sets the pools if that has not been done, and says why the store is not ready.
func (c *configured) look(ctx context.Context) error {
	err := c.examine(ctx)
	c.found(err == nil)
	return err
}

func (c *configured) examine(ctx context.Context) error {
	if !c.set.Load() {
		if err := c.putPools(ctx); err != nil {
			return err
		}
		c.set.Store(true)
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return c.Ready(ctx)
}

// putPools sets the policies of the file's pools.
func (c *configured) putPools(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(c.pools)) {
		pool, err := c.PutPool(ctx, name, c.pools[name])
		if err != nil {
			return fmt.Errorf("pools.%s: %w", name, err)
		}
		for _, text := range pool.Warnings() {
			c.logger.Warn(text, "pool", name)
		}
	}
	return nil
}

// canComeRight reports whether what was refused or failed may go well later without anybody changing the configuration.
func canComeRight(err error) bool {
	return tms.CodeOf(err) == "" || errors.Is(err, tms.ErrStoreUnavailable)
}

// hopeless reports whether look found that the store refuses the pools for good.
func (c *configured) hopeless(err error) bool {
	return err != nil && !c.set.Load() && !canComeRight(err)
}

// watch logs what the first look has found, goes on looking until ctx ends, and logs each change. It returns an error
// if the store, which could not be asked when the server started, refuses the pools of the configuration.
func (c *configured) watch(ctx context.Context, last error) error {
	c.tell(nil, last)
	for {
		rest := lookWhileReady
		if last != nil {
			rest = lookWhileNot
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rest):
		}
		err := c.look(ctx)
		if c.hopeless(err) {
			return err
		}
		if ctx.Err() == nil {
			c.tell(last, err)
		}
		last = err
	}
}

// tell logs a change. A server that was ready from its start on has nothing to tell.
func (c *configured) tell(before, now error) {
	switch {
	case now == nil && before != nil:
		c.logger.Info("ready")
	case now != nil && (before == nil || Reason(before) != Reason(now)):
		c.logger.Warn("not ready", "reason", Reason(now))
	}
}

// Reason returns what an error says to an operator, without the code of a refusal, which is the same for all of them.
func Reason(err error) string {
	var refusal *tms.Refusal
	if errors.As(err, &refusal) {
		return refusal.Detail
	}
	return err.Error()
}

// Assign implements [tms.Store]. Like the other methods beside it, it makes a pool of the configuration that vanished.
func (c *configured) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult,
	error) {
	return remade(ctx, c, pool, func() ([]tms.AssignResult, error) { return c.Sweeper.Assign(ctx, pool, requests) })
}

// Generate implements [tms.Store].
func (c *configured) Generate(ctx context.Context, pool string, request tms.GenerateRequest) (tms.Generated, error) {
	return remade(ctx, c, pool, func() (tms.Generated, error) { return c.Sweeper.Generate(ctx, pool, request) })
}

// Tokens implements [tms.Store].
func (c *configured) Tokens(ctx context.Context, pool string, f tms.Filter, cursor string, limit int) (tms.Page,
	error) {
	return remade(ctx, c, pool, func() (tms.Page, error) { return c.Sweeper.Tokens(ctx, pool, f, cursor, limit) })
}

// Expire implements [tms.Store].
func (c *configured) Expire(ctx context.Context, pool string, limit int) (tms.Expired, error) {
	return remade(ctx, c, pool, func() (tms.Expired, error) { return c.Sweeper.Expire(ctx, pool, limit) })
}

// Pool implements [tms.Store].
func (c *configured) Pool(ctx context.Context, name string) (tms.Pool, tms.Stats, error) {
	var stats tms.Stats
	p, err := remade(ctx, c, name, func() (p tms.Pool, err error) {
		p, stats, err = c.Sweeper.Pool(ctx, name)
		return p, err
	})
	return p, stats, err
}

// remade takes the step, and where it finds a pool of the configuration gone, once more after it has made the pool.
func remade[R any](ctx context.Context, c *configured, pool string, step func() (R, error)) (R, error) {
	result, err := step()
	change, ours := c.pools[pool]
	if !ours || !c.set.Load() || !errors.Is(err, tms.ErrPoolNotFound) {
		return result, err
	}
	if _, err := c.Sweeper.PutPool(ctx, pool, change); err != nil {
		return result, err
	}
	c.logger.Warn("a pool of the configuration was gone, and was made again", "pool", pool)
	return step()
}
