package redis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

// show shows a ticket.
func show(t testing.TB, s *redis.Store, pool string, r tms.AssignRequest) tms.AssignResult {
	t.Helper()
	results, err := s.Assign(t.Context(), pool, []tms.AssignRequest{r})
	must(t, err)
	return results[0]
}

// join shows a ticket that must get a place in the queue.
func join(t testing.TB, s *redis.Store, pool string, r tms.AssignRequest, place int) {
	t.Helper()
	err := show(t, s, pool, r).Err
	refused(t, err, tms.ErrNoTokenAvailable)
	var refusal *tms.Refusal
	if errors.As(err, &refusal); refusal.Place != place {
		t.Fatalf("ticket %s has place %d instead of %d", r.Ticket, refusal.Place, place)
	}
}

// picks shows a ticket that must be given these tokens.
func picks(t testing.TB, s *redis.Store, pool string, r tms.AssignRequest, values ...string) []tms.Token {
	t.Helper()
	result := show(t, s, pool, r)
	must(t, result.Err)
	var got []string
	for _, token := range result.Tokens {
		got = append(got, token.Value)
	}
	if slices.Sort(got); !slices.Equal(got, values) {
		t.Fatalf("ticket %s was given %q instead of %q", r.Ticket, got, values)
	}
	return result.Tokens
}

func release(t testing.TB, s *redis.Store, pool string, values ...string) {
	t.Helper()
	var keys []tms.LeaseKey
	for _, value := range values {
		keys = append(keys, tms.LeaseKey{Token: value})
	}
	results, err := s.Unblock(t.Context(), pool, keys)
	must(t, err)
	for _, r := range results {
		must(t, r.Err)
	}
}

// queued is a store with a queue, on a clock that the test sets.
type queued struct {
	*redis.Store
	t      *testing.T
	clock  *storetest.Clock
	server *redistest.Server
}

func newQueued(t *testing.T, change tms.PolicyChange, tokens ...tms.NewToken) *queued {
	server, clock := redistest.New(t), storetest.NewClock()
	q := &queued{Store: open(t, server, redis.Options{Now: clock.Now}), t: t, clock: clock, server: server}
	put(t, q.Store, "p", change)
	if len(tokens) > 0 {
		_, err := q.Generate(t.Context(), "p", tms.GenerateRequest{Tokens: tokens})
		must(t, err)
	}
	t.Cleanup(func() {
		ctx, c := context.Background(), raw(t, server)
		must(t, checkRedis(ctx, c))
		must(t, q.DeletePool(ctx, "p"))
		keys, err := c.Do(ctx, c.B().Keys().Pattern("*").Build()).AsStrSlice()
		if must(t, err); !slices.Equal(keys, []string{"tms:store"}) {
			t.Errorf("the deleted pool leaves %q", keys)
		}
	})
	return q
}

func (q *queued) show(r tms.AssignRequest) tms.AssignResult { return show(q.t, q.Store, "p", r) }
func (q *queued) join(r tms.AssignRequest, place int) {
	q.t.Helper()
	join(q.t, q.Store, "p", r, place)
}
func (q *queued) picks(r tms.AssignRequest, values ...string) []tms.Token {
	q.t.Helper()
	return picks(q.t, q.Store, "p", r, values...)
}
func (q *queued) release(values ...string) { q.t.Helper(); release(q.t, q.Store, "p", values...) }

// is checks that the token is in that state, of that client.
func (q *queued) is(value string, state tms.State, client string) tms.Token {
	q.t.Helper()
	token, err := q.Token(q.t.Context(), "p", tms.LeaseKey{Token: value})
	must(q.t, err)
	if token.State != state || token.Lease != nil && token.Lease.ClientID != client {
		q.t.Fatalf("token %s is %+v, not %s of %q", value, token, state, client)
	}
	return token
}

func named(values ...string) (tokens []tms.NewToken) {
	for _, value := range values {
		tokens = append(tokens, tms.NewToken{Value: value})
	}
	return tokens
}

func coloured(value, colour string) tms.NewToken {
	return tms.NewToken{Value: value, Metadata: map[string]string{"colour": colour}}
}

func ticket(id string) tms.AssignRequest { return tms.AssignRequest{Ticket: id, ClientID: "c-" + id} }

