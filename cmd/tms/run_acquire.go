package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/client"
)

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
