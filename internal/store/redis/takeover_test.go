package redis_test

import (
	"testing"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

// taken is a store whose Redis is another process from time to time.
type taken struct {
	checked
	server *redistest.Server
}

// TakeOver kills Redis, and starts it again with all that it had written, which TMS cannot know.
func (s *taken) TakeOver(t testing.TB) {
	t.Helper()
	s.server.Kill()
	s.server.Start()
	storetest.Eventually(t, "redis is back", func() bool { return s.Ready(t.Context()) == nil })
	s.client = raw(t, s.server)
}

func TestTakeoverContract(t *testing.T)      { storetest.RunTakeover(t, takenOver(t)) }
func TestQueueTakeoverContract(t *testing.T) { storetest.RunQueueTakeover(t, takenOver(t)) }

func takenOver(t *testing.T) storetest.Opener {
	server := redistest.New(t, "--appendonly", "yes", "--appendfsync", "always")
	return func(t testing.TB, clock *storetest.Clock) []tms.Sweeper {
		return []tms.Sweeper{&taken{checked{open(t, server, redis.Options{Now: clock.Now}), raw(t, server)}, server}}
	}
}

// takenCluster is a store whose nodes are other processes from time to time.
type takenCluster struct {
	*redis.Store
	nodes []*redistest.Server
}

func (s *takenCluster) TakeOver(t testing.TB) {
	t.Helper()
	for _, node := range s.nodes {
		node.Kill()
		node.Start()
	}
	redistest.AwaitCluster(s.nodes)
	storetest.Eventually(t, "the cluster is back", func() bool { return s.Ready(t.Context()) == nil })
}

func TestTakeoverContractOnACluster(t *testing.T) {
	t.Parallel() // it waits, mostly
	nodes := redistest.NewCluster(t, 3, "--appendonly", "yes", "--appendfsync", "always")
	storetest.RunTakeover(t, func(t testing.TB, clock *storetest.Clock) []tms.Sweeper {
		return []tms.Sweeper{&takenCluster{open(t, nodes[0], redis.Options{Now: clock.Now, OldMaster: -1}), nodes}}
	})
}
