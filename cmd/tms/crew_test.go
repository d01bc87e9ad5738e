package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// findings are what clients saw that none should see. They are safe for concurrent use.
type findings struct {
	mu    sync.Mutex // guards what the clients write down
	wrong []string
}

// found writes down what no client should see. The lock must be held.
func (f *findings) found(format string, args ...any) {
	f.wrong = append(f.wrong, fmt.Sprintf(format, args...))
}

// unexpected writes down an answer that no client should get.
func (f *findings) unexpected(err error, r reply, allowed ...int) {
	if err == nil && slices.Contains(allowed, r.Status) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.found("status %d, code %q, error %v", r.Status, r.Code, err)
}

// none fails the test if something was found.
func (f *findings) none(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.wrong) > 0 {
		t.Errorf("%d contradictions, the first: %s", len(f.wrong), f.wrong[0])
	}
}

// crew is a number of clients that compete for the tokens of one pool and write down who holds what, as each client
// knows it by its own clock: from the answer to its assign until it sends an unblock, or until the TTL has passed since
// it sent the request that was answered last.
type crew struct {
	pool string
	ttl  time.Duration

	findings
	holds  map[string]hold
	fences map[string]int64
	leases int
}

type hold struct {
	client string
	until  time.Time
}

func newCrew(pool string, ttl time.Duration) *crew {
	return &crew{pool: pool, ttl: ttl, holds: map[string]hold{}, fences: map[string]int64{}}
}

// work lets n clients take, keep, give back and forget tokens for a while, each through the next of the servers.
func (c *crew) work(t *testing.T, n int, d time.Duration, servers ...*process) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for ctx.Err() == nil {
				c.turn(servers[(i+rand.N(2))%len(servers)], fmt.Sprintf("client %d", i))
			}
		})
	}
	all.Wait()
	t.Logf("%d leases of %d tokens", c.leases, len(c.fences))
	c.none(t)
}

// turn takes a token and does something with it.
func (c *crew) turn(p *process, client string) {
	sent := time.Now()
	lease, err := p.call(http.MethodPost, "/assign-token", object{"pool": c.pool, "client_id": client,
		"ttl": c.ttl.String()})
	if err != nil || lease.Status != 200 {
		c.unexpected(err, lease, 404)
		time.Sleep(rand.N(20 * time.Millisecond))
		return
	}
	c.took(lease, hold{client, sent.Add(c.ttl)})
	key := object{"pool": c.pool, "token": lease.Token, "lease_id": lease.LeaseID}
	for range rand.N(3) {
		time.Sleep(rand.N(c.ttl / 40))
		c.keep(p, client, lease.Token, key)
	}
	if rand.N(40) > 0 { // else it forgets the token
		c.letGo(lease.Token, client)
		reply, err := p.call(http.MethodPost, "/unblock-token", key)
		c.unexpected(err, reply, 200, 410)
	}
}

func (c *crew) keep(p *process, client, token string, key object) {
	sent := time.Now()
	reply, err := p.call(http.MethodPost, "/keep-alive", key)
	c.unexpected(err, reply, 200, 410)
	if reply.Status == 200 {
		c.renewed(token, hold{client, sent.Add(c.ttl)})
	}
}

func (c *crew) took(lease reply, h hold) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leases++
	if now.After(h.until) {
		return // the answer came to light after the TTL, and the token may rightly be another's by now
	}
	if other, held := c.holds[lease.Token]; held && now.Before(other.until) {
		c.found("a token went to %s while %s held it for another %v", h.client, other.client, other.until.Sub(now))
	}
	if last := c.fences[lease.Token]; lease.Fence <= last {
		c.found("fence %d was issued after %d", lease.Fence, last)
	}
	c.holds[lease.Token], c.fences[lease.Token] = h, lease.Fence
}

func (c *crew) renewed(token string, h hold) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holds[token].client == h.client {
		c.holds[token] = h
	}
}

func (c *crew) letGo(token, client string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holds[token].client == client {
		delete(c.holds, token)
	}
}

// census returns every token of the pool and checks that none is listed twice and that the sizes agree.
func (c *crew) census(t *testing.T, p *process) []string {
	t.Helper()
	// the forgotten leases end: a token that comes back between two pages may be on neither
	time.Sleep(c.ttl + time.Second)
	var values []string
	for cursor := ""; ; {
		var page struct {
			Tokens []struct{ Token string }
			Next   string `json:"next_cursor"`
		}
		p.get(t, "/pools/"+c.pool+"/tokens?limit=1000&cursor="+cursor, &page)
		for _, token := range page.Tokens {
			values = append(values, token.Token)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	var pool struct{ Tokens struct{ Total int } }
	p.get(t, "/pools/"+c.pool, &pool)
	slices.Sort(values)
	if distinct := len(slices.Compact(slices.Clone(values))); distinct != len(values) ||
		pool.Tokens.Total != len(values) {
		t.Errorf("%d tokens are listed, %d of them different, and the pool counts %d", len(values), distinct,
			pool.Tokens.Total)
	}
	return values
}
