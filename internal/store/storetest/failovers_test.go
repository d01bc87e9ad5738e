package storetest

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

var failovers = flag.Int("failovers", 4_000, "how many random failovers of the model are searched")

// A story is what clients, an operator and one master after the other do to a pool of few tokens. Each master may lack
// what the one before did last, and that one may be asked on for oldMaster. What must hold in every story is what the
// clients see: no token has two holders, no fence comes twice or falls, no lease that is known ends early, and in the
// end every token can be had.
const (
	oldMaster = 3 * second
	storyTTL  = 2 * second
	holders   = 2
)

// move is one thing that happens in a story.
type move struct {
	verb    int           // of verbs
	who     int           // which client
	what    int           // which token, ttl, lag
	pause   time.Duration // before it
	old     bool          // a master is asked that was given up, if there is one
	unheard bool          // the answer is lost
}

// story is how the world is while it is told.
type story struct {
	testing.TB
	plant   func(*Model) tms.Sweeper
	deaf    bool  // no report is heard
	careful bool  // a master takes over a second later than its data says, as it must
	now     int64 // by a clock that nothing stops
	masters []*master
	holders [holders]holder
	leases  map[string]*tms.Lease // of each token that with the highest fence that was answered
	longest int64                 // the longest ttl that was answered,
	lasting int64                 // and until when by the clock that nothing stops
	drawn   int
	broken  string // the first promise that was, if one was
}

// master is a process that serves the pool, by a clock of its own.
type master struct {
	model *Model
	store tms.Sweeper
	asked int64      // until when it may be asked
	past  []snapshot // after each step
}

type snapshot struct {
	model *Model
	at    int64
}

// holder is a client, and what it knows of its lease.
type holder struct {
	token, id string
	until     int64 // the end by its own count
	forced    bool  // somebody has ended the lease by force
	lost      bool  // the present master does not know of it
	request   string
	asked     int // how many requests it has made
}

func (h *holder) holds(now int64) bool { return h.id != "" && now < h.until }

func newStory(t testing.TB, plant func(*Model) tms.Sweeper) *story {
	s := &story{TB: t, plant: plant, careful: true, leases: map[string]*tms.Lease{}, now: 1 << 41}
	clock := &Clock{}
	clock.ms.Store(s.now)
	s.promote(NewModel(clock))
	s.present().model.fence = 1_000
	change := tms.PolicyChange{LeaseTTL: new(storyTTL), TokenTTL: new(time.Duration(0)),
		Selection: new(tms.SelectFIFO), RequestTTL: new(minute)}
	_, err := s.present().store.PutPool(t.Context(), tms.DefaultPool, change)
	if err != nil {
		t.Fatal(err)
	}
	s.pool().policy.OldMaster = oldMaster.Milliseconds()
	s.pass(2 * minute) // or the leases of before were waited for
	verbs[bring].do(s, s.present(), move{what: 0})
	verbs[bring].do(s, s.present(), move{what: 1})
	s.keep(s.present())
	return s
}

func (s *story) present() *master { return s.masters[len(s.masters)-1] }

func (s *story) pool() *modelPool { return s.present().model.pools[tms.DefaultPool] }

// promote makes the model the master.
func (s *story) promote(m *Model) {
	s.masters = append(s.masters, &master{model: m, store: s.plant(m), asked: rules.Never})
}

// tell lets the moves happen, until a promise is broken.
func (s *story) tell(moves []move) string {
	for _, m := range moves {
		s.pass(m.pause + ms)
		on := s.present()
		if m.old && len(s.masters) > 1 {
			on = s.masters[m.what%(len(s.masters)-1)]
		}
		verbs[m.verb].do(s, on, m)
		s.keep(on)
		if s.broken != "" {
			return s.broken
		}
	}
	return s.ends()
}

// ends lets everybody leave, after which all tokens can be had.
func (s *story) ends() string {
	for range 4 {
		s.pass(minute)
	}
	on := s.present()
	_, stats, _ := on.store.Pool(s.Context(), tms.DefaultPool)
	if n := len(on.model.pools[tms.DefaultPool].available()); n != stats.Total()-stats.Quarantined {
		s.breaks("tokens are not to be had: %d of %+v", n, stats)
	}
	return s.broken
}

func (s *story) breaks(format string, args ...any) {
	if s.broken == "" {
		s.broken = fmt.Sprintf(format, args...)
	}
}

// pass moves all clocks on, and ends the masters whose time is over.
func (s *story) pass(d time.Duration) {
	s.now += d.Milliseconds()
	s.masters = slices.DeleteFunc(s.masters, func(m *master) bool { return m.asked < s.now })
	for _, m := range s.masters {
		m.model.clock.Advance(d)
	}
}

// keep remembers how the master stands after a step.
func (s *story) keep(m *master) {
	m.past = append(m.past, snapshot{m.model.clone(), m.model.clock.Millis()})
}

