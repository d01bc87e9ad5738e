package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/client"
	"github.com/manankarani/token-manager/tmstest"
)

// first returns the error of a batch of one.
func first(results []tms.TokenResult, err error) error {
	if err == nil {
		err = results[0].Err
	}
	return err
}

// TestAnAnswerThatIsLostChangesNothingForTheCaller does every verb that is repeated while its first answer is lost.
func TestAnAnswerThatIsLostChangesNothingForTheCaller(t *testing.T) {
	s := tmstest.New(t, tmstest.WithPool(pool, tms.PolicyChange{}))
	c, ctx := s.Client(), t.Context()
	var lease tms.LeaseKey
	assign := func() error {
		results, err := c.Assign(ctx, pool, []tms.AssignRequest{{}})
		if err == nil && results[0].Err == nil {
			lease = tms.LeaseKey{Token: "KEY", LeaseID: results[0].Tokens[0].Lease.ID}
		}
		return errors.Join(err, results[0].Err)
	}
	for _, step := range []struct {
		name string
		do   func() error
		want tms.Stats
	}{
		{"put pool", func() error { _, err := c.PutPool(ctx, pool, short(time.Minute)); return err }, tms.Stats{}},
		{"generate", func() error {
			g, err := c.Generate(ctx, pool, tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "KEY"}}})
			if g.Created != 1 {
				err = fmt.Errorf("created %d, error %v", g.Created, err)
			}
			return err
		}, tms.Stats{Available: 1}},
		{"assign", assign, tms.Stats{Assigned: 1}},
		{"keep alive", func() error { return first(c.KeepAlive(ctx, pool, []tms.LeaseKey{lease})) },
			tms.Stats{Assigned: 1}},
		{"unblock", func() error { return first(c.Unblock(ctx, pool, []tms.LeaseKey{lease})) },
			tms.Stats{Available: 1}},
		{"assign again", assign, tms.Stats{Assigned: 1}},
		{"quarantine", func() error {
			lease.Quarantine = true
			return first(c.Unblock(ctx, pool, []tms.LeaseKey{lease}))
		}, tms.Stats{Quarantined: 1}},
		{"restore", func() error { return first(c.Restore(ctx, pool, []string{"KEY"})) }, tms.Stats{Available: 1}},
		{"look up", func() error {
			_, err := c.Token(ctx, pool, tms.LeaseKey{Token: "KEY"})
			return err
		}, tms.Stats{Available: 1}},
		{"delete", func() error {
			errs, err := c.Delete(ctx, pool, []tms.LeaseKey{{Token: "KEY"}})
			return errors.Join(append(errs, err)...)
		}, tms.Stats{}},
	} {
		s.LoseAnswers(1)
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := stats(t, s); got != step.want {
			t.Fatalf("after %s: %+v, want %+v", step.name, got, step.want)
		}
	}
	s.LoseAnswers(1)
	if err := c.DeletePool(ctx, pool); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNotSafeIsNotRepeated(t *testing.T) {
	s := tmstest.New(t, tmstest.WithPool(pool, tms.PolicyChange{MaxLeasesPerClient: new(1)}, "KEY"))
	c, ctx := s.Client(), t.Context()
	for name, do := range map[string]func() error{
		"unblock without a lease_id": func() error {
			return first(c.Unblock(ctx, pool,
				[]tms.LeaseKey{{Token: "KEY"}}))
		},
		"unblock client": func() error { _, err := c.UnblockClient(ctx, pool, "me"); return err },
	} {
		if _, err := c.Acquire(ctx, pool, client.ClientID("me")); err != nil {
			t.Fatal(err)
		}
		s.LoseAnswers(1)
		err := do()
		if !errors.Is(err, client.ErrUnreachable) || tms.CodeOf(err) != "" {
			t.Errorf("%s: %v", name, err)
		}
		if got := stats(t, s); got.Available != 1 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestAServerThatComesBackIsReached(t *testing.T) {
	s := tmstest.New(t)
	c := s.Client()
	s.Down()
	time.AfterFunc(300*time.Millisecond, s.Up)
	if _, _, err := c.Pool(t.Context(), ""); err != nil {
		t.Error(err)
	}
}

func TestAServerThatIsAwayIsCalledUnreachable(t *testing.T) {
	s := tmstest.New(t)
	s.Down()
	for name, err := range map[string]error{
		"closed at once, retried": lookup(t.Context(), dial(t, s.URL, client.WithRetryFor(200*time.Millisecond))),
		"closed at once, once":    lookup(t.Context(), dial(t, s.URL, client.WithRetryFor(0))),
		"until the deadline":      lookupWithin(t, 2*time.Second, dial(t, s.URL)),
		"nobody listens":          lookup(t.Context(), dial(t, "http://127.0.0.1:1", client.WithRetryFor(0))),
	} {
		if !errors.Is(err, client.ErrUnreachable) || tms.CodeOf(err) != "" {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(fmt.Sprint(err), "SECRET") {
			t.Errorf("%s: the error tells the token: %v", name, err)
		}
	}
}

func lookup(ctx context.Context, c *client.Client) error {
	_, err := c.Token(ctx, pool, tms.LeaseKey{Token: "SECRET"})
	_, listing := c.Tokens(ctx, pool, tms.Filter{}, "SECRET", 10)
	return errors.Join(err, listing)
}

func lookupWithin(t *testing.T, d time.Duration, c *client.Client) error {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return lookup(ctx, c)
}

func TestAnEndedContextIsWhatTheErrorSays(t *testing.T) {
	s := tmstest.New(t)
	c := s.Client()
	ctx, cancel := context.WithCancel(t.Context())
	s.Delay(time.Hour)
	time.AfterFunc(100*time.Millisecond, cancel)
	for range 2 { // while it is asked, and before
		if err := lookup(ctx, c); !errors.Is(err, context.Canceled) || errors.Is(err, client.ErrUnreachable) ||
			strings.Contains(err.Error(), "SECRET") {
			t.Error(err)
		}
	}
}

func TestARequestThatTakesTooLongIsGivenUp(t *testing.T) {
	s := tmstest.New(t)
	s.Delay(time.Hour)
	c := s.Client(client.WithRequestTimeout(50*time.Millisecond), client.WithRetryFor(0))
	err := lookup(t.Context(), c)
	if !errors.Is(err, client.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// TestWhichAnswersAreFollowedByAnotherAttempt answers with each and counts the attempts.
func TestWhichAnswersAreFollowedByAnotherAttempt(t *testing.T) {
	for _, c := range []struct {
		name    string
		status  int
		media   string
		body    string
		repeat  bool
		code    tms.Code
		reached bool // by a TMS server
	}{
		{"refused", 409, api.ProblemJSON, `{"code":"pool_full","status":409}`, false, tms.ErrPoolFull, true},
		{"paused", 503, api.ProblemJSON, `{"code":"pool_paused","status":503}`, false, tms.ErrPoolPaused, true},
		{"over the quota", 429, api.ProblemJSON, `{"code":"quota_exceeded"}`, false, tms.ErrQuotaExceeded, true},
		{"too many", 429, api.ProblemJSON, `{"code":"rate_limited"}`, true, "rate_limited", true},
		{"no store", 503, api.ProblemJSON, `{"code":"store_unavailable"}`, true, tms.ErrStoreUnavailable, true},
		{"a store that was emptied", 503, api.ProblemJSON, `{"code":"store_reset"}`, true, tms.ErrStoreReset, true},
		{"failed", 500, api.ProblemJSON, `{"code":"failed","status":500,"title":"Failed"}`, true, "", true},
		{"a proxy's 502", 502, "text/html", `<html>`, true, "", false},
		{"a proxy's 404", 404, "text/html", `<html>`, false, "", false},
		{"a redirection", 307, "text/html", ``, false, "", false},
		{"nonsense", 201, "text/html", `<html>`, false, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				w.Header().Set("Content-Type", c.media)
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				w.Write([]byte(c.body))
			}))
			defer srv.Close()
			cl := dial(t, srv.URL, client.WithRetryFor(2*time.Second))
			_, err := cl.Generate(t.Context(), pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
			if err == nil || tms.CodeOf(err) != c.code || errors.Is(err, client.ErrUnreachable) == c.reached {
				t.Errorf("got %v", err)
			}
			if n := asked.Load(); n > 1 != c.repeat {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

func TestARefusalAfterAnUnknownOutcomeIsNone(t *testing.T) {
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			panic(http.ErrAbortHandler) // it may have been carried out
		}
		w.Header().Set("Content-Type", api.ProblemJSON)
		w.WriteHeader(503)
		w.Write([]byte(`{"code":"store_unavailable"}`))
	}))
	defer srv.Close()
	c := dial(t, srv.URL, client.WithRetryFor(300*time.Millisecond))
	if err := c.DeletePool(t.Context(), pool); err == nil || tms.CodeOf(err) != "" {
		t.Errorf("got %v", err)
	}
}

func TestBatchesAreCutToWhatTheServerTakes(t *testing.T) {
	s := tmstest.New(t, tmstest.WithPool(pool, tms.PolicyChange{}, "KEY"))
	c := s.Client()
	keys := make([]tms.LeaseKey, tms.MaxBatch+1)
	for i := range keys {
		keys[i].Token = fmt.Sprint(i)
	}
	keys[tms.MaxBatch].Token = "KEY"
	results, err := c.KeepAlive(t.Context(), pool, keys)
	if err != nil || len(results) != len(keys) || results[tms.MaxBatch].Err != nil ||
		!errors.Is(results[0].Err, tms.ErrTokenNotFound) {
		t.Errorf("%d results, error %v", len(results), err)
	}
	s.Down()
	if results, err := c.KeepAlive(t.Context(), pool, nil); err != nil || len(results) != 0 {
		t.Errorf("an empty batch: %v, error %v", results, err)
	}
}

func TestListingsOfAnyLength(t *testing.T) {
	s := tmstest.New(t)
	for i := range 5 {
		s.Store().PutPool(t.Context(), fmt.Sprint(i), tms.PolicyChange{})
	}
	c := s.Client()
	for limit, want := range map[int]int{3: 3, 6: 6, 1_000_000: 6} {
		if page, err := c.Pools(t.Context(), "", limit); err != nil || len(page.Pools) != want {
			t.Errorf("of at most %d pools: %+v, error %v", limit, page, err)
		}
	}
	if page, err := c.Tokens(t.Context(), "", tms.Filter{}, "", 1_000_000); err != nil || page.Next != "" {
		t.Errorf("a long page: %+v, error %v", page, err)
	}
}

func TestReadyAsksTheServer(t *testing.T) {
	s := tmstest.New(t)
	c := s.Client()
	if err := c.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if s.Down(); c.Ready(t.Context()) == nil {
		t.Error("a server that is away is ready")
	}
}

func TestAnAddressSaysWhatIsWrongWithIt(t *testing.T) {
	for address, want := range map[string]string{
		"":                         "begin with http://",
		"localhost:8080":           "begin with http://",
		"127.0.0.1:8080":           "begin with http://",
		"ftp://host":               "begin with http://",
		"http://":                  "no host",
		"http://me:SECRET@host":    "user",
		"http://host?x=1":          "query",
		"http://host/%zz?p=SECRET": "no URL",
	} {
		_, err := client.New(address)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestTheAddressMayHaveAPath(t *testing.T) {
	for _, path := range []string{"", "/", "/tms", "/tms/"} {
		prefix := strings.TrimSuffix(path, "/")
		srv := httptest.NewServer(http.StripPrefix(prefix, http.HandlerFunc(func(w http.ResponseWriter,
			r *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			if r.URL.Path != "/pools/default" || r.Header.Get("User-Agent") != "mine" {
				t.Errorf("%q: asked for %s as %s", path, r.URL.Path, r.Header.Get("User-Agent"))
			}
		})))
		dial(t, srv.URL+path, client.WithUserAgent("mine")).Pool(t.Context(), "")
		srv.Close()
	}
}
