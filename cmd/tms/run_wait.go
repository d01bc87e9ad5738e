package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/client"
)

const (
	holdersShown = 3
	holdersEvery = 2 * time.Second // at most so often the server is asked who they are
	holdersFor   = time.Second     // and no longer than this
	silentFor    = 3 * time.Second // a server that lets wait says every second how it stands
)

// waitLine is a line on a terminal that says how a wait stands: the place in the queue, and who holds the tokens.
type waitLine struct {
	r       *remote
	began   time.Time
	updates chan tms.Refusal
	done    sync.WaitGroup

	asked   time.Time
	holders string
}

func (r *remote) waitLine() *waitLine {
	l := &waitLine{r: r, began: time.Now(), updates: make(chan tms.Refusal, 1)}
	l.done.Go(l.run)
	return l
}

// update says how the wait stands now. It does not wait for the line.
func (l *waitLine) update(refusal tms.Refusal) {
	select {
	case l.updates <- refusal:
	default:
	}
}

// end takes the line away.
func (l *waitLine) end() {
	close(l.updates)
	l.done.Wait()
	fmt.Fprint(l.r.ErrOrStderr(), "\r\x1b[K")
}

func (l *waitLine) run() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	heard := l.began
	for {
		select {
		case refusal, more := <-l.updates:
			if !more {
				return
			}
			heard = time.Now()
			l.show(l.standing(refusal))
		case <-tick.C:
			if silent := time.Since(heard); silent >= silentFor {
				l.show(fmt.Sprintf("; nothing heard from the server for %v", silent.Round(time.Second)))
			}
		}
	}
}

func (l *waitLine) show(how string) {
	text := fmt.Sprintf("waiting for a token of the pool %q for %v", l.r.pool, time.Since(l.began).Round(time.Second))
	fmt.Fprint(l.r.ErrOrStderr(), "\r\x1b[K"+fitting(text+how))
}

// standing says what the server said last: the place in the queue, and who holds the tokens.
func (l *waitLine) standing(r tms.Refusal) string {
	if time.Since(l.asked) >= holdersEvery {
		l.asked = time.Now()
		l.holders = l.r.holders()
	}
	return placeOf(r) + l.holders + dueIn(r.RetryAfter)
}

// holders says who holds the first tokens of the pool, or nothing.
func (r *remote) holders() string {
	ctx, cancel := context.WithTimeout(r.Context(), holdersFor)
	defer cancel()
	page, err := r.Tokens(ctx, r.pool, tms.Filter{State: tms.Assigned}, "", api.DefaultPage)
	if err != nil || len(page.Tokens) == 0 {
		return ""
	}
	var all []string
	for _, t := range page.Tokens[:min(holdersShown, len(page.Tokens))] {
		who := t.Lease.Who()
		if who == "" {
			who = "somebody"
		}
		all = append(all, who+" since "+t.Lease.AssignedAt.Local().Format("15:04:05"))
	}
	text := "; held by " + strings.Join(all, ", ")
	if len(page.Tokens) > holdersShown || page.Next != "" {
		text += " and others"
	}
	return text
}

// fitting cuts a text to the width of the terminal, so that it stays one line.
func fitting(text string) string {
	width, _, err := term.GetSize(int(os.Stderr.Fd()))
	if runes := []rune(text); err == nil && width > 1 && len(runes) >= width {
		return string(runes[:width-2]) + "…"
	}
	return text
}

// signalled is the end of a wait by a signal.
type signalled struct{ os.Signal }

func (s signalled) Error() string { return "ended by a signal (" + s.String() + ")" }

// acquire takes the tokens. A signal to end, while it waits for them, ends the command as it would have without tms.
func (j *jobRun) acquire(request tms.AssignRequest, signals <-chan os.Signal) error {
	ctx, stop := untilSignal(j.Context(), signals)
	err := j.take(ctx, request)
	stop()
	var by signalled
	if errors.As(context.Cause(ctx), &by) {
		number, _ := by.Signal.(syscall.Signal)
		return &ended{128 + int(number), fmt.Errorf("run: %w while it waited for a token; the job was not started", by)}
	}
	return err
}

func (j *jobRun) take(ctx context.Context, request tms.AssignRequest) error {
	if j.clientID == "" {
		j.clientID = whoAmI()
	}
	options := []client.AcquireOption{
		client.Wait(request.Wait), client.TTL(request.TTL), client.ClientID(j.clientID),
		client.Prefer(request.Prefer), client.Match(request.Match),
	}
	if j.onLost == onLostStop {
		options = append(options, client.MarginOf(j.stopMargin))
	}
	onWait, end := j.watchWait()
	if onWait != nil {
		options = append(options, onWait)
	}
	var err error
	j.helds, err = j.AcquireN(ctx, j.pool, request.Count, options...)
	end(err == nil)
	return j.tried(err, "run with %s of the pool %q", countOf(request.Count, "token"), j.pool)
}

// watchWait has a person told how the wait stands: by a line on a terminal, by lines elsewhere, unless it is to be
// quiet. end is called when the wait is over, with whether it was served.
func (j *jobRun) watchWait() (onWait client.AcquireOption, end func(served bool)) {
	switch {
	case j.quiet:
		return nil, func(bool) {}
	case smart(j.ErrOrStderr()):
		line := j.waitLine()
		return client.OnWait(line.update), func(bool) { line.end() }
	}
	report := newWaitReport(j.pool, j.herald.say, j.holders)
	return client.OnWaitEvery(hearingEvery, report.update), report.end
}

// untilSignal returns a context that ends with a signal, which is then its cause. After stop, signals are left where
// they are.
func untilSignal(parent context.Context, signals <-chan os.Signal) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	stopped := make(chan struct{})
	var listener sync.WaitGroup
	listener.Go(func() {
		select {
		case s := <-signals:
			cancel(signalled{s})
		case <-stopped:
		}
	})
	return ctx, func() {
		close(stopped)
		listener.Wait()
	}
}
