package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
)

// assigning is a store whose Assign does what a test wants before and after that of the real one.
type assigning struct {
	tms.Store
	before func(ctx context.Context, r tms.AssignRequest) error
	after  func(ctx context.Context, r tms.AssignRequest, given []tms.Token) error
}

func (a assigning) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	if a.before != nil {
		if err := a.before(ctx, requests[0]); err != nil {
			return nil, err
		}
	}
	results, err := a.Store.Assign(ctx, pool, requests)
	if a.after != nil && err == nil {
		err = a.after(ctx, requests[0], results[0].Tokens)
	}
	return results, err
}

func TestTheStoreHearsWhatIsAskedFor(t *testing.T) {
	var heard []tms.AssignRequest
	h := start(t, Config{Store: assigning{before: func(_ context.Context, r tms.AssignRequest) error {
		heard = append(heard, r)
		return tms.ErrPoolPaused
	}}})
	h.refused(tms.ErrPoolPaused, "", "POST", api.PathAssign,
		`{"client_id":"c","ttl":"90s","wait":"1500ms","prefer":"a b","match":{"k":"v"},"request_id":"r"}`)
	h.refused(tms.ErrPoolPaused, "", "POST", api.PathAssign, `{"count":3,"wait":"0s"}`)
	if len(heard) != 2 || heard[0].ClientID != "c" || heard[0].TTL != 90*time.Second ||
		heard[0].Wait != 1500*time.Millisecond ||
		heard[0].Prefer != "a b" || heard[0].Match["k"] != "v" || heard[0].RequestID != "r" || heard[0].Count != 1 ||
		heard[1].Count != 3 || heard[1].Wait != 0 {
		t.Errorf("heard %+v", heard)
	}
}

func TestWaitsOutOfBounds(t *testing.T) {
	h := start(t, Config{Limits: Limits{MaxWait: 5 * time.Minute}})
	for _, wait := range []string{"1000h", "301s", "-1ns", "5m0.001s", "2562047h"} {
		p := h.refused(tms.ErrInvalidRequest, "wait", "POST", api.PathAssign, `{"wait":"`+wait+`"}`)
		if !strings.HasPrefix(wait, "-") && p.Detail != "must be at most 5m" {
			t.Errorf("%s: %q", wait, p.Detail)
		}
	}
	ok[api.Generated](h, 201, "POST", api.PathGenerate, "")
	ok[api.Token](h, 200, "POST", api.PathAssign, `{"wait":"5m"}`)
	p := h.refused(tms.ErrNoTokenAvailable, "", "POST", api.PathAssign, `{"wait":"0s"}`)
	if p.Waiting == nil || *p.Waiting != 0 {
		t.Errorf("the refusal is %+v", p)
	}
	h.refused(tms.ErrInvalidRequest, "wait", "POST", api.PathAssign, `{"wait":"301s","pool":"typo"}`)
}

// TestWaitersAreServedInTurn: whoever waits gets the token when it comes back, before those who came later; and who
// does not get it is told how it stands.
func TestWaitersAreServedInTurn(t *testing.T) {
	h := start(t, Config{})
	ok[api.Generated](h, 201, "POST", api.PathGenerate, `{"tokens":["a"]}`)
	held := ok[api.Token](h, 200, "POST", api.PathAssign, "")
	var group sync.WaitGroup
	group.Go(func() {
		lease := ok[api.Token](h, 200, "POST", api.PathAssign, `{"client_id":"first","wait":"30s"}`)
		if lease.Token != "a" || lease.ClientID != "first" || lease.TTLMS != 60_000 {
			t.Errorf("the waiter was given %+v", lease)
		}
	})
	waitFor(t, "1", func() string { return itoa(*ok[api.Pool](h, 200, "GET", "/pools/default", "").Waiting) })
	p := h.refused(tms.ErrNoTokenAvailable, "", "POST", api.PathAssign, `{"wait":"1ms","request_id":"second"}`)
	if *p.Waiting < 1 || p.Place != 2 {
		t.Errorf("told %+v, want place 2", p)
	}
	waiters := ok[api.Waiters](h, 200, "GET", "/pools/default/waiters", "").Waiters
	if len(waiters) != 1 || waiters[0].ClientID != "first" || waiters[0].Place != 1 || waiters[0].Count != 1 {
		t.Errorf("these wait: %+v", waiters)
	}
	h.refused(tms.ErrInvalidRequest, "limit", "GET", "/pools/default/waiters?limit=0", "")
	h.refused(tms.ErrPoolNotFound, "", "GET", "/pools/none/waiters", "")
	p = h.refused(tms.ErrNoTokenAvailable, "", "POST", api.PathAssign, "")
	if *p.Waiting != 1 || p.Place != 0 { // whoever's wait has ended waits no more, though their place is kept
		t.Errorf("without waiting told %+v, want 1 waiting and no place", p)
	}
	ok[api.Token](h, 200, "POST", api.PathUnblock, `{"token":"a","lease_id":"`+held.LeaseID+`"}`)
	group.Wait()
}

