package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// crowd is a number of clients that wait for tokens of the pool default, and what each saw.
type crowd struct {
	servers []*process

	findings
	fences map[string]int64     // by client: of the lease that it was given
	dead   map[string]time.Time // by client: when it hung up, of those that were not served
	late   int                  // of those that were, how many had hung up when the answer came
}

func newCrowd(servers ...*process) *crowd {
	return &crowd{servers: servers, fences: map[string]int64{}, dead: map[string]time.Time{}}
}

// waitOne sends an assign that waits, and gives the token back when it has come.
func (c *crowd) waitOne(p *process, client string) {
	lease, err := p.call(http.MethodPost, "/assign-token", object{"client_id": client, "wait": "55s"})
	c.mu.Lock()
	defer c.mu.Unlock()
	switch _, isDead := c.dead[client]; {
	case err == nil && lease.Status == 200: // of one that hung up: its answer was on its way already
		if isDead {
			delete(c.dead, client)
			c.late++
		}
		c.fences[client] = lease.Fence
		time.AfterFunc(rand.N(40*time.Millisecond), func() {
			p.call(http.MethodPost, "/unblock-token", object{"token": lease.Token, "lease_id": lease.LeaseID})
		})
	case !isDead:
		c.found("%s: status %d, code %q, error %v", client, lease.Status, lease.Code, err)
	}
}

// hangUp ends a client's line.
func (c *crowd) hangUp(client string, l *phoneLine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, served := c.fences[client]; !served {
		c.dead[client] = time.Now()
		l.hangUp()
	}
}

// phoneLine is a connection to a server on which a client can hang up. The server sees it end. What it had said before
// that is still heard, so that the test knows which leases were on their way to a client that no longer was: those
// are the client's, whom nobody can ask, until their time is over.
type phoneLine struct{ conn atomic.Pointer[net.TCPConn] }

func (l *phoneLine) hangUp() {
	if conn := l.conn.Load(); conn != nil {
		conn.CloseWrite()
	}
}

// through returns the process as seen over a line of its own.
func (p *process) through(l *phoneLine) *process {
	seen := *p
	seen.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network,
		address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			l.conn.CompareAndSwap(nil, conn.(*net.TCPConn))
		}
		return conn, err
	}}}
	p.t.Cleanup(seen.client.CloseIdleConnections)
	return &seen
}

// holdAll generates n tokens, assigns them all, and returns what unblocks them.
func (p *process) holdAll(n int) (keys []object) {
	p.t.Helper()
	p.must(201, http.MethodPost, "/generate-token", object{"count": n})
	for range n {
		lease := p.must(200, http.MethodPost, "/assign-token", object{"client_id": "first"})
		keys = append(keys, object{"token": lease.Token, "lease_id": lease.LeaseID})
	}
	return keys
}

type poolNow struct {
	Waiting int
	Tokens  struct{ Available, Assigned, Total int }

	SettlingUntil string `json:"settling_until"`
}

// untilQueued returns when so many wait.
func (p *process) untilQueued(t *testing.T, n int) {
	t.Helper()
	eventually(t, "so many wait", func() bool {
		var pool poolNow
		p.get(t, "/pools/default", &pool)
		return pool.Waiting == n
	})
}

// queueOf returns the clients that wait, in the order of the store's own numbers.
func queueOf(t *testing.T, redis *redistest.Server) []string {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{redis.Addr}, ForceSingleClient: true,
		DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tickets, err := c.Do(t.Context(), c.B().Zrange().Key("tms:{default}:line:").Min("0").Max("-1").Build()).AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	records, err := c.Do(t.Context(), c.B().Hgetall().Key("tms:{default}:tickets").Build()).AsStrMap()
	if err != nil {
		t.Fatal(err)
	}
	clients := make([]string, len(tickets))
	for i, ticket := range tickets {
		var wish struct{ Client string }
		_, text, _ := strings.Cut(records[ticket], "{")
		if err := json.Unmarshal([]byte("{"+text), &wish); err != nil {
			t.Fatalf("ticket %q: %v", records[ticket], err)
		}
		clients[i] = wish.Client
	}
	return clients
}

// Three servers on one Redis, five tokens, 200 clients that wait, of which a fifth hang up at random: the tokens go
// round in the order of the queue, none stays with a client that hung up, none is lost, and all the others are served.
func TestTheQueueOfThreeServers(t *testing.T) {
	redis := redistest.New(t)
	c := newCrowd()
	for range 3 {
		c.servers = append(c.servers, startServe(t, "--store", redis.URL()))
	}
	const clients, mortals = 200, 40
	keys := c.servers[0].holdAll(5)
	lines := make([]phoneLine, clients)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() { c.waitOne(c.servers[i%3].through(&lines[i]), fmt.Sprintf("client %d", i)) })
	}
	c.servers[1].untilQueued(t, clients)
	order := queueOf(t, redis)
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	for i := 0; i < clients; i += clients / mortals {
		time.AfterFunc(rand.N(800*time.Millisecond), func() { c.hangUp(fmt.Sprintf("client %d", i), &lines[i]) })
	}
	for _, key := range keys {
		c.servers[2].must(200, http.MethodPost, "/unblock-token", key)
	}
	c.watchTheDead(t, done)
	c.verdict(t, order)
	if c.late >= len(c.dead) {
		t.Errorf("%d were given a token after they had hung up, and only %d were not", c.late, len(c.dead))
	}
	c.servers[0].untilQueued(t, 0)
	eventually(t, "all five tokens are back", func() bool {
		var pool poolNow
		c.servers[0].get(t, "/pools/default", &pool)
		return pool.Tokens.Available == 5 && pool.Tokens.Total == 5
	})
}

