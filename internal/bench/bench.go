// Package bench puts a store under a load of a chosen mix of verbs, and measures what each request takes.
package bench

import (
	"context"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Options say what the load is.
type Options struct {
	Store       tms.Store // what the leases are given back to in the end
	Pool        string
	Mix         Mix
	Connections int // how many requests are under way at once, at most
	Duration    time.Duration

	// Connect makes the connections that carry the load; each carries out one verb at a time. Nil: they ask the Store.
	Connect func() Conn

	// Rate is how many requests are due in a second, evenly. What a request takes is then counted from when it was due,
	// so that a server that stalls is charged for all those that had to wait meanwhile. Zero: each connection sends its
	// next request as soon as the last is answered, and nothing is due while the server stalls.
	Rate float64

	// Failure names an error that carries no code. Nil: "failed".
	Failure func(error) string
}

// Run runs the load until its time is over or ctx ends, which is an interrupt, gives back what it holds, and returns
// what it measured.
func Run(ctx context.Context, o Options) *Report {
	l := &run{Options: o, began: time.Now(), cpu: ownCPU(), recorder: newRecorder()}
	l.end = l.began.Add(o.Duration)
	defer context.AfterFunc(ctx, func() { l.interrupt() })()
	var connections sync.WaitGroup
	for range o.Connections {
		c := &connection{run: l, conn: l.connect()}
		connections.Go(func() {
			c.work(ctx)
			c.conn.Close()
			c.giveBack(context.WithoutCancel(ctx))
		})
	}
	connections.Wait()
	l.countRest()
	return l.report()
}

// run is a load on its way.
type run struct {
	Options
	*recorder
	began, end time.Time
	cpu        time.Duration // that this process had taken when it began
	due        atomic.Int64  // how many requests of a constant rate have been taken on
}

// next returns when the next request is due, and false when none is any more.
func (l *run) next() (time.Time, bool) {
	if l.Rate <= 0 {
		now := time.Now()
		return now, now.Before(l.end)
	}
	at := l.dueAt(l.due.Add(1) - 1)
	return at, at.Before(l.end)
}

// dueAt returns when a request of a constant rate is due: the end of the load, for those that never are.
func (l *run) dueAt(n int64) time.Time {
	after := float64(n) / l.Rate
	if after >= l.Duration.Seconds() {
		return l.end
	}
	return l.began.Add(time.Duration(after * float64(time.Second)))
}

func sleepUntil(ctx context.Context, at time.Time) {
	wait := time.Until(at)
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// connection goes through the mix with the tokens that it was given.
type connection struct {
	*run
	conn Conn
	held []tms.LeaseKey
}

func (c *connection) work(ctx context.Context) {
	late, stop := outlasting(ctx)
	defer stop()
	for step := 0; ; step++ {
		verb := c.Mix[step%len(c.Mix)]
		if verb != Generate && verb != Assign && len(c.held) == 0 {
			c.skip()
			continue // an assign is in every cycle, so that this comes to an end
		}
		at, ok := c.next()
		if !ok {
			return
		}
		sleepUntil(ctx, at)
		if !c.one(ctx, late, verb, at) {
			return
		}
	}
}

const lateAnswer = 2 * time.Second

// outlasting returns a context that ends a moment after the given one: a request that is under way when the load is
// interrupted may have taken a token, which is to be given back.
func outlasting(ctx context.Context) (late context.Context, stop func()) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	forget := context.AfterFunc(ctx, func() { time.AfterFunc(lateAnswer, cancel) })
	return late, func() { forget(); cancel() }
}

// one sends a request that was due at an instant, and returns false when the load is over. The request ends with late.
func (c *connection) one(ctx, late context.Context, verb string, at time.Time) bool {
	if stop, over := c.over(ctx); over {
		if c.Rate > 0 && at.Before(stop) {
			c.unsent(verb, stop.Sub(at), 1)
		}
		return false
	}
	err := c.ask(late, verb)
	if ctx.Err() != nil { // an answer that came after the interrupt came too late to count
		c.unanswered(verb, c.interrupt().Sub(at))
		return false
	}
	c.answered(verb, time.Since(at), c.nameOf(err))
	return true
}

// over reports whether nothing is sent any more, and since when.
func (l *run) over(ctx context.Context) (since time.Time, over bool) {
	if ctx.Err() != nil {
		return earlier(l.interrupt(), l.end), true
	}
	return l.end, time.Now().After(l.end)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// ask carries out one verb on what the connection holds.
func (c *connection) ask(ctx context.Context, verb string) error {
	var key tms.LeaseKey
	switch verb {
	case KeepAlive, Lookup:
		key = c.held[0]
	case Unblock, Delete:
		key, c.held = c.held[0], c.held[1:]
	}
	given, err := c.conn.Do(ctx, verb, key)
	if err == nil && verb == Assign {
		c.held = append(c.held, given)
	}
	return err
}

// giveBack is no part of the load.
func (c *connection) giveBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for len(c.held) > 0 {
		n := min(len(c.held), tms.MaxBatch)
		if _, err := c.Store.Unblock(ctx, c.Pool, c.held[:n]); err != nil {
			return // the leases end by themselves
		}
		c.held = c.held[n:]
	}
}

func (l *run) nameOf(err error) string {
	switch code := tms.CodeOf(err); {
	case err == nil:
		return ""
	case code != "":
		return string(code)
	case l.Failure != nil:
		return l.Failure(err)
	}
	return "failed"
}

// restGroups is in how many groups the rest is counted, so that even a billion requests take no time.
const restGroups = 10_000

// countRest counts what was due when the load was over and that no connection has taken on. The verbs are those of the
// mix in turn.
func (l *run) countRest() {
	from, stop := l.due.Load(), l.end
	if !l.interrupted.IsZero() {
		stop = earlier(l.interrupted, l.end)
	}
	rest := l.dueBefore(stop) - from
	for i, size := 0, max(1, rest/restGroups); rest > 0; i++ {
		n := min(size, rest)
		l.unsent(l.Mix[i%len(l.Mix)], stop.Sub(l.dueAt(from+n/2)), n)
		from, rest = from+n, rest-n
	}
}

// dueBefore returns how many requests of a constant rate were due before an instant.
func (l *run) dueBefore(at time.Time) int64 {
	if l.Rate <= 0 {
		return 0
	}
	most := int(at.Sub(l.began).Seconds()*l.Rate) + 2
	return int64(sort.Search(most, func(n int) bool { return !l.dueAt(int64(n)).Before(at) }))
}
