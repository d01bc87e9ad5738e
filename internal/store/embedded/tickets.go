package embedded

import (
	"cmp"
	"slices"
	"sort"

	"github.com/tidwall/btree"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// queue is the queue of a pool: the tickets that wait stand in lines, one for each match, each in the order in which
// they joined. It knows who waits and for how long; who is served is the pool's to decide. The zero value is not ready:
// see [newQueue].
type queue struct {
	tickets map[string]*ticket
	lines   map[string]*line // by lane; the tickets that wait
	several *line            // those of the line for any token that want several, by how many
	beyond  *line            // those that wait beside that line since they want more than the pool holds, by how many
	clocks  *line            // all tickets, by when their time is over
	joined  int64
	waiting int // how many tickets wait
}

// ticket is one place in a queue. It waits, or was handed leases, or is absent.
type ticket struct {
	ID      string
	Request tms.AssignRequest
	Lane    string
	Until   int64           // the last instant at which it waits, can pick up what it was handed, or keeps its place
	Offer   []rules.Granted // the leases that it was handed, to be picked up; nil otherwise
	Absent  bool            // it keeps its place, and is handed nothing

	number int64 // the order of joining
	since  int64 // when it joined
	beside bool  // it wants more than the pool holds
}

// waits reports whether the ticket stands in its line, or beside it.
func (t *ticket) waits() bool { return t.Offer == nil && !t.Absent }

// count returns how many tokens the ticket asks for.
func (t *ticket) count() int { return max(1, t.Request.Count) }

// before reports whether the ticket joined before the other; true if that is the same one, or there is none.
func (t *ticket) before(other *ticket) bool { return other == nil || t.number <= other.number }

// newQueue returns an empty queue.
func newQueue() *queue {
	return &queue{tickets: map[string]*ticket{}, lines: map[string]*line{}, clocks: newLine(byUntil),
		several: newLine(byCount), beyond: newLine(byCount)}
}

// line is an ordered set of tickets.
type line = btree.BTreeG[*ticket]

func newLine(less func(a, b *ticket) bool) *line {
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

func byNumber(a, b *ticket) bool { return a.number < b.number }

func byUntil(a, b *ticket) bool {
	return cmp.Or(cmp.Compare(a.Until, b.Until), cmp.Compare(a.number, b.number)) < 0
}

func byCount(a, b *ticket) bool {
	return cmp.Or(cmp.Compare(a.count(), b.count()), cmp.Compare(a.number, b.number)) < 0
}

// empty reports whether there are no tickets at all, not even absent ones.
func (q *queue) empty() bool { return len(q.tickets) == 0 }

// get returns the ticket, or nil.
func (q *queue) get(id string) *ticket { return q.tickets[id] }

// head returns the first ticket of a line, or nil.
func (q *queue) head(lane string) *ticket {
	line := q.lines[lane]
	if line == nil {
		return nil
	}
	head, _ := line.Min()
	return head
}

// place returns the ticket's place in its line, 1 being the first, in O(log² n).
func (q *queue) place(t *ticket) int {
	line := q.lines[t.Lane]
	if line == nil {
		return 1
	}
	return 1 + sort.Search(line.Len(), func(n int) bool {
		other, _ := line.GetAt(n)
		return other.number >= t.number
	})
}

// join puts a new ticket at the end of its line.
func (q *queue) join(request tms.AssignRequest, lane string, since, until int64) *ticket {
	q.joined++
	t := &ticket{ID: request.Ticket, Request: request, Lane: lane, Until: until, number: q.joined, since: since}
	q.tickets[t.ID] = t
	q.enterLine(t)
	q.clocks.Set(t)
	return t
}

// someOf returns tickets that wait, at most so many, in the order in which they joined. It looks at no more than
// several times as many.
func (q *queue) someOf(most int) (waiting []*ticket) {
	looked := 0
	q.clocks.Scan(func(t *ticket) bool {
		if looked++; t.waits() {
			waiting = append(waiting, t)
		}
		return len(waiting) < most && looked < maxStep+10*most
	})
	slices.SortFunc(waiting, func(a, b *ticket) int { return cmp.Compare(a.number, b.number) })
	return waiting
}

// show lets the ticket wait until an instant, in its place.
func (q *queue) show(t *ticket, until int64) {
	if t.Absent {
		t.Absent = false
		q.enterLine(t)
	}
	q.renew(t, until)
}

// hand takes the ticket out of its line and gives it leases to pick up until an instant.
func (q *queue) hand(t *ticket, offer []rules.Granted, until int64) {
	q.leaveLine(t)
	t.Offer = offer
	q.renew(t, until)
}

// excuse makes the ticket absent, and keeps its place until an instant. Nothing is handed to it any more.
func (q *queue) excuse(t *ticket, until int64) {
	q.leaveLine(t)
	t.Offer, t.Absent = nil, true
	q.renew(t, until)
}

// remove takes the ticket out of the queue.
func (q *queue) remove(t *ticket) {
	q.leaveLine(t)
	q.clocks.Delete(t)
	delete(q.tickets, t.ID)
}

func (q *queue) renew(t *ticket, until int64) {
	q.clocks.Delete(t)
	t.Until = until
	q.clocks.Set(t)
}

// reach takes note of how many tokens the pool holds, in at most so many moves, and reports whether it takes more. A
// ticket that wants more than that waits beside its line, in its place, and nobody waits for it. It also reports
// whether tickets have left the line.
func (q *queue) reach(holds, moves int) (left, more bool) {
	for range moves {
		most, some := q.several.Max()
		least, any := q.beyond.Min()
		switch {
		case some && most.count() > holds:
			q.standBeside(most, true)
			left = true
		case any && least.count() <= holds:
			q.standBeside(least, false)
		default:
			return left, false
		}
	}
	return left, true
}

func (q *queue) standBeside(t *ticket, beside bool) {
	q.leaveLine(t)
	t.beside = beside
	q.enterLine(t)
}

func (q *queue) enterLine(t *ticket) {
	q.waiting++
	if t.beside {
		q.beyond.Set(t)
		return
	}
	if q.lines[t.Lane] == nil {
		q.lines[t.Lane] = newLine(byNumber)
	}
	q.lines[t.Lane].Set(t)
	if t.Lane == "" && t.count() > 1 {
		q.several.Set(t)
	}
}

// leaveLine takes the ticket out of its line, if it waits there.
func (q *queue) leaveLine(t *ticket) {
	if !t.waits() {
		return
	}
	q.waiting--
	if t.beside {
		q.beyond.Delete(t)
		return
	}
	line := q.lines[t.Lane]
	line.Delete(t)
	q.several.Delete(t)
	if line.Len() == 0 {
		delete(q.lines, t.Lane)
	}
}

// first returns the ticket whose time is over first, or nil.
func (q *queue) first() *ticket {
	first, _ := q.clocks.Min()
	return first
}

// due returns when the time of the first ticket is over, or [rules.Never].
func (q *queue) due() int64 {
	if first := q.first(); first != nil {
		return first.Until
	}
	return rules.Never
}
