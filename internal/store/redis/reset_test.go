package redis_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// onlyReads holds that the store turns away everything but reads.
func onlyReads(t *testing.T, s *redis.Store, pool string) {
	t.Helper()
	ctx, keys := t.Context(), []tms.LeaseKey{{Token: "a"}}
	for what, step := range map[string]func() error{
		"put pool":    func() error { _, err := s.PutPool(ctx, pool, tms.PolicyChange{}); return err },
		"delete pool": func() error { return s.DeletePool(ctx, pool) },
		"generate": func() error {
			_, err := s.Generate(ctx, pool, tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
			return err
		},
		"assign":         func() error { _, err := s.Assign(ctx, pool, make([]tms.AssignRequest, 1)); return err },
		"wait":           func() error { _, err := s.Assign(ctx, pool, []tms.AssignRequest{ticket("1")}); return err },
		"leave":          func() error { return s.Leave(ctx, pool, []string{"1"}, false) },
		"keep alive":     func() error { _, err := s.KeepAlive(ctx, pool, keys); return err },
		"unblock":        func() error { _, err := s.Unblock(ctx, pool, keys); return err },
		"unblock client": func() error { _, err := s.UnblockClient(ctx, pool, "c"); return err },
		"restore":        func() error { _, err := s.Restore(ctx, pool, []string{"a"}); return err },
		"delete":         func() error { _, err := s.Delete(ctx, pool, keys); return err },
		"expire":         func() error { _, err := s.Expire(ctx, pool, 1); return err },
		"put key":        func() error { return s.PutKey(ctx, tms.StoredKey{ID: "00000001"}) },
		"delete key":     func() error { _, err := s.DeleteKey(ctx, "a", ""); return err },
		"ready":          func() error { return s.Ready(ctx) },
	} {
		if err := step(); tms.CodeOf(err) != tms.ErrStoreReset {
			t.Errorf("%s: got %v", what, err)
		}
	}
	for what, read := range map[string]func() error{
		"pool":   func() error { _, _, err := s.Pool(ctx, pool); return err },
		"pools":  func() error { _, err := s.Pools(ctx, "", 10); return err },
		"token":  func() error { _, err := s.Token(ctx, pool, tms.LeaseKey{Token: "b"}); return err },
		"tokens": func() error { _, err := s.Tokens(ctx, pool, tms.Filter{}, "", 10); return err },
		"keys":   func() error { _, err := s.Keys(ctx, nil); return err },
	} {
		if err := read(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// An emptied Redis looks like a new one, in which every token is free. Whatever meets it first, the servers that were
// there before change nothing, and one that is started again does; then it is others' data to those that were not.
func TestAnEmptiedRedisIsNotANewOne(t *testing.T) {
	meets := map[string]func(s *redis.Store) error{
		"ready": func(s *redis.Store) error { return s.Ready(t.Context()) },
		"assign": func(s *redis.Store) error {
			_, err := s.Assign(t.Context(), "p", make([]tms.AssignRequest, 1))
			return err
		},
		"put":  func(s *redis.Store) error { _, err := s.PutPool(t.Context(), "p", tms.PolicyChange{}); return err },
		"make": func(s *redis.Store) error { _, err := s.PutPool(t.Context(), "q", tms.PolicyChange{}); return err },
		"create": func(s *redis.Store) error {
			_, err := s.PutPool(t.Context(), "p", tms.PolicyChange{If: tms.IfMissing})
			return err
		},
		"default": func(s *redis.Store) error {
			_, err := s.Generate(t.Context(), tms.DefaultPool, tms.GenerateRequest{Tokens: make([]tms.NewToken, 1)})
			return err
		},
	}
	for first, meet := range meets {
		for _, functions := range []bool{true, false} {
			server := redistest.New(t)
			s, other, c := open(t, server, redis.Options{}), open(t, server, redis.Options{}), raw(t, server)
			put(t, s, "p", tms.PolicyChange{})
			fill(t, s, "p", "a", "b")
			take(t, other, "p")
			ask(t, c, "FLUSHALL")
			if !functions {
				ask(t, c, "FUNCTION", "FLUSH")
			}
			if err := meet(s); tms.CodeOf(err) != tms.ErrStoreReset {
				t.Errorf("%s: got %v", first, err)
			}
			if keys, _ := ask(t, c, "KEYS", "*").AsStrSlice(); len(keys) > 0 {
				t.Errorf("%s: made %q in a Redis that was emptied", first, keys)
			}
			started := open(t, server, redis.Options{})
			put(t, started, "p", tms.PolicyChange{})
			fill(t, started, "p", "a", "b")
			refused(t, other.Ready(t.Context()), tms.ErrStoreReset)
			onlyReads(t, s, "p")
			onlyReads(t, other, "p")
			must(t, started.Ready(t.Context()))
			must(t, checkRedis(t.Context(), c))
			must(t, s.Close())
			server.Kill()
		}
	}
}

// A pool that another server deletes is gone, and one that is made again is there: that is no reset.
func TestADeletionElsewhereIsNoReset(t *testing.T) {
	for name, opened := range map[string]func() (a, b *redis.Store){
		"alone": func() (a, b *redis.Store) {
			server := redistest.New(t)
			return open(t, server, redis.Options{}), open(t, server, redis.Options{})
		},
		"cluster": func() (a, b *redis.Store) {
			nodes := redistest.NewCluster(t, 2)
			return open(t, nodes[0], redis.Options{}), open(t, nodes[1], redis.Options{})
		},
	} {
		a, b := opened()
		eventually(t, "both are ready", func() bool {
			return a.Ready(t.Context()) == nil &&
				b.Ready(t.Context()) == nil
		})
		for _, pool := range []string{tms.DefaultPool, "p", "q", "r"} {
			put(t, a, pool, tms.PolicyChange{})
			fill(t, b, pool, "a")
		}
		for _, pool := range []string{"p", "q", "r"} {
			must(t, a.DeletePool(t.Context(), pool))
			_, err := b.Assign(t.Context(), pool, make([]tms.AssignRequest, 1))
			refused(t, err, tms.ErrPoolNotFound)
			put(t, b, pool, tms.PolicyChange{})
			_, _, err = a.Pool(t.Context(), pool)
			must(t, err)
			if err := b.Ready(t.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A node of a cluster that is emptied without the ID of the data gives itself away by a pool that was there.
func TestAnEmptiedNodeOfAClusterIsNotANewOne(t *testing.T) {
	t.Parallel() // it waits, mostly
	nodes := redistest.NewCluster(t, 3)
	s := open(t, nodes[0], redis.Options{})
	eventually(t, "the cluster is ready", func() bool { return s.Ready(t.Context()) == nil })
	pools := []string{tms.DefaultPool, "a", "b", "c", "d", "e", "f"}
	for _, pool := range pools {
		put(t, s, pool, tms.PolicyChange{})
		fill(t, s, pool, "a", "b")
	}
	for _, node := range nodes {
		c := raw(t, node)
		keys, _ := ask(t, c, "KEYS", "*").AsStrSlice()
		if all := fmt.Sprint(keys); strings.Contains(all, "tms:store") || strings.Contains(all, "tms:pools") {
			continue
		}
		ask(t, c, "FLUSHALL")
		pool, _, _ := strings.Cut(strings.TrimPrefix(keys[0], "tms:{"), "}")
		_, err := s.PutPool(t.Context(), pool, tms.PolicyChange{})
		refused(t, err, tms.ErrStoreReset)
		if n := number(t, c, "DBSIZE"); n != 0 {
			t.Errorf("%d keys were made on the node", n)
		}
		for _, other := range pools { // on another node
			if _, err := s.Token(t.Context(), other, tms.LeaseKey{Token: "b"}); err == nil {
				onlyReads(t, s, other)
				return
			}
		}
	}
	t.Error("no node was emptied")
}

// What Redis refuses a new lease for, readiness tells; while it lasts no lease begins, and what Redis still takes goes
// on.
func TestFitToServe(t *testing.T) {
	server := redistest.New(t)
	s, c := open(t, server, redis.Options{}), raw(t, server)
	put(t, s, "p", tms.PolicyChange{})
	fill(t, s, "p", "a", "b")
	key := []tms.LeaseKey{{Token: take(t, s, "p").Value}}
	for _, ill := range []struct {
		says           string
		begin, end     []string
		takesNoChanges bool
	}{
		{"OOM", []string{"CONFIG", "SET", "maxmemory", "1"}, []string{"CONFIG", "SET", "maxmemory", "0"}, false},
		{"allkeys-lru", []string{"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"},
			[]string{"CONFIG", "SET", "maxmemory-policy", "noeviction"}, false},
		{"NOREPLICAS", []string{"CONFIG", "SET", "min-replicas-to-write", "1"},
			[]string{"CONFIG", "SET", "min-replicas-to-write", "0"}, true},
		{"replica", []string{"REPLICAOF", "127.0.0.1", "1"}, []string{"REPLICAOF", "NO", "ONE"}, true},
	} {
		ask(t, c, ill.begin...)
		saysWhy(t, s, ill.says)
		noNewLease(t, s)
		for _, change := range []func() error{
			func() error { _, err := s.KeepAlive(t.Context(), "p", key); return err },
			func() error { _, err := s.Unblock(t.Context(), "p", key); return err },
			func() error { _, err := s.Delete(t.Context(), "p", []tms.LeaseKey{{Token: "none"}}); return err },
		} {
			if err := change(); (tms.CodeOf(err) == tms.ErrStoreUnavailable) != ill.takesNoChanges {
				t.Errorf("%s: %v", ill.says, err)
			}
		}
		saysWhy(t, open(t, server, redis.Options{}), ill.says) // one that is started now
		noNewLease(t, open(t, server, redis.Options{}))
		ask(t, c, ill.end...)
		must(t, s.Ready(t.Context()))
		if ill.says == "replica" {
			settlesAfterwards(t, s)
			continue
		}
		release(t, s, "p", take(t, s, "p").Value)
		if !ill.takesNoChanges {
			key[0].Token = take(t, s, "p").Value
		}
	}
}

// settlesAfterwards holds that a master which was a replica has taken over its own pool, as soon as it has looked.
func settlesAfterwards(t *testing.T, s *redis.Store) {
	t.Helper()
	s.Beat()
	results, err := s.Assign(t.Context(), "p", []tms.AssignRequest{{}})
	must(t, err)
	refused(t, results[0].Err, tms.ErrPoolSettling)
}

func noNewLease(t *testing.T, s *redis.Store) {
	t.Helper()
	for _, r := range []tms.AssignRequest{{}, ticket("1")} {
		_, err := s.Assign(t.Context(), "p", []tms.AssignRequest{r})
		refused(t, err, tms.ErrStoreUnavailable)
	}
}

// A Redis whose disk fails takes no writes, and says so.
func TestNotReadyWhereTheDiskFails(t *testing.T) {
	server := redistest.New(t)
	s, c := open(t, server, redis.Options{}), raw(t, server)
	put(t, s, "p", tms.PolicyChange{})
	fill(t, s, "p", "a")
	ask(t, c, "CONFIG", "SET", "save", "3600 1")
	breakSaving(t, server, c)
	saysWhy(t, s, "MISCONF")
	noNewLease(t, s)
}

// A store that is opened while Redis takes no writes gives the data its ID later.
func TestTheIDOfTheDataIsDrawnWhenRedisTakesIt(t *testing.T) {
	server := redistest.New(t)
	c := raw(t, server)
	must(t, open(t, server, redis.Options{}).Ready(t.Context())) // which loads the library
	ask(t, c, "DEL", "tms:store")
	ask(t, c, "CONFIG", "SET", "maxmemory", "1")
	s := open(t, server, redis.Options{})
	saysWhy(t, s, "OOM")
	ask(t, c, "CONFIG", "SET", "maxmemory", "0")
	must(t, s.Ready(t.Context()))
	if n := number(t, c, "EXISTS", "tms:store"); n != 1 {
		t.Error("the data has no ID")
	}
}

// breakSaving has Redis fail to save to its disk.
func breakSaving(t *testing.T, server *redistest.Server, c rueidis.Client) {
	t.Helper()
	server.LoseDisk()
	ask(t, c, "BGSAVE")
	eventually(t, "saving has failed", func() bool {
		text, _ := ask(t, c, "INFO", "persistence").ToString()
		return strings.Contains(text, "rdb_last_bgsave_status:err")
	})
}