// TestARepeatKeepsItsPlace: whoever comes again with the same request_id stands where they stood, and whoever comes
// without one at the end. Those who are not there are not counted.
func TestARepeatKeepsItsPlace(t *testing.T) {
	h := start(t, Config{})
	h.refused(tms.ErrNoTokenAvailable, "", "POST", api.PathAssign, `{"wait":"1ms","request_id":"first"}`)
	var stays sync.WaitGroup
	stays.Go(func() { ok[api.Token](h, 200, "POST", api.PathAssign, `{"wait":"30s"}`) })
	waitFor(t, "1", func() string { return itoa(*ok[api.Pool](h, 200, "GET", "/pools/default", "").Waiting) })
	for i, c := range []struct {
		body  string
		place int
	}{
		{`{"wait":"1ms","request_id":"second"}`, 2},
		{`{"wait":"1ms"}`, 2},
		{`{"wait":"1ms"}`, 2},
		{`{"wait":"1ms","request_id":"first"}`, 1},
		{`{"wait":"1ms","request_id":"second","prefer":"x"}`, 0},
		{`{"wait":"1ms","request_id":"second"}`, 2},
		{`{"request_id":"second"}`, 0},
	} {
		a := h.do("POST", api.PathAssign, c.body)
		if place := fmt.Sprintf(`"place":%d`, c.place); strings.Contains(a.text, place) != (c.place > 0) {
			t.Errorf("request %d, %s: %d %s, want place %d", i+1, c.body, a.status, a.text, c.place)
		}
	}
	ok[api.Generated](h, 201, "POST", api.PathGenerate, "")
	stays.Wait()
}

// TestWaitingOutlastsTheClocksOfTheConnection: neither clock of the connection cuts off who waits longer.
func TestWaitingOutlastsTheClocksOfTheConnection(t *testing.T) {
	store := (&harness{t: t}).open()
	slow := assigning{Store: store, before: func(ctx context.Context, r tms.AssignRequest) error {
		select {
		case <-time.After(r.Wait):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	store.Generate(t.Context(), "default", tms.GenerateRequest{Tokens: make([]tms.NewToken, 2)})
	for name, config := range map[string]Config{
		"write timeout": {Limits: Limits{WriteTimeout: 100 * time.Millisecond}},
		"read timeout":  {Limits: Limits{ReadTimeout: 100 * time.Millisecond, HeaderTimeout: 100 * time.Millisecond}},
	} {
		config.Store = slow
		s := serve(t, config)
		response, err := http.Post(s.url+api.PathAssign, api.JSON, strings.NewReader(`{"wait":"400ms"}`))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		response.Body.Close()
		if response.StatusCode != 200 {
			t.Errorf("%s: status %d", name, response.StatusCode)
		}
		s.stop()
		<-s.ended
	}
}

// TestShutdownDoesNotWaitForWaiters: 100 requests wait for half a minute when the server is told to stop.
func TestShutdownDoesNotWaitForWaiters(t *testing.T) {
	h := &harness{t: t}
	store := h.open()
	s := serve(t, Config{Store: store, Stopping: h.stop, Limits: Limits{ShutdownTimeout: 20 * time.Second}})
	refused := make(chan string, 100)
	for range cap(refused) {
		go func() {
			response, err := http.Post(s.url+api.PathAssign, api.JSON, strings.NewReader(`{"wait":"30s"}`))
			if err != nil {
				refused <- err.Error()
				return
			}
			response.Body.Close()
			refused <- response.Status
		}()
	}
	waitFor(t, "100", func() string {
		_, stats, err := store.Pool(t.Context(), "default")
		if err != nil {
			return err.Error()
		}
		return itoa(stats.Waiting)
	})
	begin := time.Now()
	s.stop()
	for range cap(refused) {
		if got := <-refused; got != "503 Service Unavailable" {
			t.Errorf("a waiter was answered %s", got)
		}
	}
	if err := <-s.ended; err != nil || time.Since(begin) > 15*time.Second {
		t.Errorf("Serve returned %v after %v", err, time.Since(begin))
	}
	if _, stats, err := store.Pool(t.Context(), "default"); err != nil || stats.Waiting != 0 {
		t.Errorf("%d still wait, error %v", stats.Waiting, err)
	}
}

// TestShutdownCutsOffAnAssignThatDoesNotEnd: an assign goes on when its client hangs up, but not when the server has to
// stop.
func TestShutdownCutsOffAnAssignThatDoesNotEnd(t *testing.T) {
	inside := make(chan struct{})
	s := serve(t, Config{Limits: Limits{ShutdownTimeout: 50 * time.Millisecond},
		Store: assigning{before: func(ctx context.Context, _ tms.AssignRequest) error {
			close(inside)
			<-ctx.Done()
			return ctx.Err()
		}}})
	go http.Post(s.url+api.PathAssign, api.JSON, nil)
	<-inside
	s.stop()
	if err := <-s.ended; err == nil || !strings.Contains(err.Error(), "1 requests were cut off") ||
		strings.Contains(err.Error(), "did not end") {
		t.Errorf("Serve returned %v", err)
	}
}
