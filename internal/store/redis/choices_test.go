package redis_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// Whatever text the metadata holds, Lua names the lanes as Go does; checkRedis compares the two.
func TestLanesOfAnyText(t *testing.T) {
	server := redistest.New(t)
	s, c := open(t, server, redis.Options{}), raw(t, server)
	odd := []string{"", `"\/`, "<&>", "\u2028", "\x00\x1f", "🙂", "1:a", "\n"}
	texts := rapid.OneOf(rapid.String(), rapid.SampledFrom(odd))
	rapid.Check(t, func(r *rapid.T) {
		labels := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "bb", "ü", `"`}), 1, 3, rapid.ID).Draw(r,
			"labels")
		pool := "p" + fmt.Sprint(time.Now().UnixNano())
		put(t, s, pool, tms.PolicyChange{Labels: &labels})
		metadata := map[string]string{"other": "x"}
		for _, label := range labels {
			if rapid.Bool().Draw(r, "has") {
				metadata[label] = texts.Draw(r, "value")
			}
		}
		_, err := s.Generate(t.Context(), pool, tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "x",
			Metadata: metadata}}})
		must(t, err)
		must(t, checkRedis(t.Context(), c))
		for _, label := range labels {
			value, has := metadata[label]
			result := show(t, s, pool, tms.AssignRequest{Match: map[string]string{label: value}})
			if has != (result.Err == nil) {
				r.Fatalf("a match of %q with %q: %v", label, value, result.Err)
			}
			if has {
				release(t, s, pool, "x")
			}
		}
		must(t, checkRedis(t.Context(), c))
		must(t, s.DeletePool(t.Context(), pool))
	})
	if n := left(t, c); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// A pool with everything that only some pools have, more of it than one step removes, leaves nothing.
func TestADeletedPoolLeavesNothingOfAnyKind(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{Labels: &[]string{"colour"}, MaxLeasesPerClient: new(1500)})
	tokens := make([]tms.NewToken, 4500)
	for i := range tokens {
		tokens[i] = coloured(fmt.Sprint("t", i), fmt.Sprint("c", i%3))
	}
	for part := range slices.Chunk(tokens, tms.MaxLabelledBatch) {
		_, err := q.Generate(t.Context(), "p", tms.GenerateRequest{Tokens: part, RequestID: part[0].Value})
		must(t, err)
	}
	for i := range 3 {
		must(t, q.show(tms.AssignRequest{ClientID: fmt.Sprint("c", i), Count: 1000, RequestID: fmt.Sprint(i)}).Err)
	}
	release(t, q.Store, "p", first(t, q, "c1", 500)...)
	must(t, q.show(tms.AssignRequest{ClientID: "c2", Count: 500}).Err)
	var requests []tms.AssignRequest
	for i := range 2100 {
		r := matching(fmt.Sprint(i), fmt.Sprint("c", i%7))
		r.RequestID = "request-" + r.Ticket
		requests = append(requests, r)
	}
	results, err := q.Assign(t.Context(), "p", requests)
	must(t, err)
	granted := 0
	for _, r := range results {
		if r.Err == nil {
			granted++
		}
	}
	_, stats, err := q.Pool(t.Context(), "p")
	must(t, err)
	if granted == 0 || stats.Waiting != len(requests)-granted || stats.Waiting < 1000 {
		t.Errorf("%d were granted, %d wait", granted, stats.Waiting)
	}
}

// first returns the first n tokens that a client holds.
func first(t *testing.T, q *queued, client string, n int) (values []string) {
	t.Helper()
	page, err := q.Tokens(t.Context(), "p", tms.Filter{ClientID: client}, "", n)
	must(t, err)
	for _, token := range page.Tokens {
		values = append(values, token.Value)
	}
	return values
}

