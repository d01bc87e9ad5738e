package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

func setsClock(clock *redistest.Clock) fault {
	return fault{"clock set", func(_ *mortal, draw *rand.Rand) {
		steps := []time.Duration{0, 2 * time.Second, time.Minute, -time.Hour, 24 * time.Hour}
		clock.Set(steps[draw.IntN(len(steps))])
	}}
}

// longStop stops Redis for 20 s, if that is the smaller part of the row.
func (s *soak) longStop(redis *redistest.Server) fault {
	return fault{"Redis stopped for long", func(*mortal, *rand.Rand) { s.stopFor(redis, 20*time.Second) }}
}

func (s *soak) stopFor(redis *redistest.Server, d time.Duration) {
	redis.Stop()
	time.Sleep(min(d, s.lasts/3))
	redis.Continue()
}

// allDown ends everything for longer than a lease lasts.
func (s *soak) allDown() fault {
	return fault{"all down", func(_ *mortal, draw *rand.Rand) {
		for _, m := range s.servers {
			m.end()
		}
		if s.redis != nil {
			s.redis.Kill()
		}
		time.Sleep(soakTTL * 3 / 2)
		if s.redis != nil {
			s.redis.Start()
		}
		s.startAll()
		s.rest(draw, 3*time.Second)
	}}
}

func (s *soak) startAll() {
	for _, m := range s.servers {
		if !m.start(s.t.Context()) {
			s.t.Errorf("a server does not start again: %s", m.stderr)
		}
	}
}

// putBack puts a copy of the data directory in its place, as an operator does who has to.
func (s *soak) putBack() fault {
	copied := filepath.Join(s.t.TempDir(), "copy")
	return fault{"directory put back", func(m *mortal, _ *rand.Rand) {
		m.end()
		if _, err := os.Stat(copied); err != nil {
			s.must(os.CopyFS(copied, os.DirFS(s.dir)))
		} else {
			s.must(os.RemoveAll(s.dir))
			s.must(os.CopyFS(s.dir, os.DirFS(copied)))
			s.must(exec.Command("tms", "restore", "--mark", s.dir).Run())
		}
		s.startAll()
		s.untilSettled()
	}}
}

func (s *soak) must(err error) {
	if err != nil {
		s.t.Error(err)
	}
}

// redisPutBack puts a copy of Redis' data in its place.
func (s *soak) redisPutBack() fault {
	copied := ""
	return fault{"data put back", func(*mortal, *rand.Rand) {
		s.redis.Kill()
		if copied == "" {
			copied = s.redis.CopyData()
		} else {
			s.redis.PutBack(copied)
		}
		s.redis.Start()
		s.untilSettled()
	}}
}

// untilSettled gives what is settling the time to give tokens again, so that there are leases to lose.
func (s *soak) untilSettled() { time.Sleep(soakTTL + time.Second) }

// andSettles is the fault, and then the time for its pools to settle.
func (s *soak) andSettles(f fault) fault {
	return fault{f.name, func(m *mortal, draw *rand.Rand) {
		f.happen(m, draw)
		s.untilSettled()
	}}
}

// unfit lets Redis refuse writes for a while, or take its time.
func (s *soak) unfit() (faults []fault) {
	for name, commands := range map[string][2]string{
		"Redis full":               {"CONFIG SET maxmemory 1mb", "CONFIG SET maxmemory 0"},
		"Redis lacks its replicas": {"CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"},
		"Redis slow":               {"CLIENT PAUSE 700 ALL", "PING"},
		"Redis follows nobody":     {"REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"},
	} {
		faults = append(faults, fault{name, func(_ *mortal, draw *rand.Rand) {
			s.redis.Say(commands[0])
			s.rest(draw, 2*time.Second)
			for range 3 { // while it pauses it answers nothing
				s.redis.Say(commands[1])
			}
		}})
	}
	return faults
}

// masterFaults are what becomes of a master that has replicas, and of whoever is it after that.
func (s *soak) masterFaults(nodes []*redistest.Server) []fault {
	return []fault{
		{"master killed", func(*mortal, *rand.Rand) {
			if master := redistest.Master(nodes); master != nil {
				master.Kill()
				s.await(30*time.Second, "another is the master", func() bool { return redistest.Master(nodes) != nil })
				master.Start()
				s.untilPaired(nodes)
			}
		}},
		{"master stopped", func(_ *mortal, draw *rand.Rand) {
			if master := redistest.Master(nodes); master != nil {
				s.stopFor(master, []time.Duration{time.Second, 2 * time.Second, 20 * time.Second}[draw.IntN(3)])
				s.untilPaired(nodes)
			}
		}},
	}
}

