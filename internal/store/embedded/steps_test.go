package embedded

import (
	"fmt"
	"strings"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

// A step that panics, which is a defect, stops the store: what it did in part is seen by no other step, and never
// written. The panic goes no further, and nobody waits for a lock.
func TestAPanicStopsTheStore(t *testing.T) {
	for name, dir := range map[string]string{"in memory": "", "on disk": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			fill(t, s, 1)
			err = s.do(t.Context(), tms.DefaultPool, func(step *step) error {
				step.store.journal.setFenceBound(7)
				panic(step.store.pools["none"].name) // there is no such pool
			})
			if err == nil || tms.CodeOf(err) != "" || !strings.Contains(err.Error(), "nil pointer") {
				t.Errorf("the step says %v", err)
			}
			<-s.Failed()
			if _, _, err := s.Pool(t.Context(), tms.DefaultPool); err == nil || tms.CodeOf(err) != "" {
				t.Errorf("a step after it says %v", err)
			}
			if s.Ready(t.Context()) == nil || s.Close() == nil {
				t.Error("a store that has stopped is ready, or closes as if nothing had been")
			}
			if dir != "" {
				reopenAfterAPanic(t, dir)
			}
		})
	}
}

func reopenAfterAPanic(t *testing.T, dir string) {
	t.Helper()
	if bound := decodeNumber(inLog(t, dir, fenceKey)); bound == 7 {
		t.Error("half of the step was written")
	}
	if n := len(open(t, Options{Dir: dir}).pools[tms.DefaultPool].tokens); n != 1 {
		t.Errorf("%d tokens are there after the panic", n)
	}
}

// Requests go with the sweeps when their time is over, and make room for each other where there are more of them than
// sweeps get by.
func TestRequestsAreForgotten(t *testing.T) {
	clock := storetest.NewClock()
	s := open(t, Options{Dir: t.TempDir(), Now: clock.Now})
	put(t, s, tms.PolicyChange{RequestTTL: new(time.Second), TokenTTL: new(time.Duration(0))})
	fill(t, s, 1)
	p := s.pools[tms.DefaultPool]
	for second := range 3 {
		for i := range 50 {
			request := tms.AssignRequest{RequestID: fmt.Sprint(second, i)}
			key := tms.LeaseKey{Token: grant(t, s, request)[0].Value}
			if _, err := s.Unblock(t.Context(), tms.DefaultPool, []tms.LeaseKey{key}); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(p.requests.byID); n != 50 {
			t.Errorf("after 50 requests a second %d are remembered", n)
		}
		clock.Advance(time.Second + time.Millisecond)
	}
	sweep(t, s, 20)
	if n := len(p.requests.byID); n != 30 {
		t.Errorf("a sweep of 20 leaves %d of 50 requests", n)
	}
	sweep(t, s, 1_000)
	if n := len(p.requests.byID); n != 0 {
		t.Errorf("%d requests are left", n)
	}
}

func put(t testing.TB, s *Store, change tms.PolicyChange) {
	t.Helper()
	if _, err := s.PutPool(t.Context(), tms.DefaultPool, change); err != nil {
		t.Fatal(err)
	}
}

// grant assigns what the request asks for.
func grant(t testing.TB, s *Store, request tms.AssignRequest) []tms.Token {
	t.Helper()
	results, err := s.Assign(t.Context(), tms.DefaultPool, []tms.AssignRequest{request})
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	return results[0].Tokens
}

func sweep(t testing.TB, s *Store, limit int) tms.Expired {
	t.Helper()
	done, err := s.Expire(t.Context(), tms.DefaultPool, limit)
	if err != nil {
		t.Fatal(err)
	}
	return done
}
