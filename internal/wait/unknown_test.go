package wait_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/embedded"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
	"github.com/manankarani/token-manager/internal/wait"
)

// Redis stands still for longer than a call waits for it, and each waiter is served all the same.
func TestAHungRedisEndsNoWait(t *testing.T) {
	const waiters = 150
	server := redistest.New(t)
	inner, err := redis.Open(redis.Options{URL: server.URL(), Timeout: time.Second})
	must(t, err)
	s := wait.Wrap(inner, wait.Options{})
	t.Cleanup(func() { must(t, s.Close()) })
	var all sync.WaitGroup
	var served atomic.Int64
	for i := range waiters {
		r := tms.AssignRequest{Wait: 10 * time.Minute}
		if i%2 == 0 {
			r.RequestID = tms.NewValue()
		}
		all.Go(func() {
			if tokens, err := assign(t.Context(), s, r); err != nil || len(tokens) != 1 {
				t.Errorf("a wait ended with %v, %v", tokens, err)
				return
			}
			served.Add(1)
		})
	}
	untilWaiting(t, s, waiters)
	server.Stop()
	time.Sleep(1500 * time.Millisecond) // longer than a call waits
	server.Continue()
	eventually(t, "the tokens can be generated", func() bool {
		_, err := s.Generate(t.Context(), tms.DefaultPool, tms.GenerateRequest{Tokens: make([]tms.NewToken, waiters),
			RequestID: "all"})
		return err == nil
	})
	all.Wait()
	t.Logf("%d of %d are served", served.Load(), waiters)
	_, stats, err := s.Pool(t.Context(), tms.DefaultPool)
	if must(t, err); stats != (tms.Stats{Assigned: waiters}) {
		t.Errorf("at the end: %+v", stats)
	}
}

// forgetful is a store that carries out what it is asked, and loses every so many-th answer to a ticket.
type forgetful struct {
	*embedded.Store
	asked atomic.Int64
	hears int64 // of so many answers one
}

func (f *forgetful) Assign(ctx context.Context, pool string, r []tms.AssignRequest) ([]tms.AssignResult, error) {
	results, err := f.Store.Assign(ctx, pool, r)
	if r[0].Ticket != "" && f.asked.Add(1)%f.hears != 0 {
		return nil, errors.New("the answer was lost")
	}
	return results, err
}

func (f *forgetful) Ready(context.Context) error { return nil }

// What a ticket was given in a step whose answer was lost it is given when it is shown again.
func TestALostAnswerIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := wait.Wrap(&forgetful{Store: opened(t), hears: 3}, wait.Options{})
		defer func() { must(t, s.Close()) }()
		fill(t, s, 2)
		for range 2 {
			if _, err := assign(t.Context(), s, tms.AssignRequest{Wait: time.Minute}); err != nil {
				t.Errorf("the wait ended with %v", err)
			}
		}
	})
}

// A wait that ends while the last answer is unknown says so, and what it may have been given goes back.
func TestAWaitThatEndsUnknownHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := wait.Wrap(&forgetful{Store: opened(t), hears: 1_000}, wait.Options{})
		defer func() { must(t, s.Close()) }()
		fill(t, s, 1)
		_, err := assign(t.Context(), s, tms.AssignRequest{Wait: 3 * time.Second})
		if err == nil || tms.CodeOf(err) != "" {
			t.Errorf("the wait ended with %v", err)
		}
		synctest.Wait()
		_, stats, err := s.Pool(t.Context(), tms.DefaultPool)
		if must(t, err); stats != (tms.Stats{Available: 1}) {
			t.Errorf("at the end: %+v", stats)
		}
	})
}

// One name stands for one request, also while it waits.
func TestAWaitUnderTheNameOfAnotherIsRefused(t *testing.T) {
	s := wrap(t, embedded.Options{})
	first := make(chan []tms.Token, 1)
	go func() {
		tokens, _ := assign(t.Context(), s, tms.AssignRequest{RequestID: "job", ClientID: "a", Wait: time.Minute})
		first <- tokens
	}()
	untilWaiting(t, s, 1)
	for _, other := range []tms.AssignRequest{{ClientID: "b"}, {ClientID: "a", Count: 2},
		{ClientID: "a", Prefer: "x"}} {
		other.RequestID, other.Wait = "job", time.Minute
		if tokens, err := assign(t.Context(), s, other); tms.CodeOf(err) != tms.ErrRequestIDReused {
			t.Errorf("%+v is answered %v, %v", other, tokens, err)
		}
	}
	fill(t, s, 1)
	if tokens := <-first; len(tokens) != 1 || tokens[0].Lease.ClientID != "a" {
		t.Errorf("the first is given %v", tokens)
	}
}
