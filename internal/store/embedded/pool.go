package embedded

import (
	"math/rand/v2"
	"sort"

	"github.com/tidwall/btree"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// pool is the state of one pool: its tokens by value, and in order of the instants that decide about them.
type pool struct {
	name    string
	policy  tms.Policy
	expired tms.ExpiryCounts
	tokens  map[string]*entry

	available   *index // by last sign of life
	assigned    *index // by the lease's end
	cooling     *index // by ready at
	coolingSeen *index // the cooling tokens once more, by last sign of life: they can die as well
	quarantined *index // since
}

// entry is one token. What is reachable from it is replaced, never changed.
type entry struct {
	value  string
	record rules.Record
}

func newPool(name string, policy tms.Policy) *pool {
	return &pool{
		name: name, policy: policy, tokens: map[string]*entry{},
		available: newIndex(), assigned: newIndex(), cooling: newIndex(), coolingSeen: newIndex(), quarantined: newIndex(),
	}
}

// put makes record what is remembered of the token.
func (p *pool) put(value string, record rules.Record) {
	e := p.tokens[value]
	if e == nil {
		e = &entry{value: value}
		p.tokens[value] = e
	} else {
		p.unlist(e)
	}
	e.record = record
	p.list(e)
}

// drop forgets the token.
func (p *pool) drop(e *entry) {
	p.unlist(e)
	delete(p.tokens, e.value)
}

func (p *pool) list(e *entry) {
	p.set(e.record.State).add(position(e))
	if e.record.State == tms.Cooling {
		p.coolingSeen.add(item{e.record.Seen, e})
	}
}

func (p *pool) unlist(e *entry) {
	p.set(e.record.State).remove(position(e))
	if e.record.State == tms.Cooling {
		p.coolingSeen.remove(item{e.record.Seen, e})
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

// position returns where the token stands in the index of its state.
func position(e *entry) item {
	if e.record.State == tms.Available {
		return item{e.record.Seen, e}
	}
	return item{e.record.Until, e}
}

// index is an ordered set of tokens: by an instant, and by value within the same one.
type index struct{ tree *btree.BTreeG[item] }

type item struct {
	at int64
	*entry
}

func newIndex() *index {
	return &index{btree.NewBTreeGOptions(item.less, btree.Options{NoLocks: true})}
}

func (i item) less(o item) bool { return i.at < o.at || i.at == o.at && i.value < o.value }

func (x *index) add(i item)    { x.tree.Set(i) }
func (x *index) remove(i item) { x.tree.Delete(i) }
func (x *index) size() int     { return x.tree.Len() }

// first returns the token with the earliest instant, or nil.
func (x *index) first() *entry {
	i, _ := x.tree.Min()
	return i.entry
}

// earliest returns the first instant of the index, or [rules.Never].
func (x *index) earliest() int64 {
	if i, ok := x.tree.Min(); ok {
		return i.at
	}
	return rules.Never
}

// rank returns how many tokens have an instant before at, in O(log² n), and at once where none has.
func (x *index) rank(at int64) int {
	if x.earliest() >= at {
		return 0
	}
	return sort.Search(x.size(), func(n int) bool {
		i, _ := x.tree.GetAt(n)
		return i.at >= at
	})
}

// pick returns the token that the selection takes next among those with an instant of at least from, or nil.
func (x *index) pick(selection tms.Selection, from int64) *entry {
	var i item
	switch selection {
	case tms.SelectLIFO:
		i, _ = x.tree.Max()
	case tms.SelectFIFO:
		i, _ = x.tree.GetAt(x.rank(from))
	default:
		i = x.random(from)
	}
	if i.entry == nil || i.at < from {
		return nil
	}
	return i.entry
}

// random returns one of the tokens with an instant of at least from, each as likely as the other. It tries any token
// first, since most pools hold none that is dead, and looks for where the living begin only when that one is.
func (x *index) random(from int64) item {
	if x.size() == 0 {
		return item{}
	}
	i, _ := x.tree.GetAt(rand.IntN(x.size()))
	if i.at >= from {
		return i
	}
	dead := x.rank(from)
	if dead == x.size() {
		return item{}
	}
	i, _ = x.tree.GetAt(dead + rand.IntN(x.size()-dead))
	return i
}
