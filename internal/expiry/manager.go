// Package expiry runs the expiry manager: the loop that carries out the expiries that are due in the pools of a store.
//
// Deadlines are facts, not events: no operation of a store waits for the manager. It only frees space and moves
// counters. Every server runs one; any number of them are safe together on one store, without a leader, because a sweep
// is one atomic step of the store and finds nothing where another has been.
package expiry

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	tms "github.com/manankarani/token-manager"
)

const (
	pageSize    = 1_000                 // pools in one step of the listing
	rest        = 10 * time.Millisecond // the shortest sleep, so that deadlines that lie close together share one round
	breath      = time.Millisecond      // between two rounds while more is due, so that requests get their turn
	mostDoubled = 4                     // a pool that fails is tried again after at most 2^4 intervals
)

// Options says how a Manager works. The zero value works.
type Options struct {
	// Limit is the most expiries that one sweep carries out; zero means 1,000. A pool where more is due is swept again
	// almost at once, after every other pool that is due had its turn.
	Limit int

	// Interval is the longest time between two sweeps of a pool, whatever its next deadline, because other servers may
	// add earlier ones; zero means a second. The pools are listed once in an interval as well.
	Interval time.Duration

	// Observe, where it is set, is called after every sweep, from the goroutine of Run, with what the sweep did or with
	// its error. The pool is "" where the listing of the pools failed. [tms.ErrPoolNotFound] says that the pool is gone.
	Observe func(pool string, e tms.Expired, err error)
}

// Manager carries out the expiries that are due in the pools of a store.
type Manager struct {
	store   tms.Store
	options Options
	listing visit
	pools   map[string]*visit
}

// visit is when the manager next looks at something, on the clock of this process, and how often that has failed in a
// row. The zero value is due.
type visit struct {
	at       time.Time
	failures int
}

// New returns a Manager for the pools of the store. It does nothing before Run.
func New(store tms.Store, options Options) *Manager {
	if options.Limit <= 0 {
		options.Limit = 1_000
	}
	if options.Interval <= 0 {
		options.Interval = time.Second
	}
	if options.Observe == nil {
		options.Observe = func(string, tms.Expired, error) {}
	}
	return &Manager{store: store, options: options, pools: map[string]*visit{}}
}

// Run sweeps the pools until ctx ends, and returns when its last sweep has. Errors of the store go to Options.Observe;
// what failed is tried again, later each time. Run is called once.
func (m *Manager) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		m.round(ctx)
		timer.Reset(m.pause())
	}
}

// round looks once at everything that is due.
func (m *Manager) round(ctx context.Context) {
	now := time.Now()
	if !m.listing.at.After(now) {
		m.list(ctx)
	}
	for name, v := range m.pools {
		if ctx.Err() != nil {
			return
		}
		if !v.at.After(now) {
			m.sweep(ctx, name, v)
		}
	}
}

// list adds the pools that are new. Those that are gone are forgotten when their next sweep says so.
func (m *Manager) list(ctx context.Context) {
	for after := ""; ; {
		names, err := m.store.Pools(ctx, after, pageSize)
		if err != nil {
			m.failed(ctx, "", &m.listing, err)
			return
		}
		if len(names) == 0 {
			break
		}
		for _, name := range names {
			if m.pools[name] == nil {
				m.pools[name] = &visit{}
			}
		}
		after = names[len(names)-1]
	}
	m.listing = visit{at: time.Now().Add(m.jitter(m.options.Interval))}
}

func (m *Manager) sweep(ctx context.Context, name string, v *visit) {
	expired, err := m.store.Expire(ctx, name, m.options.Limit)
	if err != nil {
		m.failed(ctx, name, v, err)
		return
	}
	m.options.Observe(name, expired, nil)
	*v = visit{at: time.Now().Add(m.wait(expired))}
}

func (m *Manager) failed(ctx context.Context, name string, v *visit, err error) {
	if ctx.Err() != nil {
		return // the end of the manager is no failure of the store
	}
	m.options.Observe(name, tms.Expired{}, err)
	if errors.Is(err, tms.ErrPoolNotFound) {
		delete(m.pools, name)
		return
	}
	v.at = time.Now().Add(m.jitter(m.options.Interval << min(v.failures, mostDoubled)))
	v.failures++
}

// wait returns how long a pool can be left alone after a sweep. The deadline and Now are both on the store's clock, so
// that a difference between the clocks of the machines does not matter.
func (m *Manager) wait(e tms.Expired) time.Duration {
	due := e.NextDue.Sub(e.Now)
	switch {
	case e.NextDue.IsZero() || due >= m.options.Interval:
		return m.jitter(m.options.Interval)
	case due < 0:
		return 0
	}
	// A deadline passes when the clock of milliseconds is past it. The spread lets one of several managers come first.
	return min(due+time.Millisecond+rand.N(rest), m.options.Interval)
}

// jitter returns 90 to 100 percent of d, so that several managers do not come all at once.
func (m *Manager) jitter(d time.Duration) time.Duration { return d - rand.N(d/10+1) }

// pause returns how long the manager can sleep now.
func (m *Manager) pause() time.Duration {
	next := m.listing.at
	for _, v := range m.pools {
		if v.at.Before(next) {
			next = v.at
		}
	}
	if left := time.Until(next); left > 0 {
		return max(left, rest)
	}
	return breath
}
