package wait

import (
	"cmp"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// line is everybody who waits for tokens of one pool on this server.
type line struct {
	store *Store
	pool  string
	kick  chan struct{} // holds one token when tickets are to be shown

	mu      sync.Mutex
	waiters map[string][]*waiter
	parting []*waiter // who left, and the store is to hear of
	closed  bool      // the goroutine has ended
	woken   []string  // tickets to be shown next
	round   []string  // tickets to be shown because it is time
	turn    bool      // of woken
	joined  int
	retry   time.Duration // until a token is due to come back; 0: not known
}

// waiter is one call that waits. The line's lock guards all but the channel.
type waiter struct {
	request tms.AssignRequest
	answer  chan answer // of size 1; what ends the wait
	last    error       // the store's last refusal
	number  int
	shown   bool          // the store is being asked
	told    bool          // the answer is in the channel
	left    chan struct{} // made when it leaves, and closed when the line has done with it
}

// print tells the content of the request from that of others.
func (w *waiter) print() string { return rules.AssignPrint(w.request) }

// returns reports whether whoever waits may come back.
func (w *waiter) returns() bool { return w.request.RequestID != "" }

type answer struct {
	result tms.AssignResult
	err    error
}

// join puts the waiter into the pool's line, and has its ticket shown. It starts the line's goroutine, and the store's
// listener, where they do not run.
func (s *Store) join(pool string, w *waiter) (*line, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.heard {
		s.heard = true
		s.work.Go(s.listen)
	}
	l := s.lines[pool]
	if l == nil {
		l = &line{store: s, pool: pool, kick: make(chan struct{}, 1), waiters: map[string][]*waiter{}}
		s.lines[pool] = l
		s.work.Go(l.run)
	}
	return l, l.add(w)
}

// add refuses a waiter whose ticket somebody waits with for something else.
func (l *line) add(w *waiter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	ticket := w.request.Ticket
	if others := l.waiters[ticket]; others != nil && w.print() != others[0].print() {
		return rules.Reused()
	}
	l.joined++
	w.number = l.joined
	l.waiters[ticket] = append(l.waiters[ticket], w)
	l.show(ticket)
	return nil
}

// show has the ticket shown to the store. The lock must be held.
func (l *line) show(ticket string) {
	if l.waiters[ticket] == nil {
		return
	}
	l.woken = append(l.woken, ticket)
	l.goOn()
}

// goOn has run show what is due.
func (l *line) goOn() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// wake has the ticket shown, if it is one of this line's.
func (l *line) wake(ticket string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.show(ticket)
}

// leave takes the waiter out of the line. It returns a channel that is closed when an answer is in the waiter's channel
// or none comes any more: then the store has been told, or could not be.
func (l *line) leave(w *waiter) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.left != nil {
		return w.left
	}
	w.left = make(chan struct{})
	if w.told || l.closed {
		close(w.left)
		return w.left
	}
	l.remove(w)
	l.parting = append(l.parting, w)
	l.goOn()
	return w.left
}

// sayFarewell tells the store who has left since it was last called: tickets that nobody waits with any more leave the
// queue, and keep their places where a repeat may come.
func (l *line) sayFarewell() {
	l.mu.Lock()
	parting := l.parting
	l.parting = nil
	tickets := map[bool][]string{}
	for _, w := range parting {
		if ticket := w.request.Ticket; !w.told && l.waiters[ticket] == nil {
			tickets[w.returns()] = append(tickets[w.returns()], ticket)
		}
	}
	l.mu.Unlock()
	for keep, list := range tickets {
		l.giveUp(list, keep)
	}
	for _, w := range parting {
		close(w.left)
	}
}

func (l *line) giveUp(tickets []string, keep bool) {
	ctx, cancel := l.store.saying()
	defer cancel()
	if err := l.store.queue.Leave(ctx, l.pool, tickets, keep); err != nil {
		l.store.options.Logger.Debug("tickets stay in the queue until their time is over", "pool", l.pool, "error", err)
	}
}

// lastWord returns the store's last refusal of the waiter. While it is being asked nobody knows that it refuses.
func (l *line) lastWord(w *waiter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.shown {
		return errSilent
	}
	return w.last
}

func (l *line) remove(w *waiter) {
	ticket := w.request.Ticket
	left := slices.DeleteFunc(l.waiters[ticket], func(other *waiter) bool { return other == w })
	if l.waiters[ticket] = left; len(left) == 0 {
		delete(l.waiters, ticket)
	}
}

// run shows tickets until nobody waits any more, or the store is closed.
func (l *line) run() {
	beat := time.NewTimer(l.beat())
	first := time.NewTimer(time.Hour)
	defer beat.Stop()
	defer first.Stop()
	for {
		select {
		case <-l.kick:
		case <-first.C:
			l.showFirst()
		case <-beat.C:
			l.showAll()
			beat.Reset(l.beat())
		case <-l.store.life.Done():
			l.close()
			return
		}
		l.sayFarewell()
		if l.ask(); l.over() {
			return
		}
		first.Reset(l.untilFirst())
	}
}

