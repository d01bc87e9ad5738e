package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

var (
	soakLasts = flag.Duration("soak", 20*time.Second, "how long the soak lasts")
	soakSeed  = flag.Uint64("soak.seed", 0, "what the faults of the soak are drawn from; 0: anything")
)

const (
	soakTokens  = 12
	soakClients = 24
	soakTTL     = 3 * time.Second
)

// soak is a number of clients, three servers, the wires between them and Redis, all of which fail at times.
type soak struct {
	t       *testing.T
	ctx     context.Context
	lasts   time.Duration
	redis   *redistest.Server // nil: there is none, or more than one
	dir     string            // of an embedded store
	servers []*mortal
	history history

	answered, unknown atomic.Int64
	lost              atomic.Int64 // leases that were over though they had been acknowledged
	faults            sync.Map     // kind → *atomic.Int64
	gap               gap
}

// gap is the longest time in which nobody was answered.
type gap struct {
	mu      sync.Mutex
	last    time.Time // somebody was
	longest time.Duration
}

func (g *gap) answered() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if !g.last.IsZero() {
		g.longest = max(g.longest, now.Sub(g.last))
	}
	g.last = now
}

// Three servers on one Redis that keeps what it says, under kills, stops, cuts and silences of everything: no token has
// two holders, no fence is issued twice or goes back, no token is lost, and nobody waits for ever. -soak 5m makes it
// longer, and -soak.seed draws the same faults again.
func TestSoak(t *testing.T) {
	seed := cmp.Or(*soakSeed, rand.Uint64())
	t.Logf("seed %d", seed)
	redis := redistest.New(t, "--appendonly", "yes", "--appendfsync", "always")
	s := &soak{t: t, lasts: *soakLasts, redis: redis}
	for range 3 {
		s.serve(behindWire(t, redis, "--redis-lossless"))
	}
	s.stock()
	s.run(seed, s.serverFaults(), s.wireFaults(), s.redisFaults())
	s.verdict()
	if len(s.history.leases) < soakClients {
		t.Errorf("only %d leases were given in all that time", len(s.history.leases))
	}
	s.allComesBack()
}

// serve starts one more server.
func (s *soak) serve(m *mortal) {
	s.t.Helper()
	if s.servers = append(s.servers, m); !m.start(s.t.Context()) {
		s.t.Fatalf("the server does not start: %s", m.stderr)
	}
}

// stock makes the pool and its tokens.
func (s *soak) stock() {
	p := s.seen(0)
	eventually(s.t, "the pool is made", func() bool { // replicas may not be there yet
		r, err := p.call(http.MethodPut, "/pools/soak", object{"token_ttl": "0s", "lease_ttl": soakTTL.String()})
		return err == nil && r.Status < 300
	})
	eventually(s.t, "its tokens are there", func() bool {
		r, err := p.call(http.MethodPost, "/generate-token", object{"pool": "soak", "tokens": soakValues()})
		return err == nil && r.Status == 201
	})
}

func soakValues() (values []string) {
	for i := range soakTokens {
		values = append(values, fmt.Sprintf("soak-%02d", i))
	}
	return values
}

// seen returns a server as its clients see it.
func (s *soak) seen(i int) *process {
	m := s.servers[i]
	return &process{t: s.t, url: "http://" + m.near.Addr, client: m.client, stderr: m.stderr}
}