// untilPaired waits until the nodes can lose one of them again.
func (s *soak) untilPaired(nodes []*redistest.Server) {
	time.Sleep(2 * time.Second) // in which a failover begins
	s.await(time.Minute, "the nodes are master and replicas", func() bool { return redistest.Paired(nodes) })
}

func (s *soak) await(limit time.Duration, what string, is func() bool) {
	for deadline := time.Now().Add(limit); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Errorf("not in %v: %s", limit, what)
			return
		}
	}
}

// proxied are a master and its replicas behind a proxy, of which each server has an end of its own.
type proxied struct {
	*soak
	nodes []*redistest.Server
}

func (s *soak) behindProxy(replicas int, serve ...string) proxied {
	p := proxied{s, s.masterWith(replicas)}
	for range 2 {
		s.serve(behindWire(s.t, p.nodes[0], serve...))
	}
	return p
}

// turn leads a server to another node.
func (m *mortal) turn(to *redistest.Server) {
	m.far.Turn(to.Addr)
	m.far.Cut()
}

// plannedFailover lets the master hand over to its replica, and then leads all servers there.
func (p proxied) plannedFailover() []fault {
	return []fault{{"FAILOVER", func(*mortal, *rand.Rand) {
		old := p.nodes[0]
		old.Say("FAILOVER")
		p.await(20*time.Second, "the replica takes over", func() bool {
			return redistest.Master(p.nodes) == p.nodes[1]
		})
		p.nodes[0], p.nodes[1] = p.nodes[1], p.nodes[0]
		for _, m := range p.servers {
			m.turn(p.nodes[0])
		}
		p.untilPaired(p.nodes)
	}}}
}

// parted parts the master, with one of the servers, its clients and all replicas but one, from that one, which takes
// over for the other server. For up to that long both serve. What the old master did meanwhile is gone when it follows
// the new one.
func (p proxied) parted(most time.Duration) []fault {
	return []fault{{"partition", func(*mortal, *rand.Rand) {
		next := p.nodes[1]
		next.Say("REPLICAOF NO ONE")
		p.servers[0].turn(next)
		time.Sleep(most * 9 / 10)
		p.servers[1].turn(next)
		p.nodes[0], p.nodes[1] = next, p.nodes[0]
		for _, node := range p.nodes[1:] {
			node.Say("REPLICAOF 127.0.0.1 " + next.Addr[len("127.0.0.1:"):])
		}
		p.untilPaired(p.nodes)
		p.untilSettled()
	}}}
}

// emptied empties Redis, and starts the servers again when no client holds a token any more.
func (s *soak) emptied() fault {
	return fault{"Redis emptied", func(*mortal, *rand.Rand) {
		s.redis.Say("FLUSHALL")
		time.Sleep(soakTTL + time.Second)
		for _, m := range s.servers {
			m.end()
		}
		s.startAll()
		s.stock()
		s.untilSettled()
	}}
}

const aMillion = 1_000_000

// aMillionDue leases a million tokens of another pool, once, so that all leases end in the same second.
func (s *soak) aMillionDue() fault {
	var once sync.Once
	return fault{"a million due", func(*mortal, *rand.Rand) { once.Do(s.leaseACrowd) }}
}

func (s *soak) leaseACrowd() {
	p := s.seen(0)
	p.call(http.MethodPut, "/pools/crowd", object{"token_ttl": "0s", "max_tokens": aMillion})
	for range aMillion / 10_000 {
		s.told(p.call(http.MethodPost, "/generate-token", object{"pool": "crowd", "count": 10_000}))
	}
	due := time.Now().Add(3 * time.Minute)
	for range aMillion / 1_000 {
		ttl := time.Until(due).Truncate(time.Millisecond)
		s.told(p.call(http.MethodPost, "/assign-token", object{"pool": "crowd", "count": 1_000, "ttl": ttl.String()}))
	}
	if left := time.Until(due); left < 0 {
		s.t.Errorf("a million leases stand only %v after the first was due", -left)
	}
	time.Sleep(time.Until(due))
	s.await(time.Minute, "all leases are over", func() bool {
		return p.assigned("crowd") == 0
	})
}

// assigned returns how many tokens of the pool are; -1: the server cannot say, for it has a million things to do.
func (p *process) assigned(pool string) int {
	response, err := p.client.Get(p.url + "/pools/" + pool)
	if err != nil {
		return -1
	}
	defer response.Body.Close()
	var now poolNow
	if response.StatusCode != http.StatusOK || json.NewDecoder(response.Body).Decode(&now) != nil {
		return -1
	}
	return now.Tokens.Assigned
}

func (s *soak) told(r reply, err error) {
	if err != nil || r.Status >= 300 {
		s.t.Error(fmt.Sprintf("%+v", r.Code), err)
	}
}