// beat returns the time until all tickets are shown again, with a spread so that servers do not all come at once.
func (l *line) beat() time.Duration {
	return l.store.options.Beat - rand.N(l.store.options.Beat/10+1)
}

const (
	soonest = 2 * time.Millisecond // between two looks at what comes back, so that many deadlines share one
	never   = time.Hour
)

// untilFirst returns the time until a token is due to come back. One ticket is enough to have the store look: what
// comes back goes to whose turn it is.
func (l *line) untilFirst() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.retry <= 0 {
		return never
	}
	return max(l.retry, soonest)
}

func (l *line) showFirst() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retry = 0
	var first *waiter
	for _, waiters := range l.waiters {
		if first == nil || waiters[0].number < first.number {
			first = waiters[0]
		}
	}
	if first != nil {
		l.show(first.request.Ticket)
	}
}

// showAll has all tickets shown in the order in which they joined, unless those of the last time are not through yet:
// the last ones must have their turn too.
func (l *line) showAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.round) > 0 {
		return
	}
	l.round = slices.SortedFunc(maps.Keys(l.waiters), func(a, b string) int {
		return cmp.Compare(l.waiters[a][0].number, l.waiters[b][0].number)
	})
	l.goOn()
}

// over reports whether nobody waits, and if so takes the line off the store.
func (l *line) over() bool {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiters) > 0 || len(l.parting) > 0 {
		return false
	}
	delete(l.store.lines, l.pool)
	l.closed = true
	return true
}

// close ends the line where somebody may still wait.
func (l *line) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.sayFarewell()
}

// ask shows tickets that are due to the store and gives its answers to who waits for them.
func (l *line) ask() {
	batch := l.batch()
	if len(batch) == 0 {
		return
	}
	requests := make([]tms.AssignRequest, len(batch))
	for i, waiters := range batch {
		requests[i] = waiters[0].request
	}
	results, err := l.store.Sweeper.Assign(l.store.life, l.pool, requests)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retry = 0
	for i, waiters := range batch {
		a := answer{err: err}
		if err == nil {
			a.result = results[i]
		}
		l.tell(waiters, a)
	}
}

// most is how many tokens a batch asks for at most. A store answers so many in one step: where one of several steps
// fails, nobody would hear what the others were given.
const most = 1_000

// batch takes tickets that are due, as many as a step of the store answers, and returns who waits with each of them.
// The rest is shown next.
func (l *line) batch() (batch [][]*waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for tokens := 0; ; {
		waiters, next := l.nextDue()
		if waiters == nil {
			return batch
		}
		if tokens += max(1, waiters[0].request.Count); tokens > most && len(batch) > 0 {
			l.goOn()
			return batch
		}
		*next = (*next)[1:]
		for _, w := range waiters {
			w.shown = true
		}
		batch = append(batch, slices.Clone(waiters))
	}
}

// nextDue returns all who wait with the ticket that is to be shown next, and the list that it stands first in; nil
// where there is none. It takes tickets that nobody waits with any more, or that are being shown, off the lists. The
// lists take turns, so that none holds up the other.
func (l *line) nextDue() ([]*waiter, *[]string) {
	lists := []*[]string{&l.woken, &l.round}
	if l.turn = !l.turn; !l.turn {
		slices.Reverse(lists)
	}
	for _, due := range lists {
		for ; len(*due) > 0; *due = (*due)[1:] {
			if waiters := l.waiters[(*due)[0]]; len(waiters) > 0 && !waiters[0].shown {
				return waiters, due
			}
		}
	}
	return nil, nil
}

// tell ends the wait of all who wait with a ticket, or lets them go on if the answer is that there is none yet, or if
// there is no answer: the ticket is shown again, and the store answers what it may have been given meanwhile.
func (l *line) tell(waiters []*waiter, a answer) {
	refusal := a.err
	if refusal == nil {
		refusal = a.result.Err
	}
	for _, w := range waiters {
		w.shown = false
		if goesOn(refusal) {
			w.last = refusal
			l.note(refusal)
			continue
		}
		w.answer <- a
		w.told = true
		l.remove(w)
	}
}

// goesOn reports whether a wait goes on after this answer.
func goesOn(err error) bool {
	switch tms.CodeOf(err) {
	case "": // the store failed
		return err != nil
	case tms.ErrNoTokenAvailable, tms.ErrPoolSettling, tms.ErrStoreUnavailable:
		return true
	}
	return false
}

// note remembers when the store expects the next token.
func (l *line) note(refusal error) {
	if after := retryAfter(refusal); after > 0 && (l.retry == 0 || after < l.retry) {
		l.retry = after
	}
}

func retryAfter(err error) time.Duration {
	var refusal *tms.Refusal
	if errors.As(err, &refusal) {
		return refusal.RetryAfter
	}
	return 0
}
