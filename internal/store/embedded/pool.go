package embedded

import (
	"math/rand/v2"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// pool is the state of one pool: its tokens by value, and in order of the instants that decide about them.
type pool struct {
	name    string
	policy  rules.Terms
	expired tms.ExpiryCounts
	tokens  map[string]*entry

	available   *index // by last sign of life
	free        bag    // the available tokens once more, for a random choice
	assigned    *index // by the lease's end
	cooling     *index // by ready at
	coolingSeen *index // the cooling tokens once more, by last sign of life: they can die as well
	quarantined *index // since

	handed  *index            // the assigned tokens that wait to be picked up once more, by when that ends
	lanes   map[string]*index // the available tokens once more, by what a match can ask for; see [rules.Lanes]
	clients map[string]*index // the assigned tokens once more, by client, where the pool limits leases per client

	queue *queue
	freed []*entry // that have become available and may suit waiters that nobody has looked for yet
	kept  bool     // tokens may be there that were kept back for a ticket which waits no longer

	requests *memories

	phase            rules.Phase // of its settling, as the last step found it
	fresh            *index      // while it settles: the leases since the takeover once more, by their end
	longest, lasting int64       // see settlingRecord
}

func newPool(name string, policy rules.Terms) *pool {
	return &pool{
		name: name, policy: policy, tokens: map[string]*entry{},
		available: newIndex(), assigned: newIndex(), cooling: newIndex(), coolingSeen: newIndex(),
		quarantined: newIndex(),
		handed:      newIndex(), lanes: map[string]*index{}, clients: map[string]*index{},
		queue: newQueue(), requests: newMemories(),
	}
}

// insert remembers a token that the pool does not have.
func (p *pool) insert(value string, record rules.Record) *entry {
	e := newEntry(value, record, pack(record.Metadata))
	p.tokens[e.value()] = e
	p.list(e)
	return e
}

// restore remembers the tokens that were read from the log. Sorted items go into an index several times faster than
// in the order of the log.
func (p *pool) restore() {
	items := map[*index][]item{}
	for _, e := range p.tokens {
		x := p.set(e.state())
		items[x] = append(items[x], position(e))
		p.listBeside(e, true)
	}
	for x, list := range items {
		x.load(list)
	}
}

// replace makes record what is remembered of a token, but for its metadata.
func (p *pool) replace(e *entry, record rules.Record) {
	p.unlist(e)
	e.become(record)
	p.list(e)
}

// amend gives the token other metadata.
func (p *pool) amend(e *entry, metadata packed) {
	p.unlist(e)
	delete(p.tokens, e.value()) // which is a part of the text that goes
	e.text = e.value() + string(metadata)
	p.tokens[e.value()] = e
	p.list(e)
}

// remove forgets the token.
func (p *pool) remove(e *entry) {
	p.unlist(e)
	delete(p.tokens, e.value())
}

func (p *pool) list(e *entry) {
	p.set(e.state()).add(position(e))
	p.listBeside(e, true)
}

func (p *pool) unlist(e *entry) {
	p.set(e.state()).remove(position(e))
	p.listBeside(e, false)
}

// listBeside puts the token into what the pool keeps beside the index of its state, or takes it out of there.
func (p *pool) listBeside(e *entry, in bool) {
	switch e.state() {
	case tms.Available:
		p.free.hold(e, in)
		for _, lane := range p.lanesOf(e) {
			listUnder(p.lanes, lane, e, in)
		}
	case tms.Assigned:
		p.listFresh(e, in)
		if e.handed() {
			p.handed.hold(position(e), in)
		}
		if p.policy.MaxLeasesPerClient > 0 {
			listUnder(p.clients, e.lease.ClientID, e, in)
		}
	case tms.Cooling:
		p.coolingSeen.hold(newItem(e.seen, e), in)
	}
}

// lanesOf returns the lanes but "" that the token suits.
func (p *pool) lanesOf(e *entry) []string {
	if len(p.policy.Labels) == 0 || e.metadata() == "" {
		return nil
	}
	return rules.Lanes(p.policy.Labels, e.metadata().unpack())
}

// listUnder puts the token into one of the indexes, which is made where it is missing, or takes it out of there, and
// forgets an index with its last token.
func listUnder(indexes map[string]*index, name string, e *entry, in bool) {
	x := indexes[name]
	if x == nil {
		x = newIndex()
		indexes[name] = x
	}
	if x.hold(position(e), in); x.size() == 0 {
		delete(indexes, name)
	}
}

// set returns the index of a state.
func (p *pool) set(state tms.State) *index {
	switch state {
	case tms.Available:
		return p.available
	case tms.Assigned:
		return p.assigned
	case tms.Cooling:
		return p.cooling
	}
	return p.quarantined
}

// lane returns the index of the available tokens that a match can ask for; empty where there are none.
func (p *pool) lane(name string) *index {
	if name == "" {
		return p.available
	}
	if x := p.lanes[name]; x != nil {
		return x
	}
	return nothing
}

var nothing = newIndex()

// pick returns the token that the selection takes next among those of a lane with a last sign of life of at least from,
// or nil.
func (p *pool) pick(lane string, from int64) *entry {
	x := p.lane(lane)
	var i item
	switch p.policy.Selection {
	case tms.SelectLIFO:
		i, _ = x.tree.Max()
	case tms.SelectFIFO:
		i, _ = x.tree.GetAt(x.rank(from))
	default:
		if lane == "" {
			return p.random(from)
		}
		return x.random(from)
	}
	if i.entry == nil || i.at < from {
		return nil
	}
	return i.entry
}

// random returns one of the tokens that pick may return, each as likely as the other. It tries any token first, since
// most pools hold none that is dead, and looks for where the living begin only when that one is.
func (p *pool) random(from int64) *entry {
	e := p.free.random()
	if e == nil || e.seen >= from {
		return e
	}
	return p.available.random(from)
}

// bag is a set of tokens that gives a random one in O(1).
type bag struct{ entries []*entry }

// hold adds the token, or takes it out.
func (b *bag) hold(e *entry, in bool) {
	if in {
		b.add(e)
	} else {
		b.remove(e)
	}
}

func (b *bag) add(e *entry) {
	e.slot = int32(len(b.entries))
	b.entries = append(b.entries, e)
}

func (b *bag) remove(e *entry) {
	end := len(b.entries) - 1
	last := b.entries[end]
	b.entries[e.slot], last.slot = last, e.slot
	b.entries[end] = nil
	b.entries = b.entries[:end]
}

func (b *bag) random() *entry {
	if len(b.entries) == 0 {
		return nil
	}
	return b.entries[rand.IntN(len(b.entries))]
}
