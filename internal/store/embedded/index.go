package embedded

import (
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"

	"github.com/tidwall/btree"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// index is an ordered set of tokens: by an instant, and by value within the same one.
type index struct{ tree *btree.BTreeG[item] }

// item is a token's place in an index. The first bytes of its value stand beside the instant, so that a comparison
// seldom has to look into the entry, which in a large pool is seldom in the processor's cache.
type item struct {
	at     int64
	prefix uint64
	*entry
}

func newItem(at int64, e *entry) item {
	var first [8]byte
	copy(first[:], e.value())
	return item{at, binary.BigEndian.Uint64(first[:]), e}
}

// position returns where the token stands in the index of its state.
func position(e *entry) item {
	if e.is(tms.Available) {
		return newItem(e.seen, e)
	}
	return newItem(e.until, e)
}

func (i item) less(o item) bool { return i.compare(o) < 0 }

func (i item) compare(o item) int {
	switch {
	case i.at != o.at:
		return cmp.Compare(i.at, o.at)
	case i.prefix != o.prefix:
		return cmp.Compare(i.prefix, o.prefix)
	}
	return strings.Compare(i.value(), o.value())
}

func newIndex() *index {
	return &index{btree.NewBTreeGOptions(item.less, btree.Options{NoLocks: true})}
}

// load adds items to an empty index.
func (x *index) load(items []item) {
	slices.SortFunc(items, item.compare)
	for _, i := range items {
		x.tree.Load(i)
	}
}

func (x *index) add(i item)    { x.tree.Set(i) }
func (x *index) remove(i item) { x.tree.Delete(i) }
func (x *index) size() int     { return x.tree.Len() }

// hold adds the item, or takes it out.
func (x *index) hold(i item, in bool) {
	if in {
		x.add(i)
	} else {
		x.remove(i)
	}
}

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

// random returns a token with an instant of at least from, each as likely as the other, or nil.
func (x *index) random(from int64) *entry {
	dead := x.rank(from)
	if dead == x.size() {
		return nil
	}
	i, _ := x.tree.GetAt(dead + rand.IntN(x.size()-dead))
	return i.entry
}

// after calls f for the tokens that come after the cursor, if it stands in this state, or else for all, until f says
// false.
func (x *index) after(state tms.State, c rules.Cursor, f func(item) bool) {
	if c.State != state {
		x.tree.Scan(f)
		return
	}
	place := newItem(c.At, newEntry(c.Value, rules.Record{State: c.State}, ""))
	x.tree.Ascend(place, func(i item) bool { return !place.less(i) || f(i) })
}
