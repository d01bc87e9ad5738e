package redis_test

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

// What it costs to hand out a token depends on how many are handed out, not on how many lines there are.
func TestManyLinesCostNoMoreThanOne(t *testing.T) {
	const waiters = 4000
	server, clock := redistest.New(t), storetest.NewClock()
	s, c := open(t, server, redis.Options{Now: func() time.Time { // so that no ticket is absent on a slow machine
		clock.Advance(time.Millisecond)
		return clock.Now()
	}}), raw(t, server)
	cost := func(pool string, lines int) float64 {
		put(t, s, pool, tms.PolicyChange{Labels: &[]string{"colour"}})
		var requests []tms.AssignRequest
		var tokens []tms.NewToken
		for i := range waiters {
			colour := fmt.Sprint("c", i%lines)
			requests = append(requests, matching(fmt.Sprint(i), colour))
			tokens = append(tokens, coloured(fmt.Sprint(i), colour))
		}
		_, err := s.Assign(t.Context(), pool, requests)
		must(t, err)
		before := cpu(t, c)
		for part := range slices.Chunk(tokens, tms.MaxLabelledBatch) {
			_, err = s.Generate(t.Context(), pool, tms.GenerateRequest{Tokens: part})
			must(t, err)
		}
		after := cpu(t, c)
		served, _ := ask(t, c, "ZRANGE", "tms:{"+pool+"}:handed", "0", "-1").AsStrSlice()
		for _, ticket := range served {
			if n, _ := strconv.Atoi(ticket); n >= len(served) {
				t.Fatalf("ticket %s is among the first %d that were served", ticket, len(served))
			}
		}
		return after - before
	}
	one, many := cost("one", 4), cost("many", waiters)
	t.Logf("handing out took %.3f s of CPU with four lines, %.3f s with %d", one, many, waiters)
	if many > 4*one {
		t.Fail()
	}
}

// All that a client holds is ended, though a token that is on its way to it lapses between two steps.
func TestUnblockClientPassesOverNoLease(t *testing.T) {
	clock, step := storetest.NewClock(), time.Duration(0)
	s := open(t, redistest.New(t), redis.Options{Now: func() time.Time {
		clock.Advance(step)
		return clock.Now()
	}})
	put(t, s, "p", tms.PolicyChange{MaxLeasesPerClient: new(5000), TokenTTL: new(time.Duration(0))})
	_, err := s.Generate(t.Context(), "p", tms.GenerateRequest{Tokens: make([]tms.NewToken, 1001)})
	must(t, err)
	_, err = s.Assign(t.Context(), "p", []tms.AssignRequest{{ClientID: "c", Count: 1000}, {ClientID: "c"}})
	must(t, err)
	join(t, s, "p", tms.AssignRequest{ClientID: "c", Ticket: "1"}, 1)
	fill(t, s, "p", "handed")
	step = 600 * time.Millisecond
	if n, err := s.UnblockClient(t.Context(), "p", "c"); err != nil || n != 1001 {
		t.Errorf("of 1001 leases %d were ended: %v", n, err)
	}
}

// What one step hands out is bounded. The others are served when they are next shown.
func TestOneStepHandsOutAThousand(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{})
	requests := make([]tms.AssignRequest, 1500)
	for i := range requests {
		requests[i] = ticket(fmt.Sprint(i))
	}
	_, err := q.Assign(t.Context(), "p", requests)
	must(t, err)
	_, err = q.Generate(t.Context(), "p", tms.GenerateRequest{Tokens: make([]tms.NewToken, 1500)})
	must(t, err)
	if n := number(t, raw(t, q.server), "ZCARD", "tms:{p}:handed"); n != 1000 {
		t.Errorf("one step handed tokens to %d tickets", n)
	}
	results, err := q.Assign(t.Context(), "p", requests)
	must(t, err)
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("ticket %d: %v", i, r.Err)
		}
	}
}

