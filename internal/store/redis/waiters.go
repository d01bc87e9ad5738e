package redis

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// queued is a ticket as claim.lua writes it.
type queued struct {
	Client string
	Count  int
	Lane   string
	Number int64
	Since  int64 // 0: a server of an older version wrote it

	place int
}

// Waiters implements [tms.Store]. It looks at no more than 1,000 of them.
func (s *Store) Waiters(ctx context.Context, pool string, limit int) ([]tms.Waiter, error) {
	a, err := s.repeat(ctx, pool, fnWaiters, strconv.Itoa(min(limit, maxStep)))
	if err != nil {
		return nil, err
	}
	var found []queued
	for a.more() {
		w := queued{place: int(a.int())}
		if text := a.text(); a.err == nil {
			a.err = json.Unmarshal([]byte(text), &w)
		}
		found = append(found, w)
	}
	slices.SortFunc(found, func(a, b queued) int { return cmp.Compare(a.Number, b.Number) })
	var all []tms.Waiter
	for _, w := range found {
		all = append(all, rules.WaiterOf(w.Client, w.Count, w.Lane, w.place, w.Since+a.ahead))
	}
	return all, a.failure()
}
