package client

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	tms "github.com/manankarani/token-manager"
)

func TestALeaseIsRenewedUntilItIsClosed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book) {
		h := b.hold("t")
		b.stands(h, time.Hour)
		if n := len(b.asked()); n < 180 || n > 220 { // every 18 s
			t.Errorf("%d renewals in an hour", n)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if err := h.Err(); !errors.Is(err, ErrReleased) || h.Context().Err() == nil {
			t.Errorf("after Close: %v", err)
		}
		if h.Close() != nil || h.Quarantine() != nil || len(b.returned) != 1 || b.returned[0].Quarantine {
			t.Errorf("gave back %v", b.returned)
		}
	})
}

func TestTheContextEndsBeforeTheServerLetsGo(t *testing.T) {
	for name, m := range map[string]mood{
		"away":                  {away: true},
		"hangs":                 {hangs: true, item: errors.New("failed")},
		"failed":                {refusal: errors.New("failed")},
		"turned away":           {refusal: tms.ErrStoreUnavailable},
		"each failed":           {item: errors.New("failed")},
		"the requests are late": {there: 2 * ttl},
		"the answers are late":  {back: 2 * ttl},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *book) {
				h := b.hold("t")
				b.stands(h, 10*time.Minute+7*time.Second)
				b.is(m)
				before := time.Now()
				b.endsWith(h, ErrExpired)
				if took := time.Since(before); took < ttl*6/10 || took > ttl*9/10 {
					t.Errorf("the context ended after %v", took)
				}
			})
		})
	}
}

func TestAnAnswerThatIsLateCountsFromItsRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book) {
		h := b.hold("t")
		b.is(mood{there: 3 * time.Second, back: 25 * time.Second})
		b.stands(h, 5*time.Minute)
		for range 500 {
			b.stands(h, time.Second)
			if left := time.Until(h.Deadline()); left > ttl*9/10-28*time.Second {
				t.Fatalf("%v are left of a lease that was confirmed 28 s after it was asked for", left)
			}
		}
	})
}

func TestALeaseIsNeverShortened(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book) {
		h := b.hold("t")
		b.is(mood{grants: time.Second}) // as at the end of a max_lease
		b.stands(h, ttl*8/10)
	})
}

func TestAFailureThatPassesEndsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book) {
		h := b.hold("t")
		for range 20 {
			b.stands(h, time.Minute)
			b.is(mood{away: true})
			b.stands(h, 30*time.Second)
			b.is(mood{})
		}
	})
}

func TestAnAnswerThatIsLostIsAskedForAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book) {
		h := b.hold("t")
		b.is(mood{hangs: true})
		time.Sleep(ttl / 2)
		b.is(mood{})
		b.stands(h, time.Hour)
	})
}

func TestALeaseThatTheServerEndedIsOver(t *testing.T) {
	for want, refusal := range map[error]error{
		ErrLost: tms.ErrLeaseLost, ErrDeleted: tms.ErrTokenNotFound,
	} {
		inBubble(t, func(t *testing.T, b *book) {
			h := b.hold("t")
			b.is(mood{item: refusal})
			b.endsWith(h, want)
			b.is(mood{})
			time.Sleep(time.Hour)
			if h.Err() != want || h.Close() != want || len(b.returned) != 0 || len(b.asked()) != 1 {
				t.Errorf("after its end: %v, gave back %v", h.Err(), b.returned)
			}
		})
	}
}

func TestALeaseEndsWithItsPool(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book) {
		h, other := b.hold("t"), b.hold("u")
		b.is(mood{refusal: tms.ErrPoolNotFound})
		b.endsWith(h, ErrDeleted)
		b.endsWith(other, ErrDeleted)
	})
}

func TestALeaseLastsAsLongAsItMay(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book) {
		h := b.hold("t")
		b.stands(h, ttl)
		b.is(mood{item: tms.ErrMaxLeaseExceeded})
		b.stands(h, ttl/2)
		b.endsWith(h, tms.ErrMaxLeaseExceeded)
		if asked := len(b.asked()); asked > 6 {
			t.Errorf("asked %d times", asked)
		}
	})
}

func TestAHungWorkerLosesItsLease(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book) {
		h := b.hold("t", RequireProgress(5*time.Second))
		for range 1000 {
			b.stands(h, time.Second)
			h.Progress()
		}
		before := time.Now()
		b.endsWith(h, ErrNoProgress)
		if took := time.Since(before); took > 5*time.Second+ttl {
			t.Errorf("a hung worker lost its lease after %v", took)
		}
		if h.Close(); len(b.returned) != 1 {
			t.Error("a worker that comes to itself does not give its token back")
		}
	})
}

