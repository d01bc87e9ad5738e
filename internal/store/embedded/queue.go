package embedded

import (
	"context"
	"maps"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// QueueUp lets the request's ticket take or keep its place, and returns the refusal that says which.
func (t *step) QueueUp(r tms.AssignRequest) error {
	ticket := t.queue.get(r.Ticket)
	lane, until := rules.Lane(r.Match), rules.PresentUntil(t.now)
	switch {
	case ticket != nil:
		t.queue.show(ticket, until)
	case r.Ticket != "":
		ticket = t.queue.join(r, lane, t.now, until)
	}
	t.reach()
	return t.noneAvailable(lane, ticket, max(1, r.Count))
}

// turn reports whether the ticket, or a request without one, may be served before everybody else who waits in its line.
// Whoever waits for any token is owed every token: they wait only because they want more than there are.
func (t *step) turn(lane string, ticket *ticket) bool {
	first, any := t.queue.head(lane), t.queue.head("")
	if ticket == nil {
		return first == nil && any == nil
	}
	return ticket.before(first) && ticket.before(any)
}

// age carries out the end of the ticket's time: whoever waited is absent, and whoever was absent is gone. What a ticket
// was handed comes back by the token's own clock.
func (t *step) age(ticket *ticket) {
	kept := rules.KeptAfter(ticket.Until)
	if ticket.Absent || kept < t.now {
		t.dismiss(ticket)
		return
	}
	t.queue.excuse(ticket, kept)
	t.letGo(ticket)
}

// Dismiss takes the ticket, if there is one, out of the queue.
func (t *step) Dismiss(id string) { t.dismiss(t.queue.get(id)) }

// dismiss is Dismiss of a ticket that was found, or nil.
func (t *step) dismiss(ticket *ticket) {
	if ticket == nil {
		return
	}
	t.queue.remove(ticket)
	t.letGo(ticket)
}

// letGo takes note that the ticket, which waits no longer, is owed no token any more. One who waited for several may
// have had some kept back.
func (t *step) letGo(ticket *ticket) {
	t.kept = t.kept || ticket.Lane == "" && ticket.count() > 1
}

// catchUp takes those who no longer wait out of the queue, and hands what is due to come back to those who do, before
// the step proper begins, so that it meets no ticket that is void, and no token that is owed to one of the others. It
// reports whether that takes another step.
func (t *step) catchUp() (more bool) {
	if t.queue.empty() {
		return false
	}
	if t.tidy() {
		return true
	}
	for range maxStep {
		d := t.nextReturn()
		if d.at >= t.now {
			break
		}
		t.settle(d.entry)
	}
	t.handOff()
	return t.owes()
}

// owes reports whether tokens may be there that belong to waiters.
func (t *step) owes() bool { return len(t.freed) > 0 || t.kept }

// handOff gives the tokens that have become available to waiters. What goes beyond maxStep, or comes while void
// tickets hide whose turn it is, is left to the next step.
func (t *step) handOff() {
	if t.queue.empty() {
		t.freed, t.kept = nil, false
		return
	}
	if t.reach() {
		return
	}
	for t.owes() && t.handed < maxStep && t.queue.due() >= t.now {
		freed, kept := t.freed, t.kept
		t.freed, t.kept = nil, false
		if t.queue.empty() || t.policy.Paused {
			return
		}
		if t.serveAll(t.heads(freed, kept), kept) {
			t.kept = false
		} else {
			t.freed, t.kept = freed, true
		}
	}
}

// reach lets those who want more tokens than the pool holds stand beside the line. It reports whether that takes
// another step; until then nobody's turn is known.
func (t *step) reach() (more bool) {
	left, more := t.queue.reach(t.holds(), maxStep)
	t.kept = t.kept || left || more
	return more
}

// holds returns how many tokens the pool has that can be had sooner or later.
func (t *step) holds() int {
	oldest := t.policy.Oldest(t.now)
	resting := t.cooling.size() - t.coolingSeen.rank(oldest)
	return t.available.size() - t.available.rank(oldest) + t.assigned.size() + resting
}

// noteLanes adds the lanes that the tokens suit.
func (t *step) noteLanes(lanes map[string]bool, tokens []*entry) {
	for _, e := range tokens {
		for _, lane := range t.lanesOf(e) {
			lanes[lane] = true
		}
	}
}

// keptLanes returns the lanes of tokens that may have been kept back: those of the first tokens that were available
// when the step first asked, and of all that it made available since. No more can have been kept back, as nobody waits
// for more. They are read once: a step that lets hundreds go would read them hundreds of times.
func (t *step) keptLanes() map[string]bool {
	if t.keptIn != nil {
		return t.keptIn
	}
	var first []*entry
	t.available.tree.Scan(func(i item) bool {
		first = append(first, i.entry)
		return len(first) < maxStep
	})
	t.keptIn = map[string]bool{}
	t.noteLanes(t.keptIn, first)
	return t.keptIn
}

// heads returns the first ticket of every line that any of the tokens suits, by age. Where tokens were kept back, some
// of those are among them.
func (t *step) heads(tokens []*entry, kept bool) *line {
	lanes := map[string]bool{"": true}
	t.noteLanes(lanes, tokens)
	if t.keptIn != nil {
		t.noteLanes(t.keptIn, tokens)
	}
	if kept && len(t.policy.Labels) > 0 {
		maps.Copy(lanes, t.keptLanes())
	}
	heads := newLine(byNumber)
	for lane := range lanes {
		if head := t.queue.head(lane); head != nil {
			heads.Set(head)
		}
	}
	return heads
}

// serveAll serves the tickets that can be served, the oldest first. A ticket that cannot is not tried again: what is
// given to younger ones only lessens what there is, and no older one stands before it. It returns false if it stopped
// because the step has handed out enough, or because tokens that were kept back may suit other lines now. Where kept is
// set, those are among the heads.
func (t *step) serveAll(heads *line, kept bool) bool {
	for head, some := heads.PopMin(); some; head, some = heads.PopMin() {
		if t.handed >= maxStep {
			return false
		}
		if !t.serve(head) {
			continue
		}
		if t.kept && !kept {
			return false
		}
		if next := t.queue.head(head.Lane); next != nil {
			heads.Set(next)
		}
	}
	return true
}

// serve hands the first ticket of a line what it asks for, or takes it out if its client may have no more. It returns
// false if it is not the ticket's turn or there is too little.
func (t *step) serve(head *ticket) bool {
	switch {
	case !t.turn(head.Lane, head), t.supply(head.Lane) < head.count():
		return false
	case t.Quota(head.Request) != nil:
		t.dismiss(head)
		t.handed++ // taking somebody out is work, too
		t.store.wakes.add(head.ID)
	default:
		t.hand(head)
	}
	return true
}

// hand keeps tokens for the ticket to be picked up.
func (t *step) hand(ticket *ticket) {
	var offer []rules.Granted
	for _, e := range t.choose(ticket.Lane, ticket.Request) {
		lease := t.newLease(ticket.Request)
		t.put(e, e.record().Hand(t.now, lease))
		offer = append(offer, rules.Granted{Token: e.value(), ID: lease.ID})
	}
	t.handed += len(offer)
	t.queue.hand(ticket, offer, rules.PickupEnd(t.now))
	t.letGo(ticket)
	t.store.wakes.add(ticket.ID)
}

// offered returns those of the tokens that the ticket was handed and that nobody has taken back since.
func (t *step) offered(ticket *ticket) (tokens []*entry) {
	for _, granted := range ticket.Offer {
		if e := t.tokens[granted.Token]; e != nil && e.handed() && e.lease.ID == granted.ID {
			tokens = append(tokens, e)
		}
	}
	return tokens
}

// PickUp begins the leases of the tokens that the request's ticket was handed.
func (t *step) PickUp(r tms.AssignRequest) (tokens []tms.Token) {
	ticket := t.queue.get(r.Ticket)
	for _, e := range t.offered(ticket) {
		t.put(e, e.record().Assign(t.policy, t.now, e.held(), r.TTL))
		tokens = append(tokens, t.given(e))
	}
	t.queue.remove(ticket)
	t.rememberAssign(r, tokens)
	return tokens
}

// Waiters implements [tms.Store].
func (s *Store) Waiters(ctx context.Context, pool string, limit int) (all []tms.Waiter, err error) {
	err = s.do(ctx, pool, func(t *step) error {
		for _, w := range t.queue.someOf(limit) {
			since := t.store.clock.wall(w.since).UnixMilli()
			all = append(all, rules.WaiterOf(w.Request.ClientID, w.count(), w.Lane, t.queue.place(w), since))
		}
		return nil
	})
	return all, err
}

// Leave implements [tms.Queue].
func (s *Store) Leave(ctx context.Context, pool string, tickets []string, keep bool) error {
	return s.do(ctx, pool, func(t *step) error {
		for _, id := range tickets {
			if ticket := t.queue.get(id); ticket != nil {
				t.leave(ticket, keep)
			}
		}
		return nil
	})
}

func (t *step) leave(ticket *ticket, keep bool) {
	offered := t.offered(ticket)
	if keep {
		t.queue.excuse(ticket, rules.KeptUntil(t.now))
		t.letGo(ticket)
	} else {
		t.dismiss(ticket)
	}
	for _, e := range offered {
		t.put(e, e.record().TakeBack())
	}
}

// Listen implements [tms.Queue].
func (s *Store) Listen(ctx context.Context, wake func(ticket string)) error {
	s.setListening(true)
	defer s.setListening(false)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wakes.some:
		}
		s.mu.Lock()
		tickets := s.wakes.take()
		s.mu.Unlock()
		for _, ticket := range tickets {
			wake(ticket)
		}
	}
}

func (s *Store) setListening(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakes.take()
	s.wakes.heard = on
}

// wakes are the tickets that should be shown again, for the listener to call out. The store's lock guards them.
type wakes struct {
	tickets []string
	heard   bool          // somebody listens
	some    chan struct{} // holds one token when there are tickets
}

func (w *wakes) add(ticket string) {
	if !w.heard {
		return
	}
	w.tickets = append(w.tickets, ticket)
	select {
	case w.some <- struct{}{}:
	default:
	}
}

func (w *wakes) take() []string {
	tickets := w.tickets
	w.tickets = nil
	return tickets
}
