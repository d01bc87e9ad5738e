package client_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/internal/store/storetest"
	"github.com/manankarani/token-manager/tmstest"
)

const pool = "licences"

// short is a policy whose leases end soon when nobody renews them.
func short(ttl time.Duration) tms.PolicyChange {
	return tms.PolicyChange{LeaseTTL: &ttl, TokenTTL: new(time.Duration(0))}
}

func acquire(t *testing.T, c *client.Client, opts ...client.AcquireOption) *client.Held {
	t.Helper()
	held, err := c.Acquire(t.Context(), pool, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

var eventually = storetest.Eventually

// stats returns the sizes of the pool, swept.
func stats(t *testing.T, s *tmstest.Server) tms.Stats {
	t.Helper()
	_, stats, err := s.Store().Pool(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

// nextFence waits until another client is given the token, and returns its fence and when the request was answered.
func nextFence(t *testing.T, s *tmstest.Server) (int64, time.Time) {
	t.Helper()
	results, err := s.Store().Assign(t.Context(), pool, []tms.AssignRequest{{Wait: time.Minute}})
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	return results[0].Tokens[0].Lease.Fence, time.Now()
}

func TestTheMarginIsDecidedByTheLeaseThatWasGranted(t *testing.T) {
	most := 20 * time.Second
	s := tmstest.New(t, tmstest.WithPool(pool, tms.PolicyChange{MaxLease: &most}, "KEY"))
	var granted time.Duration
	held := acquire(t, s.Client(), client.TTL(time.Minute), client.MarginOf(func(ttl time.Duration) time.Duration {
		granted = ttl
		return ttl / 3
	}))
	if granted <= 0 || granted > most || held.Margin() != granted/3 || held.Err() != nil {
		t.Errorf("granted %v, margin %v, error %v", granted, held.Margin(), held.Err())
	}
}

func TestAcquireHoldsATokenUntilClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tmstest.New(t, tmstest.InMemory(), tmstest.WithPool(pool, short(4*time.Second), "KEY"))
		held := acquire(t, s.Client(), client.ClientID("build-7"))
		time.Sleep(12 * time.Second)
		token, err := s.Store().Token(t.Context(), pool, tms.LeaseKey{Token: "KEY"})
		if err != nil || token.State != tms.Assigned || token.Lease.ClientID != "build-7" ||
			token.Lease.Fence != held.Fence() {
			t.Fatalf("after three lease times the token is %+v, error %v", token, err)
		}
		if held.Token() != "KEY" || held.Pool() != pool || held.LeaseID() == "" || held.Err() != nil {
			t.Errorf("holds %q of %q, error %v", held.Token(), held.Pool(), held.Err())
		}
		if err := held.Close(); err != nil {
			t.Error(err)
		}
		if got := stats(t, s); got.Available != 1 {
			t.Errorf("after Close: %+v", got)
		}
	})
}

func TestAcquireSaysWhyNot(t *testing.T) {
	s := tmstest.New(t, tmstest.WithPool(pool, tms.PolicyChange{}))
	c := s.Client()
	for want, acquire := range map[tms.Code]func() error{
		tms.ErrNoTokenAvailable: func() error { _, err := c.Acquire(t.Context(), pool); return err },
		tms.ErrPoolNotFound:     func() error { _, err := c.Acquire(t.Context(), "no-such"); return err },
		tms.ErrInvalidRequest:   func() error { _, err := c.AcquireN(t.Context(), pool, 0); return err },
	} {
		if err := acquire(); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

func TestAcquireNTakesAllOrNone(t *testing.T) {
	s := tmstest.New(t, tmstest.WithPool(pool, tms.PolicyChange{}, "1", "2", "3"))
	c := s.Client()
	if _, err := c.AcquireN(t.Context(), pool, 4); !errors.Is(err, tms.ErrNoTokenAvailable) {
		t.Errorf("four of three: %v", err)
	}
	helds, err := c.AcquireN(t.Context(), pool, 3)
	if err != nil || len(helds) != 3 || stats(t, s).Assigned != 3 {
		t.Fatalf("three of three: %v", err)
	}
	for _, held := range helds[:2] {
		if err := held.Close(); err != nil {
			t.Error(err)
		}
	}
	if c.Close(); stats(t, s).Available != 3 {
		t.Errorf("after the client was closed: %+v", stats(t, s))
	}
}

func TestQuarantinePutsTheTokenAside(t *testing.T) {
	s := tmstest.New(t, tmstest.WithPool(pool, tms.PolicyChange{}, "KEY"))
	if err := acquire(t, s.Client()).Quarantine(); err != nil || stats(t, s).Quarantined != 1 {
		t.Errorf("error %v, %+v", err, stats(t, s))
	}
}

func TestAcquireWaitsItsTurnAndHearsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tmstest.New(t, tmstest.InMemory(), tmstest.WithPool(pool, tms.PolicyChange{}, "KEY"))
		first := acquire(t, s.Client())
		places := make(chan int, 100)
		got := make(chan error, 1)
		go func() {
			held, err := s.Client().Acquire(t.Context(), pool, client.Wait(time.Minute),
				client.OnWait(func(r tms.Refusal) { places <- r.Place }))
			if err == nil {
				err = held.Err()
			}
			got <- err
		}()
		if place := <-places; place != 1 {
			t.Errorf("the only one that waits has place %d", place)
		}
		<-places        // and kept it
		synctest.Wait() // until it waits again
		if waiting := stats(t, s).Waiting; waiting != 1 {
			t.Errorf("%d wait", waiting)
		}
		first.Close()
		if err := <-got; err != nil {
			t.Error(err)
		}
	})
}

