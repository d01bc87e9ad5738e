package embedded

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

// contents are all pools of a store at one instant.
type contents map[string]image

// life is what a store goes through on a frail disk, and what its callers were told.
type life struct {
	t     *testing.T
	o     Options
	clock *storetest.Clock
	disk  *frailDisk

	store *Store
	told  []contents   // what the store was, at first and after each step that was answered
	done  atomic.Int64 // how many of them there are
	safe  atomic.Int64 // of them, those that no crash of the machine may take
	fence int64        // the highest that a caller has
}

func newLife(t *testing.T, dir string, interval time.Duration, left *vfs.MemFS) *life {
	l := &life{t: t, clock: storetest.NewClock(), disk: newFrailDisk(t, dir, left)}
	l.o = Options{Dir: dir, SyncInterval: interval, Now: l.clock.Now}
	l.answered(contentsOf(open(t, Options{Now: l.clock.Now})), true)
	return l
}

func contentsOf(s *Store) contents {
	c := contents{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, p := range s.pools {
		c[name] = p.remembered()
	}
	return c
}

// answered notes a step that was answered.
func (l *life) answered(c contents, safe bool) {
	l.told = append(l.told, c)
	l.done.Store(int64(len(l.told)))
	if safe || l.o.SyncInterval == 0 {
		l.safe.Store(int64(len(l.told)))
	}
}

// goesOn lives a part of the life: opens the store, uses all that it writes, and closes it. It ends at the first step
// that fails.
func (l *life) goesOn() (err error) {
	diskFS = l.disk
	if l.store, err = Open(l.o); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		l.generate, l.assign, l.keepAlive, l.flush, l.putPool, l.sync, l.unblock, l.delete, l.assign, l.flush,
		l.deletePool, l.assign,
	} {
		if err := l.one(step); err != nil {
			return err
		}
	}
	return l.store.Close()
}

// one carries out one step, which may not hang.
func (l *life) one(step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	l.clock.Advance(10 * time.Millisecond)
	if err := step(ctx); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			l.t.Error("a step hangs")
		}
		l.told = append(l.told, contentsOf(l.store)) // which may be there
		return err
	}
	l.answered(contentsOf(l.store), false)
	return nil
}

const side = "side" // a pool that comes and goes

func (l *life) generate(ctx context.Context) error {
	_, err := l.store.Generate(ctx, tms.DefaultPool, tms.GenerateRequest{Tokens: make([]tms.NewToken, 20)})
	return err
}

func (l *life) assign(ctx context.Context) error {
	r := tms.AssignRequest{ClientID: "c", RequestID: fmt.Sprint("r", len(l.told)), Count: 3}
	results, err := l.store.Assign(ctx, tms.DefaultPool, []tms.AssignRequest{r})
	if err != nil {
		return err
	}
	for _, token := range results[0].Tokens {
		if token.Lease.Fence <= l.fence {
			l.t.Errorf("fence %d after %d", token.Lease.Fence, l.fence)
		}
		l.fence = token.Lease.Fence
	}
	return results[0].Err
}

// held returns the keys of some leases.
func (l *life) held(n int) (keys []tms.LeaseKey) {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	for value, e := range l.store.pools[tms.DefaultPool].tokens {
		if e.is(tms.Assigned) && len(keys) < n {
			keys = append(keys, tms.LeaseKey{Token: value})
		}
	}
	return keys
}

func (l *life) keepAlive(ctx context.Context) error {
	_, err := l.store.KeepAlive(ctx, tms.DefaultPool, l.held(2))
	return err
}

func (l *life) unblock(ctx context.Context) error {
	_, err := l.store.Unblock(ctx, tms.DefaultPool, l.held(2))
	return err
}

func (l *life) delete(ctx context.Context) error {
	_, err := l.store.Delete(ctx, tms.DefaultPool, l.held(1))
	return err
}

func (l *life) putPool(ctx context.Context) error {
	_, err := l.store.PutPool(ctx, side, tms.PolicyChange{})
	return err
}

func (l *life) deletePool(ctx context.Context) error {
	return l.store.DeletePool(ctx, side)
}

// flush begins a new log, and the writing of a table.
func (l *life) flush(context.Context) error {
	_, err := l.store.journal.db.AsyncFlush()
	return err
}

// sync is what the store does at its interval.
func (l *life) sync(context.Context) error {
	l.store.journal.disk.sync()
	if err := l.store.Err(); err != nil {
		return err
	}
	l.safe.Store(l.done.Load())
	return nil
}

// foundOn opens what the disk has left, and sees that it is what the store was after one of the steps from the safe-th
// on, up to the one behind the done-th, which may have been under way.
func (l *life) foundOn(left *vfs.MemFS, when fall) {
	l.t.Helper()
	diskFS = newFrailDisk(l.t, l.o.Dir, left)
	s, err := Open(l.o)
	if err != nil {
		l.t.Error(err)
		return
	}
	found := contentsOf(s)
	l.isOneOf(found, l.told[when.safe-1:min(when.done+1, int64(len(l.told)))])
	if err := s.Check(context.Background()); err != nil {
		l.t.Error(err)
	}
	again := &life{t: l.t, o: l.o, clock: l.clock, store: s, fence: l.fence}
	for _, step := range []func(context.Context) error{again.generate, again.assign} {
		if err := again.one(step); err != nil {
			l.t.Error(err)
		}
	}
	if err := s.Close(); err != nil {
		l.t.Error(err)
	}
}

