package redis_test

import (
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// In a cluster each pool lies in one slot, and every function names keys of that slot only.
func TestOnACluster(t *testing.T) {
	server := redistest.New(t, "--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
	c := raw(t, server)
	ask(t, c, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	s := open(t, server, redis.Options{})
	eventually(t, "the cluster is ready", func() bool { return s.Ready(t.Context()) == nil })
	for _, pool := range []string{"a", "b", "c"} {
		put(t, s, pool, tms.PolicyChange{Cooldown: new(time.Second)})
		_, err := s.Generate(t.Context(), pool, tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "x", Metadata: map[string]string{"k": "v"}}}})
		must(t, err)
		held := take(t, s, pool)
		results, err := s.KeepAlive(t.Context(), pool, []tms.LeaseKey{{Token: "x", LeaseID: held.Lease.ID}})
		must(t, err)
		must(t, results[0].Err)
		results, err = s.Unblock(t.Context(), pool, []tms.LeaseKey{{Token: "x", LeaseID: held.Lease.ID}})
		must(t, err)
		must(t, results[0].Err)
	}
	waitOnACluster(t, s)
	must(t, checkRedis(t.Context(), c))
	for _, pool := range []string{"a", "b", "c", "queued"} {
		must(t, s.DeletePool(t.Context(), pool))
	}
	if n := number(t, c, "DBSIZE"); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// waitOnACluster waits in a queue of a pool with everything that only some pools have.
func waitOnACluster(t *testing.T, s *redis.Store) {
	t.Helper()
	woken, _ := hear(t, s)
	put(t, s, "queued", tms.PolicyChange{Labels: &[]string{"colour"}, MaxLeasesPerClient: new(1)})
	request := tms.GenerateRequest{Tokens: []tms.NewToken{coloured("x", "red")}, RequestID: "generate"}
	_, err := s.Generate(t.Context(), "queued", request)
	must(t, err)
	must(t, show(t, s, "queued", tms.AssignRequest{ClientID: "holder", RequestID: "assign"}).Err)
	join(t, s, "queued", matching("1", "red"), 1)
	ended, err := s.UnblockClient(t.Context(), "queued", "holder")
	if must(t, err); ended != 1 {
		t.Errorf("%d leases were ended", ended)
	}
	wakes(t, woken, "1")
	picks(t, s, "queued", matching("1", "red"), "x")
	must(t, s.Leave(t.Context(), "queued", []string{"2"}))
}
