package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
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
	options := []client.AcquireOption{
		client.Wait(request.Wait), client.TTL(request.TTL), client.ClientID(request.ClientID),
		client.Prefer(request.Prefer), client.Match(request.Match),
	}
	if request.ClientID == "" {
		options = append(options, client.ClientID(whoAmI()))
	}
	if j.onLost == onLostStop {
		options = append(options, client.MarginOf(j.stopMargin))
	}
	line := j.waitLine()
	if line != nil {
		defer line.end()
		options = append(options, client.OnWait(line.update))
	}
	var err error
	j.helds, err = j.AcquireN(ctx, j.pool, request.Count, options...)
	return j.tried(err, "run with %s of the pool %q", countOf(request.Count, "token"), j.pool)
}

// untilSignal returns a context that ends with a signal, which is then its cause. After stop, signals are left where they
// are.
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

// whoAmI returns who holds a token where the command line does not say: user@host.
func whoAmI() string {
	name, host := "", ""
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, _ = os.Hostname()
	id := name + "@" + host
	if (tms.AssignRequest{ClientID: id}).Validate() != nil {
		return ""
	}
	return id
}
