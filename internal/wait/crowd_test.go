package wait_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/embedded"
	"github.com/manankarani/token-manager/internal/wait"
)

// watched is a store that counts what it is asked, and may lose an answer.
type watched struct {
	*embedded.Store
	largest atomic.Int64 // how many tokens one call asked for at most
	shown   atomic.Int64 // how many tickets there were in all calls
	lose    atomic.Bool  // the next answer that is for several tickets
}

func (w *watched) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	tokens := int64(0)
	for _, r := range requests {
		tokens += int64(max(1, r.Count))
	}
	w.largest.Store(max(w.largest.Load(), tokens)) // one line makes one call at a time
	results, err := w.Store.Assign(ctx, pool, requests)
	w.shown.Add(int64(len(requests)))
	if len(requests) > 1 && w.lose.CompareAndSwap(true, false) {
		return nil, errors.New("the answer was lost")
	}
	return results, err
}

// However many wait, a call asks for no more than a step of a store gives, everybody is shown at every beat all the
// same, and an answer that is lost ends nobody's wait.
func TestManyAreShownInPieces(t *testing.T) {
	const waiters, beats = 2_500, 3
	inner := &watched{Store: opened(t)}
	s := wait.Wrap(inner, wait.Options{Beat: 50 * time.Millisecond})
	t.Cleanup(func() { must(t, s.Close()) })
	var all sync.WaitGroup
	var lost atomic.Int64
	for i := range waiters {
		all.Go(func() {
			_, err := assign(t.Context(), s, tms.AssignRequest{Wait: time.Hour, Count: 1 + i%2})
			if tms.CodeOf(err) == "" {
				lost.Add(1)
			}
		})
	}
	untilWaiting(t, s, waiters)
	eventually(t, "the tickets are shown", func() bool { return inner.shown.Load() > beats*waiters })
	inner.lose.Store(true)
	eventually(t, "a call is lost", func() bool { return !inner.lose.Load() })
	eventually(t, "the tickets are shown again", func() bool { return inner.shown.Load() > 2*beats*waiters })
	s.Stop()
	all.Wait()
	if n := inner.largest.Load(); n <= 500 || n > 1_000 {
		t.Errorf("one call asked for %d tokens", n)
	}
	if n := lost.Load(); n > 0 {
		t.Errorf("a lost answer ended %d waits", n)
	}
}

// Who wants many tokens is asked for all the same.
func TestOneWhoWantsAThousandIsShown(t *testing.T) {
	s := wrap(t, embedded.Options{})
	fill(t, s, 1_000)
	tokens, err := assign(t.Context(), s, tms.AssignRequest{Wait: time.Minute, Count: 1_000})
	if err != nil || len(tokens) != 1_000 {
		t.Errorf("%d tokens, %v", len(tokens), err)
	}
}

// What comes back by itself is handed on when it does, not at the next beat.
func TestAnExpiryIsHandedOnAtItsInstant(t *testing.T) {
	s := wait.Wrap(opened(t), wait.Options{Beat: time.Hour})
	t.Cleanup(func() { must(t, s.Close()) })
	fill(t, s, 1)
	_, err := assign(t.Context(), s, tms.AssignRequest{TTL: 300 * time.Millisecond})
	must(t, err)
	_, err = assign(t.Context(), s, tms.AssignRequest{Wait: 30 * time.Second})
	must(t, err)
}

// stuck is a store that holds every answer with a ticket back until it is let go.
type stuck struct {
	*embedded.Store
	asked chan struct{}
	letGo chan struct{}
}

func (s stuck) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	results, err := s.Store.Assign(ctx, pool, requests)
	if requests[0].Ticket != "" {
		s.asked <- struct{}{}
		<-s.letGo
	}
	return results, err
}

// A store that takes its time holds no caller beyond its context, or for long beyond its wait. What it answers too late
// goes back, unless a repeat can fetch it.
func TestASlowStoreHoldsNobody(t *testing.T) {
	for _, r := range []tms.AssignRequest{{Wait: time.Hour}, {Wait: time.Millisecond},
		{Wait: time.Hour, RequestID: "r"}} {
		inner := stuck{opened(t), make(chan struct{}, 100), make(chan struct{})}
		s := wait.Wrap(inner, wait.Options{})
		t.Cleanup(func() { must(t, s.Close()) })
		fill(t, s, 1)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := assign(ctx, s, r)
			ended <- err
		}()
		<-inner.asked
		if r.Wait == time.Hour {
			cancel()
		}
		err := <-ended // which it does not before the store answers, where the store holds it
		cancel()
		if err == nil || tms.CodeOf(err) != "" { // which would say that nothing is taken
			t.Errorf("%+v ended with %v", r, err)
		}
		time.Sleep(20 * time.Millisecond) // for who clears up behind the caller to come before the answer
		close(inner.letGo)
		back := 1
		if r.RequestID != "" {
			back = 0
			if tokens, err := assign(t.Context(), s, r); err != nil || len(tokens) != 1 {
				t.Errorf("the repeat is given %v, %v", tokens, err)
			}
		}
		eventually(t, "the token is where it belongs", func() bool {
			_, stats, err := s.Pool(t.Context(), tms.DefaultPool)
			return err == nil && stats == tms.Stats{Available: back, Assigned: 1 - back}
		})
	}
}

func opened(t testing.TB) *embedded.Store {
	t.Helper()
	s, err := embedded.Open(embedded.Options{})
	must(t, err)
	return s
}
