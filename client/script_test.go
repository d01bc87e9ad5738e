package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
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
	asked int
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	next := s.steps[min(s.asked, len(s.steps)-1)]
	s.asked++
	return next(r)
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
	}
}

func TestWhatIsNotSentBecauseOfTheContextSaysSo(t *testing.T) {
	c, s := scripted(t, time.Second, nobody)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := lookup(ctx, c); !errors.Is(err, client.ErrNotSent) || !errors.Is(err, context.Canceled) || s.asked > 0 {
		t.Errorf("asked %d times: %v", s.asked, err)
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
