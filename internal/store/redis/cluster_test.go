package redis_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

// The contract holds in a cluster, where each pool lies in one slot and every function names keys of that slot only.
func TestContractOnACluster(t *testing.T)      { storetest.Run(t, onCluster(t)) }
func TestQueueContractOnACluster(t *testing.T) { storetest.RunQueue(t, onCluster(t)) }

func onCluster(t *testing.T) storetest.Opener {
	nodes := redistest.NewCluster(t, 3)
	return func(t testing.TB, clock *storetest.Clock) []tms.Sweeper {
		for _, node := range nodes {
			ask(t, raw(t, node), "FLUSHALL")
		}
		return []tms.Sweeper{open(t, nodes[0], redis.Options{Now: clock.Now, OldMaster: -1})}
	}
}

// Servers of a cluster have the same keys, which lie on one of its nodes.
func TestKeysAreKeptOnACluster(t *testing.T) {
	nodes := redistest.NewCluster(t, 3)
	storetest.RunKeyring(t, func(t *testing.T) (views [2]tms.Keyring) {
		for _, node := range nodes {
			ask(t, raw(t, node), "FLUSHALL")
		}
		for i := range views {
			views[i] = open(t, nodes[i], redis.Options{})
		}
		return views
	})
}

// Pools on all nodes of a cluster wake waiters, and leave nothing on any node when they are gone.
func TestOnACluster(t *testing.T) {
	nodes := redistest.NewCluster(t, 3)
	// the first address does not answer
	s := open(t, nodes[1], redis.Options{URL: "redis://127.0.0.1:1?addr=" + nodes[1].Addr, Now: still().Now})
	eventually(t, "the cluster is ready", func() bool { return s.Ready(t.Context()) == nil })
	woken, _ := hear(t, s)
	pools := []string{"a", "b", "c", "d", "e", "f"}
	for _, pool := range pools {
		waitOnACluster(t, s, pool, woken)
	}
	used := 0
	for _, node := range nodes {
		if number(t, raw(t, node), "DBSIZE") > 1 {
			used++
		}
	}
	if used != len(nodes) {
		t.Errorf("the pools lie on %d of %d nodes", used, len(nodes))
	}
	for _, pool := range pools {
		must(t, s.DeletePool(t.Context(), pool))
	}
	for i, node := range nodes {
		c := raw(t, node)
		n, keys := number(t, c, "DBSIZE"), ask(t, c, "KEYS", "*")
		names, _ := keys.AsStrSlice()
		for _, key := range names {
			if key == "tms:store" || strings.HasSuffix(key, "}:gone") && number(t, c, "PTTL", key) > 0 {
				n--
			}
		}
		if n != 0 {
			t.Errorf("%d keys are left on node %d", n, i)
		}
	}
}

// The nodes that a server meets first have taken over from nobody.
func TestTheFirstBeatWarnsOfNothing(t *testing.T) {
	var log bytes.Buffer
	s := open(t, redistest.NewCluster(t, 3)[0], redis.Options{Logger: slog.New(slog.NewTextHandler(&log,
		&slog.HandlerOptions{Level: slog.LevelWarn}))})
	must(t, s.Ready(t.Context()))
	s.Beat()
	s.Beat()
	must(t, s.Close())
	if log.Len() > 0 {
		t.Errorf("the log says: %s", &log)
	}
}

// waitOnACluster waits in a queue of a pool with everything that only some pools have.
func waitOnACluster(t *testing.T, s *redis.Store, pool string, woken <-chan string) {
	t.Helper()
	put(t, s, pool, tms.PolicyChange{Labels: &[]string{"colour"}, MaxLeasesPerClient: new(1)})
	request := tms.GenerateRequest{Tokens: []tms.NewToken{coloured("x", "red")}, RequestID: "generate"}
	_, err := s.Generate(t.Context(), pool, request)
	must(t, err)
	must(t, show(t, s, pool, tms.AssignRequest{ClientID: "holder", RequestID: "assign"}).Err)
	join(t, s, pool, matching(pool+"1", "red"), 1)
	ended, err := s.UnblockClient(t.Context(), pool, "holder")
	if must(t, err); ended != 1 {
		t.Errorf("%d leases were ended", ended)
	}
	wakes(t, woken, pool+"1")
	picks(t, s, pool, matching(pool+"1", "red"), "x")
	must(t, s.Leave(t.Context(), pool, []string{pool + "2"}, false))
}
