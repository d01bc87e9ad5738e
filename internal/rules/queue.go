package rules

import (
	"cmp"
	"sort"

	"github.com/tidwall/btree"

	tms "github.com/manankarani/token-manager"
)

// Queue is the queue of a pool: the tickets that wait stand in lines, one for each match, each in the order in which they
// joined. It knows who waits and for how long; who is served is the pool's to decide. The zero value is not ready: see
// [NewQueue].
type Queue struct {
	tickets map[string]*Ticket
	lines   map[string]*Line // by lane; the tickets that wait
	several *Line            // those of the line for any token that want several, by how many
	beyond  *Line            // those that wait beside that line since they want more than the pool holds, by how many
	clocks  *Line            // all tickets, by when their time is over
	joined  int64
	waiting int
}

// Ticket is one place in a queue. It waits, or was handed leases, or is absent.
type Ticket struct {
	ID      string
	Request tms.AssignRequest
	Lane    string
	Until   int64     // the last instant at which it waits, can pick up what it was handed, or keeps its place
	Offer   []Granted // the leases that it was handed, to be picked up; nil otherwise
	Absent  bool      // it keeps its place, and is handed nothing

	number int64 // the order of joining
	beside bool  // it wants more than the pool holds
}

// Waits says whether the ticket stands in its line, or beside it.
func (t *Ticket) Waits() bool { return t.Offer == nil && !t.Absent }

// Count returns how many tokens the ticket asks for.
func (t *Ticket) Count() int { return max(1, t.Request.Count) }

// Before says whether the ticket joined before the other; true if that is the same one, or there is none.
func (t *Ticket) Before(other *Ticket) bool { return other == nil || t.number <= other.number }

// NewQueue returns an empty queue.
func NewQueue() *Queue {
	return &Queue{tickets: map[string]*Ticket{}, lines: map[string]*Line{}, clocks: newLine(byUntil),
		several: newLine(byCount), beyond: newLine(byCount)}
}

// Line is an ordered set of tickets.
type Line = btree.BTreeG[*Ticket]

// NewLine returns an empty line in which the oldest ticket comes first.
func NewLine() *Line { return newLine(byNumber) }

func newLine(less func(a, b *Ticket) bool) *Line {
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

func byNumber(a, b *Ticket) bool { return a.number < b.number }

func byUntil(a, b *Ticket) bool {
	return cmp.Or(cmp.Compare(a.Until, b.Until), cmp.Compare(a.number, b.number)) < 0
}

func byCount(a, b *Ticket) bool {
	return cmp.Or(cmp.Compare(a.Count(), b.Count()), cmp.Compare(a.number, b.number)) < 0
}

// Waiting returns how many tickets wait.
func (q *Queue) Waiting() int { return q.waiting }

// Empty says whether there are no tickets at all, not even absent ones.
func (q *Queue) Empty() bool { return len(q.tickets) == 0 }

// Get returns the ticket, or nil.
func (q *Queue) Get(id string) *Ticket { return q.tickets[id] }

// Head returns the first ticket of a line, or nil.
func (q *Queue) Head(lane string) *Ticket {
	line := q.lines[lane]
	if line == nil {
		return nil
	}
	head, _ := line.Min()
	return head
}

// Place returns the ticket's place in its line, 1 being the first, in O(log² n).
func (q *Queue) Place(t *Ticket) int {
	line := q.lines[t.Lane]
	if line == nil {
		return 1
	}
	return 1 + sort.Search(line.Len(), func(n int) bool {
		other, _ := line.GetAt(n)
		return other.number >= t.number
	})
}

// Join puts a new ticket at the end of its line.
func (q *Queue) Join(request tms.AssignRequest, lane string, until int64) *Ticket {
	q.joined++
	t := &Ticket{ID: request.Ticket, Request: request, Lane: lane, Until: until, number: q.joined}
	q.tickets[t.ID] = t
	q.enterLine(t)
	q.clocks.Set(t)
	return t
}

// Show lets the ticket wait until an instant, in its place.
func (q *Queue) Show(t *Ticket, until int64) {
	if t.Absent {
		t.Absent = false
		q.enterLine(t)
	}
	q.renew(t, until)
}

// Hand takes the ticket out of its line and gives it leases to pick up until an instant.
func (q *Queue) Hand(t *Ticket, offer []Granted, until int64) {
	q.leaveLine(t)
	t.Offer = offer
	q.renew(t, until)
}

// Excuse makes the ticket absent, and keeps its place until an instant. Nothing is handed to it any more.
func (q *Queue) Excuse(t *Ticket, until int64) {
	q.leaveLine(t)
	t.Offer, t.Absent = nil, true
	q.renew(t, until)
}

// Remove takes the ticket out of the queue.
func (q *Queue) Remove(t *Ticket) {
	q.leaveLine(t)
	q.clocks.Delete(t)
	delete(q.tickets, t.ID)
}

func (q *Queue) renew(t *Ticket, until int64) {
	q.clocks.Delete(t)
	t.Until = until
	q.clocks.Set(t)
}

// Reach takes note of how many tokens the pool holds, in at most so many moves, and says whether it takes more. A ticket
// that wants more than that waits beside its line, in its place, and nobody waits for it. It also says whether tickets
// have left the line.
func (q *Queue) Reach(holds, moves int) (left, more bool) {
	for range moves {
		most, some := q.several.Max()
		least, any := q.beyond.Min()
		switch {
		case some && most.Count() > holds:
			q.standBeside(most, true)
			left = true
		case any && least.Count() <= holds:
			q.standBeside(least, false)
		default:
			return left, false
		}
	}
	return left, true
}

func (q *Queue) standBeside(t *Ticket, beside bool) {
	q.leaveLine(t)
	t.beside = beside
	q.enterLine(t)
}

func (q *Queue) enterLine(t *Ticket) {
	q.waiting++
	if t.beside {
		q.beyond.Set(t)
		return
	}
	if q.lines[t.Lane] == nil {
		q.lines[t.Lane] = NewLine()
	}
	q.lines[t.Lane].Set(t)
	if t.Lane == "" && t.Count() > 1 {
		q.several.Set(t)
	}
}

// leaveLine takes the ticket out of its line, if it waits there.
func (q *Queue) leaveLine(t *Ticket) {
	if !t.Waits() {
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

// First returns the ticket whose time is over first, or nil.
func (q *Queue) First() *Ticket {
	first, _ := q.clocks.Min()
	return first
}

// Due returns when the time of the first ticket is over, or [Never].
func (q *Queue) Due() int64 {
	if first := q.First(); first != nil {
		return first.Until
	}
	return Never
}
