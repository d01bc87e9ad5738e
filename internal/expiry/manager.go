// Package expiry runs the expiry manager: the loop that carries out the expiries that are due in the pools of a store.
//
// Deadlines are facts, not events: no operation of a store waits for the manager. It only frees space and moves
// counters. Every server runs one; any number of them are safe together on one store, without a leader, because a sweep
// is one atomic step of the store and finds nothing where another has been.
//
// A manager sweeps the pools that its own server uses once an interval, and every pool at the next deadline that it
// knows of. Only what another server has done since may come earlier. That server's manager knows of it; if it dies,
// the others come by in a round that is so slow that idle pools cost next to nothing.
package expiry

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/tidwall/btree"

	tms "github.com/manankarani/token-manager"
)

const (
	pageSize    = 1_000                 // pools in one step of the listing
	rest        = 10 * time.Millisecond // the shortest sleep, so that deadlines that lie close together share one round
	breath      = time.Millisecond      // the shortest sleep while more is due
	mostDoubled = 4                     // a pool that fails is tried again after at most 2^4 intervals
	lively      = 10                    // intervals for which a pool counts as used
)

// Options says how a Manager works. The zero value works.
type Options struct {
	// Limit is the most expiries that one sweep carries out; zero means 100. A pool where more is due is swept again
	// after as long as the sweep took, and after every other pool that is due had its turn.
	Limit int

	// Interval is the longest time between two sweeps of a pool that is used through [Manager.Store], and for ten
	// intervals after that, whatever its next deadline; zero means a second.
	Interval time.Duration

	// Round is the longest time between two sweeps of any other pool, and between two listings of the pools, for the
	// sake of servers that added earlier deadlines and died before they came; zero means five minutes. An idle pool
	// costs one sweep in a round, and one for each of its deadlines.
	Round time.Duration

	// Observe, where it is set, is called after every sweep, from the goroutine of Run, with what the sweep did or with
	// its error. The pool is "" where the listing of the pools failed. [tms.ErrPoolNotFound] says that the pool is
	// gone.
	Observe func(pool string, e tms.Expired, err error)
}

// Manager carries out the expiries that are due in the pools of a store.
type Manager struct {
	store   tms.Sweeper
	options Options
	used    used
	listing visit
	pools   map[string]*visit
	due     *btree.BTreeG[*visit] // the listing and the pools, by when they are due
	pause   time.Time             // the store is left alone until then
	turned  int                   // how often in a row it has turned the manager away
}

// visit is when the manager next looks at a pool, on the clock of this process, and how often that has failed in a row.
// The name is "" for the listing of the pools.
type visit struct {
	name     string
	at       time.Time
	used     time.Time // the pool counts as used until then
	failures int
	more     bool // was due when the last sweep ended
}

func (v *visit) before(o *visit) bool {
	if v.at.Equal(o.at) {
		return v.name < o.name
	}
	return v.at.Before(o.at)
}

// New returns a Manager for the pools of the store. It does nothing before Run.
func New(store tms.Sweeper, options Options) *Manager {
	if options.Limit <= 0 {
		options.Limit = 100
	}
	if options.Interval <= 0 {
		options.Interval = time.Second
	}
	if options.Round <= 0 {
		options.Round = 5 * time.Minute
	}
	options.Round = max(options.Round, options.Interval)
	if options.Observe == nil {
		options.Observe = func(string, tms.Expired, error) {}
	}
	m := &Manager{store: store, options: options, pools: map[string]*visit{}}
	m.used.some, m.used.names = make(chan struct{}, 1), map[string]bool{}
	m.due = btree.NewBTreeGOptions((*visit).before, btree.Options{NoLocks: true})
	m.due.Set(&m.listing)
	return m
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
		case <-m.used.some:
			m.attend(time.Now())
		case <-timer.C:
			m.round(ctx)
		}
		timer.Reset(m.sleep())
	}
}

// attend has the pools that were used since the last time swept within an interval.
func (m *Manager) attend(now time.Time) {
	for _, name := range m.used.take() {
		v := m.add(name, now.Add(m.options.Interval))
		v.used = now.Add(lively * m.options.Interval)
		if soon := now.Add(m.jitter(m.options.Interval)); v.failures == 0 && v.at.After(soon) {
			m.schedule(v, soon)
		}
	}
}

