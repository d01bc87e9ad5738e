package wait_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/wait"
)

// crowd is clients that wait for the tokens of the default pool, work for a second, and wait again.
type crowd struct {
	t       *testing.T
	store   *wait.Store
	returns bool // each request has a request_id, a new one
	end     time.Time
	grants  atomic.Int64
}

// run lets so many clients wait as ask says for a while, and returns how many tokens they were given.
func (c *crowd) run(tokens, clients int, while time.Duration,
	ask func(n int) (context.Context, tms.AssignRequest)) int {
	c.store = wait.Wrap(opened(c.t), wait.Options{})
	defer func() { must(c.t, c.store.Close()) }()
	fill(c.t, c.store, tokens)
	c.end = time.Now().Add(while)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for n := i; time.Now().Before(c.end); n += clients {
				c.one(ask(n))
			}
		})
	}
	all.Wait()
	return int(c.grants.Load())
}

// one waits and works once.
func (c *crowd) one(ctx context.Context, r tms.AssignRequest) {
	if c.returns {
		r.RequestID = tms.NewValue()
	}
	tokens, err := assign(ctx, c.store, r)
	if err != nil {
		return
	}
	if time.Now().Before(c.end) {
		c.grants.Add(1)
	}
	time.Sleep(time.Second)
	give(c.t, c.store, tokens[0])
}

// vanish leaves a ticket in the queue that is never shown again.
func (c *crowd) vanish() {
	if tokens, err := assign(c.t.Context(), c.store.Sweeper, tms.AssignRequest{Ticket: tms.NewValue()}); err == nil {
		give(c.t, c.store, tokens[0])
	}
}

// One token is shared by twenty clients that wait for less time than it takes to be served.
func TestATokenGoesOnWhenWaitsEnd(t *testing.T) {
	for _, returns := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := &crowd{t: t, returns: returns}
			n := c.run(1, 20, 45*time.Second, func(int) (context.Context, tms.AssignRequest) {
				return t.Context(), tms.AssignRequest{Wait: 5 * time.Second}
			})
			if t.Logf("%d grants of 45", n); n < 36 {
				t.Errorf("%d grants in 45 s, with request_id: %v", n, returns)
			}
		})
	}
}

// Of forty clients some wait in vain, some hang up, and some are lost with their server, which nobody hears of.
func TestTokensGoToThoseWhoLive(t *testing.T) {
	for _, returns := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, random := &crowd{t: t, returns: returns}, rand.New(rand.NewPCG(3, 4))
			var mu sync.Mutex
			n := c.run(4, 40, 30*time.Second, func(n int) (context.Context, tms.AssignRequest) {
				mu.Lock()
				defer mu.Unlock()
				patience := time.Second + time.Duration(random.Int64N(int64(5*time.Second))).Truncate(time.Millisecond)
				switch n % 3 {
				case 0:
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					time.AfterFunc(patience, cancel)
					return ctx, tms.AssignRequest{Wait: time.Minute}
				case 1:
					c.vanish()
				}
				return t.Context(), tms.AssignRequest{Wait: patience}
			})
			if t.Logf("%d grants of 120", n); n < 96 {
				t.Errorf("%d grants in 30 s of 4 tokens, with request_id: %v", n, returns)
			}
		})
	}
}
