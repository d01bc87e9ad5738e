package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	tms "github.com/manankarani/token-manager"
)

const ttl = time.Minute

// book is a server of leases in a bubble of synctest. What it does with a keep-alive is the test's to decide.
type book struct {
	t    *testing.T
	keep *keepers

	mu sync.Mutex
	mood
	ends     map[string]time.Time // when the server lets go of each token
	sizes    []int                // of the keep-alives that arrived
	returned []tms.LeaseKey
}

// mood is how the server is.
type mood struct {
	there, back time.Duration // how long requests and answers are under way
	hangs       bool          // no answer comes
	away        bool          // requests do not arrive
	refusal     error         // of the whole batch
	item        error         // of each key
	grants      time.Duration // what the server says is left of a lease; zero: ttl
}

func (b *book) is(m mood) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mood = m
}

func (b *book) now() mood {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mood
}

// asked returns the sizes of the requests since it was last called.
func (b *book) asked() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	sizes := b.sizes
	b.sizes = nil
	return sizes
}

// inBubble runs a test with a book, and sees that nothing runs on after it.
func inBubble(t *testing.T, test func(t *testing.T, b *book)) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{t: t, ends: map[string]time.Time{}}
		b.keep = newKeepers(b.keepAlive, b.unblock)
		defer b.keep.close()
		test(t, b)
		b.keep.close()
		if len(b.keep.byPool) > 0 {
			t.Errorf("%d keepers are left", len(b.keep.byPool))
		}
	})
}

func (b *book) keepAlive(ctx context.Context, _ string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	m := b.now()
	if m.away {
		return nil, fmt.Errorf("no route: %w", ErrUnreachable)
	}
	if err := sleep(ctx, m.there); err != nil {
		return nil, err
	}
	results, err := b.renew(keys)
	if m.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if late := sleep(ctx, m.back); late != nil {
		return nil, late
	}
	return results, err
}

func (b *book) renew(keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sizes = append(b.sizes, len(keys))
	if b.refusal != nil {
		return nil, b.refusal
	}
	results := make([]tms.TokenResult, len(keys))
	for i, key := range keys {
		if results[i].Err = b.item; b.item == nil {
			granted := cmp.Or(b.grants, ttl)
			b.ends[key.Token] = later(b.ends[key.Token], time.Now().Add(granted))
			results[i].Token = tms.Token{Value: key.Token, Lease: &tms.Lease{TTL: granted}}
		}
	}
	return results, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (b *book) unblock(_ context.Context, _ string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.returned = append(b.returned, keys...)
	if b.away {
		return nil, ErrUnreachable
	}
	return make([]tms.TokenResult, len(keys)), nil
}

// hold gives a lease that was asked for and granted now.
func (b *book) hold(token string, opts ...AcquireOption) *Held {
	b.t.Helper()
	var a acquire
	for _, set := range opts {
		set(&a)
	}
	b.ends[token] = time.Now().Add(ttl)
	lease := tms.Token{Pool: "p", Value: token, Lease: &tms.Lease{ID: "id-" + token, TTL: ttl}}
	h, err := newHeld(b.t.Context(), a, lease, time.Now())
	if err == nil {
		err = b.keep.keep("p", []*Held{h})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return h
}

// endsWith waits for the end of the lease, which must be the given one, and before the server lets go of the token.
func (b *book) endsWith(h *Held, want error) {
	b.t.Helper()
	<-h.Context().Done()
	b.mu.Lock()
	defer b.mu.Unlock()
	if left := time.Until(b.ends[h.Token()]); left <= 0 {
		b.t.Errorf("the context ended %v after the server could give the token away", -left)
	}
	if err := h.Err(); !errors.Is(err, want) || !errors.Is(context.Cause(h.Context()), want) {
		b.t.Errorf("the lease ended with %v, want %v", err, want)
	}
}

// stands checks that the lease stands after a while.
func (b *book) stands(h *Held, after time.Duration) {
	b.t.Helper()
	time.Sleep(after)
	if err := h.Err(); err != nil || h.Context().Err() != nil {
		b.t.Fatalf("the lease ended: %v", err)
	}
}

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
		if _, err := newHeld(t.Context(), acquire{margin: ttl}, h.token, time.Now()); err == nil {
			t.Error("a margin as long as the lease")
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
