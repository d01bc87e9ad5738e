package redis_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// underSentinels starts a master with a replica and three Sentinels, and a store that finds the master by them.
func underSentinels(t *testing.T) (s *redis.Store, nodes, sentinels []*redistest.Server) {
	master, replica := redistest.New(t, atOnce...), redistest.New(t, atOnce...)
	redistest.Follow(t, replica, master)
	sentinels = redistest.NewSentinels(t, 3, master)
	for _, one := range sentinels {
		eventually(t, "the Sentinels know each other and the replica", func() bool {
			m, err := ask(t, raw(t, one), "SENTINEL", "MASTER", redistest.MasterSet).AsStrMap()
			return err == nil && m["num-other-sentinels"] == "2" && m["num-slaves"] == "1"
		})
	}
	s = open(t, master, redis.Options{URL: redistest.SentinelURL(sentinels)})
	eventually(t, "the store is ready", func() bool { return s.Ready(t.Context()) == nil })
	return s, []*redistest.Server{master, replica}, sentinels
}

// The master is lost, and the store goes on through the one that the Sentinels have made: what was drawn since is given
// at once, what may be somebody's when the pool has settled. The holder of a lease keeps it.
func TestSentinelsFailOver(t *testing.T) {
	t.Parallel() // it waits, mostly
	s, nodes, _ := underSentinels(t)
	put(t, s, "p", tms.PolicyChange{LeaseTTL: new(5 * time.Second)})
	fill(t, s, "p", "a", "b")
	held := take(t, s, "p")
	time.Sleep(1200 * time.Millisecond) // it is replicated
	nodes[0].Kill()
	key := []tms.LeaseKey{{Token: held.Value, LeaseID: held.Lease.ID}}
	eventually(t, "the lease is kept alive through the new master", func() bool {
		results, err := s.KeepAlive(t.Context(), "p", key)
		return err == nil && results[0].Err == nil
	})
	results, err := s.Assign(t.Context(), "p", []tms.AssignRequest{{}})
	must(t, err)
	refused(t, results[0].Err, tms.ErrPoolSettling)
	fill(t, s, "p", "") // drawn
	began := time.Now()
	eventually(t, "what was drawn since is given", func() bool {
		results, err := s.Assign(t.Context(), "p", []tms.AssignRequest{{}})
		return err == nil && results[0].Err == nil
	})
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
	eventually(t, "all is given in the end", func() bool {
		s.KeepAlive(t.Context(), "p", key)
		results, err := s.Assign(t.Context(), "p", []tms.AssignRequest{{}})
		return err == nil && results[0].Err == nil && results[0].Tokens[0].Value != held.Value
	})
}

// A master that was given up may come back empty. Until the Sentinels have made it a replica it takes itself for the
// master, and servers that ask it once more do not take its data for that of the pools.
func TestAMasterThatComesBackEmpty(t *testing.T) {
	t.Parallel() // it waits, mostly
	for range 4 {
		err, lost := comesBackEmpty(t)
		if !lost {
			must(t, err)
			return
		}
		t.Logf("the Sentinels have turned back to the empty master, which loses the data in earnest: %v", err)
	}
	t.Error("the Sentinels turn back each time")
}

// comesBackEmpty returns how a store fares that is used while its master comes back empty, and whether the Sentinels
// have made that the master once more: on a slow machine those that have not yet heard of another do.
func comesBackEmpty(t *testing.T) (err error, lost bool) {
	s, nodes, sentinels := underSentinels(t)
	put(t, s, "p", tms.PolicyChange{})
	fill(t, s, "p", "a")
	time.Sleep(1200 * time.Millisecond) // it is replicated
	var clients sync.WaitGroup
	done, resets := make(chan struct{}), make(chan error, 16)
	for range cap(resets) {
		clients.Go(func() { resets <- lookForReset(t, s, done) })
	}
	nodes[0].Kill()
	eventually(t, "a Sentinel has made the replica the master", func() bool {
		return slices.ContainsFunc(sentinels, func(one *redistest.Server) bool {
			return redistest.MasterOf(t, one, nodes) == nodes[1]
		})
	})
	nodes[0].Start()
	time.Sleep(3 * time.Second)
	close(done)
	clients.Wait()
	for range cap(resets) {
		err = errors.Join(err, <-resets)
	}
	for deadline := time.Now().Add(30 * time.Second); err == nil && time.Now().Before(deadline); {
		if _, err := s.KeepAlive(t.Context(), "p", []tms.LeaseKey{{Token: "a"}}); err == nil {
			return nil, false
		} else if tms.CodeOf(err) == tms.ErrStoreReset {
			return err, redistest.Master(nodes) == nodes[0]
		}
		time.Sleep(20 * time.Millisecond)
	}
	return cmp.Or(err, errors.New("the store does not go on")), redistest.Master(nodes) == nodes[0]
}

