package redis_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/loopback"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// A call ends by its context or the store's timeout, whichever is first, and its outcome is unknown.
func TestACallEndsByItsDeadlineWhenRedisHangs(t *testing.T) {
	server := redistest.New(t)
	s := open(t, server, redis.Options{Timeout: 400 * time.Millisecond})
	fill(t, s, tms.DefaultPool, "a")
	server.Stop()
	defer server.Continue()
	for _, limit := range []time.Duration{50 * time.Millisecond, time.Hour} {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		_, err := s.Assign(ctx, tms.DefaultPool, make([]tms.AssignRequest, 1))
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || tms.CodeOf(err) != "" {
			t.Errorf("with %v: got %v, want a failure by the deadline", limit, err)
		}
	}
	server.Continue()
	eventually(t, "the store works again", func() bool {
		_, err := s.Token(t.Context(), tms.DefaultPool, tms.LeaseKey{Token: "a"})
		return err == nil
	})
}

// A call does not wait out another's attempt to connect to a server that hangs.
func TestACallDoesNotWaitForAnothersDeadline(t *testing.T) {
	server := redistest.New(t)
	s := open(t, server, redis.Options{Timeout: 8 * time.Second})
	fill(t, s, tms.DefaultPool, "a")
	ask(t, raw(t, server), "CLIENT", "KILL", "TYPE", "normal")
	server.Stop()
	patient, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	calls.Go(func() { s.Token(patient, tms.DefaultPool, tms.LeaseKey{Token: "a"}) })
	time.Sleep(100 * time.Millisecond) // the other one has begun
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	start := time.Now()
	s.Token(ctx, tms.DefaultPool, tms.LeaseKey{Token: "a"})
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("the call took %v", took)
	}
	server.Continue()
	cancel()
	calls.Wait()
}

// However many calls hang and whatever their deadlines, none waits for another's.
func TestManyCallsEndByTheirDeadlines(t *testing.T) {
	server := redistest.New(t)
	s := open(t, server, redis.Options{Timeout: 5 * time.Second})
	fill(t, s, tms.DefaultPool, "a")
	server.Stop()
	defer server.Continue()
	var calls sync.WaitGroup
	defer calls.Wait()
	for i := range 200 {
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(20+i)*time.Millisecond)
			defer cancel()
			for range 3 {
				if _, err := s.Token(ctx, tms.DefaultPool, tms.LeaseKey{Token: "a"}); err == nil {
					t.Error("a server that hangs has answered")
				}
			}
			if late := time.Until(mustDeadline(ctx)); late < -4*time.Second {
				t.Errorf("a call ended %v after its deadline", -late)
			}
		})
	}
}

func mustDeadline(ctx context.Context) time.Time {
	deadline, _ := ctx.Deadline()
	return deadline
}

// A call that is cancelled ends at once, and the connection that others use lives on.
func TestACancelledCallEnds(t *testing.T) {
	server := redistest.New(t)
	s := open(t, server, redis.Options{Timeout: time.Minute})
	fill(t, s, tms.DefaultPool, "a")
	before := field(t, raw(t, server), "total_connections_received")
	server.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err := s.Token(ctx, tms.DefaultPool, tms.LeaseKey{Token: "a"})
	server.Continue()
	if !errors.Is(err, context.Canceled) || tms.CodeOf(err) != "" {
		t.Errorf("got %v, want a failure by the cancellation", err)
	}
	_, err = s.Token(t.Context(), tms.DefaultPool, tms.LeaseKey{Token: "a"})
	must(t, err)
	if after := field(t, raw(t, server), "total_connections_received"); after > before+1 {
		t.Errorf("%v new connections were made", after-before-1)
	}
}

// A call that was sent is never repeated by itself: when the connection breaks, the outcome is unknown.
func TestALostConnectionIsAFailure(t *testing.T) {
	server := redistest.New(t)
	s := open(t, server, redis.Options{})
	fill(t, s, tms.DefaultPool, "a")
	server.Stop()
	result := make(chan error)
	go func() {
		_, err := s.Assign(context.WithoutCancel(t.Context()), tms.DefaultPool, make([]tms.AssignRequest, 1))
		result <- err
	}()
	time.Sleep(100 * time.Millisecond) // the call is under way
	server.Kill()
	if err := <-result; err == nil || tms.CodeOf(err) != "" {
		t.Errorf("got %v, want a failure", err)
	}
	eventually(t, "calls are refused", func() bool {
		_, err := s.Token(t.Context(), tms.DefaultPool, tms.LeaseKey{Token: "a"})
		return tms.CodeOf(err) == tms.ErrStoreUnavailable
	})
}