// An assign that finds many expiries due carries them out in bounded steps.
func TestAssignGathersInBoundedSteps(t *testing.T) {
	server, clock := redistest.New(t), storetest.NewClock()
	s, c := open(t, server, redis.Options{Now: clock.Now}), raw(t, server)
	put(t, s, "p", tms.PolicyChange{OnLeaseExpiry: new(tms.ExpiryQuarantines)})
	_, err := s.Generate(t.Context(), "p", tms.GenerateRequest{Tokens: make([]tms.NewToken, 3000)})
	must(t, err)
	_, err = s.Assign(t.Context(), "p", []tms.AssignRequest{{Count: 1000}, {Count: 1000}, {Count: 1000}})
	must(t, err)
	clock.Advance(2 * time.Minute)
	ask(t, c, "CONFIG", "RESETSTAT")
	refused(t, show(t, s, "p", tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
	text, _ := ask(t, c, "INFO", "commandstats").ToString()
	if calls := regexp.MustCompile(`cmdstat_fcall:calls=(\d+)`).FindStringSubmatch(text); len(calls) < 2 ||
		calls[1] < "3" {
		t.Errorf("3,000 expiries took so many steps: %q", calls)
	}
	must(t, checkRedis(t.Context(), c))
}

// Where one of several tokens is locked, the others that were locked for the request are free again.
func TestALockedTokenLeavesNoOtherLocked(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{Selection: new(tms.SelectFIFO)})
	for _, value := range []string{"a", "b", "c"} {
		fill(t, q.Store, "p", value)
		q.clock.Advance(time.Millisecond)
	}
	c := raw(t, q.server)
	ask(t, c, "SET", "tms:{p}:lease:b", "?", "PX", "60000")
	q.picks(tms.AssignRequest{RequestID: "1", Count: 2}, "a", "c")
	ask(t, c, "DEL", "tms:{p}:lease:b")
}

// A lock that a lease left behind, which is an error somewhere, keeps its token back for as long as the lease lasted.
func TestALockThatWasLeftBehind(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{TokenTTL: new(time.Hour)}, named("a")...)
	c, held := raw(t, q.server), take(t, q.Store, "p")
	lock, _ := ask(t, c, "GET", "tms:{p}:lease:a").ToString()
	q.release("a")
	ask(t, c, "SET", "tms:{p}:lease:a", lock, "PX", "3600000")
	refused(t, q.show(tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
	if ready := q.is("a", tms.Cooling, "").ReadyAt; !ready.Equal(held.Lease.ExpiresAt) {
		t.Errorf("the token rests until %v, the lease lasts until %v", ready, held.Lease.ExpiresAt)
	}
	q.clock.Advance(time.Minute + time.Millisecond)
	take(t, q.Store, "p")
}

// A lock of another origin that Redis keeps for ever is looked at again after a while.
func TestALockWithoutEnd(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{LeaseTTL: new(time.Second)}, named("a")...)
	c := raw(t, q.server)
	ask(t, c, "SET", "tms:{p}:lease:a", "?")
	refused(t, q.show(tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
	q.is("a", tms.Cooling, "")
	ask(t, c, "DEL", "tms:{p}:lease:a")
	q.clock.Advance(time.Second + time.Millisecond)
	take(t, q.Store, "p")
}

// A token that was handed out and not picked up is as before, though its string is gone.
func TestAHandedTokenWhoseStringIsGone(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{OnLeaseExpiry: new(tms.ExpiryDeletes), TokenTTL: new(time.Duration(0))})
	q.join(ticket("1"), 1)
	fill(t, q.Store, "p", "a")
	ask(t, raw(t, q.server), "DEL", "tms:{p}:lease:a")
	q.clock.Advance(time.Hour)
	if past := q.is("a", tms.Available, "").Past; !reflect.DeepEqual(*past, tms.Past{}) {
		t.Errorf("it has the past %+v", past)
	}
}

// A request with a count draws as many lease_ids.
func TestLeaseIDsAreDrawnOnce(t *testing.T) {
	drawn := 0
	s := open(t, redistest.New(t), redis.Options{NewID: func() string {
		drawn++
		return tms.NewValue()
	}})
	fill(t, s, tms.DefaultPool, "a", "b", "c")
	for _, r := range []tms.AssignRequest{{Count: 2}, {Ticket: "1"}} {
		drawn = 0
		must(t, show(t, s, tms.DefaultPool, r).Err)
		if drawn != max(1, r.Count) {
			t.Errorf("%d lease_ids were drawn for %+v", drawn, r)
		}
	}
}

// A step takes out at most as many waiters whose client may have no more as it may touch, and the next one goes on.
func TestAStepTakesOutAThousand(t *testing.T) {
	server := redistest.New(t)
	s, c := open(t, server, redis.Options{}), raw(t, server)
	put(t, s, "p", tms.PolicyChange{MaxLeasesPerClient: new(1)})
	requests := make([]tms.AssignRequest, 1500)
	for i := range requests {
		requests[i] = tms.AssignRequest{ClientID: "greedy", Ticket: fmt.Sprint(i)}
	}
	_, err := s.Assign(t.Context(), "p", requests)
	must(t, err)
	for _, want := range []int64{1499, 499, 0} { // the first is served
		fill(t, s, "p", fmt.Sprint("for ", want))
		if n := number(t, c, "ZCARD", "tms:{p}:waiting"); n != want {
			t.Errorf("%d wait, want %d", n, want)
		}
	}
}
