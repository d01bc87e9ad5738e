package client_test

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/client"
)

// TestALeaseEndsWhileTheMachineIsSuspended has it sleep for more and for less than the lease lasts, during which no
// timer of the program goes on.
func TestALeaseEndsWhileTheMachineIsSuspended(t *testing.T) {
	stands := answers(200, api.JSON, `{"results":[{"token":"KEY","state":"assigned","lease_id":"id","ttl_ms":60000}]}`)
	for nap, ends := range map[time.Duration]bool{time.Minute: true, 55 * time.Second: true, 30 * time.Second: false} {
		synctest.Test(t, func(t *testing.T) {
			var slept atomic.Int64
			s := &script{steps: []step{lease, stands}}
			c := dial(t, "http://tms", client.WithHTTPClient(&http.Client{Transport: s}),
				client.WithNaps(func() time.Duration { return time.Duration(slept.Load()) }))
			held, err := c.Acquire(t.Context(), pool)
			if err != nil {
				t.Fatal(err)
			}
			slept.Store(int64(nap))
			if err := held.Context().Err(); (err != nil) != ends {
				t.Errorf("after a nap of %v its context says %v", nap, err)
			}
			if left := time.Until(held.Deadline()); (left <= 0) != ends || left > 54*time.Second-nap {
				t.Errorf("after a nap of %v it has %v left", nap, left)
			}
			if ends && !errors.Is(held.Err(), client.ErrExpired) {
				t.Error(held.Err())
			}
			time.Sleep(2 * time.Second)
			if asked := s.asked.Load(); !ends && (asked < 2 || time.Until(held.Deadline()) < 50*time.Second) {
				t.Errorf("after a nap of %v it was not renewed: %d requests, %v left", nap, asked,
					time.Until(held.Deadline()))
			}
			c.Close()
		})
	}
}

// TestAContextEndsSoonAfterANap has nobody ask.
func TestAContextEndsSoonAfterANap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slept atomic.Int64
		c := dial(t, "http://tms", client.WithHTTPClient(&http.Client{Transport: &script{steps: []step{lease}}}),
			client.WithNaps(func() time.Duration { return time.Duration(slept.Load()) }))
		held, err := c.Acquire(t.Context(), pool)
		if err != nil {
			t.Fatal(err)
		}
		slept.Store(int64(time.Hour))
		begin := time.Now()
		<-held.Context().Done()
		if took := time.Since(begin); took > time.Second {
			t.Errorf("it ended %v after the machine woke up", took)
		}
		c.Close()
	})
}

func TestAMachineThatIsAwakeTakesNoNaps(t *testing.T) {
	before := client.Slept()
	time.Sleep(10 * time.Millisecond)
	if after := client.Slept(); before < 0 || after != before {
		t.Errorf("it was suspended for %v, and then for %v", before, after)
	}
}