// A filter by client, and the end of all its leases, look at that client's tokens only.
func TestTheIndexOfClientsSparesTheWalk(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{MaxLeasesPerClient: new(3000), Selection: new(tms.SelectFIFO)})
	_, err := q.Generate(t.Context(), "p", tms.GenerateRequest{Tokens: make([]tms.NewToken, 6000)})
	must(t, err)
	for range 3 {
		must(t, q.show(tms.AssignRequest{ClientID: "other", Count: 1000}).Err)
	}
	must(t, q.show(tms.AssignRequest{ClientID: "few", Count: 2}).Err)
	if got := first(t, q, "few", 2); len(got) != 2 {
		t.Errorf("the first page holds %d of the client's tokens", len(got))
	}
	n, err := q.UnblockClient(t.Context(), "p", "other")
	if must(t, err); n != 3000 {
		t.Errorf("%d leases were ended", n)
	}
	n, err = q.UnblockClient(t.Context(), "p", "nobody")
	if must(t, err); n != 0 {
		t.Errorf("%d leases were ended of nobody", n)
	}
}

// When Redis has removed a lock, the index of clients still says whose it was.
func TestAForgottenLockLeavesTheIndexOfClients(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{MaxLeasesPerClient: new(1), TokenTTL: new(time.Duration(0))}, named("a", "b")...)
	must(t, q.show(tms.AssignRequest{ClientID: "x"}).Err)
	page, err := q.Tokens(t.Context(), "p", tms.Filter{ClientID: "x"}, "", 10)
	must(t, err)
	value := page.Tokens[0].Value
	ask(t, raw(t, q.server), "DEL", "tms:{p}:lease:"+value)
	q.is(value, tms.Assigned, "x")
	q.clock.Advance(time.Hour)
	_, err = q.Expire(t.Context(), "p", 10)
	must(t, err)
	must(t, q.show(tms.AssignRequest{ClientID: "x"}).Err)
}

// The quota counts the leases that are not over, swept or not.
func TestTheQuotaCountsLiveLeases(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{MaxLeasesPerClient: new(12), Grace: new(time.Second)})
	_, err := q.Generate(t.Context(), "p", tms.GenerateRequest{Tokens: make([]tms.NewToken, 100)})
	must(t, err)
	results, err := q.Assign(t.Context(), "p",
		[]tms.AssignRequest{{ClientID: "x", Count: 7}, {ClientID: "x", Count: 6}, {ClientID: "x", Count: 5}})
	must(t, errors.Join(err, results[0].Err, results[2].Err))
	refused(t, results[1].Err, tms.ErrQuotaExceeded)
	must(t, q.show(tms.AssignRequest{ClientID: "y", Count: 12, TTL: 30 * time.Second}).Err)
	q.clock.Advance(31 * time.Second)
	refused(t, q.show(tms.AssignRequest{ClientID: "y"}).Err, tms.ErrQuotaExceeded)
	must(t, q.show(tms.AssignRequest{ClientID: "second", Count: 12, TTL: 20 * time.Second}).Err)
	must(t, q.show(tms.AssignRequest{ClientID: "third", Count: 12, TTL: 20 * time.Second}).Err)
	must(t, q.show(tms.AssignRequest{ClientID: "z", Count: 12, TTL: 30 * time.Second}).Err)
	q.clock.Advance(32 * time.Second)
	must(t, q.show(tms.AssignRequest{ClientID: "z"}).Err)
}

// What is remembered of requests is forgotten in bounded steps, by sweeps and by the requests that follow.
func TestRequestsAreForgotten(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{RequestTTL: new(time.Minute), LeaseTTL: new(time.Hour)})
	_, err := q.Generate(t.Context(), "p", tms.GenerateRequest{Tokens: make([]tms.NewToken, 2000)})
	must(t, err)
	c := raw(t, q.server)
	remembered := func(want int64) {
		t.Helper()
		if n := number(t, c, "ZCARD", "tms:{p}:requests"); n != want {
			t.Errorf("%d requests are remembered instead of %d", n, want)
		}
	}
	for i := range 10 {
		must(t, q.show(tms.AssignRequest{RequestID: fmt.Sprint(i)}).Err)
	}
	q.clock.Advance(time.Minute)
	before := q.show(tms.AssignRequest{RequestID: "3"})
	must(t, before.Err)
	q.clock.Advance(time.Millisecond)
	after := q.show(tms.AssignRequest{RequestID: "3"})
	if must(t, after.Err); after.Tokens[0].Value == before.Tokens[0].Value {
		t.Error("a request was remembered for too long")
	}
	remembered(8)
	_, err = q.Expire(t.Context(), "p", 5)
	must(t, err)
	remembered(3)
	_, err = q.Expire(t.Context(), "p", 5)
	must(t, err)
	remembered(1)
}

