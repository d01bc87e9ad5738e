// Package wait is a [tms.Store] that wraps a [tms.Store]: it heeds [tms.AssignRequest.Wait] and lets callers wait their
// turn in the store's queue, first come, first served among all servers of the store.
//
// For each pool in which somebody waits there is one line, whose one goroutine shows tickets to the store: those that
// were woken at once, all of them at every beat, and the first one when a token is due to come back. So a wake that
// gets lost costs at most a beat, and no number of waiters makes more than one call at a time.
package wait

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// Options says how a Store waits. The zero value works.
type Options struct {
	// Beat is how often every ticket is shown to the store whether or not it was woken. It must be well below
	// [tms.TicketTTL]. Zero: 600 ms.
	Beat time.Duration

	Logger *slog.Logger // nil: no logs
}

// Store is a store whose Assign waits. It is made with [Wrap].
type Store struct {
	tms.Sweeper
	queue   tms.Queue // nil: the store has none
	options Options

	life   context.Context // of the background work
	end    context.CancelFunc
	stop   chan struct{} // closed when waiting ends
	stopMu sync.Once
	work   sync.WaitGroup

	mu    sync.Mutex
	lines map[string]*line
	heard bool // the listener runs
}

// Wrap returns a store that waits. Where the given one is no [tms.Queue], Wait is not heeded and every call answers at
// once. Close ends the waiting and closes the given store.
func Wrap(store tms.Sweeper, o Options) *Store {
	if o.Beat <= 0 {
		o.Beat = 600 * time.Millisecond
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	queue, _ := store.(tms.Queue)
	life, end := context.WithCancel(context.Background())
	return &Store{Sweeper: store, queue: queue, options: o, life: life, end: end, stop: make(chan struct{}),
		lines: map[string]*line{}}
}

// Stop ends all waiting, now and from now on: whoever waits is refused with [tms.ErrStoreUnavailable], and what comes
// later is answered at once. It does not block.
func (s *Store) Stop() { s.stopMu.Do(func() { close(s.stop) }) }

// Close ends the waiting, waits for its goroutines, and closes the wrapped store.
func (s *Store) Close() error {
	s.Stop()
	s.end()
	s.work.Wait()
	return s.Sweeper.Close()
}

// Ready implements [tms.Readier].
func (s *Store) Ready(ctx context.Context) error {
	if readier, ok := s.Sweeper.(tms.Readier); ok {
		return readier.Ready(ctx)
	}
	return nil
}

// Assign implements [tms.Store] and heeds Wait. Requests that wait are answered each on its own; if one of several
// fails, all of them do, and what the others were given stays leased until its time is over. A request that gives up,
// because its time or its context is over, leaves the queue. Where it has a RequestID its place is kept for
// [tms.TicketTTL], so that a repeat goes on where it stood; until then it is absent, and nobody waits for it. What
// comes too late for a request that has given up is given back, unless it has a RequestID: then a repeat fetches it. A
// store that fails ends no wait, since a ticket can be shown again; a request whose time is over then fails, too: its
// outcome is unknown. No call outlives its context, or its time by more than a second, however long the store takes.
func (s *Store) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	if !s.anyWaits(requests) {
		return s.Sweeper.Assign(ctx, pool, requests)
	}
	results := make([]tms.AssignResult, len(requests))
	failed := make([]error, len(requests))
	var all sync.WaitGroup
	for i, r := range requests {
		all.Go(func() { results[i], failed[i] = s.assign(ctx, pool, r) })
	}
	all.Wait()
	if len(requests) == 1 {
		return results, failed[0]
	}
	return results, errors.Join(failed...)
}

// UnblockRequest implements [tms.Store]. The request leaves the queue as well, on whatever server it waits, and what it
// was handed goes to the next.
func (s *Store) UnblockRequest(ctx context.Context, pool, requestID string) (int, error) {
	n, err := s.Sweeper.UnblockRequest(ctx, pool, requestID)
	if err == nil && s.queue != nil {
		err = s.queue.Leave(ctx, pool, []string{ticketOf(tms.AssignRequest{RequestID: requestID})}, false)
	}
	return n, err
}

func (s *Store) anyWaits(requests []tms.AssignRequest) bool {
	for _, r := range requests {
		if r.Wait > 0 && s.queue != nil {
			return true
		}
	}
	return false
}

