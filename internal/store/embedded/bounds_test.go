package embedded

import (
	"fmt"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

// many is more than three steps touch.
const many = 3*maxStep + 500

// ledger watches how much of the default pool a step changes.
type ledger struct {
	*Store
	t     *testing.T
	clock *storetest.Clock
	last  map[string]int
	steps int
	most  int
}

func newLedger(t *testing.T, change tms.PolicyChange) *ledger {
	l := &ledger{t: t, clock: storetest.NewClock(), last: map[string]int{}}
	l.Store = open(t, Options{Now: l.now})
	change.TokenTTL = new(time.Duration(0))
	put(t, l.Store, change)
	return l
}

// now is the store's clock, which is read once at the beginning of every step.
func (l *ledger) now() time.Time {
	if l.Store != nil {
		l.note(l.pools[tms.DefaultPool])
	}
	return l.clock.Now()
}

func (l *ledger) note(p *pool) {
	l.steps++
	for what, n := range map[string]int{"waiting": p.queue.waiting, "available": p.available.size(),
		"assigned": p.assigned.size(), "handed": p.handed.size()} {
		l.most = max(l.most, n-l.last[what], l.last[what]-n)
		l.last[what] = n
	}
}

// bounded runs f and checks that no step of it changed more than most in any set of the pool.
func (l *ledger) bounded(what string, most int, f func() error) {
	l.t.Helper()
	l.note(l.pools[tms.DefaultPool])
	l.most = 0
	if err := f(); err != nil {
		l.t.Fatal(err)
	}
	l.note(l.pools[tms.DefaultPool])
	if l.most == 0 || l.most > most {
		l.t.Errorf("%s: a step touches %d, want 1 to %d", what, l.most, most)
	}
}

func (l *ledger) assign(requests ...tms.AssignRequest) error {
	_, err := l.Assign(l.t.Context(), tms.DefaultPool, requests)
	return err
}

func (l *ledger) look() error {
	_, _, err := l.Pool(l.t.Context(), tms.DefaultPool)
	return err
}

func tickets(n int) []tms.AssignRequest {
	requests := make([]tms.AssignRequest, n)
	for i := range requests {
		requests[i].Ticket = fmt.Sprint(i)
	}
	return requests
}

func TestStepsOnAQueueAreBounded(t *testing.T) {
	l := newLedger(t, tms.PolicyChange{})
	show := func() error { return l.assign(tickets(many)...) }
	l.bounded("joining", maxStep, show)
	l.clock.Advance(tms.TicketTTL + time.Millisecond)
	l.bounded("tickets that are void", maxStep, l.look)
	if n := l.last["waiting"]; n != 0 {
		t.Errorf("%d void tickets are left", n)
	}
	if err := show(); err != nil {
		t.Fatal(err)
	}
	put(t, l.Store, tms.PolicyChange{Paused: new(true)})
	fill(t, l.Store, many)
	l.bounded("handing out", maxStep, func() error {
		put(t, l.Store,
			tms.PolicyChange{Paused: new(false)})
		return l.look()
	})
	if n := l.last["handed"]; n != many {
		t.Errorf("%d tokens are handed to %d who wait", n, many)
	}
	l.clock.Advance(tms.PickupTime + time.Millisecond)
	l.bounded("what nobody picked up", 2*maxStep, l.look)
}

func TestStepsOnWhatIsDueAreBounded(t *testing.T) {
	l := newLedger(t, tms.PolicyChange{})
	fill(t, l.Store, many)
	l.bounded("assigning", maxStep, func() error { return l.assign(make([]tms.AssignRequest, many)...) })
	l.clock.Advance(time.Minute + time.Millisecond)
	l.bounded("leases that have ended", maxStep,
		func() error { return l.assign(tms.AssignRequest{RequestID: "looks at all"}) })
	if n := l.last["available"]; n != many-1 {
		t.Errorf("%d tokens came back", n)
	}
	if err := l.assign(make([]tms.AssignRequest, many-1)...); err != nil {
		t.Fatal(err)
	}
	l.clock.Advance(time.Minute)
	if err := l.assign(tms.AssignRequest{Ticket: "waits"}); err != nil {
		t.Fatal(err)
	}
	l.clock.Advance(time.Millisecond)
	l.bounded("leases that have ended while somebody waits", 2*maxStep, l.look)
}

func TestStepsOnWhoMayHaveNoMoreAreBounded(t *testing.T) {
	l := newLedger(t, tms.PolicyChange{MaxLeasesPerClient: new(1)})
	requests := tickets(many)
	for i := range requests {
		requests[i].ClientID = "greedy"
	}
	if err := l.assign(requests...); err != nil {
		t.Fatal(err)
	}
	l.bounded("taking out", maxStep, func() error { fill(t, l.Store, 2); return l.look() })
	if n := l.last["waiting"]; n != 0 {
		t.Errorf("%d still wait", n)
	}
}
