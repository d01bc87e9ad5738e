package tmstest_test

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/tmstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const pool = "licences"

func states(t *testing.T, s *tmstest.Server) tms.Stats {
	t.Helper()
	_, stats, err := s.Store().Pool(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

func TestAServerWithTokens(t *testing.T) {
	s := tmstest.New(t, tmstest.WithPool(pool, tms.PolicyChange{}, "KEY-1", "KEY-2"))
	held, err := s.Client().Acquire(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	if got := states(t, s); got.Assigned != 1 || got.Available != 1 || held.Err() != nil {
		t.Errorf("%+v, error %v", got, held.Err())
	}
}

func TestAnAnswerIsLostAfterItsWorkWasDone(t *testing.T) {
	s := tmstest.New(t, tmstest.WithPool(pool, tms.PolicyChange{}, "KEY"))
	c := s.Client(client.WithRetryFor(0))
	s.LoseAnswers(1)
	// What carries no name of its own is given back by the client as soon as its answer is lost.
	_, err := c.Assign(t.Context(), pool, []tms.AssignRequest{{RequestID: "1"}})
	if !errors.Is(err, client.ErrUnreachable) || states(t, s).Assigned != 1 {
		t.Errorf("error %v, %+v", err, states(t, s))
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Errorf("the second answer is lost, too: %v", err)
	}
}

func TestADelayEndsWithTheServer(t *testing.T) {
	s := tmstest.New(t)
	s.Delay(30 * time.Millisecond)
	begin := time.Now()
	if err := s.Client().Ready(t.Context()); err != nil || time.Since(begin) < 30*time.Millisecond {
		t.Errorf("answered after %v, error %v", time.Since(begin), err)
	}
	s.Delay(time.Hour)
	time.AfterFunc(30*time.Millisecond, s.Down)
	if err := s.Client().Ready(t.Context()); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("a server that went down answered: %v", err)
	}
}

func TestDownAndUp(t *testing.T) {
	s := tmstest.New(t)
	c := s.Client(client.WithRetryFor(0))
	for range 3 {
		if err := c.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		s.Down()
		s.Down()
		if err := c.Ready(t.Context()); !errors.Is(err, client.ErrUnreachable) {
			t.Errorf("a server that is down answered: %v", err)
		}
		s.Up()
	}
}

func TestTheClockIsTheTests(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().UnixMilli())
	s := tmstest.New(t, tmstest.WithPool(pool, tms.PolicyChange{}, "KEY"),
		tmstest.WithClock(func() time.Time { return time.UnixMilli(now.Load()) }))
	results, err := s.Client().Assign(t.Context(), pool, []tms.AssignRequest{{TTL: time.Hour}})
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	now.Add(time.Hour.Milliseconds())
	if got := states(t, s); got.Assigned != 1 {
		t.Errorf("before its end: %+v", got)
	}
	now.Add(1)
	if got := states(t, s); got.Assigned != 0 {
		t.Errorf("after its end: %+v", got)
	}
}

func TestTheServerSweeps(t *testing.T) {
	ttl := 100 * time.Millisecond
	s := tmstest.New(t, tmstest.WithPool(pool, tms.PolicyChange{TokenTTL: &ttl}, "KEY"))
	response, err := http.Get(s.URL + "/livez")
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(err, response)
	}
	response.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	for deadline := time.Now().Add(20 * time.Second); states(t,
		s).Expired.Deleted == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was swept")
		}
	}
}

// A server in memory lets an hour pass at once: a lease of a minute is kept for it, and is another's after an outage.
func TestAServerInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ttl := time.Minute
		policy := tms.PolicyChange{LeaseTTL: &ttl, TokenTTL: new(time.Duration(0))}
		s := tmstest.New(t, tmstest.InMemory(), tmstest.WithPool(pool, policy, "KEY"))
		held, err := s.Client().Acquire(t.Context(), pool)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got := states(t, s); got.Assigned != 1 || held.Err() != nil {
			t.Errorf("after an hour: %+v, error %v", got, held.Err())
		}
		s.Down()
		time.Sleep(2 * time.Minute)
		if got := states(t, s); got.Available != 1 || !errors.Is(held.Err(), client.ErrExpired) {
			t.Errorf("after two minutes without the server: %+v, error %v", got, held.Err())
		}
		s.Up()
		response, err := s.HTTPClient().Get(s.URL + "/livez")
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("back again: %v, error %v", response, err)
		}
		response.Body.Close()
	})
}
