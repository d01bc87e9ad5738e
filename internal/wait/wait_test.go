package wait_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/embedded"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
	"github.com/manankarani/token-manager/internal/store/storetest"
	"github.com/manankarani/token-manager/internal/wait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func wrap(t testing.TB, o embedded.Options) *wait.Store {
	t.Helper()
	inner, err := embedded.Open(o)
	must(t, err)
	s := wait.Wrap(inner, wait.Options{})
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t testing.TB, clock *storetest.Clock) []tms.Sweeper {
		return []tms.Sweeper{wrap(t, embedded.Options{Now: clock.Now})}
	})
}

func TestWaiting(t *testing.T) {
	storetest.RunWaiting(t, func(t testing.TB) []tms.Sweeper { return []tms.Sweeper{wrap(t, embedded.Options{})} })
}

// Two servers share the Redis, and waiters at both stand in one queue.
func TestWaitingOnTwoServersOfOneRedis(t *testing.T) {
	db := redistest.New(t)
	storetest.RunWaiting(t, func(t testing.TB) (stores []tms.Sweeper) {
		for range 2 {
			inner, err := redis.Open(redis.Options{URL: db.URL()})
			must(t, err)
			s := wait.Wrap(inner, wait.Options{})
			t.Cleanup(func() { must(t, s.Close()) })
			stores = append(stores, s)
		}
		return stores
	})
}

var (
	must       = storetest.Must
	eventually = storetest.Eventually
)

// fill generates n tokens in the default pool.
func fill(t testing.TB, s tms.Sweeper, n int) {
	t.Helper()
	_, err := s.Generate(t.Context(), tms.DefaultPool, tms.GenerateRequest{Tokens: make([]tms.NewToken, n)})
	must(t, err)
}

func assign(ctx context.Context, s tms.Sweeper, r tms.AssignRequest) ([]tms.Token, error) {
	results, err := s.Assign(ctx, tms.DefaultPool, []tms.AssignRequest{r})
	if err != nil {
		return nil, err
	}
	return results[0].Tokens, results[0].Err
}

func give(t testing.TB, s tms.Sweeper, token tms.Token) {
	t.Helper()
	results, err := s.Unblock(context.WithoutCancel(t.Context()), tms.DefaultPool,
		[]tms.LeaseKey{{Token: token.Value, LeaseID: token.Lease.ID}})
	if err != nil || results[0].Err != nil {
		t.Errorf("unblock: %v %v", err, results)
	}
}

// untilWaiting returns when so many stand in the queue.
func untilWaiting(t testing.TB, s tms.Sweeper, n int) {
	t.Helper()
	for range 2000 {
		_, stats, err := s.Pool(t.Context(), tms.DefaultPool)
		must(t, err)
		if stats.Waiting == n {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("in vain waited for %d to wait", n)
}

// Wakes that nobody hears cost up to a beat, and nothing else.
func TestLostWakesAreMadeUpFor(t *testing.T) {
	inner, err := embedded.Open(embedded.Options{})
	must(t, err)
	s := wait.Wrap(deaf{inner}, wait.Options{Beat: 50 * time.Millisecond})
	t.Cleanup(func() { must(t, s.Close()) })
	fill(t, s, 1)
	held, err := assign(t.Context(), s, tms.AssignRequest{})
	must(t, err)
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			tokens, err := assign(t.Context(), s, tms.AssignRequest{Wait: 20 * time.Second})
			if err != nil {
				t.Error(err)
				return
			}
			give(t, s, tokens[0])
		})
	}
	untilWaiting(t, s, 5)
	give(t, s, held[0])
	all.Wait()
}

// deaf is a store whose wakes are never heard.
type deaf struct{ *embedded.Store }

func (deaf) Listen(ctx context.Context, _ func(string)) error {
	<-ctx.Done()
	return nil
}

// A listener that fails is started again.
func TestListeningGoesOn(t *testing.T) {
	inner, err := embedded.Open(embedded.Options{})
	must(t, err)
	var calls atomic.Int64
	var logs bytes.Buffer
	s := wait.Wrap(hoarse{inner, &calls}, wait.Options{Beat: 40 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(&logs, nil))})
	_, err = assign(t.Context(), s, tms.AssignRequest{Wait: 300 * time.Millisecond})
	if tms.CodeOf(err) != tms.ErrNoTokenAvailable || calls.Load() < 2 {
		t.Errorf("%v after %d calls of Listen", err, calls.Load())
	}
	must(t, s.Close())
	if n := strings.Count(logs.String(), "wakes are not heard"); n != 1 {
		t.Errorf("it was logged %d times in a second", n)
	}
}

