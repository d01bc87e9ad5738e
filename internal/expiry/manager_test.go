package expiry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/expiry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadlines is as much of a store as the manager sees: pools with deadlines, on a clock that may differ from this
// process's. Every sweep takes a while.
type deadlines struct {
	tms.Sweeper
	skew  time.Duration // the store's clock is ahead by this much
	takes time.Duration

	mu     sync.Mutex
	pools  map[string][]time.Time
	sweeps []sweep
	err    error
	listed atomic.Int64 // steps of listings
}

func (s *deadlines) PutPool(context.Context, string, tms.PolicyChange) (p tms.Pool, err error) {
	return
}
func (s *deadlines) Generate(context.Context, string, tms.GenerateRequest) (g tms.Generated, err error) {
	return
}
func (s *deadlines) Assign(context.Context, string, []tms.AssignRequest) (r []tms.AssignResult, err error) {
	return
}
func (s *deadlines) KeepAlive(context.Context, string, []tms.LeaseKey) (r []tms.TokenResult, err error) {
	return
}
func (s *deadlines) Unblock(context.Context, string, []tms.LeaseKey) (r []tms.TokenResult, err error) {
	return
}
func (s *deadlines) UnblockClient(context.Context, string, string) (n int, err error) { return }
func (s *deadlines) Restore(context.Context, string, []string) (r []tms.TokenResult, err error) {
	return
}

type sweep struct {
	pool    string
	at      time.Time
	expired int64
}

func newDeadlines() *deadlines { return &deadlines{pools: map[string][]time.Time{}} }

func (s *deadlines) now() time.Time { return time.Now().Add(s.skew) }

// add gives the pool n deadlines that pass after d.
func (s *deadlines) add(pool string, n int, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	due := slices.Repeat([]time.Time{s.now().Add(d)}, n)
	s.pools[pool] = append(s.pools[pool], due...)
	slices.SortFunc(s.pools[pool], time.Time.Compare)
}

func (s *deadlines) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *deadlines) remove(pool string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pools, pool)
}

func (s *deadlines) left(pool string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pools[pool])
}

func (s *deadlines) swept() []sweep {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sweeps)
}

func (s *deadlines) PoolNames(_ context.Context, after string, limit int) ([]string, error) {
	s.listed.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	var names []string
	for name := range s.pools {
		if name > after {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names[:min(limit, len(names))], nil
}

func (s *deadlines) Expire(_ context.Context, pool string, limit int) (tms.Expired, error) {
	time.Sleep(s.takes)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		s.sweeps = append(s.sweeps, sweep{pool, time.Now(), -1})
		return tms.Expired{}, s.err
	}
	all, ok := s.pools[pool]
	if !ok {
		return tms.Expired{}, tms.ErrPoolNotFound
	}
	e := s.expire(all, limit)
	s.pools[pool] = all[e.Released:]
	s.sweeps = append(s.sweeps, sweep{pool, time.Now(), e.Released})
	return e, nil
}

func (s *deadlines) expire(all []time.Time, limit int) tms.Expired {
	now, n := s.now(), 0
	for n < min(limit, len(all)) && now.After(all[n]) {
		n++
	}
	e := tms.Expired{ExpiryCounts: tms.ExpiryCounts{Released: int64(n)}, Now: now}
	if n < len(all) {
		e.NextDue = all[n]
	}
	return e
}

// start runs a manager until the returned function is called, which waits for its end.
func start(t *testing.T, store tms.Sweeper, options expiry.Options) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		expiry.New(store, options).Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func TestSleepsUntilSomethingIsDue(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Hour, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			store := newDeadlines()
			store.skew = skew
			store.add("p", 1, 300*time.Millisecond)
			began := time.Now()
			defer start(t, store, expiry.Options{})()

			time.Sleep(500 * time.Millisecond)
			sweeps := store.swept()
			if len(sweeps) != 2 || sweeps[0].expired != 0 || sweeps[1].expired != 1 {
				t.Fatalf("skew %v: sweeps %v, want one at the start and one that expires the token", skew, sweeps)
			}
			if late := sweeps[1].at.Sub(began) - 300*time.Millisecond; late <= 0 || late > 30*time.Millisecond {
				t.Errorf("skew %v: the sweep came %v after the deadline, want within 30ms", skew, late)
			}
		})
	}
}

// startUsed runs a manager as start does, and returns the store for those who change it as well.
func startUsed(store tms.Sweeper, options expiry.Options) (used tms.Store, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	m, done := expiry.New(store, options), make(chan struct{})
	go func() {
		defer close(done)
		m.Run(ctx)
	}()
	return m.Store(), func() {
		cancel()
		<-done
	}
}