func wanting(id string, count int) tms.AssignRequest {
	r := ticket(id)
	r.Count = count
	return r
}

func matching(id, colour string) tms.AssignRequest {
	r := ticket(id)
	r.Match = map[string]string{"colour": colour}
	return r
}

func TestATokenIsHandedToTheLongestWaiter(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{}, named("a")...)
	held := take(t, q.Store, "p")
	q.join(ticket("1"), 1)
	q.join(ticket("2"), 2)
	q.join(ticket("1"), 1)
	refused(t, q.show(tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
	q.release("a")
	if handed := q.is("a", tms.Assigned, "c-1"); !handed.Lease.AssignedAt.IsZero() {
		t.Errorf("the handed token is %+v", handed.Lease)
	}
	for _, act := range []func() error{
		func() error { r, _ := q.KeepAlive(t.Context(), "p", []tms.LeaseKey{{Token: "a"}}); return r[0].Err },
		func() error { r, _ := q.Unblock(t.Context(), "p", []tms.LeaseKey{{Token: "a"}}); return r[0].Err },
		func() error { r, _ := q.Delete(t.Context(), "p", []tms.LeaseKey{{Token: "a"}}); return r[0] },
	} {
		refused(t, act(), tms.ErrNotHolder)
	}
	refused(t, q.show(tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
	picked := q.picks(ticket("1"), "a")[0]
	began := picked.Lease.AssignedAt.Equal(q.clock.Now()) && picked.Lease.TTL == time.Minute
	if picked.Lease.Fence <= held.Lease.Fence || !began {
		t.Errorf("the token that was picked up has %+v", picked.Lease)
	}
	q.join(ticket("2"), 1)
	must(t, q.Leave(t.Context(), "p", []string{"2", "nobody"}, false))
	q.release("a")
	q.is("a", tms.Available, "")
}

func TestATokenThatNobodyPicksUpGoesToTheNext(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{Grace: new(time.Minute), Cooldown: new(time.Second)}, named("a")...)
	take(t, q.Store, "p")
	q.release("a") // it rests
	q.clock.Advance(time.Second)
	q.join(ticket("1"), 1)
	q.join(ticket("2"), 2)
	q.clock.Advance(time.Millisecond)
	_, err := q.Expire(t.Context(), "p", 10)
	must(t, err)
	q.is("a", tms.Assigned, "c-1")
	q.clock.Advance(tms.PickupTime)
	q.is("a", tms.Assigned, "c-1")
	q.join(ticket("2"), 1)
	q.clock.Advance(time.Millisecond)
	done, err := q.Expire(t.Context(), "p", 10)
	must(t, err)
	if done.Total() != 0 {
		t.Errorf("a token that was not picked up counts as expired: %+v", done)
	}
	q.is("a", tms.Assigned, "c-2")
	q.join(ticket("1"), 1)
	q.picks(ticket("2"), "a")
}

// That it was handed and not picked up leaves no trace, whatever looks at it first.
func TestAHandedTokenIsTakenBackWhenItIsLookedAt(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{Grace: new(time.Minute), OnLeaseExpiry: new(tms.ExpiryDeletes)}, named("a")...)
	take(t, q.Store, "p")
	q.join(ticket("1"), 1)
	q.release("a")
	q.clock.Advance(tms.PickupTime + time.Millisecond)
	token := q.is("a", tms.Available, "")
	dies := q.clock.Now().Add(5*time.Minute - tms.PickupTime - time.Millisecond)
	if token.Past.Assigned != 1 || token.Past.LastClient != "tester" || !token.ExpiresAt.Equal(dies) {
		t.Errorf("the token is %+v, its past %+v", token, token.Past)
	}
	_, stats, err := q.Pool(t.Context(), "p")
	if must(t, err); stats.Expired.Total() != 0 {
		t.Errorf("%+v", stats)
	}
}

// However a token came to lie there unnoticed, the first of the line has it when it is next shown, and those behind
// it have what is left.
func TestTheFirstOfALineIsServedWheneverItIsShown(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{Selection: new(tms.SelectFIFO)}, named("a")...)
	take(t, q.Store, "p")
	q.join(ticket("1"), 1)
	q.join(ticket("2"), 2)
	seen := fmt.Sprint(q.clock.Now().UnixMilli())
	ask(t, raw(t, q.server), "ZADD", "tms:{p}:available", seen, "b", seen, "c")
	results, err := q.Assign(t.Context(), "p", []tms.AssignRequest{ticket("2"), ticket("1")})
	must(t, errors.Join(err, results[1].Err))
	refused(t, results[0].Err, tms.ErrNoTokenAvailable)
	must(t, checkRedis(t.Context(), raw(t, q.server)))
	q.is("b", tms.Assigned, "c-1")
	q.picks(ticket("2"), "c")
	_, stats, err := q.Pool(t.Context(), "p")
	if must(t, err); stats.Waiting != 0 {
		t.Errorf("%d wait", stats.Waiting)
	}
}