func TestAWaitThatIsOverEndsWithTheLastRefusal(t *testing.T) {
	s := tmstest.New(t, tmstest.WithPool(pool, tms.PolicyChange{}))
	_, err := s.Client().Acquire(t.Context(), pool, client.Wait(300*time.Millisecond))
	var refusal *tms.Refusal
	if !errors.As(err, &refusal) || refusal.Code != tms.ErrNoTokenAvailable || refusal.Place != 1 {
		t.Errorf("got %#v", err)
	}
}

// TestALeaseThatWasWaitedForIsCountedFromItsRenewal waits longer than the lease lasts.
func TestALeaseThatWasWaitedForIsCountedFromItsRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tmstest.New(t, tmstest.InMemory(), tmstest.WithPool(pool, short(4*time.Second), "KEY"))
		first := acquire(t, s.Client())
		closed := make(chan error, 1)
		time.AfterFunc(5*time.Second, func() { closed <- first.Close() })
		held := acquire(t, s.Client(), client.Wait(time.Minute))
		defer func() { <-closed }() // its answer may be on its way yet
		left := time.Until(held.Deadline())
		if held.Err() != nil || left < 500*time.Millisecond || left > 3600*time.Millisecond {
			t.Errorf("%v are left of the lease, error %v", left, held.Err())
		}
	})
}

// TestALeaseThatWasWaitedForAndCannotBeRenewedIsHeld has a max_lease that ends with the first lease.
func TestALeaseThatWasWaitedForAndCannotBeRenewedIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := short(4 * time.Second)
		policy.MaxLease = policy.LeaseTTL
		s := tmstest.New(t, tmstest.InMemory(), tmstest.WithPool(pool, policy))
		c := s.Client()
		generated := make(chan error, 1)
		time.AfterFunc(5*time.Second, func() {
			_, err := c.Generate(context.Background(), pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
			generated <- err
		})
		defer func() { <-generated }()
		held := acquire(t, c, client.Wait(time.Minute))
		if left := time.Until(held.Deadline()); held.Err() != nil || left > 3600*time.Millisecond {
			t.Errorf("%v are left of the lease, error %v", left, held.Err())
		}
		if <-held.Context().Done(); !errors.Is(held.Err(), tms.ErrMaxLeaseExceeded) {
			t.Errorf("the lease ended with %v", held.Err())
		}
	})
}

func TestALeaseShorterThanItsMarginIsGivenBack(t *testing.T) {
	s := tmstest.New(t, tmstest.WithPool(pool, short(time.Second), "KEY"))
	c := s.Client()
	if _, err := c.Acquire(t.Context(), pool, client.Margin(time.Second)); err == nil {
		t.Error("held for no time")
	}
	if c.Close(); stats(t, s).Available != 1 {
		t.Errorf("after the client was closed: %+v", stats(t, s))
	}
}

func TestWhoGivesUpWaitingHoldsNothing(t *testing.T) {
	t.Parallel()
	s := tmstest.New(t, tmstest.WithPool(pool, tms.PolicyChange{}, "KEY"))
	for range 6 {
		first := acquire(t, s.Client())
		ctx, cancel := context.WithCancel(t.Context())
		c, got := s.Client(), make(chan error, 1)
		go func() {
			_, err := c.Acquire(ctx, pool, client.Wait(time.Minute))
			got <- err
		}()
		eventually(t, "somebody waits", func() bool { return stats(t, s).Waiting == 1 })
		go first.Close() // at the same instant, so that either may come first
		cancel()
		if err := <-got; err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		c.Close() // which waits until what was taken is given back, or gives back what is held
		eventually(t, "the token is back", func() bool {
			s.Store().Expire(t.Context(), pool, 100)
			return stats(t, s).Available == 1
		})
	}
}

func TestAnAnswerThatCameTooLateIsGivenBack(t *testing.T) {
	s := tmstest.New(t, tmstest.WithPool(pool, tms.PolicyChange{}, "KEY"))
	c := s.Client()
	s.Delay(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error, 1)
	go func() { _, err := c.Acquire(ctx, pool); got <- err }()
	eventually(t, "the token is taken", func() bool { return stats(t, s).Assigned == 1 })
	s.Delay(0)
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if c.Close(); stats(t, s).Available != 1 {
		t.Errorf("after the client was closed: %+v", stats(t, s))
	}
}

