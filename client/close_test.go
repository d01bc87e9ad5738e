package client_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/tmstest"
)

// TestNothingIsHeldOnceTheClientIsClosed closes clients in whose goroutines tokens are being taken.
func TestNothingIsHeldOnceTheClientIsClosed(t *testing.T) {
	t.Parallel()
	s := tmstest.New(t, tmstest.WithPool(pool, tms.PolicyChange{}, "1", "2", "3"))
	for i := range 40 {
		c := dial(t, s.URL)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { c.Acquire(t.Context(), pool, client.Wait(time.Minute)) })
		}
		time.Sleep(time.Duration(i%10) * 100 * time.Microsecond) // at any instant of it
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		if got := stats(t, s); got.Available != 3 {
			t.Fatalf("after Close %d: %+v", i, got)
		}
	}
}

func TestCloseEndsWhatWaits(t *testing.T) {
	t.Parallel()
	s := tmstest.New(t, tmstest.WithPool(pool, tms.PolicyChange{}))
	c, got := dial(t, s.URL), make(chan error, 1)
	go func() { _, err := c.Acquire(t.Context(), pool, client.Wait(time.Hour)); got <- err }()
	eventually(t, "somebody waits", func() bool { return stats(t, s).Waiting == 1 })
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-got; err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("who waited got %v", err)
	}
	if _, err := c.Acquire(t.Context(), pool); err == nil || stats(t, s).Assigned != 0 {
		t.Errorf("acquired through a closed client: %v", err)
	}
}

// TestCloseDoesNotWaitForCallersThatDoNotReturn closes the client in a function that Acquire calls.
func TestCloseDoesNotWaitForCallersThatDoNotReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := scripted(t, 0, none)
		var once sync.Once
		closed := make(chan error, 1)
		begin := time.Now()
		_, err := c.Acquire(t.Context(), pool, client.Wait(time.Minute), client.OnWait(func(tms.Refusal) {
			once.Do(func() { closed <- c.Close() })
		}))
		if took := time.Since(begin); err == nil || <-closed == nil || took > 10*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
	})
}
