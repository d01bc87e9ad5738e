package load

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
	if got := mix(t, "assign, keep-alive=2,unblock=1,lookup=0"); !slices.Equal(got, Mix{Assign, KeepAlive, KeepAlive, Unblock}) {
		t.Errorf("got %v", got)
	}
	for _, bad := range []string{"", "assign=x", "assign=-1", "assign=1001", "take=1", "keep-alive=1", "assign=0", "generate,delete"} {
		if got, err := ParseMix(bad); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}

func TestAClosedLoopSendsTheNextRequestAfterTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fake{takes: 10 * time.Millisecond}
		r := Run(t.Context(), Options{Store: store, Mix: mix(t, "assign,keep-alive=2,unblock"), Connections: 4, Duration: 2 * time.Second})
		if r.Requests != 800 || r.PerSecond != 400 || r.Latency[All].P50 < 10 || r.Latency[All].Max > 10.1 || len(r.Errors) > 0 {
			t.Errorf("got %+v", r)
		}
		if r.Latency[KeepAlive].Requests != 400 || r.Latency[Assign].Requests != 200 || r.Latency[Unblock].Requests != 200 {
			t.Errorf("got %+v", r.Latency)
		}
	})
}

// A stall of a second at a constant rate of a hundred a second holds up a hundred requests, and each of them is charged
// with what it had to wait, although one connection sends one request at a time.
func TestAConstantRateDoesNotHideAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fake{takes: time.Millisecond, stall: time.Second, began: time.Now()}
		r := Run(t.Context(), Options{Store: store, Mix: mix(t, "assign,unblock"), Connections: 1, Duration: 10 * time.Second, Rate: 100})
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
		r := Run(t.Context(), Options{Store: store, Mix: mix(t, "assign"), Connections: 1, Duration: time.Second, Rate: 100})
		if r.Requests+r.Unsent != 100 || r.Requests != 11 && r.Requests != 10 {
			t.Errorf("%d requests, %d unsent, want 10 or 11 of 100", r.Requests, r.Unsent)
		}
		if r.Latency[All].P50 < 400 {
			t.Errorf("the latency hides the unsent: %+v", r.Latency[All])
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