func TestATicketThatIsNotShownIsVoid(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{}, named("a")...)
	take(t, q.Store, "p")
	q.join(ticket("1"), 1)
	q.clock.Advance(time.Second)
	q.join(ticket("2"), 2)
	q.clock.Advance(time.Millisecond)
	done, err := q.Expire(t.Context(), "p", 10)
	must(t, err)
	if over := q.clock.Now().Add(tms.TicketTTL - tms.PresenceTime - time.Millisecond); !done.NextDue.Equal(over) {
		t.Errorf("the first ticket keeps its place until %v, next due is %v", over, done.NextDue)
	}
	q.release("a")
	q.is("a", tms.Assigned, "c-2")
	_, stats, err := q.Pool(t.Context(), "p")
	must(t, err)
	if stats.Waiting != 0 {
		t.Errorf("%d wait", stats.Waiting)
	}
	q.picks(ticket("2"), "a")
	q.clock.Advance(tms.TicketTTL - tms.PresenceTime)
	q.join(ticket("3"), 1)
	q.join(ticket("1"), 2)
}

// Ten thousand whose servers died are dropped in bounded steps, and nobody is overtaken meanwhile.
func TestManyVoidTickets(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{}, named("a")...)
	take(t, q.Store, "p")
	requests := make([]tms.AssignRequest, 2500)
	for i := range requests {
		requests[i] = ticket(fmt.Sprint("dead", i))
	}
	_, err := q.Assign(t.Context(), "p", requests)
	must(t, err)
	q.clock.Advance(time.Second)
	q.join(ticket("alive"), 2501)
	q.clock.Advance(tms.TicketTTL - 1500*time.Millisecond)
	q.release("a")
	for range 3 {
		refused(t, q.show(tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
	}
	q.picks(ticket("alive"), "a")
}

func TestWhoWantsManyIsNotOvertaken(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{Labels: &[]string{"colour"}}, coloured("a", "red"), coloured("b", "red"))
	_, err := q.Assign(t.Context(), "p", []tms.AssignRequest{{Count: 2}})
	must(t, err)
	q.join(wanting("many", 2), 1)
	q.join(ticket("one"), 2)
	q.join(matching("red", "red"), 1)
	q.release("a")
	q.is("a", tms.Available, "")
	refused(t, q.show(tms.AssignRequest{}).Err, tms.ErrNoTokenAvailable)
	refused(t, q.show(tms.AssignRequest{Match: map[string]string{"colour": "red"}}).Err, tms.ErrNoTokenAvailable)
	must(t, q.Leave(t.Context(), "p", []string{"many"}, false))
	q.is("a", tms.Assigned, "c-one")
	q.release("b")
	q.is("b", tms.Assigned, "c-red")
	q.picks(ticket("one"), "a")
	q.picks(matching("red", "red"), "b")
}

func TestATokenGoesToTheLineThatWaitsLongest(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{Labels: &[]string{"colour"}}, coloured("a", "red"), coloured("b", "blue"))
	_, err := q.Assign(t.Context(), "p", []tms.AssignRequest{{Count: 2}})
	must(t, err)
	q.join(matching("red", "red"), 1)
	q.join(ticket("any"), 1)
	q.join(matching("blue", "blue"), 1)
	q.release("b")
	q.is("b", tms.Assigned, "c-any")
	q.release("a")
	q.is("a", tms.Assigned, "c-red")
	_, err = q.Generate(t.Context(), "p", tms.GenerateRequest{Tokens: []tms.NewToken{coloured("c", "blue")}})
	must(t, err)
	q.is("c", tms.Assigned, "c-blue")
}

