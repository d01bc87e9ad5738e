package main

import (
	"math/rand/v2"
	"os/exec"
	"testing"
	"time"

	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// row is one way to keep the tokens, and what happens to it.
type row struct {
	name   string
	faults string
	quick  bool // is a part of every test
	lossy  bool // answers may be lost: it is a figure how many
	parts  bool // a partition outlasts what the store can know of: what is doubled, or goes back, is a figure, too
	begin  func(s *soak) []fault
}

var rows = []row{
	{name: "embedded, --sync always", faults: "kill -9 and SIGSTOP of TMS", quick: true,
		begin: func(s *soak) []fault { return s.onDisk("always").serverFaults() }},
	{name: "embedded, --sync 10ms", faults: "kill -9 and SIGSTOP of TMS",
		begin: func(s *soak) []fault { return s.onDisk("10ms").serverFaults() }},
	{name: "embedded, --sync always", faults: "down for longer than the leases", begin: func(s *soak) []fault {
		return []fault{s.onDisk("always").allDown()}
	}},
	{name: "embedded, --sync always", faults: "an old copy of the directory put back and marked", lossy: true,
		quick: true, begin: func(s *soak) []fault { return []fault{s.onDisk("always").putBack()} }},
	{name: "embedded, --sync always", faults: "a million leases due in one second",
		begin: func(s *soak) []fault { return []fault{s.onDisk("always").aMillionDue()} }},

	{name: "Redis, appendfsync always", faults: "its clock set to and fro, kill -9 of TMS", quick: true,
		begin: func(s *soak) []fault {
			var clock *redistest.Clock
			s.redis, clock = redistest.NewWithClock(s.t, keepsAll...)
			s.twoServers("--store", s.redis.URL(), "--redis-lossless")
			return append(s.serverFaults(), setsClock(clock))
		}},
	{name: "Redis, appendfsync always", faults: "kill -9 and SIGSTOP of Redis, also of 20 s",
		begin: func(s *soak) []fault { return append(s.onRedis(keepsAll).redisFaults(), s.longStop(s.redis)) }},
	{name: "Redis, appendfsync always", faults: "slow, full, without its replicas", quick: true,
		begin: func(s *soak) []fault { return s.onRedis(keepsAll).unfit() }},
	{name: "Redis, appendfsync always", faults: "connections cut and silent",
		begin: func(s *soak) []fault {
			s.redis = redistest.New(s.t, keepsAll...)
			for range 2 {
				s.serve(behindWire(s.t, s.redis, "--redis-lossless"))
			}
			return s.wireFaults()
		}},
	{name: "Redis, appendfsync always", faults: "all down for longer than the leases",
		begin: func(s *soak) []fault { return []fault{s.onRedis(keepsAll).allDown()} }},
	{name: "Redis, appendfsync always", faults: "a million leases due in one second",
		begin: func(s *soak) []fault { return []fault{s.onRedis(keepsAll).aMillionDue()} }},
	{name: "Redis, appendfsync always", faults: "an old copy of its data put back", lossy: true,
		begin: func(s *soak) []fault {
			s.redis = redistest.New(s.t, keepsAll...)
			s.twoServers("--store", s.redis.URL())
			return []fault{s.redisPutBack()}
		}},
	{name: "Redis, appendfsync always", faults: "emptied", lossy: true,
		begin: func(s *soak) []fault { return []fault{s.onRedis(keepsAll).emptied()} }},
	{name: "Redis, appendfsync everysec", faults: "kill -9 of Redis", lossy: true, begin: func(s *soak) []fault {
		s.redis = redistest.New(s.t, "--appendonly", "yes", "--appendfsync", "everysec")
		s.twoServers("--store", s.redis.URL())
		return []fault{s.andSettles(s.redisFaults()[1])}
	}},
	{name: "Redis, which keeps nothing", faults: "SIGSTOP of Redis", begin: func(s *soak) []fault {
		s.redis = redistest.New(s.t)
		s.twoServers("--store", s.redis.URL())
		return s.redisFaults()[:1]
	}},
	{name: "Redis, appendfsync always", faults: "a server of this build, one of an older one, kill -9 of both",
		begin: func(s *soak) []fault { return s.twoBuilds() }},

	{name: "Sentinels, N = 0", faults: "SENTINEL FAILOVER, master killed and stopped, also for 20 s", lossy: true,
		begin: func(s *soak) []fault { return s.underSentinels(1, "0") }},
	{name: "Sentinels, N = 1 of 1", faults: "SENTINEL FAILOVER, master killed and stopped, also for 20 s",
		quick: true, begin: func(s *soak) []fault { return s.underSentinels(1, "1") }},
	{name: "Sentinels, N = 2 of 2", faults: "SENTINEL FAILOVER, master killed and stopped, also for 20 s",
		begin: func(s *soak) []fault { return s.underSentinels(2, "2") }},
	{name: "behind a proxy, N = 0", faults: "FAILOVER",
		begin: func(s *soak) []fault { return s.behindProxy(1).plannedFailover() }},
	{name: "behind a proxy, --redis-old-master 5s", faults: "the master parted from its replica for less",
		lossy: true, quick: true,
		begin: func(s *soak) []fault { return s.behindProxy(1, oldMaster...).parted(4 * time.Second) }},
	{name: "behind a proxy, --redis-old-master 5s", faults: "the master parted from its replica for longer",
		lossy: true, parts: true,
		begin: func(s *soak) []fault { return s.behindProxy(1, oldMaster...).parted(15 * time.Second) }},
	{name: "behind a proxy, N = 1 of 2, --redis-old-master 5s", faults: "the master parted with one of its replicas",
		lossy: true, begin: func(s *soak) []fault {
			return s.behindProxy(2, append(oldMaster, "--redis-replicas", "1")...).parted(4 * time.Second)
		}},
	{name: "behind a proxy, N = 2 of 2", faults: "the master parted with one of its replicas, for long",
		begin: func(s *soak) []fault {
			return s.behindProxy(2, "--redis-lossless", "--redis-replicas", "2").parted(10 * time.Second)
		}},
	{name: "Cluster, N = 0", faults: "CLUSTER FAILOVER, master killed and stopped", lossy: true,
		begin: func(s *soak) []fault { return s.onCluster("0") }},
	{name: "Cluster, N = 1 of 1", faults: "CLUSTER FAILOVER, master killed and stopped",
		begin: func(s *soak) []fault { return s.onCluster("1") }},
}

var oldMaster = []string{"--redis-old-master", "5s"}

var keepsAll = []string{"--appendonly", "yes", "--appendfsync", "always"}

// onDisk starts a server on an embedded store.
func (s *soak) onDisk(sync string) *soak {
	s.dir = s.t.TempDir()
	s.serve(newMortal(s.t, "--store", "embedded:"+s.dir, "--sync", sync))
	return s
}

// onRedis starts a Redis that loses nothing, and two servers.
func (s *soak) onRedis(args []string) *soak {
	s.redis = redistest.New(s.t, args...)
	s.twoServers("--store", s.redis.URL(), "--redis-lossless")
	return s
}

func (s *soak) twoServers(serve ...string) {
	s.serve(newMortal(s.t, serve...))
	s.serve(newMortal(s.t, serve...))
}

// twoBuilds starts a server of this build and one of an older one.
func (s *soak) twoBuilds() []fault {
	s.redis = redistest.New(s.t, keepsAll...)
	old := newMortal(s.t, "--store", s.redis.URL())
	old.program = olderBuild(s.t)
	s.serve(old)
	s.serve(newMortal(s.t, "--store", s.redis.URL(), "--redis-lossless"))
	return s.serverFaults()
}

// olderBuild builds the revision before there was served time, which is the first whose servers share a Redis with
// later ones.
func olderBuild(t *testing.T) string {
	const revision = "45cdf49^"
	dir := t.TempDir()
	script := "git -C ../.. archive " + revision + " | tar -x -C " + dir + " && cd " + dir +
		" && go build -o tms ./cmd/tms"
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", revision, err, out)
	}
	return dir + "/tms"
}

