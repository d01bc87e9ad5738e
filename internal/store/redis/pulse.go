package redis

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
)

// beatEvery is how often each server of Redis is called, whatever else it is asked: its served time moves by no more
// than 1.5 seconds at once, and in the first second after a takeover nothing is given, for the reports.
const beatEvery = 500 * time.Millisecond

// majorityTime is for how long a master that was given up may still be asked where a majority says who it is.
const majorityTime = 3 * time.Second

// pulse is what this server tells each Redis of the time, and what it knows of the processes behind them.
type pulse struct {
	name      string // of this server, by which Redis knows its clock
	began     time.Time
	oldMaster time.Duration
	lossless  bool
	stop      chan struct{}
	end       func() // closes stop
	beating   sync.WaitGroup
	hurry     chan struct{} // holds one token while somebody waits for a beat

	mu        sync.Mutex
	met       int64               // how many connections there had been at the last beat
	beaten    chan struct{}       // closed by the next one
	processes map[string]bool     // those that have served
	answered  map[string]answered // by pool
}

// answered is what was answered of a pool's leases, for the next process that serves it.
type answered struct {
	longest time.Duration
	until   time.Time // such a lease may last so long
	fence   int64     // the highest
}

func newPulse(o Options, sentinels bool) *pulse {
	p := &pulse{name: tms.NewValue(), began: time.Now(), oldMaster: o.OldMaster, lossless: o.Lossless}
	p.stop, p.hurry, p.beaten = make(chan struct{}), make(chan struct{}, 1), make(chan struct{})
	p.processes, p.answered = map[string]bool{}, map[string]answered{}
	p.end = sync.OnceFunc(func() { close(p.stop) })
	if sentinels && p.oldMaster == 0 {
		p.oldMaster = majorityTime
	}
	return p
}

// oldMaster returns for how long an old master may still be asked.
func (s *Store) oldMaster() time.Duration {
	if s.pulse.oldMaster == 0 && s.onCluster() {
		return majorityTime
	}
	return max(0, s.pulse.oldMaster)
}

// when returns what the functions take first: the store's clock, or the reading of this server's where it has none, and
// what it says in every call.
func (s *Store) when() string {
	if s.now != nil {
		return strconv.FormatInt(s.now().UnixMilli(), 10) + s.says('i')
	}
	return strconv.FormatInt(time.Since(s.pulse.began).Milliseconds(), 10) + s.says('r')
}

// says returns what this server says of itself, and of takeovers.
func (s *Store) says(kind byte) string {
	lossless := " 0"
	if s.pulse.lossless {
		lossless = " 1"
	}
	return " " + string(kind) + " " + s.pulse.name + " " + strconv.FormatInt(s.oldMaster().Milliseconds(), 10) +
		lossless + s.place
}

// beats calls every server of Redis until the store is closed.
func (s *Store) beats() {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.pulse.stop:
			return
		case <-tick.C:
		case <-s.pulse.hurry:
		}
		dials := s.link.dials.Load()
		s.beat()
		s.pulse.hasMet(dials)
	}
}

// meet waits until a master that was connected to just now was called, before anything else is asked of it.
func (s *Store) meet(ctx context.Context) error {
	if s.sentinels == nil {
		return nil
	}
	for dials := s.link.dials.Load(); ; {
		met, beaten := s.pulse.lastMet()
		if met >= dials {
			return nil
		}
		select {
		case s.pulse.hurry <- struct{}{}:
		default:
		}
		select {
		case <-beaten:
		case <-s.pulse.stop:
			return nil
		case <-ctx.Done():
			return unsent{ctx.Err()}
		}
	}
}

func (p *pulse) lastMet() (int64, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.met, p.beaten
}

// hasMet wakes those who wait for a beat, which has called all that were connected to when it began.
func (p *pulse) hasMet(dials int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.beaten)
	p.met, p.beaten = dials, make(chan struct{})
}

// beat calls every server once, and reports to the pools where one is another process than before.
func (s *Store) beat() {
	client := s.link.client.Load()
	if client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*beatEvery)
	defer cancel()
	others := s.pulse.knowsOthers()
	var calls sync.WaitGroup
	for address, node := range (*client).Nodes() {
		another := s.sentinels.comesFrom(address)
		calls.Go(func() { s.sentinels.confirm(ctx, address) })
		calls.Go(func() {
			process, err := s.callOn(ctx, node, another)
			if err != nil {
				return
			}
			s.sentinels.arrive(address)
			if s.pulse.isNew(process) && others || another {
				s.link.log.Warn("another redis process serves the pools, or one that was given up: they may settle",
					"redis", address)
				s.report()
			}
		})
	}
	calls.Wait()
}

// callOn calls one server, and tells it whether this one comes from another master. It returns which process that is.
func (s *Store) callOn(ctx context.Context, node rueidis.Client, another bool) (process string, err error) {
	says := ""
	if another {
		says = "1"
	}
	fcall := node.B().Fcall().Function(fnBeat).Numkeys(0).Arg(s.when(), says).Build()
	answer, err := node.Do(ctx, fcall).AsStrSlice()
	return strings.Join(answer, " "), err
}

// knowsOthers reports whether this server has met any process: the nodes of the first beat take over from nobody.
func (p *pulse) knowsOthers() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.processes) > 0
}

// isNew reports whether the process is one that this server has not met.
func (p *pulse) isNew(process string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.processes[process]
	p.processes[process] = true
	return !known
}

// report tells all pools what this server remembers of them, as far as they can be told at all.
func (s *Store) report() {
	ctx, cancel := context.WithTimeout(context.Background(), s.link.timeout)
	defer cancel()
	for pool, a := range s.pulse.remembered() {
		ttl := strconv.FormatInt(a.longest.Milliseconds(), 10)
		_, err := s.callOnce(ctx, pool, fnReport, []string{ttl, strconv.FormatInt(a.fence, 10)})
		if err != nil && tms.CodeOf(err) != tms.ErrPoolNotFound {
			s.link.log.Warn("another redis process serves the pools, and was not told of all leases", "pool", pool,
				"error", err)
			return
		}
	}
}

// forget forgets a pool that is gone.
func (s *Store) forget(pool string) {
	s.served.Delete(pool)
	s.pulse.mu.Lock()
	defer s.pulse.mu.Unlock()
	delete(s.pulse.answered, pool)
}

// remembered returns what was answered of each pool, and forgets the leases that are over.
func (p *pulse) remembered() map[string]answered {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]answered, len(p.answered))
	for pool, a := range p.answered {
		if time.Now().After(a.until) {
			a.longest = 0
		}
		all[pool] = a
	}
	return all
}

// note remembers the leases of tokens, which were granted or renewed.
func (p *pulse) note(pool string, tokens ...tms.Token) {
	var ttl time.Duration
	var fence int64
	for _, t := range tokens {
		if t.Lease != nil {
			ttl, fence = max(ttl, t.Lease.TTL), max(fence, t.Lease.Fence)
		}
	}
	if ttl == 0 && fence == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a, now := p.answered[pool], time.Now()
	if now.After(a.until) {
		a.longest, a.until = 0, now
	}
	a.longest, a.fence = max(a.longest, ttl), max(a.fence, fence)
	if until := now.Add(ttl); until.After(a.until) {
		a.until = until
	}
	p.answered[pool] = a
}
