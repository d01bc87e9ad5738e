package rules_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
	"pgregory.net/rapid"
)

func policies() *rapid.Generator[tms.Policy] {
	ms := func(t *rapid.T, name string, most int) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, name)) * time.Millisecond
	}
	return rapid.Custom(func(t *rapid.T) tms.Policy {
		return tms.Policy{
			LeaseTTL: 1 + ms(t, "lease", 20),
			TokenTTL: ms(t, "token", 40),
			MaxLease: ms(t, "max", 30),
			Grace:    ms(t, "grace", 10),
			Cooldown: ms(t, "cooldown", 10),
			OnLeaseExpiry: rapid.SampledFrom([]tms.OnLeaseExpiry{tms.ExpiryReleases, tms.ExpiryDeletes,
				tms.ExpiryQuarantines}).Draw(t, "expiry"),
		}
	})
}

// A sweep may come by or not: what stands at an instant is the same.
func TestDeadlinesAreFacts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rules.Terms{Policy: policies().Draw(t, "policy")}
		ttl := time.Duration(rapid.IntRange(0, 20).Draw(t, "ttl")) * time.Millisecond
		start := rules.New(1000, nil).Assign(p, 1000, rules.Lease{ID: "a", Fence: 1}, ttl)
		first := int64(1000 + rapid.IntRange(0, 100).Draw(t, "first"))
		second := first + int64(rapid.IntRange(0, 100).Draw(t, "second"))

		swept, alive, early := start.At(p, first)
		var late tms.ExpiryCounts
		if alive {
			swept, alive, late = swept.At(p, second)
		}
		straight, survives, counts := start.At(p, second)
		if diff := cmp.Diff(straight, swept); diff != "" || alive != survives || early.Add(late) != counts {
			t.Fatalf("with a sweep at %d the token is %v and %v was counted, without %v and %v:\n%s",
				first, alive, early.Add(late), survives, counts, diff)
		}
		if survives && straight.Due(p) < second {
			t.Fatalf("at %d a deadline of %d is still open", second, straight.Due(p))
		}
	})
}

// A lease ends neither early nor, once it cannot be revived, late.
func TestALeaseLastsItsTTL(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rules.Terms{Policy: policies().Draw(t, "policy")}
		r := rules.New(0, nil).Assign(p, 0, rules.Lease{ID: "a", Fence: 1}, 15*time.Millisecond)
		end := min(15, r.Lease.TTL)
		if p.MaxLease == 0 && end != 15 {
			t.Fatalf("the lease was cut to %d ms and the pool sets no longest lease", end)
		}
		over := end + p.Grace.Milliseconds()
		if held, _, _ := r.At(p, over); held.State != tms.Assigned {
			t.Fatalf("at its last instant the token is %s", held.State)
		}
		if after, alive, _ := r.At(p, over+1); alive && after.State == tms.Assigned {
			t.Fatal("one millisecond later it is still assigned")
		}
	})
}

// A cursor is read as it was written, and refused where no token can have its place.
func TestCursorsThatNoListingGave(t *testing.T) {
	good := rules.Cursor{Pool: "p", State: tms.Cooling, At: 7, Value: "a"}
	if got, err := rules.ParseCursor("p", good.String()); err != nil || got != good {
		t.Errorf("read %+v, error %v", got, err)
	}
	for name, change := range map[string]func(*rules.Cursor){
		"another pool": func(c *rules.Cursor) { c.Pool = "q" },
		"no state":     func(c *rules.Cursor) { c.State = "bogus" },
		"an instant":   func(c *rules.Cursor) { c.At = -1 },
		"a long value": func(c *rules.Cursor) { c.Value = strings.Repeat("x", tms.MaxTokenBytes+1) },
		"no value":     func(c *rules.Cursor) { c.Value = "" },
	} {
		bad := good
		change(&bad)
		if _, err := rules.ParseCursor("p", bad.String()); tms.CodeOf(err) != tms.ErrInvalidRequest {
			t.Errorf("%s: error %v, want a refusal", name, err)
		}
	}
}

// A pool that is deleted while pools are listed is left out, and ends no listing.
func TestAPageLeavesOutPoolsThatAreGone(t *testing.T) {
	away := errors.New("away")
	look := func(name string) (pool tms.Pool, stats tms.Stats, err error) {
		switch name {
		case "gone":
			return pool, stats, rules.NoPool(name)
		case "away":
			return pool, stats, away
		}
		return tms.Pool{Name: name}, tms.Stats{Available: 1}, nil
	}
	page, err := rules.PoolPage([]string{"a", "gone", "z"}, 2, look)
	if err != nil || page.Next != "gone" || len(page.Pools) != 1 || page.Pools[0].Name != "a" ||
		page.Pools[0].Available != 1 {
		t.Errorf("%+v, error %v", page, err)
	}
	if page, err := rules.PoolPage([]string{"a", "gone"}, 2, look); err != nil || page.Next != "" {
		t.Errorf("the last page has a next one: %+v, error %v", page, err)
	}
	if _, err := rules.PoolPage([]string{"a", "away"}, 2, look); err != away {
		t.Errorf("error %v", err)
	}
}
