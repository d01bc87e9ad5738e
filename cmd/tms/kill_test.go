package main

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"
)

// fact is what the server has acknowledged about one token.
type fact struct {
	leaseID string // of the lease that stands for sure; empty: none, or nobody knows
	fence   int64  // of the last assignment
	deleted bool   // acknowledged
	dying   bool   // a deletion was asked for, and its outcome is unknown
}

// facts are what a crash must not lose.
type facts struct {
	mu     sync.Mutex
	tokens map[string]*fact
}

func (f *facts) generated(token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tokens[token] == nil { // else another client was quicker to hear of its assignment
		f.tokens[token] = &fact{}
	}
}

func (f *facts) assigned(lease reply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.tokens[lease.Token]; known == nil || lease.Fence > known.fence {
		f.tokens[lease.Token] = &fact{leaseID: lease.LeaseID, fence: lease.Fence}
	}
}

// letGo is called before the end of a lease is asked for: from then on nobody knows whether it stands.
func (f *facts) letGo(lease reply, dying bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.tokens[lease.Token]; known.fence == lease.Fence {
		known.leaseID, known.dying = "", dying
	}
}

func (f *facts) deleted(token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens[token].deleted = true
}

// live generates, takes, keeps and gives back tokens until the server does not answer any more.
func (f *facts) live(p *process) {
	for {
		generated, err := p.call(http.MethodPost, "/generate-token", nil)
		if err != nil {
			return
		}
		f.generated(generated.Token)
		lease, err := p.call(http.MethodPost, "/assign-token", object{"ttl": "10m"})
		if err != nil || lease.Status != 200 {
			return
		}
		f.assigned(lease)
		if f.use(p, lease) != nil {
			return
		}
	}
}

// use does one of four things with a lease: leave it, keep it alive, end it, or delete its token.
func (f *facts) use(p *process, lease reply) error {
	key := object{"token": lease.Token, "lease_id": lease.LeaseID}
	switch rand.N(4) {
	case 0:
		_, err := p.call(http.MethodPost, "/keep-alive", key)
		return err
	case 1:
		f.letGo(lease, false)
		_, err := p.call(http.MethodPost, "/unblock-token", key)
		return err
	case 2:
		f.letGo(lease, true)
		reply, err := p.call(http.MethodDelete, "/delete-token", key)
		if err == nil && reply.Deleted {
			f.deleted(lease.Token)
		}
		return err
	}
	return nil
}

// check compares what the server says now with what it has acknowledged, and returns the highest fence.
func (f *facts) check(t *testing.T, p *process) (highest int64) {
	t.Helper()
	held := 0
	for token, known := range f.tokens {
		highest = max(highest, known.fence)
		found, err := p.call(http.MethodPost, "/lookup-token", object{"token": token})
		switch {
		case err != nil:
			t.Fatal(err)
		case known.deleted && found.Status != 404:
			t.Errorf("a deleted token is back: %+v", found)
		case !known.dying && found.Status != 200:
			t.Errorf("an acknowledged token is lost: %+v, was %+v", found, known)
		case known.leaseID != "":
			held++
			f.checkLease(t, p, token, known)
		}
	}
	t.Logf("%d tokens, %d leases, highest fence %d", len(f.tokens), held, highest)
	if held == 0 {
		t.Error("the crash met no live lease")
	}
	return highest
}

func (f *facts) checkLease(t *testing.T, p *process, token string, known *fact) {
	t.Helper()
	lease := p.must(200, http.MethodPost, "/keep-alive", object{"token": token, "lease_id": known.leaseID})
	if lease.State != "assigned" || lease.Fence != known.fence {
		t.Errorf("an acknowledged lease is lost: %+v, was %+v", lease, known)
	}
}

// A server that is killed under load and started again on its directory has every token and every live lease that it
// had acknowledged, no token that it had deleted, and goes on with fences above all earlier ones.
func TestKillNineLosesNothing(t *testing.T) { killNine(t, "always") }

// With --sync INTERVAL a crash of the process loses nothing either: every answer is with the operating system before it
// is sent. Here no interval is ever over, so that nothing else can have brought it there.
func TestKillNineAtAnIntervalLosesNothing(t *testing.T) { killNine(t, "1h") }

func killNine(t *testing.T, sync string) {
	args := []string{"--store", "embedded:" + t.TempDir(), "--sync", sync}
	known := &facts{tokens: map[string]*fact{}}
	p := startServe(t, args...)
	for range 3 {
		known.liveUntilKilled(p)
		p = startServe(t, args...)
		highest := known.check(t, p)
		p.must(201, http.MethodPost, "/generate-token", nil)
		lease := p.must(200, http.MethodPost, "/assign-token", object{"ttl": "10m"})
		known.assigned(lease)
		if lease.Fence <= highest {
			t.Fatalf("the first fence after the crash is %d, want more than %d", lease.Fence, highest)
		}
	}
}

// liveUntilKilled has 16 clients live on the server and kills it under them.
func (f *facts) liveUntilKilled(p *process) {
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() { f.live(p) })
	}
	time.Sleep(500 * time.Millisecond)
	p.kill()
	clients.Wait()
}