// watchTheDead looks who holds the tokens until everybody is served: no client that hung up a while ago, longer than
// the pickup time and what a loaded machine takes to look.
func (c *crowd) watchTheDead(t *testing.T, done <-chan struct{}) {
	t.Helper()
	for {
		select {
		case <-done:
			return
		case <-time.After(100 * time.Millisecond):
		}
		var page struct {
			Tokens []struct {
				ClientID string `json:"client_id"`
			}
		}
		asked := time.Now()
		c.servers[0].get(t, "/pools/default/tokens?state=assigned", &page)
		c.mu.Lock()
		for _, token := range page.Tokens {
			if died, isDead := c.dead[token.ClientID]; isDead && asked.Sub(died) > 4*time.Second {
				t.Errorf("%s hung up %v ago and holds a token", token.ClientID, asked.Sub(died))
			}
		}
		c.mu.Unlock()
	}
}

// verdict holds that all were served who did not hang up, and in the order of the queue.
func (c *crowd) verdict(t *testing.T, order []string) {
	t.Helper()
	c.none(t)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.fences)+len(c.dead) != len(order) {
		t.Errorf("%d of %d were served, %d hung up", len(c.fences), len(order), len(c.dead))
	}
	var served []int64
	for _, client := range order {
		if fence := c.fences[client]; fence > 0 {
			served = append(served, fence)
		}
	}
	t.Logf("%d served, %d hung up", len(served), len(c.dead))
	if !slices.IsSorted(served) {
		t.Errorf("the fences, which rise with every hand-over, do not follow the queue: %v", served)
	}
}

// A server that is killed takes its waiters with it, and those of the others go on.
func TestWaitersOfAKilledServer(t *testing.T) {
	redis := redistest.New(t)
	a, b := startServe(t, "--store", redis.URL()), startServe(t, "--store", redis.URL())
	keys := b.holdAll(2)
	lost, others := newCrowd(), newCrowd()
	var gone, all sync.WaitGroup
	for i := range 100 {
		gone.Go(func() { lost.waitOne(a, fmt.Sprintf("lost %d", i)) })
	}
	b.untilQueued(t, 100)
	for i := range 20 {
		all.Go(func() { others.waitOne(b, fmt.Sprintf("other %d", i)) })
	}
	b.untilQueued(t, 120)
	order := queueOf(t, redis)
	a.kill()
	killed := time.Now()
	for _, key := range keys {
		b.must(200, http.MethodPost, "/unblock-token", key)
	}
	all.Wait()
	t.Logf("all waiters of the other server were served %v after the kill", time.Since(killed))
	gone.Wait()
	others.verdict(t, slices.DeleteFunc(order, func(client string) bool { return strings.HasPrefix(client, "lost") }))
	if len(lost.fences) > 0 {
		t.Errorf("%d waiters of the server that was killed were served", len(lost.fences))
	}
}

// An answer that got lost, repeated with the same key on the same and on another server, is one token taken, and after
// a restart of the server too.
func TestALostAnswerIsRepeated(t *testing.T) {
	redis := redistest.New(t)
	a, b := startServe(t, "--store", redis.URL()), startServe(t, "--store", redis.URL())
	a.must(201, http.MethodPost, "/generate-token", object{"count": 3})
	request := object{"client_id": "c", "request_id": "job 17"}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(rand.N(3*time.Millisecond), cancel)
	a.callUntil(ctx, http.MethodPost, "/assign-token", request) // perhaps carried out, and nobody knows
	first := a.must(200, http.MethodPost, "/assign-token", request)
	for _, p := range []*process{a, b, b, a} {
		if again := p.must(200, http.MethodPost, "/assign-token", request); again.LeaseID != first.LeaseID ||
			again.Fence != first.Fence {
			t.Errorf("the repeat was given another lease: %+v, first %+v", again, first)
		}
	}
	var pool poolNow
	b.get(t, "/pools/default", &pool)
	if pool.Tokens.Assigned != 1 || pool.Tokens.Available != 2 {
		t.Errorf("after all that: %+v", pool.Tokens)
	}

	dir := t.TempDir()
	e := startServe(t, "--store", "embedded:"+dir)
	e.must(201, http.MethodPost, "/generate-token", object{"count": 3})
	first = e.must(200, http.MethodPost, "/assign-token", request)
	e.kill()
	e = startServe(t, "--store", "embedded:"+dir)
	if again := e.must(200, http.MethodPost, "/assign-token", request); again.LeaseID != first.LeaseID {
		t.Errorf("after kill -9 the repeat was given another lease: %+v, first %+v", again, first)
	}
}
