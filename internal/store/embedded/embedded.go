// Package embedded is a [tms.Store] in one process. Its state lives in memory; every step is written to a durable log
// before it is answered, and concurrent steps share one write and one fsync.
//
// One lock orders all steps. What a step did is visible to the next one at once, and no step is answered before
// everything that it may have seen is durable, so that no answer is ever taken back.
package embedded

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/tidwall/btree"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// Options says how a store is opened. The zero value is a store in memory alone.
type Options struct {
	// Dir is the data directory, made if it is missing, and locked while the store is open. Empty: the state lives in
	// memory and ends with the process.
	Dir string

	// SyncInterval is the longest time between two fsyncs. Zero: every answer waits for its own, so that nothing that
	// was acknowledged can be lost. Otherwise a crash of the machine, not of the process, loses up to that much.
	SyncInterval time.Duration

	// Now is the store's clock. Nil: served time, which goes on from where the last process left it: see
	// [rules.Served].
	Now func() time.Time

	// NewID draws the values of generated tokens and the IDs of leases. Nil: [tms.NewValue].
	NewID func() string

	Logger *slog.Logger // nil: no logs

	wall func() time.Time // the wall clock; nil: the machine's
}

// Store is an embedded [tms.Store].
type Store struct {
	newID func() string
	log   *slog.Logger

	*failure // what stopped it

	mu        sync.Mutex // orders the steps and guards what follows
	pools     map[string]*pool
	names     *btree.Set[string] // of the pools; nil until somebody needs it
	clock     clock
	lastFence int64

	fenceBound int64 // that the log remembers: no fence above it was issued
	wakes      wakes
	journal    *journal // nil: memory alone
	lossy      string   // see clockRecord
	mostLease  int64    // see rules.Terms

	secret secret
	keys   keys

	ended   chan struct{} // closed when the store is
	beating sync.WaitGroup
	closing sync.Once
	closed  error // what Close returns
}

// Open opens the store in o.Dir, or an empty one in memory. It fails if another process holds the directory, or if what
// lies there cannot be read. Reading takes about two seconds for a million tokens.
func Open(o Options) (*Store, error) {
	s := &Store{newID: o.NewID, log: o.Logger, failure: newFailure(), ended: make(chan struct{})}
	if o.wall == nil {
		o.wall = time.Now
	}
	s.clock = clock{brought: o.Now, opened: o.wall().UnixMilli(), since: time.Now()}
	s.pools, s.wakes = map[string]*pool{}, wakes{some: make(chan struct{}, 1)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.newID == nil {
		s.newID = tms.NewValue
	}
	if o.Dir == "" {
		s.clock.goOn(s.clock.fresh())
	} else if err := s.load(o); err != nil {
		return nil, err
	} else if o.SyncInterval == 0 {
		shareSyncs()
	}
	if o.Now == nil {
		s.beating.Go(s.beats)
	}
	if _, err := s.PutPool(context.Background(), tms.DefaultPool, tms.PolicyChange{}); err != nil {
		s.Close()
		return nil, err
	}
	return s, s.forgetPutBack(o.Dir)
}

// shareSyncs sees to it that others run while one waits for the disk. Go keeps the processor of who is inside a system
// call for up to 10 ms, so that with one alone nobody would gather for the next fsync, whatever number of callers there
// is.
func shareSyncs() {
	const least = 2
	if runtime.GOMAXPROCS(0) < least {
		runtime.GOMAXPROCS(least)
	}
}

// Failed returns a channel that is closed when a write or an fsync has failed, or a step has panicked. From then on no
// step is answered; the process should end with [Store.Err]. What was acknowledged is in the data directory.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err returns what closed the channel of [Store.Failed], or nil.
func (s *Store) Err() error { return s.err() }

// Ready implements [tms.Readier]: a store is ready unless it has failed.
func (s *Store) Ready(context.Context) error { return s.Err() }

// Close writes what is not yet durable, and frees the data directory. It returns the error that stopped the store, if
// one did. Closing again changes nothing and returns the same.
func (s *Store) Close() error {
	s.closing.Do(func() { s.closed = s.end() })
	return s.closed
}

func (s *Store) end() error {
	close(s.ended)
	s.beating.Wait()
	if s.journal == nil {
		return s.err()
	}
	s.noteClose()
	return s.journal.close()
}

// step is one atomic step on one pool at one instant.
type step struct {
	*pool
	store *Store
	now   int64

	before tms.ExpiryCounts // what had expired when the step began
	handed int              // how many tokens the step has handed to waiters
	keptIn map[string]bool  // see keptLanes; nil until the step asks
}

// errAgain is what a step returns that has to be run once more, since it has touched enough.
var errAgain = errors.New("the step has to be run once more")

// do runs a step on the named pool until it need not be run again, and waits until everything that it may have seen is
// durable. The step is carried out whether or not ctx ends during that wait.
func (s *Store) do(ctx context.Context, name string, run func(*step) error) error {
	pending, err := s.steps(ctx, s.find(name), run)
	return pending.durable(ctx, err)
}

func (s *Store) find(name string) func() (*pool, error) {
	return func() (*pool, error) {
		if p := s.pools[name]; p != nil {
			return p, nil
		}
		return nil, rules.NoPool(name)
	}
}

// steps is do without the wait, on the pool that find returns: it returns the group that the last step is durable with.
func (s *Store) steps(ctx context.Context, find func() (*pool, error), run func(*step) error) (last *group, err error) {
	for err = errAgain; err == errAgain; {
		if ended := ctx.Err(); ended != nil {
			return last, ended
		}
		last, err = s.locked(func() error { return s.step(find, run) })
	}
	return last, err
}

// step runs one step on the pool once it is caught up with, hands on what it makes available, and has its expiries
// counted. The lock must be held.
func (s *Store) step(find func() (*pool, error), run func(*step) error) error {
	p, err := find()
	if err != nil {
		return err
	}
	t := &step{pool: p, store: s, now: s.instant(), before: p.expired}
	t.policy.Ahead = s.clock.ahead()
	t.settleOn()
	if err = errAgain; !t.catchUp() {
		err = run(t)
	}
	t.handOff()
	if p.expired != t.before && s.pools[p.name] == p {
		s.journal.setExpired(p.name, p.expired)
	}
	return err
}

// locked runs f under the lock, and returns the group that everything so far is durable with. If f panics, the store
// stops.
func (s *Store) locked(f func() error) (pending *group, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		if r := recover(); r != nil {
			err = s.panicked(r, s.log)
		}
	}()
	if err := s.stopped(); err != nil {
		return nil, err
	}
	err = f()
	return s.journal.pending(), err
}
