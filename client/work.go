package client

import (
	"context"
	"errors"
	"sync"
	"time"
)

// work is what a client does besides keeping leases: every Acquire and Assign, and what is given back after it. Close
// ends it.
type work struct {
	ended context.Context
	end   context.CancelFunc

	mu      sync.Mutex // so that nothing begins while it is waited for
	closed  bool
	running sync.WaitGroup
}

// begin counts an Acquire or Assign, until it is done, and returns a context that ends with the client, too.
func (w *work) begin(parent context.Context) (ctx context.Context, done func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, nil, errClosed
	}
	w.running.Add(1)
	ctx, cancel := context.WithCancelCause(parent)
	stop := context.AfterFunc(w.ended, func() { cancel(errClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
		w.running.Done()
	}, nil
}

// ofClosed returns the error of what the end of the client has ended as one that says so.
func ofClosed(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && context.Cause(ctx) == errClosed {
		return errClosed
	}
	return err
}

// inBackground runs f, which outlives the Acquire that calls it, and is counted as that is.
func (w *work) inBackground(atMost time.Duration, f func(context.Context)) {
	w.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), atMost)
		defer cancel()
		f(ctx)
	})
}

// close ends every Acquire and Assign, and lets none begin.
func (w *work) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.end()
}

// wait waits until nothing runs. An Acquire may take its time where it calls a function of its caller.
func (w *work) wait(atMost time.Duration) error {
	over := make(chan struct{})
	go func() {
		w.running.Wait()
		close(over)
	}()
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-over:
		return nil
	case <-timer.C:
		return errors.New("client: an Acquire has not returned yet")
	}
}