// lookForReset uses the store until the channel is closed, and returns an error if it takes the data for another's.
func lookForReset(t *testing.T, s *redis.Store, done <-chan struct{}) error {
	for {
		select {
		case <-done:
			return nil
		case <-time.After(time.Millisecond):
		}
		_, err := s.KeepAlive(t.Context(), "p", []tms.LeaseKey{{Token: "a"}})
		if tms.CodeOf(err) == tms.ErrStoreReset {
			return err
		}
	}
}

// A server that has lost sight of the majority of the Sentinels changes nothing, and still looks.
func TestAMajorityOfTheSentinelsVouches(t *testing.T) {
	t.Parallel() // it waits, mostly
	s, _, sentinels := underSentinels(t)
	put(t, s, "p", tms.PolicyChange{})
	fill(t, s, "p", "a")
	sentinels[0].Kill()
	time.Sleep(2500 * time.Millisecond)
	var held tms.Token
	eventually(t, "two of three are enough", func() bool {
		results, err := s.Assign(t.Context(), "p", []tms.AssignRequest{{}})
		if err == nil && results[0].Err == nil {
			held = results[0].Tokens[0]
		}
		return held.Value != ""
	})
	sentinels[1].Stop()
	eventually(t, "changes are refused", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		results, err := s.KeepAlive(ctx, "p", []tms.LeaseKey{{Token: held.Value}})
		return tms.CodeOf(err) == tms.ErrStoreUnavailable || err == nil && results[0].Err != nil
	})
	refused(t, s.Ready(t.Context()), tms.ErrStoreUnavailable)
	if _, err := s.Token(t.Context(), "p", tms.LeaseKey{Token: "a"}); err != nil {
		t.Errorf("a lookup: %v", err)
	}
	sentinels[1].Continue()
	eventually(t, "changes go on", func() bool {
		_, err := s.KeepAlive(t.Context(), "p", []tms.LeaseKey{{Token: held.Value}})
		return err == nil
	})
}

// What a master answers late, when no majority of the Sentinels vouches for it any more, does not count: it may have
// been given up meanwhile.
func TestALateAnswerUnderSentinelsDoesNotCount(t *testing.T) {
	t.Parallel() // it waits, mostly
	s, nodes, sentinels := underSentinels(t)
	put(t, s, "p", tms.PolicyChange{})
	fill(t, s, "p", "a")
	for _, sentinel := range sentinels {
		sentinel.Stop()
		defer sentinel.Continue()
	}
	nodes[0].Stop()
	answered := make(chan error)
	go func() {
		_, err := s.KeepAlive(t.Context(), "p", []tms.LeaseKey{{Token: "a"}})
		answered <- err
	}()
	time.Sleep(2400 * time.Millisecond) // of the 3 s that the call may take
	nodes[0].Continue()
	if err := <-answered; err == nil {
		t.Error("the answer counts")
	}
}

// A master that is given up and taken back before it has heard of either has no sign of it. The servers tell it.
func TestAMasterThatNeverKnewIsTold(t *testing.T) {
	server := redistest.New(t)
	c := raw(t, server)
	s := open(t, server, redis.Options{})
	put(t, s, "p", tms.PolicyChange{})
	fill(t, s, "p", "a")
	release(t, s, "p", take(t, s, "p").Value)
	beat := func(comes string) {
		t.Helper()
		ask(t, c, "FCALL", "tms1_beat", "0", "1 r another 3000 0", comes)
	}
	beat("")
	release(t, s, "p", take(t, s, "p").Value)
	beat("1")
	results, err := s.Assign(t.Context(), "p", []tms.AssignRequest{{}})
	must(t, err)
	refused(t, results[0].Err, tms.ErrPoolSettling)
	p, _, err := s.Pool(t.Context(), "p")
	must(t, err)
	beat("1") // another server, of the same failover
	again, _, err := s.Pool(t.Context(), "p")
	must(t, err)
	if moved := again.SettlingUntil.Sub(p.SettlingUntil); moved.Abs() > time.Second {
		t.Errorf("the second server that came let the pool settle for another %v", moved)
	}
}