// assign answers one request.
func (s *Store) assign(ctx context.Context, pool string, r tms.AssignRequest) (tms.AssignResult, error) {
	if r.Wait == 0 || s.stopped() {
		return single(s.Sweeper.Assign(ctx, pool, []tms.AssignRequest{r}))
	}
	r.Ticket = ticketOf(r)
	w := &waiter{request: r, answer: make(chan answer, 1), last: errNotAsked}
	l, err := s.join(pool, w)
	if err != nil {
		return tms.AssignResult{Err: err}, nil
	}
	timer := time.NewTimer(r.Wait)
	defer timer.Stop()
	select {
	case a := <-w.answer:
		return a.result, a.err
	case <-timer.C:
		return s.refused(ctx, l, w, nil)
	case <-s.stop:
		return s.refused(ctx, l, w, errStopping)
	case <-ctx.Done():
		s.part(l, w)
		return tms.AssignResult{}, ctx.Err()
	}
}

// ticketOf returns the request's ticket. All repeats of a request share one.
func ticketOf(r tms.AssignRequest) string {
	if r.RequestID != "" {
		return "r:" + r.RequestID
	}
	return tms.NewValue()
}

func single(results []tms.AssignResult, err error) (tms.AssignResult, error) {
	if err != nil {
		return tms.AssignResult{}, err
	}
	return results[0], nil
}

var (
	errNotAsked = tms.Refuse(tms.ErrStoreUnavailable, "the store could not be asked while the request waited")
	errSilent   = errors.New("wait: the store was asked and has not answered, so that the outcome is unknown")
	errStopping = tms.Refuse(tms.ErrStoreUnavailable, "the server is stopping; ask another one")
)

func (s *Store) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// lateness is how long after the end of a wait the store is waited for, that is about to answer or to hear of it.
const lateness = time.Second

// refused ends a wait with a refusal, that of the store if none is given, unless the answer has come after all.
func (s *Store) refused(ctx context.Context, l *line, w *waiter, refusal error) (tms.AssignResult, error) {
	ctx, cancel := context.WithTimeout(ctx, lateness)
	defer cancel()
	select {
	case <-l.leave(w):
	case <-ctx.Done():
	}
	select {
	case a := <-w.answer:
		return a.result, a.err
	default:
	}
	s.part(l, w)
	last := l.lastWord(w)
	if tms.CodeOf(last) == "" {
		return tms.AssignResult{}, last
	}
	return tms.AssignResult{Err: cmp.Or(refusal, last)}, nil
}

// part clears up behind a waiter who hears nothing more. It does not block.
func (s *Store) part(l *line, w *waiter) {
	left := l.leave(w)
	s.work.Go(func() {
		<-left
		select {
		case a := <-w.answer:
			s.giveBack(l.pool, w, a.result.Tokens)
		default:
			s.disown(l, w)
		}
	})
}

// disown ends the leases that a request which is not repeated may have been given, where the store's answer was not
// heard.
func (s *Store) disown(l *line, w *waiter) {
	if w.returns() || tms.CodeOf(l.lastWord(w)) != "" {
		return
	}
	ctx, cancel := s.saying()
	defer cancel()
	name, _ := rules.Memory(tms.Policy{}, w.request)
	if _, err := s.Sweeper.UnblockRequest(ctx, l.pool, name); err != nil {
		s.options.Logger.Warn("tokens of a client that left may stay leased until their time is over", "pool", l.pool,
			"error", err)
	}
}

// farewell is how long it may take to tell the store that a caller has given up. If the store does not hear it, its
// clocks do the same.
const farewell = 2 * time.Second

// saying returns a context for what is said to the store after a caller has given up.
func (s *Store) saying() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(s.life), farewell)
}

// giveBack returns tokens that nobody waits for any more.
func (s *Store) giveBack(pool string, w *waiter, tokens []tms.Token) {
	if w.returns() || len(tokens) == 0 {
		return
	}
	ctx, cancel := s.saying()
	defer cancel()
	keys := make([]tms.LeaseKey, len(tokens))
	for i, t := range tokens {
		keys[i] = tms.LeaseKey{Token: t.Value, LeaseID: t.Lease.ID}
	}
	if _, err := s.Unblock(ctx, pool, keys); err != nil {
		s.options.Logger.Warn("tokens of a client that left stay leased until their time is over", "pool", pool,
			"error", err)
	}
}