// So it is when several tokens come back in one step.
func TestSeveralTokensGoToTheLinesThatWaitLongest(t *testing.T) {
	large := tms.NewToken{Value: "b", Metadata: map[string]string{"colour": "red", "size": "large"}}
	q := newQueued(t, tms.PolicyChange{Labels: &[]string{"colour", "size"}, Selection: new(tms.SelectFIFO)},
		coloured("a", "red"), large)
	_, err := q.Assign(t.Context(), "p", []tms.AssignRequest{{Count: 2}})
	must(t, err)
	q.join(matching("1", "red"), 1)
	q.join(tms.AssignRequest{Ticket: "2", ClientID: "c-2", Match: map[string]string{"size": "large"}}, 1)
	q.join(matching("3", "red"), 2)
	q.release("a", "b")
	q.is("a", tms.Assigned, "c-1")
	q.is("b", tms.Assigned, "c-2")
}

func TestAPausedPoolHandsNothing(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{}, named("a")...)
	take(t, q.Store, "p")
	q.join(ticket("1"), 1)
	put(t, q.Store, "p", tms.PolicyChange{Paused: new(true)})
	q.release("a")
	q.is("a", tms.Available, "")
	_, err := q.Assign(t.Context(), "p", []tms.AssignRequest{ticket("1")})
	refused(t, err, tms.ErrPoolPaused)
	put(t, q.Store, "p", tms.PolicyChange{Paused: new(false)})
	q.is("a", tms.Assigned, "c-1")
}

// A step counts what it carried out before it refused.
func TestARefusalCountsWhatWasDue(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{OnLeaseExpiry: new(tms.ExpiryQuarantines), LeaseTTL: new(time.Second)},
		named("a")...)
	take(t, q.Store, "p")
	q.join(ticket("1"), 1)
	put(t, q.Store, "p", tms.PolicyChange{Paused: new(true)})
	q.clock.Advance(time.Second + time.Millisecond)
	_, err := q.Assign(t.Context(), "p", []tms.AssignRequest{{}})
	refused(t, err, tms.ErrPoolPaused)
	_, stats, err := q.Pool(t.Context(), "p")
	if must(t, err); stats.Expired.Quarantined != 1 || stats.Quarantined != 1 {
		t.Errorf("%+v", stats)
	}
}

func TestAClientAtItsQuotaLosesItsPlace(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{MaxLeasesPerClient: new(1)}, named("a", "b")...)
	for _, client := range []string{"x", "y"} {
		must(t, q.show(tms.AssignRequest{ClientID: client}).Err)
	}
	for i, client := range []string{"z", "z", "last"} {
		q.join(tms.AssignRequest{ClientID: client, Ticket: fmt.Sprint(i)}, i+1)
	}
	q.release("a")
	q.is("a", tms.Assigned, "z")
	q.release("b")
	q.is("b", tms.Assigned, "last")
	refused(t, q.show(tms.AssignRequest{ClientID: "z", Ticket: "1"}).Err, tms.ErrQuotaExceeded)
	refused(t, q.show(tms.AssignRequest{Ticket: "2"}).Err, tms.ErrInvalidRequest)
	refused(t, q.show(tms.AssignRequest{}).Err, tms.ErrInvalidRequest)
}

func TestATicketIsOneRequest(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{}, named("a")...)
	take(t, q.Store, "p")
	q.join(ticket("1"), 1)
	refused(t, q.show(wanting("1", 2)).Err, tms.ErrRequestIDReused)
	q.release("a")
	refused(t, q.show(wanting("1", 2)).Err, tms.ErrRequestIDReused)
	q.picks(ticket("1"), "a")
}

// A preferred token goes to the ticket that prefers it; another one does as well.
func TestWhoWaitsIsHandedWhatTheyPrefer(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{}, named("a", "b", "c")...)
	_, err := q.Assign(t.Context(), "p", []tms.AssignRequest{{Count: 3}})
	must(t, err)
	r := wanting("1", 2)
	r.Prefer = "c"
	q.join(r, 1)
	q.release("a", "b", "c")
	q.is("c", tms.Assigned, "c-1")
	if tokens := q.show(r).Tokens; len(tokens) != 2 {
		t.Errorf("picked up %v", tokens)
	}
}