func TestTheContextEndsBeforeAnotherClientGetsTheToken(t *testing.T) {
	for name, spoil := range map[string]func(*tmstest.Server){
		"the server is away":   func(s *tmstest.Server) { s.Down() },
		"every answer is late": func(s *tmstest.Server) { s.Delay(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := tmstest.New(t, tmstest.InMemory(), tmstest.WithPool(pool, short(5*time.Second), "KEY"))
				held := acquire(t, s.Client(), client.Margin(2*time.Second)) // more than a busy machine needs
				ended := make(chan time.Time, 1)
				context.AfterFunc(held.Context(), func() { ended <- time.Now() })
				time.Sleep(6 * time.Second) // renewed by now
				if held.Err() != nil {
					t.Fatal(held.Err())
				}
				spoil(s)
				fence, given := nextFence(t, s)
				select {
				case at := <-ended:
					if !at.Before(given) {
						t.Errorf("the context ended %v after another was given the token", at.Sub(given))
					}
				default:
					t.Error("another was given the token while the context stood")
				}
				if !errors.Is(held.Err(), client.ErrExpired) || fence <= held.Fence() {
					t.Errorf("the lease ended with %v; fence %d, then %d", held.Err(), held.Fence(), fence)
				}
			})
		})
	}
}

func TestALeaseThatSomebodyEndedIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tmstest.New(t, tmstest.InMemory(), tmstest.WithPool(pool, short(5*time.Second), "KEY"))
		for want, end := range map[error]func([]tms.LeaseKey) error{
			client.ErrLost: func(k []tms.LeaseKey) error {
				_, err := s.Store().Unblock(t.Context(), pool,
					k)
				return err
			},
			client.ErrDeleted: func(k []tms.LeaseKey) error {
				_, err := s.Store().Delete(t.Context(), pool,
					k)
				return err
			},
		} {
			s.Store().Generate(t.Context(), pool, tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "KEY"}}})
			held := acquire(t, s.Client())
			if err := end([]tms.LeaseKey{{Token: "KEY"}}); err != nil {
				t.Fatal(err)
			}
			<-held.Context().Done()
			if !errors.Is(context.Cause(held.Context()), want) || !errors.Is(held.Close(), want) {
				t.Errorf("ended with %v, Close says %v, want %v", held.Err(), held.Close(), want)
			}
		}
	})
}

func TestAHangingWorkerLosesItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tmstest.New(t, tmstest.InMemory(), tmstest.WithPool(pool, short(2*time.Second), "KEY"))
		held := acquire(t, s.Client(), client.RequireProgress(100*time.Millisecond))
		nextFence(t, s)
		if !errors.Is(held.Err(), client.ErrNoProgress) {
			t.Errorf("ended with %v", held.Err())
		}
	})
}

// TestLeasesOutliveAServerThatIsAwayForAWhile has a thousand of them, which come to be renewed while it is away.
func TestLeasesOutliveAServerThatIsAwayForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tmstest.New(t, tmstest.InMemory(), tmstest.WithPool(pool, short(10*time.Second)))
		c := s.Client()
		const n = 1000
		_, err := c.Generate(t.Context(), pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, n)})
		if err != nil {
			t.Fatal(err)
		}
		helds, err := c.AcquireN(t.Context(), pool, n)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			s.Down()
			time.Sleep(3500 * time.Millisecond) // due after 3 s
			s.Up()
			awaitRenewal(t, helds)
		}
		if got := stats(t, s); got.Assigned != n {
			t.Errorf("%+v", got)
		}
	})
}

// awaitRenewal waits until every lease was renewed after this call. None may end meanwhile.
func awaitRenewal(t *testing.T, helds []*client.Held) {
	t.Helper()
	before := make([]time.Time, len(helds))
	for i, held := range helds {
		before[i] = held.Deadline()
	}
	eventually(t, "every lease was renewed", func() bool {
		for i, held := range helds {
			if held.Err() != nil {
				t.Fatal(held.Err())
			}
			if !held.Deadline().After(before[i]) {
				return false
			}
		}
		return true
	})
}

func TestCloseTellsThatTheServerIsAway(t *testing.T) {
	t.Parallel()
	s := tmstest.New(t, tmstest.WithPool(pool, tms.PolicyChange{}, "KEY"))
	held := acquire(t, s.Client())
	s.Down()
	if err := held.Close(); !errors.Is(err, client.ErrUnreachable) || !errors.Is(held.Err(), client.ErrReleased) {
		t.Errorf("Close says %v, the lease ended with %v", err, held.Err())
	}
}