// add returns the pool, which is due at the instant if it is new.
func (m *Manager) add(name string, at time.Time) *visit {
	v := m.pools[name]
	if v == nil {
		v = &visit{name: name, at: at}
		m.pools[name] = v
		m.due.Set(v)
	}
	return v
}

func (m *Manager) schedule(v *visit, at time.Time) {
	m.due.Delete(v)
	v.at = at
	m.due.Set(v)
}

// round looks once at everything that is due, unless the store turns it away.
func (m *Manager) round(ctx context.Context) {
	now := time.Now()
	for _, v := range m.dueAt(now) {
		if ctx.Err() != nil || m.pause.After(now) {
			return
		}
		if v == &m.listing {
			m.list(ctx) // the pools that are new are due in the next round
		} else {
			m.sweep(ctx, v)
		}
	}
}

// dueAt returns what is due at the instant, in order.
func (m *Manager) dueAt(now time.Time) (due []*visit) {
	m.due.Scan(func(v *visit) bool {
		if v.at.After(now) {
			return false
		}
		due = append(due, v)
		return true
	})
	return due
}

// list adds the pools that are new. Those that are gone are forgotten when their next sweep says so.
func (m *Manager) list(ctx context.Context) {
	for after := ""; ; {
		names, err := m.store.PoolNames(ctx, after, pageSize)
		if err != nil {
			m.failed(ctx, &m.listing, err)
			return
		}
		if len(names) == 0 {
			break
		}
		for _, name := range names {
			m.add(name, time.Time{})
		}
		after = names[len(names)-1]
	}
	m.listing.failures = 0
	m.schedule(&m.listing, time.Now().Add(m.jitter(m.options.Round)))
}

func (m *Manager) sweep(ctx context.Context, v *visit) {
	m.used.forget(v.name)
	begun := time.Now()
	expired, err := m.store.Expire(ctx, v.name, m.options.Limit)
	if err != nil {
		m.failed(ctx, v, err)
		return
	}
	m.options.Observe(v.name, expired, nil)
	v.failures, m.turned, v.more = 0, 0, !expired.NextDue.IsZero() && expired.NextDue.Before(expired.Now)
	now := time.Now()
	m.schedule(v, now.Add(m.wait(expired, now.Sub(begun), v.used.After(now))))
}

func (m *Manager) failed(ctx context.Context, v *visit, err error) {
	if ctx.Err() != nil {
		return // the end of the manager is no failure of the store
	}
	m.options.Observe(v.name, tms.Expired{}, err)
	if errors.Is(err, tms.ErrPoolNotFound) {
		delete(m.pools, v.name)
		m.due.Delete(v)
		return
	}
	m.schedule(v, time.Now().Add(m.backOff(v.failures)))
	v.failures++
	if code := tms.CodeOf(err); code == tms.ErrStoreUnavailable || code == tms.ErrStoreReset {
		m.pause = time.Now().Add(m.backOff(m.turned)) // every pool would say the same
		m.turned++
	}
}

func (m *Manager) backOff(failures int) time.Duration {
	return m.jitter(m.options.Interval << min(failures, mostDoubled))
}

// wait returns how long a pool can be left alone after a sweep. The deadline and Now are both on the store's clock, so
// that a difference between the clocks of the machines does not matter. While more is due, it is left alone for as long
// as the sweep took, so that requests have the half of the store's time at least.
func (m *Manager) wait(e tms.Expired, took time.Duration, used bool) time.Duration {
	longest := m.options.Round - rand.N(m.options.Round/2+1) // so that a round is spread
	if used {
		longest = m.options.Interval
	}
	due := e.NextDue.Sub(e.Now)
	switch {
	case e.NextDue.IsZero() || due >= longest:
		return m.jitter(longest)
	case due < 0:
		return took
	}
	// A deadline passes when the clock of milliseconds is past it. The spread lets one of several managers come first.
	return min(due+time.Millisecond+rand.N(rest), longest)
}

// jitter returns 90 to 100 percent of d, so that several managers do not come all at once, nor all pools of one.
func (m *Manager) jitter(d time.Duration) time.Duration { return d - rand.N(d/10+1) }

// sleep returns how long the manager can sleep now.
func (m *Manager) sleep() time.Duration {
	first, _ := m.due.Min()
	next := first.at
	if m.pause.After(next) {
		next = m.pause
	}
	left := time.Until(next)
	if left <= 0 || first.more {
		return max(left, breath)
	}
	return max(left, rest)
}
