package main

import (
	"context"
	"errors"

	tms "github.com/manankarani/token-manager"
)

// Assign implements [tms.Store]. Like the other methods beside it, it makes a pool of the configuration that vanished.
func (c *configured) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	return remade(ctx, c, pool, func() ([]tms.AssignResult, error) { return c.Sweeper.Assign(ctx, pool, requests) })
}

// Generate implements [tms.Store].
func (c *configured) Generate(ctx context.Context, pool string, request tms.GenerateRequest) (tms.Generated, error) {
	return remade(ctx, c, pool, func() (tms.Generated, error) { return c.Sweeper.Generate(ctx, pool, request) })
}

// Tokens implements [tms.Store].
func (c *configured) Tokens(ctx context.Context, pool string, f tms.Filter, cursor string, limit int) (tms.Page, error) {
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
