package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	progressWidth = 30
	progressEvery = 100 * time.Millisecond
)

// progress is a line on a terminal that says how far something is. Nil, it says nothing.
type progress struct {
	out   io.Writer
	what  string
	shown time.Time
}

// progress returns a progress line, or nil where nobody would see it.
func (r *remote) progress(what string) *progress {
	if r.quiet || !smart(r.ErrOrStderr()) {
		return nil
	}
	return &progress{out: r.ErrOrStderr(), what: what}
}

// show says how much of the whole is done, a tenth of a second after the last time at the earliest. A whole of zero is
// unknown.
func (p *progress) show(done, whole int64, unit string) {
	if p == nil || time.Since(p.shown) < progressEvery {
		return
	}
	p.shown = time.Now()
	if whole == 0 {
		fmt.Fprintf(p.out, "\r\x1b[K%s  %d %s", p.what, done, unit)
		return
	}
	full := int(min(done, whole) * progressWidth / whole)
	bar := strings.Repeat("#", full) + strings.Repeat(".", progressWidth-full)
	fmt.Fprintf(p.out, "\r\x1b[K%s  [%s] %3d%%  %d %s", p.what, bar, min(done, whole)*100/whole, done, unit)
}

// end takes the line away.
func (p *progress) end() {
	if p != nil {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// answerTime is what a request under way at an interrupt has to be answered.
const answerTime = 5 * time.Second

// interrupts are the signals that ask a command to end.
var interrupts = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}

// interruptible returns a context that ends with the first signal to end, but for those that are ignored, as nohup has
// it.
func interruptible(parent context.Context) (context.Context, context.CancelFunc) {
	return endedBy(parent, slices.DeleteFunc(slices.Clone(interrupts), signal.Ignored)...)
}

// endedBy returns a context that ends with the first of the signals, which is its cause, so that the command can say
// how far it was. One that comes once the context has ended ends the process.
func endedBy(parent context.Context, signals ...os.Signal) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	heard := make(chan os.Signal, 1)
	if len(signals) > 0 { // none would be all of them
		signal.Notify(heard, signals...)
	}
	go func() {
		select {
		case s := <-heard:
			signal.Stop(heard) // before the context ends: whoever sees that it has may send the next
			cancel(signalled{s})
		case <-ctx.Done():
			signal.Stop(heard)
		}
	}()
	return ctx, func() { cancel(nil) }
}

// outlasting returns a context that ends a moment after the other, so that a request under way at an interrupt is
// answered, and the command can say what it did.
func outlasting(ctx context.Context) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(answerTime, cancel) })
	return late, func() {
		stop()
		cancel()
	}
}

// interrupted returns the error with the exit code of the signal that has ended the context, if one has.
func interrupted(ctx context.Context, err error) error {
	var by signalled
	if err == nil || !errors.As(context.Cause(ctx), &by) {
		return err
	}
	number, _ := by.Signal.(syscall.Signal)
	return &ended{128 + int(number), err}
}