type hoarse struct {
	*embedded.Store
	calls *atomic.Int64
}

func (h hoarse) Listen(context.Context, func(string)) error {
	h.calls.Add(1)
	return errors.New("no connection")
}

// A store that is away for a while ends nobody's wait.
func TestUnavailableStoreIsWaitedOut(t *testing.T) {
	inner, err := embedded.Open(embedded.Options{})
	must(t, err)
	var down atomic.Bool
	s := wait.Wrap(flaky{inner, &down}, wait.Options{Beat: 20 * time.Millisecond})
	t.Cleanup(func() { must(t, s.Close()) })
	down.Store(true)
	_, err = assign(t.Context(), s, tms.AssignRequest{Wait: 50 * time.Millisecond})
	if tms.CodeOf(err) != tms.ErrStoreUnavailable {
		t.Errorf("waiting in vain for a store that is away: %v", err)
	}
	time.AfterFunc(100*time.Millisecond, func() { down.Store(false); fill(t, inner, 1) })
	_, err = assign(t.Context(), s, tms.AssignRequest{Wait: 20 * time.Second})
	must(t, err)
}

type flaky struct {
	*embedded.Store
	down *atomic.Bool
}

func (f flaky) Assign(ctx context.Context, pool string, r []tms.AssignRequest) ([]tms.AssignResult, error) {
	if f.down.Load() {
		return nil, tms.Refuse(tms.ErrStoreUnavailable, "away")
	}
	return f.Store.Assign(ctx, pool, r)
}

func TestStopEndsAllWaiting(t *testing.T) {
	s := wrap(t, embedded.Options{})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := assign(t.Context(), s,
				tms.AssignRequest{Wait: time.Minute}); tms.CodeOf(err) != tms.ErrStoreUnavailable {
				t.Errorf("a wait ended with %v", err)
			}
		})
	}
	untilWaiting(t, s, 20)
	s.Stop()
	all.Wait()
	untilWaiting(t, s, 0)
	if _, err := assign(t.Context(), s,
		tms.AssignRequest{Wait: time.Minute}); tms.CodeOf(err) != tms.ErrNoTokenAvailable {
		t.Errorf("after that: %v", err)
	}
}

// Clients that leave at any moment, also just when they are served, hold nothing.
func TestWhoLeavesHoldsNothing(t *testing.T) {
	s := wrap(t, embedded.Options{})
	fill(t, s, 3)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			for range 20 {
				ctx, cancel := context.WithTimeout(t.Context(), rand.N(3*time.Millisecond))
				tokens, err := assign(ctx, s, tms.AssignRequest{ClientID: fmt.Sprint(i), Wait: time.Minute})
				if err == nil {
					give(t, s, tokens[0])
				}
				cancel()
			}
		})
	}
	all.Wait()
	time.Sleep(tms.PickupTime / 10)
	_, stats, err := s.Pool(t.Context(), tms.DefaultPool)
	must(t, err)
	if stats != (tms.Stats{Available: 3}) {
		t.Errorf("at the end: %+v", stats)
	}
}

// A repeat of a request that waits, on the same connection or another, takes one token and shares its place.
func TestRepeatsShareTheirPlace(t *testing.T) {
	s := wrap(t, embedded.Options{})
	fill(t, s, 1)
	held, err := assign(t.Context(), s, tms.AssignRequest{})
	must(t, err)
	values := make(chan string, 3)
	var all sync.WaitGroup
	for range cap(values) {
		all.Go(func() {
			tokens, err := assign(t.Context(), s, tms.AssignRequest{RequestID: "same", Wait: time.Minute})
			if err != nil {
				t.Error(err)
				return
			}
			values <- tokens[0].Value + " " + tokens[0].Lease.ID
		})
	}
	untilWaiting(t, s, 1)
	time.Sleep(20 * time.Millisecond) // for the others to join
	give(t, s, held[0])
	all.Wait()
	if a, b, c := <-values, <-values, <-values; a != b || b != c {
		t.Errorf("one request was given %s, %s and %s", a, b, c)
	}
}