// A full Redis refuses what takes space, unchanged, and lets go of what it holds.
func TestAFullRedisDrains(t *testing.T) {
	server := redistest.New(t)
	s, c := open(t, server, redis.Options{}), raw(t, server)
	ctx := t.Context()
	put(t, s, "p", tms.PolicyChange{})
	fill(t, s, "p", "a", "b", "c")
	held := take(t, s, "p")
	broken, spoilt := take(t, s, "p"), take(t, s, "p")
	_, err := s.Unblock(ctx, "p", []tms.LeaseKey{{Token: spoilt.Value, Quarantine: true}})
	must(t, err)
	join(t, s, "p", ticket("1"), 1)
	ask(t, c, "CONFIG", "SET", "maxmemory", "1")
	defer ask(t, c, "CONFIG", "SET", "maxmemory", "0")
	_, err = s.Generate(ctx, "p", tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
	refused(t, err, tms.ErrStoreUnavailable)
	for _, r := range []tms.AssignRequest{{}, ticket("1")} {
		_, err = s.Assign(ctx, "p", []tms.AssignRequest{r})
		refused(t, err, tms.ErrStoreUnavailable)
	}
	put(t, s, "p", tms.PolicyChange{Paused: new(true)})
	put(t, s, "p", tms.PolicyChange{Paused: new(false)})
	_, err = s.PutPool(ctx, "q", tms.PolicyChange{})
	refused(t, err, tms.ErrStoreUnavailable)
	saysWhy(t, s, "OOM")
	release(t, s, "p", broken.Value) // to who waits
	must(t, s.Leave(ctx, "p", []string{"1"}, false))
	restored, err := s.Restore(ctx, "p", []string{spoilt.Value})
	must(t, errors.Join(err, restored[0].Err))

	key := []tms.LeaseKey{{Token: held.Value, LeaseID: held.Lease.ID}}
	kept, err := s.KeepAlive(ctx, "p", key)
	must(t, errors.Join(err, kept[0].Err))
	freed, err := s.Unblock(ctx, "p", key)
	must(t, errors.Join(err, freed[0].Err))
	dropped, err := s.Delete(ctx, "p", []tms.LeaseKey{{Token: held.Value}})
	must(t, errors.Join(err, dropped[0]))
	_, err = s.Expire(ctx, "p", 10)
	must(t, err)
	_, err = s.Tokens(ctx, "p", tms.Filter{}, "", 10)
	must(t, err)
	must(t, s.DeletePool(ctx, "p"))
}

// The library comes back after a server has lost it.
func TestTheLibraryIsLoadedAgain(t *testing.T) {
	server := redistest.New(t)
	s, c := open(t, server, redis.Options{}), raw(t, server)
	fill(t, s, tms.DefaultPool, "a", "b")
	first := take(t, s, tms.DefaultPool)
	ask(t, c, "FUNCTION", "FLUSH")
	second := take(t, s, tms.DefaultPool)
	if second.Lease.Fence <= first.Lease.Fence {
		t.Errorf("fence %d after %d", second.Lease.Fence, first.Lease.Fence)
	}
	must(t, checkRedis(t.Context(), c))
}

// Many calls that find the library missing load it once, and each is carried out once or refused.
func TestTheLibraryIsLoadedAgainUnderLoad(t *testing.T) {
	server := redistest.New(t)
	s, c := open(t, server, redis.Options{}), raw(t, server)
	put(t, s, "p", tms.PolicyChange{})
	var done, created atomic.Int64
	var clients sync.WaitGroup
	for range 32 {
		clients.Go(func() {
			for range 50 {
				g, err := s.Generate(t.Context(), "p", tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
				if err != nil && tms.CodeOf(err) != tms.ErrStoreUnavailable { // it may be lost twice during one call
					t.Errorf("failed: %v", err)
				}
				created.Add(int64(g.Created))
				done.Add(1)
			}
		})
	}
	for range 5 {
		target := done.Load() + 100
		eventually(t, "more is done", func() bool { return done.Load() > min(target, 1500) })
		ask(t, c, "FUNCTION", "FLUSH")
	}
	clients.Wait()
	if n := number(t, c, "ZCARD", "tms:{p}:available"); n != created.Load() || n < 32*45 {
		t.Errorf("there are %d tokens, %d were created", n, created.Load())
	}
}

// A Redis that is killed and comes back has its tokens, in exactly one state each, and issues greater fences.
func TestCrashBetweenCommandsOrphansNothing(t *testing.T) {
	server := redistest.New(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, server, redis.Options{})
	values := make([]string, 50)
	for i := range values {
		values[i] = fmt.Sprint("t", i)
	}
	put(t, s, "p", tms.PolicyChange{Cooldown: new(100 * time.Millisecond), LeaseTTL: new(300 * time.Millisecond)})
	fill(t, s, "p", values...)
	var highest atomic.Int64
	var gate sync.RWMutex
	var clients sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer clients.Wait()
	defer cancel()
	for range 8 {
		clients.Go(func() { churn(ctx, s, &gate, &highest) })
	}
	for range 3 {
		reached := highest.Load()
		eventually(t, "fences rise", func() bool { return highest.Load() > reached+20 })
		server.Kill()
		gate.Lock()
		reached = highest.Load()
		server.Start()
		must(t, checkRedis(t.Context(), raw(t, server)))
		gate.Unlock()
		eventually(t, "fences of a new epoch", func() bool { return highest.Load() > reached+lost })
	}
	cancel()
	clients.Wait()
	must(t, checkRedis(t.Context(), raw(t, server)))
	page, err := s.Tokens(t.Context(), "p", tms.Filter{}, "", 100)
	must(t, err)
	if len(page.Tokens) != len(values) {
		t.Errorf("of %d tokens %d are left", len(values), len(page.Tokens))
	}
}

// churn runs cycles until ctx ends, each behind the gate. It remembers the highest fence.
func churn(ctx context.Context, s *redis.Store, gate *sync.RWMutex, highest *atomic.Int64) {
	for n := 0; ctx.Err() == nil; n++ {
		gate.RLock()
		fence := useToken(ctx, s, n%5 > 0)
		gate.RUnlock()
		for seen := highest.Load(); fence > seen && !highest.CompareAndSwap(seen, fence); {
			seen = highest.Load()
		}
		if fence == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// useToken assigns a token, keeps it alive, and unblocks or forgets it. It returns its fence, or 0.
func useToken(ctx context.Context, s *redis.Store, unblock bool) int64 {
	results, err := s.Assign(ctx, "p", make([]tms.AssignRequest, 1))
	if err != nil || results[0].Err != nil {
		return 0
	}
	token := results[0].Tokens[0]
	keys := []tms.LeaseKey{{Token: token.Value, LeaseID: token.Lease.ID}}
	s.KeepAlive(ctx, "p", keys)
	if unblock {
		s.Unblock(ctx, "p", keys)
	}
	return token.Lease.Fence
}

// A master that becomes a replica keeps its connections. The store leaves them, and finds the new master at the same
// address, whether somebody calls or only asks whether the store is ready.
func TestADemotedMasterIsLeft(t *testing.T) {
	for name, found := range map[string]func(*redis.Store) error{
		"by who calls": func(s *redis.Store) error {
			_, err := s.PutPool(t.Context(), "p", tms.PolicyChange{})
			return err
		},
		"by who looks": func(s *redis.Store) error { return s.Ready(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			old, next := redistest.New(t, atOnce...), redistest.New(t, atOnce...)
			redistest.Follow(t, next, old)
			proxy := loopback.NewWire(t, old.Addr)
			s := open(t, old, redis.Options{URL: "redis://" + proxy.Addr})
			put(t, s, "p", tms.PolicyChange{})
			c := raw(t, old)
			ask(t, c, "SET", "tms:last", "1")
			ask(t, c, "WAIT", "1", "10000")
			ask(t, raw(t, next), "REPLICAOF", "NO", "ONE")
			proxy.Turn(next.Addr)
			redistest.Follow(t, old, next)
			eventually(t, "the store finds the new master", func() bool { return found(s) == nil })
		})
	}
}
