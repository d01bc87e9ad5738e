package main

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

var evidenceLasts = flag.Duration("evidence", 5*time.Second, "how long each row of the evidence lasts")

// row is one way to keep the tokens, and what happens to it.
type row struct {
	name   string
	faults string
	lossy  bool // answers may be lost: it is a figure how many
	begin  func(s *soak) []fault
}

var rows = []row{
	{"Redis, appendfsync everysec", "kill -9 of Redis", true, func(s *soak) []fault {
		s.redis = redistest.New(s.t, "--appendonly", "yes", "--appendfsync", "everysec")
		s.twoServers("--store", s.redis.URL())
		return s.redisFaults()[1:]
	}},
	{"Redis, which keeps nothing", "SIGSTOP of Redis", false, func(s *soak) []fault {
		s.redis = redistest.New(s.t)
		s.twoServers("--store", s.redis.URL())
		return s.redisFaults()[:1]
	}},
	{"Redis, appendfsync always", "its clock set to and fro, kill -9 of TMS", false, func(s *soak) []fault {
		var clock *redistest.Clock
		s.redis, clock = redistest.NewWithClock(s.t, "--appendonly", "yes", "--appendfsync", "always")
		s.twoServers("--store", s.redis.URL(), "--redis-lossless")
		return append(s.serverFaults(), fault{"clock set", func(_ *mortal, draw *rand.Rand) {
			steps := []time.Duration{0, 2 * time.Second, time.Minute, -time.Hour, 24 * time.Hour}
			clock.Set(steps[draw.IntN(len(steps))])
		}})
	}},
	{"Sentinels, N = 0", "FAILOVER, SIGSTOP of the master", true, func(s *soak) []fault {
		return s.underSentinels("0")
	}},
	{"Sentinels, N = 1 of 1", "FAILOVER, SIGSTOP of the master", false, func(s *soak) []fault {
		return s.underSentinels("1")
	}},
	{"embedded, --sync 10ms", "kill -9 of TMS", false, func(s *soak) []fault {
		s.serve(newMortal(s.t, "--store", "embedded:"+s.t.TempDir(), "--sync", "10ms"))
		return s.serverFaults()
	}},
	{"embedded, --sync always", "kill -9 and SIGSTOP of TMS", false, func(s *soak) []fault {
		s.serve(newMortal(s.t, "--store", "embedded:"+s.t.TempDir()))
		return s.serverFaults()
	}},
}

func (s *soak) twoServers(serve ...string) {
	s.serve(newMortal(s.t, serve...))
	s.serve(newMortal(s.t, serve...))
}

// underSentinels starts a master with a replica, three Sentinels and two servers that wait for so many replicas.
func (s *soak) underSentinels(replicas string) []fault {
	nodes := []*redistest.Server{redistest.New(s.t, "--repl-diskless-sync-delay", "0"),
		redistest.New(s.t, "--repl-diskless-sync-delay", "0")}
	redistest.Follow(s.t, nodes[1], nodes[0])
	sentinels := redistest.NewSentinels(s.t, 3, nodes[0])
	s.twoServers("--store", redistest.SentinelURL(sentinels), "--redis-replicas", replicas)
	return []fault{
		{"planned failover", func(*mortal, *rand.Rand) {
			redistest.Failover(sentinels[0])
			s.untilPaired(nodes)
		}},
		{"master stopped", func(_ *mortal, draw *rand.Rand) {
			master := redistest.MasterOf(s.t, sentinels[0], nodes)
			master.Stop()
			time.Sleep(time.Duration(draw.IntN(3000)) * time.Millisecond)
			master.Continue()
			s.untilPaired(nodes)
		}},
	}
}

// untilPaired waits until the nodes can lose one of them again, or the soak is over.
func (s *soak) untilPaired(nodes []*redistest.Server) {
	for s.ctx.Err() == nil {
		time.Sleep(2 * time.Second) // in which a failover begins
		if redistest.Paired(nodes) {
			return
		}
	}
}

// TestEvidence lets clients work on every way to keep tokens while it fails, and holds what all of them promise: no
// token has two holders, and no fence is issued twice. It prints what was acknowledged, unknown and lost. -evidence 60s
// makes each row longer.
func TestEvidence(t *testing.T) {
	for _, r := range rows {
		t.Run(strings.ReplaceAll(r.name+": "+r.faults, " ", "_"), func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			s := &soak{t: t, lasts: *evidenceLasts}
			faults := r.begin(s)
			s.stock()
			s.run(seed, faults)
			s.verdict()
			lost := s.lost.Load()
			t.Logf("| %s | %s | %d answered | %d unknown | %d lost | seed %d |", r.name, r.faults,
				s.answered.Load()-s.unknown.Load(), s.unknown.Load(), lost, seed)
			if lost > 0 && !r.lossy {
				t.Errorf("%d leases were lost that had been acknowledged", lost)
			}
		})
	}
}
