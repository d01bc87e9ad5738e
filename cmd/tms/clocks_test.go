package main

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// The two clocks in real time, on a lease of one second and a token of three, with no expiry manager anywhere: after
// its lease the token can be assigned again, a keep-alive moves both clocks, and when the token clock has run out it is
// gone.
func TestTheTwoClocksRunWithoutASweep(t *testing.T) {
	for name, where := range map[string]struct {
		url  func(t *testing.T) string
		lags time.Duration // by how much served time may, where calls are late
	}{
		"embedded": {func(t *testing.T) string { return "embedded:" + t.TempDir() }, 0},
		"redis":    {func(t *testing.T) string { return redistest.New(t).URL() }, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, err := openStore(&config{Store: where.url(t), StoreTimeout: 10 * time.Second},
				slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			c := clocks{t, store, where.lags}
			c.begin()
			first := c.assign().Tokens[0]
			c.keepAliveMovesBoth(c.assignAgain(*first.Lease))
			c.tokenEnds()
		})
	}
}

// slewed is how far the wall clock, by which the test reckons, may be slewed in these seconds: by 500 ppm. The store
// counts by another.
const slewed = 5 * time.Millisecond

type clocks struct {
	*testing.T
	tms.Sweeper
	lags time.Duration
}

func (c clocks) begin() {
	leaseTTL, tokenTTL := time.Second, 3*time.Second
	if _, err := c.PutPool(c.Context(), "p", tms.PolicyChange{LeaseTTL: &leaseTTL, TokenTTL: &tokenTTL}); err != nil {
		c.Fatal(err)
	}
	if _, err := c.Generate(c.Context(), "p", tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "a"}}}); err != nil {
		c.Fatal(err)
	}
}

func (c clocks) assign() tms.AssignResult {
	results, err := c.Assign(c.Context(), "p", []tms.AssignRequest{{}})
	if err != nil {
		c.Fatal(err)
	}
	return results[0]
}

// assignAgain asks until somebody else can have the token, which is not before the lease is over, and returns its new
// lease.
func (c clocks) assignAgain(first tms.Lease) tms.Token {
	for {
		result, now := c.assign(), time.Now()
		switch {
		case errors.Is(result.Err, tms.ErrNoTokenAvailable):
			time.Sleep(time.Millisecond)
			continue
		case result.Err != nil:
			c.Fatal(result.Err)
		case !now.Add(slewed).After(first.ExpiresAt):
			c.Fatalf("the token was assigned again %v before its lease ended", first.ExpiresAt.Sub(now))
		}
		late := result.Tokens[0].Lease.AssignedAt.Sub(first.ExpiresAt)
		if c.Logf("assigned again %v after the lease ended", late); late > time.Second {
			c.Error("that is too late")
		}
		return result.Tokens[0]
	}
}

func (c clocks) keepAliveMovesBoth(before tms.Token) {
	time.Sleep(200 * time.Millisecond)
	results, err := c.KeepAlive(c.Context(), "p", []tms.LeaseKey{{Token: before.Value, LeaseID: before.Lease.ID}})
	if err != nil || results[0].Err != nil {
		c.Fatal(err, results)
	}
	after, least := results[0].Token, 200*time.Millisecond-c.lags/10
	if moved := after.Lease.ExpiresAt.Sub(before.Lease.ExpiresAt); moved < least {
		c.Errorf("a keep-alive after 200 ms moved the lease clock by %v", moved)
	}
	if moved := after.ExpiresAt.Sub(before.ExpiresAt); moved < least {
		c.Errorf("a keep-alive after 200 ms moved the token clock by %v", moved)
	}
}

// tokenEnds holds that the token, which nobody keeps alive any more, is there until its clock has run out.
func (c clocks) tokenEnds() {
	for {
		asked := time.Now()
		token, err := c.Token(c.Context(), "p", tms.LeaseKey{Token: "a"})
		if errors.Is(err, tms.ErrTokenNotFound) {
			return
		}
		if err != nil {
			c.Fatal(err)
		}
		if late := asked.Sub(token.ExpiresAt); late > time.Millisecond+slewed+c.lags {
			c.Fatalf("the token is still there %v after its clock ran out", late)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
