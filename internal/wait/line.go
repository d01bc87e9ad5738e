package wait

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	tms "github.com/manankarani/token-manager"
)

// line is everybody who waits for tokens of one pool on this server.
type line struct {
	store *Store
	pool  string
	kick  chan struct{} // holds one token when tickets are to be shown

	mu      sync.Mutex
	idle    *sync.Cond // a batch has been answered
	waiters map[string][]*waiter
	due     map[string]bool // the tickets to be shown next
	joined  int
	retry   time.Duration // until a token is due to come back; 0: not known
}

// waiter is one call that waits. The line's lock guards all but the channel.
type waiter struct {
	request tms.AssignRequest
	answer  chan answer // of size 1; what ends the wait
	last    error       // the store's last refusal
	number  int
	shown   bool // in the batch that the store is being asked
}

type answer struct {
	result tms.AssignResult
	err    error
}

// join puts the waiter into the pool's line, and has its ticket shown. It starts the line's goroutine, and the store's
// listener, where they do not run.
func (s *Store) join(pool string, w *waiter) *line {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.heard {
		s.heard = true
		s.work.Go(s.listen)
	}
	l := s.lines[pool]
	if l == nil {
		l = &line{store: s, pool: pool, kick: make(chan struct{}, 1), waiters: map[string][]*waiter{}, due: map[string]bool{}}
		l.idle = sync.NewCond(&l.mu)
		s.lines[pool] = l
		s.work.Go(l.run)
	}
	l.add(w)
	return l
}

func (l *line) add(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.joined++
	w.number = l.joined
	ticket := w.request.Ticket
	l.waiters[ticket] = append(l.waiters[ticket], w)
	l.show(ticket)
}

// show has the ticket shown to the store. The lock must be held.
func (l *line) show(ticket string) {
	if l.waiters[ticket] == nil {
		return
	}
	l.due[ticket] = true
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

// leave takes the waiter out of the line. When it returns, its ticket is not being shown, and an answer that has come is
// in its channel.
func (l *line) leave(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w.shown {
		l.idle.Wait()
	}
	l.remove(w)
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
			return
		}
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

// untilFirst returns the time until a token is due to come back. One ticket is enough to have the store look: what comes
// back goes to whose turn it is.
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

func (l *line) showAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ticket := range l.waiters {
		l.show(ticket)
	}
}

// over says whether nobody waits, and if so takes the line off the store.
func (l *line) over() bool {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiters) > 0 {
		return false
	}
	delete(l.store.lines, l.pool)
	return true
}

// ask shows the tickets that are due to the store and gives its answers to who waits for them.
func (l *line) ask() {
	batch := l.batch()
	if len(batch) == 0 {
		return
	}
	requests := make([]tms.AssignRequest, len(batch))
	for i, waiters := range batch {
		requests[i] = waiters[0].request
	}
	results, err := l.store.Store.Assign(l.store.life, l.pool, requests)
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
	l.idle.Broadcast()
}

// batch takes the tickets that are due, in the order in which they joined, each with all who wait with it.
func (l *line) batch() (batch [][]*waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ticket := range l.due {
		waiters := slices.Clone(l.waiters[ticket])
		for _, w := range waiters {
			w.shown = true
		}
		if len(waiters) > 0 {
			batch = append(batch, waiters)
		}
	}
	clear(l.due)
	slices.SortFunc(batch, func(a, b []*waiter) int { return cmp.Compare(a[0].number, b[0].number) })
	return batch
}

// tell ends the wait of all who wait with a ticket, or lets them go on if the answer is that there is none yet.
func (l *line) tell(waiters []*waiter, a answer) {
	refusal := a.err
	if refusal == nil {
		refusal = a.result.Err
	}
	for _, w := range waiters {
		w.shown = false
		switch code := tms.CodeOf(refusal); {
		case code == tms.ErrNoTokenAvailable, code == tms.ErrStoreUnavailable:
			w.last = refusal
			l.note(refusal)
		default:
			w.answer <- a
			l.remove(w)
		}
	}
}

// note remembers when the store expects the next token.
func (l *line) note(refusal error) {
	if after := retryAfter(refusal); after > 0 && (l.retry == 0 || after < l.retry) {
		l.retry = after
	}
}

// listen wakes those whose turn the store calls out, until the store is closed.
func (s *Store) listen() {
	for s.life.Err() == nil {
		err := s.queue.Listen(s.life, s.wake)
		if err != nil && s.life.Err() == nil {
			s.options.Logger.Warn("wakes are not heard for now, so that those who wait are served up to a second later", "error", err)
			pause(s.life, s.options.Beat/4)
		}
	}
}

func (s *Store) wake(ticket string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		l.wake(ticket)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func retryAfter(err error) time.Duration {
	var refusal *tms.Refusal
	if errors.As(err, &refusal) {
		return refusal.RetryAfter
	}
	return 0
}
