package client

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// A connection may fall silent, without an end that anybody is told, as when a router on the way forgets it. A request
// is then answered by none, and over HTTP/2 every other request goes the same way. So whatever is silent for too long
// is left to itself, and requests go over connections of their own from then on.

// wire sends requests. It is safe for concurrent use.
type wire struct {
	mu     sync.Mutex
	now    *http.Client
	before *http.Client // which some requests may still wait for
}

// through returns what a request is to be sent through.
func (w *wire) through() *http.Client {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// leave has requests sent over new connections, where they still go through what has fallen silent. Where a caller's
// own [http.RoundTripper] sends them, what becomes of its connections is its own affair.
func (w *wire) leave(silent *http.Client) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, ok := transportOf(silent)
	if !ok || w.now != silent {
		return
	}
	fresh := *silent
	fresh.Transport = t.Clone()
	t.CloseIdleConnections()
	if w.before != nil {
		w.before.CloseIdleConnections()
	}
	w.before, w.now = silent, &fresh
}

func transportOf(c *http.Client) (*http.Transport, bool) {
	if c.Transport == nil {
		return http.DefaultTransport.(*http.Transport), true
	}
	t, ok := c.Transport.(*http.Transport)
	return t, ok
}

// watch leaves the connections of a request that is not answered in the time that its context has for that, if it has
// any.
func (w *wire) watch(ctx context.Context, through *http.Client) (stop func()) {
	within, ok := ctx.Value(answerWithin{}).(time.Duration)
	if !ok {
		return func() {}
	}
	timer := time.AfterFunc(within, func() { w.leave(through) })
	return func() { timer.Stop() }
}

// answerWithin is the key in a context of the time after which an answer is missed. The request goes on.
type answerWithin struct{}

func (w *wire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now.CloseIdleConnections()
	if w.before != nil {
		w.before.CloseIdleConnections()
	}
}
