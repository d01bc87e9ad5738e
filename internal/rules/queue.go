package rules

import (
	"cmp"
	"sort"

	"github.com/tidwall/btree"

	tms "github.com/manankarani/token-manager"
)

// Queue is the queue of a pool: tickets in lines, one for each match, each in the order in which they joined. It knows
// who waits and for how long; who is served is the pool's to decide. The zero value is not ready: see [NewQueue].
type Queue struct {
	tickets map[string]*Ticket
	lines   map[string]*Line // by lane; the tickets that wait
	clocks  *Line            // all tickets, by when they become void
	joined  int64
	waiting int
}

// Ticket is one place in a queue, or what became of it.
type Ticket struct {
	ID      string
	Request tms.AssignRequest
	Lane    string
	Void    int64     // the last instant at which it counts
	Offer   []Granted // the leases that it was handed, to be picked up; nil while it waits

	number int64 // the order of joining
}

// Count returns how many tokens the ticket asks for.
func (t *Ticket) Count() int { return max(1, t.Request.Count) }

// Before says whether the ticket joined before the other; true if there is no other.
func (t *Ticket) Before(other *Ticket) bool { return other == nil || t.number < other.number }

// NewQueue returns an empty queue.
func NewQueue() *Queue {
	return &Queue{tickets: map[string]*Ticket{}, lines: map[string]*Line{}, clocks: newLine(byVoid)}
}

// Line is an ordered set of tickets.
type Line = btree.BTreeG[*Ticket]

// NewLine returns an empty line in which the oldest ticket comes first.
func NewLine() *Line { return newLine(byNumber) }

func newLine(less func(a, b *Ticket) bool) *Line {
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

func byNumber(a, b *Ticket) bool { return a.number < b.number }

func byVoid(a, b *Ticket) bool {
	return cmp.Or(cmp.Compare(a.Void, b.Void), cmp.Compare(a.number, b.number)) < 0
}

// Waiting returns how many tickets wait.
func (q *Queue) Waiting() int { return q.waiting }

// Empty says whether there are no tickets at all, neither waiting nor with something to pick up.
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
	return 1 + sort.Search(line.Len(), func(n int) bool {
		other, _ := line.GetAt(n)
		return other.number >= t.number
	})
}

// Join puts a new ticket at the end of its line.
func (q *Queue) Join(request tms.AssignRequest, lane string, void int64) *Ticket {
	q.joined++
	t := &Ticket{ID: request.Ticket, Request: request, Lane: lane, Void: void, number: q.joined}
	if q.lines[lane] == nil {
		q.lines[lane] = NewLine()
	}
	q.tickets[t.ID] = t
	q.lines[lane].Set(t)
	q.clocks.Set(t)
	q.waiting++
	return t
}

// Renew keeps the ticket's place until void.
func (q *Queue) Renew(t *Ticket, void int64) {
	q.clocks.Delete(t)
	t.Void = void
	q.clocks.Set(t)
}

// Hand takes the ticket out of its line and gives it leases to pick up until void.
func (q *Queue) Hand(t *Ticket, offer []Granted, void int64) {
	q.leaveLine(t)
	t.Offer = offer
	q.Renew(t, void)
}

// Remove takes the ticket out of the queue.
func (q *Queue) Remove(t *Ticket) {
	if t.Offer == nil {
		q.leaveLine(t)
	}
	q.clocks.Delete(t)
	delete(q.tickets, t.ID)
}

func (q *Queue) leaveLine(t *Ticket) {
	line := q.lines[t.Lane]
	line.Delete(t)
	q.waiting--
	if line.Len() == 0 {
		delete(q.lines, t.Lane)
	}
}

// First returns the ticket that becomes void first, or nil.
func (q *Queue) First() *Ticket {
	first, _ := q.clocks.Min()
	return first
}

// Due returns when the first ticket becomes void, or [Never].
func (q *Queue) Due() int64 {
	if first := q.First(); first != nil {
		return first.Void
	}
	return Never
}
