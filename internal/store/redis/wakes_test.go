package redis_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

// hear has the store listen until the test ends, or until stop is called. It returns the tickets that were woken.
func hear(t *testing.T, s *redis.Store) (woken <-chan string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	heard, ended := make(chan string, 100), make(chan error, 1)
	go func() { ended <- s.Listen(ctx, func(ticket string) { heard <- ticket }) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { stop() })
	eventually(t, "the store listens", s.Listening)
	return heard, stop
}

// wakes waits until the ticket is woken.
func wakes(t *testing.T, woken <-chan string, ticket string) {
	t.Helper()
	select {
	case got := <-woken:
		if got != ticket {
			t.Fatalf("woke %s instead of %s", got, ticket)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s was not woken", ticket)
	}
}

// sleeps holds that nobody is woken.
func sleeps(t *testing.T, woken <-chan string) {
	t.Helper()
	select {
	case got := <-woken:
		t.Fatalf("woke %s", got)
	case <-time.After(50 * time.Millisecond):
	}
}

// still returns options with a clock that stands still, so that who waits does so however slow the machine is.
func still() redis.Options { return redis.Options{Now: storetest.NewClock().Now} }

// Each server hears of its own tickets, of whichever pool, whoever frees the token.
func TestEachServerHearsOfItsOwnTickets(t *testing.T) {
	server := redistest.New(t)
	o := still()
	a, b := open(t, server, o), open(t, server, o)
	hearsA, stopA := hear(t, a)
	hearsB, stopB := hear(t, b)
	for _, pool := range []string{"p", "q"} {
		put(t, a, pool, tms.PolicyChange{})
		fill(t, a, pool, "x", "y")
		take(t, a, pool)
		take(t, a, pool)
		join(t, a, pool, ticket(pool+"a"), 1)
		join(t, b, pool, ticket(pool+"b"), 2)
	}
	for _, pool := range []string{"p", "q"} {
		release(t, b, pool, "x", "y")
		wakes(t, hearsA, pool+"a")
		wakes(t, hearsB, pool+"b")
	}
	must(t, stopA())
	must(t, stopB())
	if channels, _ := ask(t, raw(t, server), "PUBSUB", "SHARDCHANNELS").AsStrSlice(); len(channels) > 0 {
		t.Errorf("subscriptions are left: %q", channels)
	}
}

// A ticket that moves to another server is woken there.
func TestATicketIsWokenWhereItWasShownLast(t *testing.T) {
	server := redistest.New(t)
	o := still()
	a, b := open(t, server, o), open(t, server, o)
	hearsA, _ := hear(t, a)
	hearsB, _ := hear(t, b)
	put(t, a, "p", tms.PolicyChange{})
	fill(t, a, "p", "x")
	take(t, a, "p")
	join(t, a, "p", ticket("1"), 1)
	join(t, b, "p", ticket("1"), 1)
	release(t, a, "p", "x")
	wakes(t, hearsB, "1")
	sleeps(t, hearsA)
}

// One who loses its place because of its client's other leases is woken as well.
func TestATicketThatIsTakenOutIsWoken(t *testing.T) {
	server := redistest.New(t)
	s := open(t, server, still())
	woken, _ := hear(t, s)
	put(t, s, "p", tms.PolicyChange{MaxLeasesPerClient: new(1)})
	fill(t, s, "p", "x", "y")
	take(t, s, "p")
	must(t, show(t, s, "p", tms.AssignRequest{ClientID: "other"}).Err)
	for i := range 2 {
		join(t, s, "p", tms.AssignRequest{ClientID: "c", Ticket: fmt.Sprint(i)}, i+1)
	}
	release(t, s, "p", "x", "y")
	wakes(t, woken, "0")
	wakes(t, woken, "1")
	refused(t, show(t, s, "p", tms.AssignRequest{ClientID: "c", Ticket: "1"}).Err, tms.ErrQuotaExceeded)
}

// When the connection breaks, Listen says so; called again, it hears of the next wake.
func TestListenSurvivesALostConnection(t *testing.T) {
	server := redistest.New(t)
	s := open(t, server, still())
	put(t, s, "p", tms.PolicyChange{})
	fill(t, s, "p", "x")
	take(t, s, "p")
	ended := make(chan error, 1)
	go func() { ended <- s.Listen(t.Context(), func(string) {}) }()
	c := raw(t, server)
	eventually(t, "the store listens", func() bool {
		join(t, s, "p", ticket("1"), 1)
		channels, _ := ask(t, c, "PUBSUB", "SHARDCHANNELS").AsStrSlice()
		return len(channels) == 1
	})
	ask(t, c, "CLIENT", "KILL", "TYPE", "pubsub")
	if err := <-ended; err == nil {
		t.Fatal("Listen ended without an error")
	}
	woken, stop := hear(t, s)
	eventually(t, "the store works again", func() bool {
		_, err := s.Assign(t.Context(), "p", []tms.AssignRequest{ticket("1")})
		return err == nil
	})
	release(t, s, "p", "x")
	wakes(t, woken, "1")
	must(t, stop())
}

// Listen ends by its context while Redis hangs, and a ticket is not held up by a subscription.
func TestListenEndsWhileRedisHangs(t *testing.T) {
	server := redistest.New(t)
	s := open(t, server, redis.Options{Timeout: 300 * time.Millisecond})
	put(t, s, "p", tms.PolicyChange{})
	_, stop := hear(t, s)
	join(t, s, "p", ticket("1"), 1)
	server.Stop()
	defer server.Continue()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := s.Assign(ctx, "q", []tms.AssignRequest{ticket("1")}); err == nil {
		t.Error("a server that hangs has answered")
	}
	stop()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// A user of Redis who may use no channels has a queue all the same; Listen says what is missing.
func TestAUserWithoutChannels(t *testing.T) {
	server := redistest.New(t)
	ask(t, raw(t, server), "ACL", "SETUSER", "tms", "on", ">secret", "~tms:*", "+@all", "resetchannels")
	s := open(t, server, redis.Options{URL: "redis://tms:secret@" + server.Addr})
	ended := make(chan error, 1)
	go func() { ended <- s.Listen(t.Context(), func(string) {}) }()
	eventually(t, "the store listens", s.Listening)
	put(t, s, "p", tms.PolicyChange{})
	fill(t, s, "p", "x")
	take(t, s, "p")
	join(t, s, "p", ticket("1"), 1)
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "channel") {
		t.Errorf("Listen ended with %v", err)
	}
	release(t, s, "p", "x")
	picks(t, s, "p", ticket("1"), "x")
}

// A subscription has a connection of its own: what Redis allows those who listen to fall behind by is far less than
// what an answer may hold, and a call must not end for it.
func TestLargeAnswersPassBesideASubscription(t *testing.T) {
	server := redistest.New(t, "--client-output-buffer-limit", "pubsub", "64kb", "0", "0")
	s := open(t, server, still())
	put(t, s, "p", tms.PolicyChange{})
	large := make([]tms.NewToken, 300)
	for i := range large {
		large[i] = tms.NewToken{Metadata: map[string]string{"k": strings.Repeat("v", 1000)}}
	}
	_, err := s.Generate(t.Context(), "p", tms.GenerateRequest{Tokens: large})
	must(t, err)
	put(t, s, "q", tms.PolicyChange{})
	fill(t, s, "q", "x")
	take(t, s, "q")
	woken, stop := hear(t, s)
	join(t, s, "q", ticket("1"), 1)
	var calls sync.WaitGroup
	for range 16 {
		calls.Go(func() {
			page, err := s.Tokens(t.Context(), "p", tms.Filter{}, "", len(large))
			if err != nil || len(page.Tokens) != len(large) {
				t.Errorf("a listing of %d tokens, error %v", len(page.Tokens), err)
			}
		})
	}
	calls.Wait()
	release(t, s, "q", "x")
	wakes(t, woken, "1")
	must(t, stop())
}

// Wakes are hints: a connection for them that falls silent holds no ticket up for long.
func TestASubscriptionThatHangsHoldsNobodyUp(t *testing.T) {
	server := redistest.New(t)
	address, silence := onlyTheFirst(t, server.Addr)
	s := open(t, server, redis.Options{URL: "redis://" + address, Timeout: time.Minute})
	put(t, s, "p", tms.PolicyChange{})
	_, stop := hear(t, s)
	silence()
	start := time.Now()
	for place := range 20 {
		join(t, s, "p", ticket(fmt.Sprint(place)), place+1)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	stop()
}

// onlyTheFirst returns the address of a proxy, which lets nothing more through but for the first connection once it is
// told to.
func onlyTheFirst(t *testing.T, address string) (proxy string, silence func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	var silent atomic.Bool
	go func() {
		for first := true; ; first = false {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { in.Close() })
			out, err := net.Dial("tcp", address)
			if err != nil {
				return
			}
			t.Cleanup(func() { out.Close() })
			go io.Copy(in, out)
			go io.Copy(muted{out, func() bool { return silent.Load() && !first }}, in)
		}
	}()
	return listener.Addr().String(), func() { silent.Store(true) }
}

// muted is a writer that swallows what it is given while it is silent.
type muted struct {
	io.Writer
	silent func() bool
}

func (m muted) Write(p []byte) (int, error) {
	if m.silent() {
		return len(p), nil
	}
	return m.Writer.Write(p)
}
