package redis_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/loopback"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

// replicated starts a master with n replicas, and a store that waits for so many of them.
func replicated(t testing.TB, n, need int) (*redis.Store, *redistest.Server, []*redistest.Server) {
	master := redistest.New(t, atOnce...)
	replicas := make([]*redistest.Server, n)
	for i := range replicas {
		replicas[i] = redistest.New(t)
		redistest.Follow(t, replicas[i], master)
	}
	s := open(t, master, redis.Options{Replicas: need})
	if need <= n { // a replica that is new has told nothing yet
		storetest.Eventually(t, "the replicas follow", func() bool {
			_, err := s.PutPool(t.Context(), "p", tms.PolicyChange{})
			return err == nil
		})
	}
	return s, master, replicas
}

// What was answered is on the replicas: the master may be lost with all that it had.
func TestWhatReplicasHaveOutlastsTheMaster(t *testing.T) {
	s, master, replicas := replicated(t, 1, 1)
	var mu sync.Mutex
	taken := map[string]string{}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 16 {
		clients.Go(func() {
			for n := 0; ; n++ {
				value := fmt.Sprintf("t%d-%d", i, n)
				_, err := s.Generate(t.Context(), "p", tms.GenerateRequest{Tokens: []tms.NewToken{{Value: value}}})
				if err != nil {
					return
				}
				results, err := s.Assign(t.Context(), "p", []tms.AssignRequest{{Prefer: value}})
				if err != nil || results[0].Err != nil {
					return
				}
				mu.Lock()
				taken[results[0].Tokens[0].Value] = results[0].Tokens[0].Lease.ID
				mu.Unlock()
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	time.Sleep(300 * time.Millisecond)
	master.Kill()
	close(stop)
	clients.Wait()
	ask(t, raw(t, replicas[0]), "REPLICAOF", "NO", "ONE")
	promoted := open(t, replicas[0], redis.Options{})
	for value, id := range taken {
		results, err := promoted.KeepAlive(t.Context(), "p", []tms.LeaseKey{{Token: value, LeaseID: id}})
		must(t, errors.Join(err, results[0].Err))
	}
	if len(taken) < 50 {
		t.Errorf("only %d leases were given", len(taken))
	}
}

// A replica that hangs makes the outcome unknown in less than a second, for changes and for the refusals that come
// after one, and holds up nobody who only looks. A refusal that rests on nothing but what it has is known.
func TestAReplicaThatHangs(t *testing.T) {
	s, _, replicas := replicated(t, 2, 2)
	fill(t, s, "p", "a", "b")
	take(t, s, "p")
	time.Sleep(1500 * time.Millisecond) // in which the replicas say that they have all that was asked of the master
	replicas[0].Stop()
	for _, c := range []struct {
		name string
		call func() error
	}{
		{"assign", func() error {
			_, err := s.Assign(t.Context(), "p", []tms.AssignRequest{{}})
			return err
		}},
		{"a refused keep-alive", func() error {
			_, err := s.KeepAlive(t.Context(), "p", []tms.LeaseKey{{Token: "a", LeaseID: "another"}})
			return err
		}},
		{"a key", func() error { return s.PutKey(t.Context(), tms.StoredKey{ID: "00000001"}) }},
		{"a key that is removed", func() error {
			_, err := s.DeleteKey(t.Context(), "none", "")
			return err
		}},
		{"a pool that exists", func() error {
			_, err := s.PutPool(t.Context(), "p", tms.PolicyChange{If: tms.IfMissing})
			return err
		}},
	} {
		began, looked := time.Now(), make(chan struct{})
		go func() {
			time.Sleep(50 * time.Millisecond)
			s.Token(t.Context(), "p", tms.LeaseKey{Token: "a"})
			close(looked)
		}()
		err := c.call()
		if !errors.Is(err, tms.ErrNotDurable) || tms.CodeOf(err) != "" {
			t.Errorf("%s: got %v, want an unknown outcome that is not durable", c.name, err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s took %v", c.name, took)
		}
		select {
		case <-looked:
		default:
			t.Errorf("a lookup was held up beside %s", c.name)
		}
	}
	replicas[0].Continue()
	eventually(t, "the replicas have all again", func() bool {
		_, err := s.KeepAlive(t.Context(), "p", []tms.LeaseKey{{Token: "a"}})
		return err == nil
	})
}

// With fewer replicas than are to have it, nothing is taken for durable.
func TestTooFewReplicas(t *testing.T) {
	s, _, _ := replicated(t, 1, 2)
	_, err := s.Generate(t.Context(), tms.DefaultPool, tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
	if !errors.Is(err, tms.ErrNotDurable) {
		t.Errorf("got %v, want that it is not durable", err)
	}
}

// twins are a master, its replica, and another master that was its replica until now and has one itself.
func twins(t *testing.T) (old, replica, next *redistest.Server) {
	t.Helper()
	old, replica, next = redistest.New(t, atOnce...), redistest.New(t, atOnce...), redistest.New(t, atOnce...)
	redistest.Follow(t, next, old)
	put(t, open(t, old, redis.Options{Replicas: 1}), "p", tms.PolicyChange{})
	ask(t, raw(t, next), "REPLICAOF", "NO", "ONE")
	redistest.Follow(t, replica, old)
	redistest.Follow(t, redistest.New(t, atOnce...), next)
	return old, replica, next
}

func generates(t *testing.T, s *redis.Store, value string) error {
	_, err := s.Generate(t.Context(), "p", tms.GenerateRequest{Tokens: []tms.NewToken{{Value: value}}})
	return err
}

// Replicas count only if they are those of the server that carried out the call: the connection over which they are
// waited for may lead to another one by now.
func TestAnotherServersReplicasDoNotCount(t *testing.T) {
	old, _, next := twins(t)
	proxy := loopback.NewWire(t, old.Addr)
	s := open(t, old, redis.Options{URL: "redis://" + proxy.Addr, Replicas: 1})
	must(t, s.Ready(t.Context())) // the calls are connected to the old one
	proxy.Turn(next.Addr)
	if err := generates(t, s, "a"); !errors.Is(err, tms.ErrNotDurable) {
		t.Errorf("got %v, want that it is not durable", err)
	}
}

// A call counts only if the connection over which it was sent stands until the replicas have it. Over a new one another
// server may be asked for everything.
func TestAConnectionMadeAnewDoesNotCount(t *testing.T) {
	old, replica, next := twins(t)
	proxy := loopback.NewWire(t, old.Addr)
	s := open(t, old, redis.Options{URL: "redis://" + proxy.Addr, Replicas: 1})
	eventually(t, "the store is connected", func() bool { return generates(t, s, "first") == nil })
	replica.Stop()
	outcomes := make(chan error, 2)
	for _, value := range []string{"waits", "waits behind it"} {
		go func() { outcomes <- generates(t, s, value) }()
		eventually(t, "the old master has the token", func() bool {
			return number(t, raw(t, old), "EXISTS", "tms:{p}:available") == 1 &&
				!ask(t, raw(t, old), "ZSCORE", "tms:{p}:available", value).IsNil()
		})
	}
	proxy.Turn(next.Addr)
	proxy.Cut()
	for range 2 {
		if err := <-outcomes; err == nil {
			t.Error("what only the old master has is taken for durable")
		}
	}
	replica.Continue()
}
