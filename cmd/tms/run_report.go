package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
)

// Where a wait is reported in lines, as in the log of a CI job: the first comes when it lasts.
const (
	firstReport  = time.Second
	reportEvery  = 30 * time.Second
	hearingEvery = 10 * time.Second // how often the server says how the wait stands
)

// waitReport says in lines how a wait stands.
type waitReport struct {
	pool    string
	say     func(format string, args ...any)
	holders func() string
	began   time.Time
	quit    chan struct{}
	done    sync.WaitGroup
	said    bool // it lasts

	mu    sync.Mutex
	last  tms.Refusal
	heard time.Time // when; zero: nothing was yet
}

func newWaitReport(pool string, say func(string, ...any), holders func() string) *waitReport {
	w := &waitReport{pool: pool, say: say, holders: holders, began: time.Now(), quit: make(chan struct{})}
	w.done.Go(w.run)
	return w
}

// update says how the wait stands now.
func (w *waitReport) update(refusal tms.Refusal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last, w.heard = refusal, time.Now()
}

// end says that the wait was not in vain, if it has said that it lasts.
func (w *waitReport) end(served bool) {
	close(w.quit)
	w.done.Wait()
	if served && w.said {
		w.say("got what it waited for in the pool %q after %v; the job starts", w.pool,
			time.Since(w.began).Round(time.Second))
	}
}

func (w *waitReport) run() {
	next := time.NewTimer(firstReport)
	defer next.Stop()
	for {
		select {
		case <-next.C:
			w.said = true
			w.say("waiting for a token of the pool %q for %v%s", w.pool, time.Since(w.began).Round(time.Second),
				w.standing())
			next.Reset(reportEvery)
		case <-w.quit:
			return
		}
	}
}

// standing says how the wait stood when the server said so last, or for how long it has said nothing.
func (w *waitReport) standing() string {
	w.mu.Lock()
	refusal, heard := w.last, w.heard
	w.mu.Unlock()
	if heard.IsZero() {
		heard = w.began
	}
	since := time.Since(heard)
	if since >= 2*hearingEvery || refusal.Code == "" && since >= silentFor {
		return fmt.Sprintf("; nothing heard from the server for %v", since.Round(time.Second))
	}
	return placeOf(refusal) + w.holders() + dueIn(refusal.RetryAfter-since)
}

// placeOf says where in the queue a wait stands.
func placeOf(r tms.Refusal) (text string) {
	if r.Place > 0 {
		text = fmt.Sprintf(", place %d", r.Place)
	}
	if r.Waiting > 0 {
		text += fmt.Sprintf(" of %d", r.Waiting)
	}
	return text
}

// dueIn says when the next token is due to come back, where that is known.
func dueIn(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return fmt.Sprintf("; the next is due in %v", max(time.Second, d.Round(time.Second)))
}

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
	t, err := j.Token(ctx, h.Pool(), tms.LeaseKey{Token: h.Token()})
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