func (l *life) isOneOf(found contents, told []contents) {
	l.t.Helper()
	for _, c := range told {
		if cmp.Equal(found, c) {
			return
		}
	}
	l.t.Errorf("of %d states none is found; from the last:\n%s", len(told), cmp.Diff(told[len(told)-1], found))
}

// modesOfSync are the ways in which a store may sync. Where it syncs at an interval the tests say when.
var modesOfSync = map[string]time.Duration{"always": 0, "at an interval": time.Hour}

var allOperations = flag.Bool("all-operations", false, "let a disk fail at each operation, not at every sixth")

// eachOperation calls f with the number of each operation of a life, until there is none.
func eachOperation(t *testing.T, f func(t *testing.T, at int64) (more bool)) {
	every := int64(6)
	if *allOperations {
		every = 1
	}
	for at, more := 1+rand.Int64N(every), true; more; at += every {
		t.Run(fmt.Sprint(at), func(t *testing.T) { more = f(t, at) && !t.Failed() })
	}
}

func TestTheMachineGoesDownAtAnyOperation(t *testing.T) {
	real := diskFS
	defer func() { diskFS = real }()
	for mode, interval := range modesOfSync {
		for _, r := range allRemains {
			t.Run(fmt.Sprint(mode, r), func(t *testing.T) {
				eachOperation(t, func(t *testing.T, at int64) bool { return goDown(t, interval, r, at) })
			})
		}
	}
}

// goDown lets the machine go down at an operation of a life, and reports whether the life had that many.
func goDown(t *testing.T, interval time.Duration, r remains, at int64) bool {
	l := newLife(t, t.TempDir(), interval, nil)
	fall := l.fallsAt(at, r)
	if fall.left == nil {
		return false
	}
	l.foundOn(fall.left, fall)
	return true
}

// fall is what a machine left that went down.
type fall struct {
	left       *vfs.MemFS // nil: it did not
	safe, done int64      // see life, when it did
}

func (l *life) fallsAt(at int64, r remains) (f fall) {
	l.disk.at, l.disk.down = at, func() {
		f.safe = l.safe.Load()
		f.left = r.of(l.t, l.disk, l.o.Dir, uint64(at))
		f.done = l.done.Load()
	}
	for range 2 {
		if err := l.goesOn(); err != nil {
			l.t.Fatal(err)
		}
	}
	return f
}

// A machine that goes down again while the store starts costs no more than one that goes down once.
func TestTheMachineGoesDownAgainWhileItStarts(t *testing.T) {
	real := diskFS
	defer func() { diskFS = real }()
	for mode, interval := range modesOfSync {
		for _, at := range []int64{30, 60, 90, 120, 150, 180} {
			t.Run(fmt.Sprint(mode, at), func(t *testing.T) {
				l := newLife(t, t.TempDir(), interval, nil)
				once := l.fallsAt(at, remains{unsynced: 70})
				eachOperation(t, func(t *testing.T, at int64) bool {
					left := l.startsOn(t, once.left, at)
					if left != nil {
						l.foundOn(left, once)
					}
					return left != nil
				})
			})
		}
	}
}

// startsOn starts on what the disk has left, and returns what it leaves if the machine goes down at an operation of
// that; nil: there are fewer.
func (l *life) startsOn(t *testing.T, left *vfs.MemFS, at int64) (again *vfs.MemFS) {
	disk := newFrailDisk(t, l.o.Dir, left.CrashClone(vfs.CrashCloneCfg{}))
	disk.at, disk.down = at, func() { again = remains{unsynced: 50}.of(t, disk, l.o.Dir, uint64(at)) }
	diskFS = disk
	s, err := Open(l.o)
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Error(err)
	}
	return again
}

func TestTheDiskFailsAtAnyOperation(t *testing.T) {
	real := diskFS
	defer func() { diskFS = real }()
	for mode, interval := range modesOfSync {
		for how, fails := range map[string]func(errorfs.Op) error{"full": full, "broken": broken} {
			t.Run(mode+"/"+how, func(t *testing.T) {
				eachOperation(t, func(t *testing.T, at int64) bool { return failFrom(t, interval, fails, at) })
			})
		}
	}
}

// failFrom lets the disk fail from an operation of a life on, and reports whether the life had that many. What was
// answered is there when the disk is well again, and also where the machine went down meanwhile.
func failFrom(t *testing.T, interval time.Duration, fails func(errorfs.Op) error, at int64) bool {
	dir := t.TempDir()
	l := newLife(t, dir, interval, nil)
	l.disk.at, l.disk.fails = at, fails
	var err error
	for range 2 {
		if err == nil {
			err = l.goesOn()
		}
	}
	if l.disk.failed.Load() && err == nil {
		t.Error("the store says nothing of it")
	}
	more := l.disk.ops.Load() >= at
	left := remains{unsynced: 50}.of(t, l.disk, dir, uint64(at))
	if l.store != nil {
		l.store.Close()
	}
	l.foundOn(left, fall{safe: l.safe.Load(), done: l.done.Load()})
	return more
}