// A pool that this server uses is swept within an interval, whatever was known of its deadlines; others are left alone.
func TestSweepsWhatIsUsedWithinTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newDeadlines()
		store.add("p", 1, time.Hour)
		store.add("idle", 1, time.Hour)
		used, stop := startUsed(store, expiry.Options{})
		defer stop()
		time.Sleep(30 * time.Second)
		began := len(store.swept())
		for _, use := range []func(pool string){
			func(pool string) { used.PutPool(t.Context(), pool, tms.PolicyChange{}) },
			func(pool string) { used.Generate(t.Context(), pool, tms.GenerateRequest{}) },
			func(pool string) { used.Assign(t.Context(), pool, nil) },
			func(pool string) { used.KeepAlive(t.Context(), pool, nil) },
			func(pool string) { used.Unblock(t.Context(), pool, nil) },
			func(pool string) { used.UnblockClient(t.Context(), pool, "c") },
			func(pool string) { used.Restore(t.Context(), pool, nil) },
		} {
			store.add("p", 1, 0)
			store.add("new", 1, 0) // a pool that the manager does not know
			use("p")
			use("new")
			time.Sleep(1010 * time.Millisecond)
			if store.left("p") != 1 || store.left("new") != 0 {
				t.Errorf("left %d and %d, want 1 and 0", store.left("p"), store.left("new"))
			}
		}
		for range 10_000 {
			used.Assign(t.Context(), "p", nil)
			time.Sleep(time.Millisecond)
		}
		if n := len(store.swept()) - began; n > 2*2*(7+10) {
			t.Errorf("%d sweeps of 2 pools in 17 intervals", n)
		}
		time.Sleep(time.Minute)
		before := len(store.swept())
		time.Sleep(time.Minute)
		if n := len(store.swept()) - before; n > 3*2 {
			t.Errorf("%d sweeps in the second minute after the last use", n)
		}
	})
}

// What another server added before it died is met within a round, and so is a pool that it made.
func TestMeetsWhatADeadServerLeftWithinARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newDeadlines()
		store.add("p", 1, time.Hour)
		defer start(t, store, expiry.Options{})()
		time.Sleep(time.Second)
		store.add("p", 1, time.Second)
		store.add("new", 1, time.Second)
		time.Sleep(5*time.Minute + 50*time.Millisecond)
		if store.left("p") != 1 || store.left("new") != 0 {
			t.Errorf("left %d and %d, want 1 and 0", store.left("p"), store.left("new"))
		}
	})
}

// The rounds that idle pools cost are few, and a deadline of one of them is met all the same.
func TestIdlePoolsCostNextToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pools, minutes = 10_000, 25
		store := newDeadlines()
		for i := range pools {
			store.pools[fmt.Sprint("p", i)] = []time.Time{store.now().Add(time.Hour)}
		}
		store.add("p77", 1, 5*time.Minute)
		defer start(t, store, expiry.Options{})()
		time.Sleep(5*time.Minute + 30*time.Millisecond)
		if store.left("p77") != 1 {
			t.Error("the deadline of an idle pool was not met")
		}
		time.Sleep((minutes - 5) * time.Minute)
		if n := len(store.swept()); n > pools*(1+minutes/2) {
			t.Errorf("%d sweeps of %d idle pools in %d minutes", n, pools, minutes)
		}
		if n := store.listed.Load(); n > 11*minutes {
			t.Errorf("%d steps of a listing in %d minutes", n, minutes)
		}
	})
}

// A store that turns calls away is not asked for one pool after the other.
func TestAsksAStoreThatIsAwayOnce(t *testing.T) {
	for _, code := range []tms.Code{tms.ErrStoreUnavailable, tms.ErrStoreReset} {
		synctest.Test(t, func(t *testing.T) {
			store := newDeadlines()
			for i := range 500 {
				store.add(fmt.Sprint("p", i), 1, time.Minute)
			}
			defer start(t, store, expiry.Options{})()
			time.Sleep(time.Second)
			before := len(store.swept())
			store.fail(code)
			time.Sleep(5 * time.Minute)
			if n := len(store.swept()) - before; n == 0 || n > 30 {
				t.Errorf("%s: asked %d times in five minutes", code, n)
			}
			store.fail(nil)
			time.Sleep(20 * time.Second)
			for i := range 500 {
				if store.left(fmt.Sprint("p", i)) > 0 {
					t.Fatalf("%s: pool %d is not swept", code, i)
				}
			}
		})
	}
}

func TestCatchesUpInBoundedSweepsThatTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newDeadlines()
		store.takes = time.Millisecond
		store.add("large", 10_000, -time.Second)
		store.add("small", 1, -time.Second)
		defer start(t, store, expiry.Options{Limit: 100})()

		time.Sleep(400 * time.Millisecond)
		if store.left("large") != 0 {
			t.Errorf("%d left after 400ms, want the manager to go on at once while more is due", store.left("large"))
		}
		for i, s := range store.swept() {
			if s.expired > 100 {
				t.Errorf("sweep %d carried out %d, want at most 100", i, s.expired)
			}
			if s.pool == "small" && s.expired > 0 && i > 1 {
				t.Errorf("the small pool had its turn only after %d sweeps of the large one", i)
			}
		}
	})
}

func TestTheZeroOptionsSweepAHundred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newDeadlines()
		store.add("p", 250, -time.Second)
		defer start(t, store, expiry.Options{})()

		time.Sleep(100 * time.Millisecond)
		var took []int64
		for _, s := range store.swept() {
			took = append(took, s.expired)
		}
		if want := []int64{100, 100, 50}; !slices.Equal(took, want) {
			t.Errorf("sweeps carried out %v, want %v", took, want)
		}
	})
}

func TestSeveralManagersShareOneStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newDeadlines()
		var mu sync.Mutex
		var observed int64
		observe := func(_ string, e tms.Expired, _ error) {
			mu.Lock()
			defer mu.Unlock()
			observed += e.Total()
		}
		for range 4 {
			defer start(t, store, expiry.Options{Limit: 10, Observe: observe})()
		}
		for i := range 50 {
			store.add("a", 20, time.Duration(i)*100*time.Millisecond)
			store.add("b", 20, time.Duration(i)*100*time.Millisecond)
		}
		time.Sleep(6 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if store.left("a")+store.left("b") != 0 || observed != 2_000 {
			t.Errorf("left %d and %d, carried out %d, want 0, 0, 2000", store.left("a"), store.left("b"), observed)
		}
	})
}

func TestBacksOffFromAFailingStoreAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newDeadlines()
		store.add("p", 1, time.Hour)
		var failures int
		defer start(t, store, expiry.Options{Round: time.Second, Observe: func(_ string, _ tms.Expired, err error) {
			if err != nil {
				failures++
			}
		}})()

		time.Sleep(time.Millisecond)
		store.fail(errors.New("broken"))
		time.Sleep(5 * time.Minute)
		if n := len(store.swept()); n < 15 || n > 30 {
			t.Errorf("%d sweeps of a pool that failed for 5 minutes, want about 20", n)
		}
		synctest.Wait()
		if failures < 30 {
			t.Errorf("observed %d failures of sweeps and listings, want at least 30", failures)
		}
		store.fail(nil)
		store.add("p", 1, 0)
		time.Sleep(17 * time.Second)
		if store.left("p") != 1 {
			t.Errorf("the manager did not come back within 16 intervals")
		}
	})
}

func TestForgetsAPoolThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newDeadlines()
		store.add("p", 1, time.Hour)
		var gone int
		defer start(t, store, expiry.Options{Round: time.Second, Observe: func(pool string, _ tms.Expired, err error) {
			if pool == "p" && errors.Is(err, tms.ErrPoolNotFound) {
				gone++
			}
		}})()

		time.Sleep(100 * time.Millisecond)
		store.remove("p")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if gone != 1 {
			t.Errorf("asked for a pool that is gone %d times, want once", gone)
		}
	})
}

func TestListsEveryPoolInPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newDeadlines()
		for i := range 2_500 {
			store.add(fmt.Sprint("p", i), 1, -time.Second)
		}
		defer start(t, store, expiry.Options{})()
		time.Sleep(100 * time.Millisecond)
		for i := range 2_500 {
			if name := fmt.Sprint("p", i); store.left(name) != 0 {
				t.Fatalf("pool %s was not swept", name)
			}
		}
	})
}

func TestEndsWithItsContextEvenWhileMoreIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newDeadlines()
		store.takes = time.Second
		for _, name := range []string{"a", "b", "c", "d"} {
			store.add(name, 1_000, -time.Second)
		}
		stop := start(t, store, expiry.Options{Limit: 1})
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		stop()
		if took := time.Since(began); took > time.Second {
			t.Errorf("Run returned after %v, want no sweep beyond the present one", took)
		}
	})
}
