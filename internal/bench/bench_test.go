package bench

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	tms "github.com/manankarani/token-manager"
)

// fake is a store that takes a while, and has an endless supply.
type fake struct {
	tms.Store
	takes  time.Duration
	calls  atomic.Int64
	stall  time.Duration // of the first call that comes after a second
	began  time.Time
	held   atomic.Int64
	refuse error
}

func (f *fake) call(ctx context.Context) error {
	f.calls.Add(1)
	wait := f.takes
	if f.stall > 0 && time.Since(f.began) >= time.Second {
		wait, f.stall = f.stall, 0
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fake) Assign(ctx context.Context, _ string, _ []tms.AssignRequest) ([]tms.AssignResult, error) {
	if err := f.call(ctx); err != nil {
		return nil, err
	}
	if f.refuse != nil {
		return []tms.AssignResult{{Err: f.refuse}}, nil
	}
	f.held.Add(1)
	return []tms.AssignResult{{Tokens: []tms.Token{{Value: "t", Lease: &tms.Lease{ID: "l"}}}}}, nil
}

func (f *fake) KeepAlive(ctx context.Context, _ string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	return make([]tms.TokenResult, len(keys)), f.call(ctx)
}

func (f *fake) Unblock(ctx context.Context, _ string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	f.held.Add(-int64(len(keys)))
	return make([]tms.TokenResult, len(keys)), f.call(ctx)
}

func mix(t *testing.T, text string) Mix {
	t.Helper()
	m, err := ParseMix(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMixes(t *testing.T) {
	if got := mix(t, "assign, keep-alive=2,unblock=1,lookup=0"); !slices.Equal(got,
		Mix{Assign, KeepAlive, KeepAlive, Unblock}) {
		t.Errorf("got %v", got)
	}
	for _, bad := range []string{"", "assign=x", "assign=-1", "assign=1001", "take=1", "keep-alive=1", "assign=0",
		"generate,delete"} {
		if got, err := ParseMix(bad); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}

func TestAClosedLoopSendsTheNextRequestAfterTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fake{takes: 10 * time.Millisecond}
		r := Run(t.Context(), Options{Store: store, Mix: mix(t, "assign,keep-alive=2,unblock"), Connections: 4,
			Duration: 2 * time.Second})
		if r.Requests != 800 || r.PerSecond != 400 || r.Latency[All].P50 < 10 || r.Latency[All].Max > 10.1 ||
			len(r.Errors) > 0 {
			t.Errorf("got %+v", r)
		}
		if r.Latency[KeepAlive].Requests != 400 || r.Latency[Assign].Requests != 200 ||
			r.Latency[Unblock].Requests != 200 {
			t.Errorf("got %+v", r.Latency)
		}
	})
}

// A stall of a second at a constant rate of a hundred a second holds up a hundred requests, and each of them is charged
// with what it had to wait, although one connection sends one request at a time.
func TestAConstantRateDoesNotHideAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fake{takes: time.Millisecond, stall: time.Second, began: time.Now()}
		r := Run(t.Context(), Options{Store: store, Mix: mix(t, "assign,unblock"), Connections: 1,
			Duration: 10 * time.Second,
			Rate:     100})
		if r.Requests != 1000 || r.Unsent != 0 {
			t.Errorf("%d requests, %d unsent, want 1000", r.Requests, r.Unsent)
		}
		if l := r.Latency[All]; l.Max < 1000 || l.P90 < 90 || l.P50 > 2 {
			t.Errorf("the stall is hidden: %+v", l)
		}
	})
}

func TestRequestsThatAServerCannotTakeInTimeAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fake{takes: 100 * time.Millisecond}
		r := Run(t.Context(), Options{Store: store, Mix: mix(t, "assign"), Connections: 1, Duration: time.Second,
			Rate: 100})
		if r.Requests+r.Unsent != 100 || r.Requests != 11 && r.Requests != 10 {
			t.Errorf("%d requests, %d unsent, want 10 or 11 of 100", r.Requests, r.Unsent)
		}
		if r.Latency[All].P50 < 400 {
			t.Errorf("the latency hides the unsent: %+v", r.Latency[All])
		}
	})
}

