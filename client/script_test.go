package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/client"
)

// step is what becomes of one request.
type step func(*http.Request) (*http.Response, error)

// script is a transport that does its steps, one for each request, and goes on with the last.
type script struct {
	steps []step
	asked atomic.Int64
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	n := int(s.asked.Add(1))
	return s.steps[min(n, len(s.steps))-1](r)
}

// scripted returns a client whose requests meet the steps.
func scripted(t testing.TB, retryFor time.Duration, steps ...step) (*client.Client, *script) {
	s := &script{steps: steps}
	return dial(t, "http://tms", client.WithHTTPClient(&http.Client{Transport: s}), client.WithRetryFor(retryFor)), s
}

func answers(status int, media, body string, header ...string) step {
	return func(*http.Request) (*http.Response, error) {
		r := &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: http.Header{}}
		r.Header.Set("Content-Type", media)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		r.Body = io.NopCloser(strings.NewReader(body))
		return r, nil
	}
}

// problem is a refusal, or a failure, of a server.
func problem(status int, code tms.Code) step {
	return answers(status, api.ProblemJSON, fmt.Sprintf(`{"code":%q,"status":%d}`, code, status))
}

// nobody listens.
func nobody(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
}

// lost is an answer that got lost.
func lost(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

// hangs until the request is given up.
func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestWhatWasNotSentSaysSo(t *testing.T) {
	const retryFor = 200 * time.Millisecond
	unavailable := problem(503, tms.ErrStoreUnavailable)
	for _, c := range []struct {
		name  string
		steps []step
		is    bool
	}{
		{"nobody listens", []step{nobody}, true},
		{"nobody listens, after a refusal that passes", []step{unavailable, nobody}, true},
		{"nobody listens, after an answer that was lost", []step{lost, nobody}, false},
		{"an answer that was lost", []step{lost}, false},
		{"lost, after nobody listened", []step{nobody, lost}, false},
		{"given up, after nobody listened", []step{nobody, hangs}, false},
		{"given up, after a refusal that passes", []step{unavailable, hangs}, false},
		{"a refusal", []step{problem(409, tms.ErrPoolFull)}, false}, // its code says it
		{"a failure", []step{problem(500, api.CodeFailed)}, false},
		{"a proxy that lets through less", []step{answers(429, "text/html", "<html>")}, true},
		{"a proxy that reaches nobody", []step{answers(502, "text/html", "<html>")}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl, _ := scripted(t, retryFor, c.steps...)
				ctx, cancel := context.WithTimeout(t.Context(), retryFor)
				defer cancel()
				_, err := cl.Generate(ctx, pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
				if err == nil || errors.Is(err, client.ErrNotSent) != c.is {
					t.Error(err)
				}
				if code := tms.CodeOf(err); code != "" && code != tms.ErrPoolFull {
					t.Errorf("%v has the code %s", err, code)
				}
			})
		})
	}
}

func TestAProxySaysWhenToComeBack(t *testing.T) {
	for name, c := range map[string]struct {
		status     int
		retryAfter func() string
		least      time.Duration
		asked      int64
	}{
		"in seconds, overloaded": {503, func() string { return "3" }, 3 * time.Second, 2},
		"in seconds, too many":   {429, func() string { return "3" }, 3 * time.Second, 2},
		"as an instant": {503,
			func() string { return time.Now().Add(4 * time.Second).UTC().Format(http.TimeFormat) }, 3 * time.Second, 2},
		"too late":                {503, func() string { return "60" }, 0, 1},
		"an instant that is past": {503, func() string { return "Sun, 06 Nov 1994 08:49:37 GMT" }, 0, 2},
		"not so that one knows":   {503, func() string { return "soon" }, 0, 2},
		"a negative number":       {503, func() string { return "-60" }, 0, 2},
		"a very great number":     {503, func() string { return "99999999999" }, 0, 1},
		"not at all":              {503, func() string { return "" }, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				away := answers(c.status, "text/html", "<html>", "Retry-After", c.retryAfter())
				cl, s := scripted(t, 10*time.Second, away, answers(200, api.JSON, `{"pool":"licences"}`))
				begin := time.Now()
				_, _, err := cl.Pool(t.Context(), pool)
				if took := time.Since(begin); (err == nil) != (c.asked == 2) ||
					s.asked.Load() != c.asked || took < c.least || took > 5*time.Second {
					t.Errorf("asked %d times in %v: %v", s.asked.Load(), took, err)
				}
			})
		})
	}
}

// TestAnAnswerThatIsNoneOfATMSServer has 200s that are JSON and yet no answer, to every method.
func TestAnAnswerThatIsNoneOfATMSServer(t *testing.T) {
	keys := []tms.LeaseKey{{Token: "x", LeaseID: "y"}}
	for _, body := range []string{
		``, `{}`, `[]`, `null`, `"OK"`, `{"pool":"default","token":"x"}`, `{"leases":[{"token":"x"}]}`,
		`{"leases":[{}]}`,
		`{"token":"x","state":"available"}`, `{"results":[{}]}`, `{"results":[null]}`, `{"results":[{"token":"x"}]}`,
		`{"token":"x","state":"assigned","ttl_ms":60000}`,
	} {
		c, _ := scripted(t, 0, answers(200, api.JSON, body))
		ctx := t.Context()
		if held, err := c.Acquire(ctx, pool); err == nil || tms.CodeOf(err) != "" || errors.Is(err, client.ErrNotSent) {
			t.Errorf("%s: holds %v, error %v", body, held, err)
		}
		if results, err := c.Assign(ctx, pool, make([]tms.AssignRequest, 1)); err == nil && results[0].Err == nil {
			t.Errorf("%s: assigned %v", body, results)
		}
		c.Generate(ctx, pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
		c.KeepAlive(ctx, pool, keys)
		c.Unblock(ctx, pool, keys)
		c.UnblockClient(ctx, pool, "me")
		c.Restore(ctx, pool, []string{"x"})
		c.Delete(ctx, pool, keys)
		c.PutPool(ctx, pool, tms.PolicyChange{})
		c.Pool(ctx, pool)
		c.Pools(ctx, "", 1)
		c.DeletePool(ctx, pool)
		c.Token(ctx, pool, tms.LeaseKey{Token: "x"})
		c.Tokens(ctx, pool, tms.Filter{}, "", 1)
		c.Ready(ctx)
	}
}

func TestWhatIsNotSentBecauseOfTheContextSaysSo(t *testing.T) {
	c, s := scripted(t, time.Second, nobody)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := lookup(ctx, c); !errors.Is(err, client.ErrNotSent) || !errors.Is(err, context.Canceled) ||
		s.asked.Load() > 0 {
		t.Errorf("asked %d times: %v", s.asked.Load(), err)
	}
}

// TestABatchOfWhichAPartWasDoneWasSent has a second request that is not.
func TestABatchOfWhichAPartWasDoneWasSent(t *testing.T) {
	done := `{"results":[` + strings.Repeat(`{"token":"t"},`, tms.MaxBatch-1) + `{"token":"t"}]}`
	for name, second := range map[string]step{
		"nobody listens": nobody,
		"refused":        problem(503, tms.ErrPoolPaused),
	} {
		c, _ := scripted(t, 0, answers(200, api.JSON, done), second)
		_, err := c.KeepAlive(t.Context(), pool, make([]tms.LeaseKey, tms.MaxBatch+1))
		if err == nil || errors.Is(err, client.ErrNotSent) || tms.CodeOf(err) != "" ||
			!strings.Contains(err.Error(), "10000 of 10001 were done") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
