package main

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Times of the watch over a store.
const (
	readyTimeout   = 2 * time.Second // longest time in which the store says whether it is ready
	lookWhileReady = 5 * time.Second // between two looks
	lookWhileNot   = time.Second
)

// configured is a store that is not ready before it has the pools of the configuration. It is a [tms.Readier].
type configured struct {
	tms.Sweeper
	pools  map[string]tms.PolicyChange
	logger *slog.Logger
	set    atomic.Bool // the pools are
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

// hopeless says whether look found that the store refuses the pools for good.
func (c *configured) hopeless(err error) bool {
	return err != nil && !c.set.Load() && !canComeRight(err)
}

// watch logs what the first look has found, goes on looking until ctx ends, and logs each change. It returns an error if
// the store, which could not be asked when the server started, refuses the pools of the configuration.
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
	case now != nil && (before == nil || reason(before) != reason(now)):
		c.logger.Warn("not ready", "reason", reason(now))
	}
}

// reason returns what an error says to an operator, without the code of a refusal, which is the same for all of them.
func reason(err error) string {
	var refusal *tms.Refusal
	if errors.As(err, &refusal) {
		return refusal.Detail
	}
	return err.Error()
}
