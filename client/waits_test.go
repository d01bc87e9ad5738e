package client_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/client"
)

// after is a step that takes a while.
func after(d time.Duration, next step) step {
	return func(r *http.Request) (*http.Response, error) {
		time.Sleep(d)
		return next(r)
	}
}

var (
	none  = problem(404, tms.ErrNoTokenAvailable)
	lease = answers(200, api.JSON,
		`{"pool":"licences","token":"KEY","state":"assigned","lease_id":"id","ttl_ms":60000}`)
)

// TestHowLongAWaitOutlivesFailures waits a minute with a client that repeats what fails for two seconds.
func TestHowLongAWaitOutlivesFailures(t *testing.T) {
	for _, c := range []struct {
		name        string
		steps       []step
		least, most time.Duration
		want        error
	}{
		{"no server ever", []step{nobody}, 0, 2 * time.Second, client.ErrUnreachable},
		{"a server that never answers", []step{hangs}, time.Minute, 66 * time.Second, client.ErrUnreachable},
		{"one that answers nothing and comes back", []step{hangs, lease}, 6 * time.Second, 7 * time.Second, nil},
		{"a server that goes for good", []step{after(15*time.Second, none), nobody}, 58 * time.Second, time.Minute,
			client.ErrUnreachable},
		{"one that goes in the first request for good", []step{after(time.Second, lost), nobody}, 58 * time.Second,
			time.Minute, client.ErrUnreachable},
		{"one that goes in the first request and comes back", append(repeated(20, nobody, after(time.Second, lost)),
			lease),
			3 * time.Second, time.Minute, nil},
		{"one that stops, and another that is too busy for a while", append(repeated(20,
			answers(503, api.ProblemJSON, `{"code":"overloaded"}`, "Retry-After", "1"),
			problem(503, tms.ErrStoreUnavailable)), lease), 20 * time.Second, 45 * time.Second, nil},
		{"a balancer before a server that is away for a while", append(repeated(20,
			answers(502, "text/html", "<html>")),
			lease),
			3 * time.Second, time.Minute, nil},
		{"one that is away for a while", append(repeated(20, nobody, after(15*time.Second, none)), lease),
			15 * time.Second, time.Minute, nil},
		{"a certificate of somebody else", []step{func(*http.Request) (*http.Response, error) {
			return nil, &tls.CertificateVerificationError{Err: errors.New("of somebody else")}
		}}, 0, time.Second, client.ErrUnreachable},
		{"a hand-over that came too late", []step{after(time.Second, lost), problem(410, tms.ErrLeaseLost), none,
			lease},
			time.Second, 5 * time.Second, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl, _ := scripted(t, 2*time.Second, c.steps...)
				begin := time.Now()
				results, err := cl.Assign(t.Context(), pool, []tms.AssignRequest{{Wait: time.Minute}})
				if err == nil {
					err = results[0].Err
				}
				if took := time.Since(begin); !errors.Is(err, c.want) || took < c.least || took > c.most {
					t.Errorf("after %v: %v", took, err)
				}
			})
		})
	}
}

// repeated returns the steps of before, and then the step so many times.
func repeated(n int, s step, before ...step) []step {
	return append(before, slices.Repeat([]step{s}, n)...)
}

// TestAHandOverThatCameTooLateIsAskedForAnew looks at the names under which is asked.
func TestAHandOverThatCameTooLateIsAskedForAnew(t *testing.T) {
	for own, want := range map[string]int{"": 2, "mine": 1} {
		synctest.Test(t, func(t *testing.T) {
			ids := map[string]bool{}
			note := func(next step) step {
				return func(r *http.Request) (*http.Response, error) {
					var body api.AssignRequest
					text, _ := io.ReadAll(r.Body)
					if err := json.Unmarshal(text, &body); err != nil {
						t.Error(err)
					}
					ids[body.RequestID] = true
					return next(r)
				}
			}
			cl, _ := scripted(t, 2*time.Second, note(lost), note(problem(410, tms.ErrLeaseLost)), note(lease))
			results, err := cl.Assign(t.Context(), pool, []tms.AssignRequest{{Wait: time.Minute, RequestID: own}})
			if err != nil || len(ids) != want || errors.Is(results[0].Err, tms.ErrLeaseLost) != (own != "") {
				t.Errorf("request_id %q: asked under %d names: %v, %v", own, len(ids), results, err)
			}
		})
	}
}

// TestALeaseThatIsLostBeforeItIsHeldIsAskedForAnew has a token that was waited for taken away before its first renewal.
func TestALeaseThatIsLostBeforeItIsHeldIsAskedForAnew(t *testing.T) {
	gone := answers(200, api.JSON, `{"results":[{"code":"lease_lost","status":410}]}`)
	stands := answers(200, api.JSON, `{"results":[{"token":"KEY","state":"assigned","lease_id":"id","ttl_ms":60000}]}`)
	late := after(10*time.Second, lease)
	for name, steps := range map[string][]step{
		"lost":                {late, gone, lease},
		"not to be heard of":  append(repeated(20, nobody, late), lease),
		"the answer was lost": {late, lost, stands},
	} {
		synctest.Test(t, func(t *testing.T) {
			cl, _ := scripted(t, 2*time.Second, append(steps, stands)...)
			held, err := cl.Acquire(t.Context(), pool, client.Wait(time.Minute))
			if err != nil || held.Err() != nil {
				t.Errorf("%s: %v", name, err)
			}
			cl.Close()
		})
	}
}