// underSentinels starts a master with so many replicas, three Sentinels and two servers that wait for n replicas.
func (s *soak) underSentinels(replicas int, n string) []fault {
	nodes := s.masterWith(replicas)
	sentinels := redistest.NewSentinels(s.t, 3, nodes[0])
	s.twoServers("--store", redistest.SentinelURL(sentinels), "--redis-replicas", n)
	return append([]fault{{"SENTINEL FAILOVER", func(*mortal, *rand.Rand) {
		redistest.Failover(sentinels[0])
		s.untilPaired(nodes)
	}}}, s.masterFaults(nodes)...)
}

func (s *soak) masterWith(replicas int) (nodes []*redistest.Server) {
	for range replicas + 1 {
		nodes = append(nodes, redistest.New(s.t, "--repl-diskless-sync-delay", "0"))
	}
	for _, node := range nodes[1:] {
		redistest.Follow(s.t, node, nodes[0])
	}
	return nodes
}

// onCluster starts a cluster of three masters with a replica each, and two servers that wait for n replicas.
func (s *soak) onCluster(n string) []fault {
	pairs := redistest.NewReplicatedCluster(s.t, 3)
	s.twoServers("--store", "redis+cluster://"+pairs[0][0].Addr+","+pairs[1][0].Addr, "--redis-replicas", n)
	var all []fault
	for _, pair := range pairs { // one of which has the pool
		all = append(all, fault{"CLUSTER FAILOVER", func(*mortal, *rand.Rand) {
			if replica := redistest.Replica(pair); replica != nil {
				replica.Say("CLUSTER FAILOVER")
			}
			s.untilPaired(pair)
		}})
		all = append(all, s.masterFaults(pair)...)
	}
	return all
}
