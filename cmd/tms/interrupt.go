package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// answerTime is what a request under way at an interrupt has to be answered.
const answerTime = 5 * time.Second

// interrupts are the signals that ask a command to end.
var interrupts = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}

// interruptible returns a context that ends at the first signal to end, which is its cause, so that the command can say
// how far it was. The second ends the process.
func interruptible(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	for _, s := range interrupts {
		if !signal.Ignored(s) { // as nohup has it
			signal.Notify(signals, s)
		}
	}
	go func() {
		defer signal.Stop(signals)
		select {
		case s := <-signals:
			cancel(signalled{s})
		case <-ctx.Done():
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
