package telemetry

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Of the requests of a batch those are booked that were willing to wait, each with its outcome.
func TestWaitsAreBooked(t *testing.T) {
	registry := NewRegistry("1.2.3")
	w := newWaits(registry)
	waits := tms.AssignRequest{Wait: time.Second}
	w.observe("p", time.Now().Add(-20*time.Second), []tms.AssignRequest{waits, {}, waits}, []tms.AssignResult{
		{}, {}, {Err: tms.ErrNoTokenAvailable}}, nil)
	w.observe("p", time.Now(), []tms.AssignRequest{waits}, nil, errors.New("away"))
	w.observe("none", time.Now(), []tms.AssignRequest{waits}, nil, tms.Refuse(tms.ErrPoolNotFound, "none"))
	expect(t, registry, "tms_wait_seconds_count",
		`tms_wait_seconds_count{outcome="failed",pool="p"} 1`,
		`tms_wait_seconds_count{outcome="no_token_available",pool="p"} 1`,
		`tms_wait_seconds_count{outcome="ok",pool="p"} 1`)
	if text := scrape(t, registry); !strings.Contains(text,
		`tms_wait_seconds_bucket{outcome="ok",pool="p",le="10"} 0`) ||
		!strings.Contains(text, `tms_wait_seconds_bucket{outcome="ok",pool="p",le="30"} 1`) {
		t.Error("a wait of 20 s is not among those up to 30")
	}
}

// Whoever makes pools without an end makes no metrics without an end.
func TestWaitsOfManyPoolsShareALabel(t *testing.T) {
	registry := NewRegistry("1.2.3")
	w := newWaits(registry)
	for n := range mostPools + 10 {
		pool := fmt.Sprint("pool-", n)
		for range 2 {
			w.observe(pool, time.Now(), []tms.AssignRequest{{Wait: time.Second}}, []tms.AssignResult{{}}, nil)
		}
	}
	text := scrape(t, registry)
	if n := strings.Count(text, "tms_wait_seconds_count{"); n != mostPools+1 {
		t.Errorf("%d pools have a metric, want %d", n, mostPools+1)
	}
	if !strings.Contains(text, `tms_wait_seconds_count{outcome="ok",pool="_others"} 20`) {
		t.Error("those beyond are not booked together")
	}
}
