package redis_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
)

// A worst is the most that one call of a function can have to do within the limits of a request.
type worst struct {
	name    string
	most    int // commands that the call may run in Redis: a few for each token, ticket or request that it is about
	policy  tms.PolicyChange
	prepare func(q *queued) (act func() error)
}

var threeLabels = []string{"a", "b", "c"}

// labelled returns tokens that suit seven lanes each, which are their own.
func labelled(name string, n int) []tms.NewToken {
	tokens := make([]tms.NewToken, n)
	for i := range tokens {
		v := fmt.Sprint(name, i)
		tokens[i] = tms.NewToken{Value: v, Metadata: map[string]string{"a": v, "b": v, "c": v}}
	}
	return tokens
}

// hold lets a client hold n new labelled tokens.
func (q *queued) hold(name string, n int) (keys []tms.LeaseKey) {
	q.t.Helper()
	q.generate(labelled(name, n))
	results, err := q.Assign(q.t.Context(), "p", []tms.AssignRequest{{Count: n, ClientID: "holder"}})
	must(q.t, err)
	must(q.t, results[0].Err)
	for _, token := range results[0].Tokens {
		keys = append(keys, tms.LeaseKey{Token: token.Value})
	}
	return keys
}

func (q *queued) generate(tokens []tms.NewToken) {
	q.t.Helper()
	_, err := q.Generate(q.t.Context(), "p", tms.GenerateRequest{Tokens: tokens})
	must(q.t, err)
}

// wait lets n tickets of so many tokens wait, each in a line of its own if the tokens' name is given.
func (q *queued) wait(n, count int, name string) (requests []tms.AssignRequest) {
	q.t.Helper()
	for i := range n {
		r := wanting(fmt.Sprint("t", i), count)
		if name != "" {
			r.Match = map[string]string{"a": fmt.Sprint(name, i)}
		}
		requests = append(requests, r)
	}
	_, err := q.Assign(q.t.Context(), "p", requests)
	must(q.t, err)
	return requests
}

func (q *queued) assigns(requests []tms.AssignRequest) func() error {
	return func() error {
		_, err := q.Assign(q.t.Context(), "p", requests)
		return err
	}
}

func (q *queued) unblocks(keys []tms.LeaseKey) func() error {
	return func() error {
		_, err := q.Unblock(q.t.Context(), "p", keys)
		return err
	}
}

var labels3 = tms.PolicyChange{Labels: &threeLabels, LeaseTTL: new(time.Hour), TokenTTL: new(2 * time.Hour)}