// A server that has stopped to answer is not made to look well by who interrupts the load: what was under way and what
// was due by then count with the time that they waited.
func TestAnInterruptDoesNotHideAStall(t *testing.T) {
	for _, c := range []struct {
		rate             float64
		requests, unsent int64
	}{{100, 100, 399}, {0, 999, 0}} {
		synctest.Test(t, func(t *testing.T) {
			store := &fake{takes: time.Millisecond, stall: time.Hour, began: time.Now()}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second+time.Millisecond)
			defer cancel()
			r := Run(ctx, Options{Store: store, Mix: mix(t, "assign,unblock"), Connections: 1, Duration: time.Hour,
				Rate: c.rate})
			if l := r.Latency[All]; l.Max < 3990 || c.rate > 0 && (l.P50 < 1000 || l.P90 < 3400) {
				t.Errorf("rate %v: the stall is hidden: %+v", c.rate, l)
			}
			if r.Requests < c.requests || r.Requests > c.requests+1 || r.Unanswered != 1 || r.Seconds != 5.001 {
				t.Errorf("rate %v: got %+v", c.rate, r)
			}
			if c.rate > 0 && r.Requests+r.Unanswered+r.Unsent != 501 {
				t.Errorf("%d requests, %d unanswered, %d unsent, want 501", r.Requests, r.Unanswered, r.Unsent)
			}
		})
	}
}

func TestAnInterruptBeforeAnyAnswerIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := Run(ctx, Options{Store: &fake{takes: time.Hour}, Mix: mix(t, "assign"), Connections: 3,
			Duration: time.Hour})
		if r.Requests != 0 || r.Unanswered != 3 || r.Seconds != 1 || r.PerSecond != 0 || r.Latency[All].Max < 999 {
			t.Errorf("got %+v", r)
		}
	})
}

// However much was due, what was not sent is counted at once, and has waited until the end at most.
func TestARateBeyondAllServersIsAccountedForAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fake{takes: 250 * time.Millisecond}
		r := Run(t.Context(), Options{
			Store: store, Mix: mix(t, "assign,keep-alive=2,unblock"), Connections: 2, Duration: 100 * time.Second,
			Rate: 10_000_000,
		})
		if r.Requests+r.Unsent != 1_000_000_000 || r.Requests > 802 {
			t.Errorf("%d requests, %d unsent, want 1,000,000,000", r.Requests, r.Unsent)
		}
		l := r.Latency[All]
		if l.Max > 100_500 || l.P50 < 49_900 || l.P50 > 50_100 || l.Mean < 49_900 || l.Mean > 50_100 ||
			l.P90 < 89_900 ||
			l.P90 > 90_100 {
			t.Errorf("got %+v", l)
		}
		if n := r.Latency[KeepAlive].Requests; n < 499_000_000 || n > 501_000_000 {
			t.Errorf("%d of 500,000,000 are keep-alives", n)
		}
	})
}

func TestErrorsAreCountedByCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fake{takes: 100 * time.Millisecond, refuse: tms.ErrNoTokenAvailable}
		o := Options{Store: store, Mix: mix(t, "assign,keep-alive"), Connections: 1, Duration: time.Second}
		if r := Run(t.Context(), o); r.Errors["no_token_available"] != 10 || r.Skipped != 10 || r.Requests != 10 {
			t.Errorf("got %+v", r)
		}
		store.refuse = errors.New("broken")
		if r := Run(t.Context(), o); r.Errors["failed"] != 10 {
			t.Errorf("got %+v", r)
		}
		o.Failure = func(error) string { return "unreachable" }
		if r := Run(t.Context(), o); r.Errors["unreachable"] != 10 {
			t.Errorf("got %+v", r)
		}
	})
}

func TestALoadGivesBackWhatItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fake{takes: time.Millisecond}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := Run(ctx, Options{Store: store, Mix: mix(t, "assign=5,unblock=4"), Connections: 3, Duration: time.Hour})
		if store.held.Load() != 0 || r.Requests < 2900 || len(r.Errors) > 0 {
			t.Errorf("%d are still held; %+v", store.held.Load(), r)
		}
	})
}

// What a request that was under way at the interrupt has taken is given back.
func TestAnInterruptLeavesNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		store := &fake{takes: 100 * time.Millisecond}
		r := Run(ctx, Options{Store: store, Mix: mix(t, "assign"), Connections: 3, Duration: time.Hour})
		if held := store.held.Load(); held != 0 || r.Unanswered != 3 || r.Requests != 6 {
			t.Errorf("%d leases are left; got %+v", held, r)
		}
	})
}
