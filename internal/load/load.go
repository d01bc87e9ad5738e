// Package load puts a store under a load of a chosen mix of verbs, and measures what each request takes.
package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Options say what the load is.
type Options struct {
	Store       tms.Store
	Pool        string
	Mix         Mix
	Connections int // how many requests are under way at once, at most
	Duration    time.Duration

	// Rate is how many requests are due in a second, evenly. What a request takes is then counted from when it was due,
	// so that a server that stalls is charged for all those that had to wait meanwhile. Zero: each connection sends its
	// next request as soon as the last is answered, and nothing is due while the server stalls.
	Rate float64

	// Failure names an error that carries no code. Nil: "failed".
	Failure func(error) string
}

// Run runs the load until its time is over or ctx ends, gives back what it holds, and returns what it measured.
func Run(ctx context.Context, o Options) *Report {
	l := &run{Options: o, began: time.Now(), recorder: newRecorder()}
	l.end = l.began.Add(o.Duration)
	var connections sync.WaitGroup
	for range o.Connections {
		c := &connection{run: l}
		connections.Go(func() {
			c.work(ctx)
			c.giveBack(context.WithoutCancel(ctx))
		})
	}
	connections.Wait()
	return l.report()
}

// run is a load on its way.
type run struct {
	Options
	*recorder
	began, end time.Time
	due        atomic.Int64 // how many requests of a constant rate have been taken on
}

// next returns when the next request is due, and false when none is any more.
func (l *run) next() (time.Time, bool) {
	now := time.Now()
	if l.Rate <= 0 {
		return now, now.Before(l.end)
	}
	n := l.due.Add(1) - 1
	at := l.began.Add(time.Duration(float64(n) / l.Rate * float64(time.Second)))
	return at, at.Before(l.end)
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
	held []tms.LeaseKey
}

func (c *connection) work(ctx context.Context) {
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
		if !c.one(ctx, verb, at) {
			return
		}
	}
}

// one sends a request that was due at an instant, and returns false when ctx has ended.
func (c *connection) one(ctx context.Context, verb string, at time.Time) bool {
	if ctx.Err() == nil && c.Rate > 0 && time.Now().After(c.end) {
		c.unsent(verb, time.Since(at))
		return true
	}
	err := c.ask(ctx, verb)
	if ctx.Err() != nil {
		return false // what has cut it off is no answer
	}
	c.answered(verb, time.Since(at), c.nameOf(err))
	return true
}

// ask carries out one verb.
func (c *connection) ask(ctx context.Context, verb string) error {
	switch verb {
	case Generate:
		_, err := c.Store.Generate(ctx, c.Pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
		return err
	case Assign:
		return c.assign(ctx)
	case Lookup:
		_, err := c.Store.Token(ctx, c.Pool, c.held[0].Token)
		return err
	case KeepAlive:
		return first(c.Store.KeepAlive(ctx, c.Pool, c.held[:1]))
	case Unblock:
		return first(c.Store.Unblock(ctx, c.Pool, c.drop()))
	default:
		errs, err := c.Store.Delete(ctx, c.Pool, c.drop())
		if err == nil {
			err = errs[0]
		}
		return err
	}
}

func (c *connection) assign(ctx context.Context) error {
	results, err := c.Store.Assign(ctx, c.Pool, []tms.AssignRequest{{ClientID: "bench"}})
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return err
	}
	for _, token := range results[0].Tokens {
		c.held = append(c.held, tms.LeaseKey{Token: token.Value, LeaseID: token.Lease.ID})
	}
	return nil
}

// drop takes the longest held token out of those that are held.
func (c *connection) drop() []tms.LeaseKey {
	key := c.held[:1:1]
	c.held = c.held[1:]
	return key
}

func first(results []tms.TokenResult, err error) error {
	if err == nil {
		err = results[0].Err
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