func TestAWorkerThatWakesInTimeKeepsItsLease(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book) {
		h := b.hold("t", RequireProgress(20*time.Second))
		for range 100 {
			b.stands(h, 45*time.Second) // due after 18 s, over after 54 s
			h.Progress()
		}
	})
}

func TestAMarginIsLeftAtTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book) {
		h := b.hold("t", Margin(20*time.Second))
		b.is(mood{away: true})
		b.endsWith(h, ErrExpired)
		if left := time.Until(b.ends["t"]); left != 20*time.Second {
			t.Errorf("%v are left", left)
		}
		if h.Margin() != 20*time.Second {
			t.Errorf("a margin of %v", h.Margin())
		}
		for want, option := range map[time.Duration]AcquireOption{
			ttl / 10: Margin(0),
			ttl / 4:  MarginOf(func(granted time.Duration) time.Duration { return granted / 4 }),
			ttl:      Margin(ttl),
		} {
			var a acquire
			option(&a)
			h, err := newHeld(t.Context(), a, h.token, time.Now())
			if (err != nil) != (want == ttl) || err == nil && h.Margin() != want {
				t.Errorf("want a margin of %v: error %v", want, err)
			}
		}
	})
}

func TestTheClockCountsWhateverTheKeeperDoes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book) {
		h := b.hold("t")
		stopped := &keeper{pool: "p", held: map[*Held]struct{}{h: {}}, wake: make(chan struct{}, 1)}
		b.keep.byPool["p"].drop(h, nil)
		h.keeper, h.err = stopped, nil
		h.ctx, h.cancel = context.WithCancelCause(t.Context())
		time.Sleep(ttl * 9 / 10)
		if h.Context().Err() == nil || !errors.Is(h.Err(), ErrExpired) {
			t.Errorf("a lease whose time is over ended with %v", h.Err())
		}
	})
}

func TestLeasesOfOnePoolShareRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book) {
		const n = 2_000
		helds := make([]*Held, n)
		for i := range helds {
			helds[i] = b.hold(fmt.Sprint(i))
			time.Sleep(5 * time.Millisecond)
		}
		b.stands(helds[0], 2*time.Minute)
		b.asked()
		b.stands(helds[n-1], 3*time.Minute)
		if asked := len(b.asked()); asked > 20 {
			t.Errorf("%d leases took %d requests in three minutes", n, asked)
		}
		for _, h := range helds {
			b.stands(h, 0)
		}
	})
}

func TestNoRequestIsLongerThanTheServerTakes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book) {
		for i := range tms.MaxBatch + 1 {
			b.hold(fmt.Sprint(i))
		}
		time.Sleep(ttl / 2)
		if sizes := b.asked(); len(sizes) != 2 || sizes[0]+sizes[1] != tms.MaxBatch+1 {
			t.Errorf("requests of %v", sizes)
		}
	})
}

func TestRequestsThatAreTooLongAreHalved(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book) {
		helds := make([]*Held, 100)
		for i := range helds {
			helds[i] = b.hold(fmt.Sprint(i))
		}
		b.is(mood{most: 15})
		for range 10 {
			for _, h := range helds {
				b.stands(h, ttl/100)
			}
		}
		b.is(mood{most: 15, item: tms.ErrLeaseLost})
		b.endsWith(helds[0], ErrLost)
	})
}

func TestTheKeeperEndsWithTheLastLease(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book) {
		for range 3 {
			h, other := b.hold("t"), b.hold("u")
			b.stands(h, time.Minute)
			h.Close()
			synctest.Wait()
			if len(b.keep.byPool) != 1 || b.keep.retire(other.keeper) {
				t.Error("no keeper for the lease that is left")
			}
			other.Close()
			synctest.Wait()
			if len(b.keep.byPool) != 0 {
				t.Error("a keeper without a lease")
			}
		}
	})
}

func TestClosingTheClientGivesEverythingBack(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book) {
		h, other := b.hold("t"), b.hold("u")
		if err := b.keep.close(); err != nil || len(b.returned) != 2 {
			t.Errorf("gave back %v, error %v", b.returned, err)
		}
		for _, h := range []*Held{h, other} {
			if !errors.Is(h.Err(), ErrReleased) || h.Close() != nil {
				t.Errorf("the lease ended with %v", h.Err())
			}
		}
		if err := b.keep.keep("p", nil); err == nil {
			t.Error("a closed client keeps on")
		}
	})
}

func TestCloseSaysWhatItCouldNotTellTheServer(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book) {
		h := b.hold("t")
		b.is(mood{away: true})
		err := h.Close()
		if !errors.Is(err, ErrUnreachable) || !errors.Is(h.Err(), ErrReleased) || h.Close() != err {
			t.Errorf("Close says %v, then %v; the lease ended with %v", err, h.Close(), h.Err())
		}
	})
}
