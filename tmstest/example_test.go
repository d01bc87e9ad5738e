package tmstest_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/tmstest"
)

// A test of a program that must stop when the server was away for too long.
func ExampleNew() {
	test := func(t *testing.T) {
		ttl := 500 * time.Millisecond
		server := tmstest.New(t, tmstest.WithPool("licences", tms.PolicyChange{LeaseTTL: &ttl}, "KEY-1"))
		held, err := server.Client().Acquire(t.Context(), "licences")
		if err != nil {
			t.Fatal(err)
		}
		server.Down()
		<-held.Context().Done()
		if !errors.Is(held.Err(), client.ErrExpired) {
			t.Errorf("the lease ended with %v", held.Err())
		}
	}
	_ = test // go test runs it as TestWhatever(t *testing.T)
}

// A test of a program that must not take two tokens when an answer gets lost.
func ExampleServer_LoseAnswers() {
	test := func(t *testing.T) {
		server := tmstest.New(t, tmstest.WithPool("licences", tms.PolicyChange{}, "KEY-1", "KEY-2"))
		server.LoseAnswers(1)
		if _, err := server.Client().Acquire(t.Context(), "licences"); err != nil {
			t.Fatal(err)
		}
		if _, stats, _ := server.Store().Pool(t.Context(), "licences"); stats.Assigned != 1 {
			t.Errorf("%d tokens are taken", stats.Assigned)
		}
	}
	_ = test
}

// A test in which an hour passes at once.
func ExampleInMemory() {
	test := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := tmstest.New(t, tmstest.InMemory(), tmstest.WithPool("licences", tms.PolicyChange{}, "KEY-1"))
			held, err := server.Client().Acquire(t.Context(), "licences")
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			if held.Err() != nil {
				t.Errorf("the lease ended with %v", held.Err())
			}
		})
	}
	_ = test
}