// clone returns a copy that lives by no clock.
func (m *Model) clone() *Model {
	c := &Model{pools: map[string]*modelPool{}, fence: m.fence, own: true}
	c.draw = c.ownDraw
	for name, p := range m.pools {
		q := *p
		q.model, q.tokens, q.requests, q.tickets = c, maps.Clone(p.tokens), maps.Clone(p.requests), nil
		for _, t := range p.tickets {
			ticket := *t
			q.tickets = append(q.tickets, &ticket)
		}
		c.pools[name] = &q
	}
	return c
}

// failOver promotes a master that lacks what the present one did in its last steps, and whose clock may be late.
func (s *story) failOver(lag int, late, goesOn time.Duration) {
	old := s.present()
	from := old.past[max(0, len(old.past)-1-lag)]
	clock := &Clock{}
	clock.ms.Store(from.at - late.Milliseconds())
	if s.careful {
		clock.Advance(rules.Stale * ms)
	}
	model := from.model.clone()
	model.clock = clock
	old.asked = s.now + goesOn.Milliseconds()
	s.promote(model)
	s.present().store.(Taker).TakeOver(s.TB)
	s.report()
	s.keep(s.present())
	for i := range s.holders {
		h := &s.holders[i]
		known := s.pool().tokens[h.token].Lease
		h.lost = h.lost || known.ID != h.id || known.Handed // it may not know that the token was picked up
	}
}

// report tells the present master of the longest lease that was answered, as servers do before it gives anything.
func (s *story) report() {
	if policy := &s.pool().policy; !s.deaf && s.now <= s.lasting && policy.Until != 0 {
		policy.Until = max(policy.Until, policy.Taken+policy.OldMaster+s.longest)
	}
}

// answers remembers a lease that was answered. A server that asks an old master meets the present one before the leases
// of that one are over.
func (s *story) answers(ttl time.Duration) {
	if s.now > s.lasting {
		s.longest = 0
	}
	s.longest = max(s.longest, ttl.Milliseconds())
	s.lasting = max(s.lasting, s.now+ttl.Milliseconds())
	s.report()
}

// gains lets the client hold a token, which nobody else may.
func (s *story) gains(who int, on *master, t tms.Token) {
	s.answers(t.Lease.TTL)
	h := &s.holders[who]
	for i, other := range s.holders {
		if i != who && other.token == t.Value && other.holds(s.now) && !other.forced {
			s.breaks("two holders")
		}
	}
	if h.id != t.Lease.ID {
		h.forced, h.lost = false, on != s.present()
	}
	last := s.leases[t.Value]
	if last != nil && last.ID != t.Lease.ID && last.Fence >= t.Lease.Fence {
		s.breaks("a fence that is not above the last")
	}
	s.leases[t.Value] = t.Lease
	h.token, h.id, h.until = t.Value, t.Lease.ID, s.now+t.Lease.TTL.Milliseconds()
}

var storyPauses = []time.Duration{0, 0, 0, 200 * ms, 500 * ms, second, second, 2 * second, 3 * second, 5 * second}

func drawMoves(draw *rand.Rand) []move {
	moves, old := make([]move, 4+draw.IntN(18)), draw.IntN(3)
	for i := range moves {
		verb := draw.IntN(len(verbs))
		if draw.IntN(3) == 0 {
			verb = draw.IntN(often)
		}
		moves[i] = move{verb: verb, who: draw.IntN(holders), what: draw.IntN(4),
			pause: storyPauses[draw.IntN(len(storyPauses))], old: draw.IntN(3) < old, unheard: draw.IntN(5) == 0}
	}
	return moves
}

// String says what the move is, for whoever looks for the fault.
func (m move) String() string {
	text := fmt.Sprintf("%v later, client %d: %s %d", m.pause, m.who, verbs[m.verb].name, m.what)
	if m.old {
		text += ", of an old master"
	}
	if m.unheard {
		text += ", unheard"
	}
	return text
}

// search tells stories until a promise is broken, and returns the shortest form of that one.
func search(t testing.TB, seed uint64, most int, tell func([]move) string) (broken string, moves []move) {
	draw := rand.New(rand.NewPCG(seed, 0))
	for range most {
		moves = drawMoves(draw)
		if broken = tell(moves); broken != "" {
			return broken, shorten(moves, broken, tell)
		}
	}
	return "", nil
}

func shorten(moves []move, broken string, tell func([]move) string) []move {
	for i := 0; i < len(moves); {
		without := slices.Delete(slices.Clone(moves), i, i+1)
		if tell(without) == broken {
			moves, i = without, 0
		} else {
			i++
		}
	}
	return moves
}

// TestFailovers searches for a story in which the rules break a promise.
func TestFailovers(t *testing.T) {
	seed := rand.Uint64()
	broken, moves := search(t, seed, *failovers, func(moves []move) string {
		return newStory(t, func(m *Model) tms.Sweeper { return m }).tell(moves)
	})
	if broken != "" {
		t.Errorf("seed %d: %s:\n%s", seed, broken, tellOf(moves))
	}
}

func tellOf(moves []move) string {
	var text strings.Builder
	for _, m := range moves {
		fmt.Fprintln(&text, m)
	}
	return text.String()
}
