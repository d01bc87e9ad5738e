package client_test

import (
	"errors"
	"net/http"
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
	lease = answers(200, api.JSON, `{"pool":"licences","token":"KEY","state":"assigned","lease_id":"id","ttl_ms":60000}`)
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
		{"a server that never answers", []step{hangs}, 45 * time.Second, 45 * time.Second, client.ErrUnreachable},
		{"a server that goes for good", []step{after(15*time.Second, none), nobody}, 58 * time.Second, time.Minute,
			client.ErrUnreachable},
		{"one that goes in the first request for good", []step{after(10*time.Second, lost), nobody}, 10 * time.Second,
			12 * time.Second, client.ErrUnreachable},
		{"one that goes in the first request and comes back", []step{after(10*time.Second, lost), nobody, lease},
			10 * time.Second, 13 * time.Second, nil},
		{"one that is away for a while", append(append([]step{after(15*time.Second, none)}, repeated(20, nobody)...), lease),
			15 * time.Second, time.Minute, nil},
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

func repeated(n int, s step) []step {
	steps := make([]step, n)
	for i := range steps {
		steps[i] = s
	}
	return steps
}
