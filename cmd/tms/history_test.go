package main

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// history is what clients know of the leases that they were given. Its check is exact: what it reports cannot be
// explained by answers that were on their way.
type history struct {
	mu     sync.Mutex
	leases []*lease
}

// lease is one lease as its client knows it. It began after asked and before answered, and stood for sure until until.
type lease struct {
	token, id, client string
	fence             int64
	asked, answered   time.Time
	until             time.Time // a TTL after the last request that kept it was sent, or when its end was asked for
}

// took writes down a lease that was asked for at the first of two instants. One that was answered before is returned.
func (h *history) took(client string, r reply, asked, answered time.Time, ttl time.Duration) *lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := &lease{token: r.Token, id: r.LeaseID, client: client, fence: r.Fence,
		asked: asked, answered: answered, until: asked.Add(ttl)}
	h.leases = append(h.leases, l)
	return l
}

// kept writes down that the lease stands until then at least.
func (h *history) kept(l *lease, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l.until = until
}

// stood reports whether the lease stood for sure at an instant.
func (h *history) stood(l *lease, at time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return at.Before(l.until)
}

// ends writes down that the end of the lease is asked for now: from here on nobody knows whether it stands.
func (h *history) ends(l *lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); now.Before(l.until) {
		l.until = now
	}
}

// verdict fails the test for what contradicts the promises: two holders at once, a fence that was issued twice or went
// back.
func (h *history) verdict(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if wrong := contradictions(h.leases); len(wrong) > 0 {
		t.Errorf("%d contradictions in %d leases, the first: %s", len(wrong), len(h.leases), wrong[0])
	}
}

// contradiction is what two leases of a token must not be to each other.
type contradiction struct {
	doubled bool // both had it at once; else one's fence was issued twice, or went back
	text    string
}

func (c contradiction) String() string { return c.text }

// counts returns how many leases were doubled while they stood, and how many fences were issued twice or went back.
func (h *history) counts() (doubled, fences int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range contradictions(h.leases) {
		if c.doubled {
			doubled++
		} else {
			fences++
		}
	}
	return doubled, fences
}

// contradictions looks at each token's leases in the order of their fences, and compares each with all before it.
func contradictions(leases []*lease) (wrong []contradiction) {
	leases = slices.SortedFunc(slices.Values(leases), func(a, b *lease) int {
		return cmp.Or(cmp.Compare(a.token, b.token), cmp.Compare(a.fence, b.fence), a.answered.Compare(b.answered))
	})
	// of the token's leases so far: that which stood longest, and that which was asked for last
	var longest, latest *lease
	for i, l := range leases {
		if i == 0 || leases[i-1].token != l.token {
			longest, latest = l, l
			continue
		}
		wrong = append(wrong, l.contradicts(leases[i-1], longest, latest)...)
		if l.until.After(longest.until) {
			longest = l
		}
		if l.asked.After(latest.asked) {
			latest = l
		}
	}
	return wrong
}

func (l *lease) contradicts(before, longest, latest *lease) (wrong []contradiction) {
	is := func(doubled bool, format string, args ...any) {
		wrong = append(wrong, contradiction{doubled, fmt.Sprintf(format, args...)})
	}
	if l.fence == before.fence && l.id != before.id {
		is(false, "fence %d of %s was issued to %s and to %s", l.fence, l.token, before.client, l.client)
	}
	if l.id != longest.id && l.answered.Before(longest.until) {
		is(true, "%s went to %s with fence %d while %s held it with fence %d for another %v", l.token, l.client,
			l.fence, longest.client, longest.fence, longest.until.Sub(l.answered))
	}
	if l.answered.Before(latest.asked) {
		is(false, "fence %d of %s was issued before the lower %d", l.fence, l.token, latest.fence)
	}
	return wrong
}

// The check of a history finds two holders, a repeated fence and one that went back, in whatever order the clients
// heard of their leases, and nothing in a history that can be explained.
func TestHistory(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(1_000_000 + ms)) }
	one := func(fence int64, id string, asked, answered, until int) *lease {
		return &lease{token: "t", id: id, client: "client " + id, fence: fence, asked: at(asked),
			answered: at(answered),
			until:    at(until)}
	}
	for name, c := range map[string]struct {
		want   int
		leases []*lease
	}{
		"one after the other":            {0, []*lease{one(1, "a", 0, 10, 100), one(2, "b", 90, 110, 200)}},
		"an answer that came late":       {0, []*lease{one(2, "b", 90, 110, 200), one(1, "a", 0, 120, 100)}},
		"the same lease, answered twice": {0, []*lease{one(1, "a", 0, 10, 100), one(1, "a", 0, 20, 100)}},
		"two holders":                    {1, []*lease{one(1, "a", 0, 10, 100), one(2, "b", 20, 30, 200)}},
		"two holders, heard of late":     {1, []*lease{one(2, "b", 20, 30, 200), one(1, "a", 0, 40, 100)}},
		"two holders, one between": {2, []*lease{one(1, "a", 0, 10, 100), one(2, "b", 20, 30, 40),
			one(3, "c", 50, 60, 70)}},
		"a fence issued twice":   {1, []*lease{one(1, "a", 0, 10, 20), one(1, "b", 30, 40, 50)}},
		"a fence that went back": {2, []*lease{one(2, "a", 0, 10, 20), one(1, "b", 30, 40, 50)}},
	} {
		if wrong := contradictions(c.leases); len(wrong) != c.want {
			t.Errorf("%s: %d contradictions, want %d: %v", name, len(wrong), c.want, wrong)
		}
	}
}