// Two items of one batch with the same request_id are one request.
func TestARepeatInTheSameBatch(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{}, named("a", "b")...)
	r := tms.AssignRequest{RequestID: "1"}
	results, err := q.Assign(t.Context(), "p", []tms.AssignRequest{r, r, {RequestID: "1", Count: 2}})
	must(t, errors.Join(err, results[0].Err, results[1].Err))
	if results[0].Tokens[0].Lease.ID != results[1].Tokens[0].Lease.ID {
		t.Error("a repeat was given another lease")
	}
	refused(t, results[2].Err, tms.ErrRequestIDReused)
}

// A batch of every kind of request is answered in its order.
func TestABatchOfAllKinds(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{Labels: &[]string{"colour"}, Selection: new(tms.SelectFIFO)},
		coloured("a", "red"), coloured("b", "blue"), coloured("c", "red"), coloured("d", "blue"))
	results, err := q.Assign(t.Context(), "p", []tms.AssignRequest{
		{}, {Match: map[string]string{"colour": "blue"}}, {Prefer: "d"}, {}, {Match: map[string]string{"size": "x"}},
	})
	must(t, err)
	var got []string
	for _, r := range results[:4] {
		must(t, r.Err)
		got = append(got, r.Tokens[0].Value)
	}
	if !slices.Equal(got, []string{"a", "b", "d", "c"}) {
		t.Errorf("were given %q", got)
	}
	refused(t, results[4].Err, tms.ErrInvalidRequest)
}

// A history takes no more room than its pool's policy gives it.
func TestAHistoryTakesNoMoreRoom(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{History: new(3)}, named("a")...)
	for n := range 5 {
		results, err := q.Assign(t.Context(), "p", []tms.AssignRequest{{ClientID: "one two"}})
		must(t, errors.Join(err, results[0].Err))
		key := tms.LeaseKey{Token: "a", LeaseID: results[0].Tokens[0].Lease.ID}
		key.Quarantine = n == 3 // which takes a record
		ended, err := q.Unblock(t.Context(), "p", []tms.LeaseKey{key})
		must(t, errors.Join(err, ended[0].Err))
		if n == 3 {
			restored, err := q.Restore(t.Context(), "p", []string{"a"})
			must(t, errors.Join(err, restored[0].Err))
		}
		c := raw(t, q.server)
		past, err := c.Do(t.Context(), c.B().Hget().Key("tms:{p}:past").Field("a").Build()).ToString()
		must(t, err)
		if lines := strings.Count(past, "\n") - 1; lines != min(n+1, 3) {
			t.Errorf("after %d leases it has %d lines: %q", n+1, lines, past)
		}
	}
}

// What is remembered of a token's leases goes with the token, however it goes.
func TestThePastGoesWithTheToken(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{OnLeaseExpiry: new(tms.ExpiryQuarantines)}, named("a", "b", "c")...)
	_, err := q.Assign(t.Context(), "p", []tms.AssignRequest{{Count: 3, ClientID: "x"}})
	must(t, err)
	q.clock.Advance(time.Minute + time.Millisecond)
	results, err := q.Restore(t.Context(), "p", []string{"a", "b", "c", "d"})
	must(t, errors.Join(err, results[0].Err, results[1].Err))
	refused(t, results[3].Err, tms.ErrTokenNotFound)
	want := tms.Past{Assigned: 1, Expired: 1, LastClient: "x", Since: q.clock.Now()}
	if past := q.is("a", tms.Available, "").Past; !reflect.DeepEqual(*past, want) {
		t.Errorf("the past is %+v", past)
	}
	_, err = q.Delete(t.Context(), "p", []tms.LeaseKey{{Token: "a"}})
	must(t, err)
	q.clock.Advance(6 * time.Minute) // the token clocks run out
	_, err = q.Expire(t.Context(), "p", 10)
	must(t, err)
	if n := number(t, raw(t, q.server), "HLEN", "tms:{p}:past"); n != 0 {
		t.Errorf("%d tokens that are gone have a past", n)
	}
}
