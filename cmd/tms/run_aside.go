package main

import (
	"context"
	"errors"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
)

const asideFor = 500 * time.Millisecond // how long the server has to say what became of a token

// isAside reports whether the token, whose lease the server has ended, was put aside, so that nobody else can have it:
// the job may do that, and go on with what else it has. What has been found so stays so.
func (j *jobRun) isAside(h *client.Held) bool {
	if _, known := j.aside.Load(h); known {
		return true
	}
	if err := h.Err(); !errors.Is(err, client.ErrLost) && !errors.Is(err, client.ErrReleased) {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(j.Context()), asideFor)
	defer cancel()
	t, err := j.Token(ctx, h.Pool(), h.Token())
	if err != nil || t.State != tms.Quarantined || t.Past == nil || t.Past.LastClient != j.clientID {
		return false
	}
	j.aside.Store(h, true)
	return true
}

// firstLost returns the first of those whose lease has ended, and which somebody else may have, or nil.
func (j *jobRun) firstLost() *client.Held {
	for _, h := range j.helds {
		if h.Err() != nil && !j.isAside(h) {
			return h
		}
	}
	return nil
}

// endsWithin reports whether the job is over before that time is.
func endsWithin(over <-chan struct{}, most time.Duration) bool {
	select {
	case <-over:
		return true
	case <-time.After(most):
		return false
	}
}
