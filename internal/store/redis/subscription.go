package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
)

var _ tms.Queue = (*Store)(nil)

// idle is how long the store goes on listening to a pool in which it shows no tickets any more.
const idle = 3 * tms.TicketTTL

// How long a subscription waits for Redis.
const (
	patience = 2 * time.Second        // at its beginning
	farewell = 500 * time.Millisecond // at its end
)

// maxLeave is how many tickets leave in one step. Each costs several times as much as a token that comes back.
const maxLeave = 250

// Leave implements [tms.Queue]. More than 250 tickets go in several steps.
func (s *Store) Leave(ctx context.Context, pool string, tickets []string, keep bool) error {
	kept := ""
	if keep {
		kept = "1"
	}
	for part := range slices.Chunk(tickets, maxLeave) {
		if _, err := s.call(ctx, pool, fnLeave, append([]string{kept}, part...)...); err != nil {
			return err
		}
	}
	return nil
}

// wakes is where this store value hears which of its tickets should be shown again. It subscribes to a pool before the
// first ticket is shown there, so that none is missed.
type wakes struct {
	inbox string // in the name of the channels, of this store value alone
	link  *link  // to listen only

	mu       sync.Mutex
	listener *listener // while Listen runs
}

// listener is one call of Listen.
type listener struct {
	link  *link
	inbox string
	ctx   context.Context
	fail  context.CancelCauseFunc

	ears sync.WaitGroup
	some chan struct{} // holds one element while there are tickets

	mu      sync.Mutex
	tickets []string
	pools   map[string]*ear
}

// ear is the subscription to one pool.
type ear struct {
	ready chan struct{} // closed when Redis has confirmed it, when it took too long, or when it is over
	once  sync.Once     // closes ready
	close context.CancelFunc
	used  time.Time // when a ticket of the pool was shown last
}

func (e *ear) open() { e.once.Do(func() { close(e.ready) }) }

// Listen implements [tms.Queue]. It returns an error when the connection to Redis is lost.
func (s *Store) Listen(ctx context.Context, wake func(ticket string)) error {
	if _, err := s.wakes.link.connected(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("redis: does not hear of the queue: %w", err)
	}
	inner, fail := context.WithCancelCause(ctx)
	l := &listener{link: s.wakes.link, inbox: s.wakes.inbox, ctx: inner, fail: fail}
	l.some, l.pools = make(chan struct{}, 1), map[string]*ear{}
	s.wakes.set(l)
	defer func() {
		s.wakes.set(nil)
		fail(nil)
		l.ears.Wait()
	}()
	l.run(wake)
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("redis: no longer hears of the queue: %w", context.Cause(inner))
}

func (w *wakes) set(l *listener) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listener = l
}

func (l *listener) run(wake func(ticket string)) {
	tick := time.NewTicker(idle / 3)
	defer tick.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-l.some:
			for _, ticket := range l.take() {
				wake(ticket)
			}
		case now := <-tick.C:
			l.closeIdle(now)
		}
	}
}

// attend sees to it that somebody who listens hears of the tickets that are about to be shown in the pool. A
// subscription that takes its time holds up nobody for long, and only the first: wakes are hints.
func (s *Store) attend(ctx context.Context, pool string, requests []tms.AssignRequest) {
	s.wakes.mu.Lock()
	l := s.wakes.listener
	s.wakes.mu.Unlock()
	if l == nil || !slices.ContainsFunc(requests, func(r tms.AssignRequest) bool { return r.Ticket != "" }) {
		return
	}
	e := l.ear(pool)
	select {
	case <-e.ready:
		return
	default:
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-e.ready:
	case <-late.C:
		e.open()
	case <-ctx.Done():
	}
}

// ear returns the subscription to the pool, which is made if it is missing.
func (l *listener) ear(pool string) *ear {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.pools[pool]
	if e == nil {
		ctx, cancel := context.WithCancel(l.ctx)
		e = &ear{ready: make(chan struct{}), close: cancel}
		l.pools[pool] = e
		l.ears.Go(func() { l.hear(ctx, pool, e) })
	}
	e.used = time.Now()
	return e
}

// hear keeps the subscription to a pool until ctx ends. If the connection breaks, all of the listener ends.
func (l *listener) hear(ctx context.Context, pool string, e *ear) {
	defer e.open()
	for ctx.Err() == nil {
		if err := l.receive(ctx, pool, e); err != nil && ctx.Err() == nil {
			l.fail(err)
		}
	}
}

// receive subscribes to a pool and takes what comes. It returns nil when Redis itself has ended the subscription.
func (l *listener) receive(ctx context.Context, pool string, e *ear) error {
	client, err := l.link.connected(ctx)
	if err != nil {
		return err
	}
	channel := keyPrefix(pool) + wakeName + l.inbox
	ctx = rueidis.WithOnSubscriptionHook(ctx, func(s rueidis.PubSubSubscription) {
		if s.Kind == "ssubscribe" {
			e.open()
		}
	})
	ctx = rueidis.WithOnReceiveReturnHook(ctx, func(err error, c rueidis.CommandClient) error {
		return errors.Join(err, unsubscribe(ctx, c, channel))
	})
	return client.Receive(ctx, client.B().Ssubscribe().Channel(channel).Build(), func(m rueidis.PubSubMessage) {
		l.add(m.Message)
	})
}

// unsubscribe ends a subscription that its context has ended. Otherwise Redis or the connection have.
func unsubscribe(ctx context.Context, c rueidis.CommandClient, channel string) error {
	if ctx.Err() == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	return c.Do(ctx, c.B().Sunsubscribe().Channel(channel).Build()).Error()
}

// closeIdle ends the subscriptions to pools in which no ticket was shown for a while.
func (l *listener) closeIdle(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for pool, e := range l.pools {
		if now.Sub(e.used) > idle {
			delete(l.pools, pool)
			e.close()
		}
	}
}

func (l *listener) add(ticket string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tickets = append(l.tickets, ticket)
	select {
	case l.some <- struct{}{}:
	default:
	}
}

func (l *listener) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	tickets := l.tickets
	l.tickets = nil
	return tickets
}