var worsts = []worst{
	{"generate 10,000", 200, tms.PolicyChange{}, func(q *queued) func() error {
		return func() error { q.generate(make([]tms.NewToken, tms.MaxBatch)); return nil }
	}},
	{"generate 10,000 with metadata", 200, tms.PolicyChange{}, func(q *queued) func() error {
		tokens := make([]tms.NewToken, tms.MaxBatch)
		for i := range tokens {
			tokens[i].Metadata = map[string]string{"a": "x", "b": "y"}
		}
		return func() error { q.generate(tokens); return nil }
	}},
	{"generate 1,000 with three labels", 7_100, labels3, func(q *queued) func() error {
		return func() error { q.generate(labelled("x", 1_000)); return nil }
	}},
	{"generate 1,000 for as many waiters", 40_000, labels3, func(q *queued) func() error {
		q.wait(1_000, 1, "x")
		return func() error { q.generate(labelled("x", 1_000)); return nil }
	}},
	{"assign 1,000 at random", 2_100, tms.PolicyChange{}, func(q *queued) func() error {
		q.generate(make([]tms.NewToken, tms.MaxBatch))
		return q.assigns([]tms.AssignRequest{{Count: 1_000}})
	}},
	{"assign 1,000 with labels and quota", 10_100, tms.PolicyChange{Labels: &threeLabels,
		MaxLeasesPerClient: new(5_000)},
		func(q *queued) func() error {
			for i := range 3 {
				q.generate(labelled(fmt.Sprint("x", i, "-"), 1_000))
			}
			return q.assigns([]tms.AssignRequest{{Count: 1_000, ClientID: "c"}})
		}},
	{"claim 1,000 by match and request_id", 26_000, labels3, func(q *queued) func() error {
		q.generate(labelled("x", 1_000))
		requests := make([]tms.AssignRequest, 1_000)
		for i := range requests {
			v := fmt.Sprint("x", i)
			requests[i] = tms.AssignRequest{Match: map[string]string{"a": v, "b": v, "c": v}, RequestID: v}
		}
		return q.assigns(requests)
	}},
	{"claim 1,000 tickets that wait on", 12_000, labels3, func(q *queued) func() error {
		return q.assigns(q.wait(1_000, 1, "none"))
	}},
	{"claim 500 pick-ups of two beside 1,000 others", 10_000, labels3, func(q *queued) func() error {
		keys := q.hold("x", 1_000)
		requests := q.wait(500, 2, "")
		_, err := q.Assign(q.t.Context(), "p", []tms.AssignRequest{{Ticket: "other",
			Match: map[string]string{"a": "other"}}})
		must(q.t, err)
		must(q.t, q.unblocks(keys)())
		q.generate(labelled("y", 1_000))
		return q.assigns(requests)
	}},
	{"keep-alive of 1,000", 2_100, labels3, func(q *queued) func() error {
		keys := q.hold("x", 1_000)
		return func() error {
			_, err := q.KeepAlive(q.t.Context(), "p", keys)
			return err
		}
	}},
	{"unblock 1,000 with three labels", 7_100, labels3, func(q *queued) func() error {
		return q.unblocks(q.hold("x", 1_000))
	}},
	{"unblock 1,000 for as many waiters", 40_000, labels3, func(q *queued) func() error {
		keys := q.hold("x", 1_000)
		q.wait(1_000, 1, "x")
		return q.unblocks(keys)
	}},
	{"delete 1,000", 100, labels3, func(q *queued) func() error {
		keys := q.hold("x", 1_000)
		return func() error {
			_, err := q.Delete(q.t.Context(), "p", keys)
			return err
		}
	}},
	{"expire 1,000, and 1,000 tickets", 18_000, labels3, func(q *queued) func() error {
		q.hold("x", 1_000)
		q.clock.Advance(time.Hour)
		q.wait(1_000, 1, "none")
		q.clock.Advance(3 * time.Second)
		return func() error {
			_, err := q.Expire(q.t.Context(), "p", 1_000)
			return err
		}
	}},
	{"any call after 1,000 were not picked up", 30_000, labels3, func(q *queued) func() error {
		keys := q.hold("x", 1_000)
		q.wait(1_000, 1, "x")
		must(q.t, q.unblocks(keys)())
		q.clock.Advance(1500 * time.Millisecond)
		return func() error { return q.Leave(q.t.Context(), "p", []string{"nobody"}, false) }
	}},
	{"leave of 1,000", 60_000, labels3, func(q *queued) func() error {
		keys := q.hold("x", 1_000)
		var tickets []string
		for _, r := range q.wait(1_000, 1, "x") {
			tickets = append(tickets, r.Ticket)
		}
		must(q.t, q.unblocks(keys)())
		return func() error { return q.Leave(q.t.Context(), "p", tickets, false) }
	}},
	{"a page of 1,000, and a sweep of as many", 7_200, labels3, func(q *queued) func() error {
		q.hold("x", 1_000)
		q.generate(labelled("y", 1_000))
		q.clock.Advance(time.Hour + time.Second)
		return func() error {
			_, err := q.Tokens(q.t.Context(), "p", tms.Filter{}, "", 1_000)
			return err
		}
	}},
	{"purge 1,000", 7_200, labels3, func(q *queued) func() error {
		put(q.t, q.Store, "other", labels3)
		_, err := q.Generate(q.t.Context(), "other", tms.GenerateRequest{Tokens: labelled("x", 1_000)})
		must(q.t, err)
		return func() error { return q.DeletePool(q.t.Context(), "other") }
	}},
}

// No call of a function, however much is asked of it within the limits, does more than a few commands for each token,
// ticket or request. The log says how long the longest call took, which depends on the machine.
func TestTheWorstOfEachFunction(t *testing.T) {
	for _, w := range worsts {
		t.Run(w.name, func(t *testing.T) {
			q := newQueued(t, w.policy)
			defer func(first *redis.Store) { q.Store = first }(q.Store)
			q.Store = open(t, q.server, redis.Options{Now: q.clock.Now, Timeout: time.Minute})
			c := raw(t, q.server)
			act := w.prepare(q)
			ask(t, c, "CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "1000")
			ask(t, c, "CONFIG", "RESETSTAT")
			ask(t, c, "SLOWLOG", "RESET")
			before := cpu(t, c)
			must(t, act())
			took, ran := 1000*(cpu(t, c)-before), commands(t, c)
			t.Logf("%-45s %6d commands %4.0f ms of CPU, the longest call %v", w.name, ran, took, longest(t, c))
			if ran > w.most {
				t.Errorf("it ran %d commands, and should run at most %d", ran, w.most)
			}
		})
	}
}

// commands returns how many commands ran in functions since the statistics were reset.
func commands(t *testing.T, c rueidis.Client) (n int) {
	t.Helper()
	outside := []string{"fcall", "info", "config", "slowlog", "hello", "ping", "client"}
	for name, count := range calls(t, c) {
		if !slices.Contains(outside, name) {
			n += count
		}
	}
	return n
}

// longest returns how long the longest call of a function took.
func longest(t *testing.T, c rueidis.Client) (took time.Duration) {
	t.Helper()
	entries, err := ask(t, c, "SLOWLOG", "GET", "1000").ToArray()
	must(t, err)
	for _, entry := range entries {
		parts, err := entry.ToArray()
		must(t, err)
		words, err := parts[3].AsStrSlice()
		must(t, err)
		if us, _ := parts[2].AsInt64(); words[0] == "FCALL" {
			took = max(took, time.Duration(us)*time.Microsecond)
		}
	}
	return took
}