// run lets clients work and everything fail for a while, and returns when all is well again.
func (s *soak) run(seed uint64, kinds ...[]fault) {
	ctx, cancel := context.WithTimeout(s.t.Context(), s.lasts)
	defer cancel()
	s.ctx = ctx
	var all sync.WaitGroup
	for i := range soakClients {
		all.Go(func() { s.live(fmt.Sprintf("client %d", i), rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	for i, faults := range kinds {
		draw := rand.New(rand.NewPCG(seed, uint64(1_000+i)))
		all.Go(func() { s.hurt(faults, draw) })
	}
	all.Wait()
}

// hurt lets the faults happen in turn, to servers and for times that are drawn, until the soak is over.
func (s *soak) hurt(faults []fault, draw *rand.Rand) {
	for i := 0; s.rest(draw, 3*time.Second); i++ {
		f := faults[i%len(faults)]
		s.count(f.name)
		f.happen(s.servers[draw.IntN(len(s.servers))], draw)
	}
}

// rest waits for at most d, and reports whether the soak goes on.
func (s *soak) rest(draw *rand.Rand, d time.Duration) bool {
	select {
	case <-s.ctx.Done():
		return false
	case <-time.After(time.Duration(draw.Int64N(int64(d)))):
		return s.ctx.Err() == nil
	}
}

// live takes a token, keeps it for a while and gives it back, over and over.
func (s *soak) live(client string, draw *rand.Rand) {
	for s.rest(draw, 20*time.Millisecond) {
		if lease := s.take(client, draw); lease != nil {
			s.use(lease, draw)
		}
	}
}

// ask sends a request to some server. It returns false where the outcome is unknown.
func (s *soak) ask(draw *rand.Rand, method, path string, body object) (reply, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	r, err := s.seen(draw.IntN(len(s.servers))).callUntil(ctx, method, path, body)
	s.answered.Add(1)
	if err != nil || r.Status >= 500 && r.Code != "pool_settling" {
		s.unknown.Add(1)
		return r, false
	}
	s.gap.answered()
	return r, true
}

// take asks for a token, with or without waiting, with or without a name for the request. It returns nil for none.
func (s *soak) take(client string, draw *rand.Rand) *lease {
	request := object{"pool": "soak", "client_id": client}
	if draw.IntN(2) == 0 {
		request["wait"] = fmt.Sprintf("%dms", draw.IntN(2000)+1)
	}
	tries := 1
	if draw.IntN(2) == 0 {
		request["request_id"] = fmt.Sprintf("%s-%d", client, draw.Uint64())
		tries = 3
	}
	asked := time.Now()
	for range tries {
		r, known := s.ask(draw, http.MethodPost, "/assign-token", request)
		if known && r.Status == 200 {
			return s.history.took(client, r, asked, time.Now(), soakTTL)
		}
		if known {
			return nil
		}
	}
	return nil
}

// use keeps the lease alive a few times, and ends it in one of three ways, or not at all.
func (s *soak) use(l *lease, draw *rand.Rand) {
	key := object{"pool": "soak", "token": l.token, "lease_id": l.id}
	for range draw.IntN(4) {
		sent := time.Now()
		r, known := s.ask(draw, http.MethodPost, "/keep-alive", key)
		if known && r.Status != 200 {
			if s.history.stood(l, sent) {
				s.lost.Add(1)
			}
			return // it is over
		}
		if known {
			s.history.kept(l, sent.Add(soakTTL))
		}
		s.rest(draw, soakTTL/20)
	}
	switch fate := draw.IntN(40); {
	case fate == 0: // forgotten
	case fate < 4:
		s.history.ends(l)
		s.renew(l, key, draw)
	default:
		s.history.ends(l)
		s.ask(draw, http.MethodPost, "/unblock-token", key)
	}
}

// renew deletes the token of a lease and generates it again. Both are asked for until their outcome is known.
func (s *soak) renew(l *lease, key object, draw *rand.Rand) {
	s.until(draw, http.MethodDelete, "/delete-token", key)
	s.until(draw, http.MethodPost, "/generate-token", object{"pool": "soak", "tokens": []string{l.token}})
}

func (s *soak) until(draw *rand.Rand, method, path string, body object) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, known := s.ask(draw, method, path, body); known {
			return
		}
	}
	s.t.Errorf("%s was not answered for a minute", path)
}

// verdict holds that all is as promised once the faults are over.
func (s *soak) verdict() {
	s.t.Helper()
	s.says()
	s.history.verdict(s.t)
}

// says prints what happened.
func (s *soak) says() {
	s.t.Helper()
	s.faults.Range(func(kind, n any) bool {
		s.t.Logf("%d times: %s", n.(*atomic.Int64).Load(), kind)
		return true
	})
	s.t.Logf("%d leases; the outcome of %d of %d requests is unknown", len(s.history.leases), s.unknown.Load(),
		s.answered.Load())
}

// allComesBack holds that every token is there, free, and can be had.
func (s *soak) allComesBack() {
	s.t.Helper()
	p := s.seen(0)
	eventually(s.t, "every token is back", func() bool {
		var pool poolNow
		p.get(s.t, "/pools/soak", &pool)
		settled := pool.SettlingUntil == "" // a takeover may have been the last fault
		return settled && pool.Waiting == 0 && pool.Tokens.Available == soakTokens && pool.Tokens.Total == soakTokens
	})
	var had []string
	for range soakTokens {
		asked := time.Now()
		r := p.must(200, http.MethodPost, "/assign-token", object{"pool": "soak", "ttl": "1m"})
		s.history.took("the last", r, asked, time.Now(), time.Minute)
		had = append(had, r.Token)
	}
	if slices.Sort(had); !slices.Equal(had, soakValues()) {
		s.t.Errorf("the tokens at the end: %v", had)
	}
	s.history.verdict(s.t)
}
