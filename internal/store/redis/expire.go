package redis

import (
	"context"
	"errors"
	"strconv"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// Expire implements [tms.Sweeper]. More than 1,000 expiries go in several steps.
func (s *Store) Expire(ctx context.Context, pool string, limit int) (tms.Expired, error) {
	total, err := s.expire(ctx, pool, min(limit, maxStep))
	for left := limit - maxStep; err == nil && left > 0 && total.NextDue.Before(total.Now) &&
		!total.NextDue.IsZero(); left -= maxStep {
		var step tms.Expired
		if step, err = s.expire(ctx, pool, min(left, maxStep)); err == nil {
			step.ExpiryCounts = step.Add(total.ExpiryCounts)
			step.Overdue = max(step.Overdue, total.Overdue)
			total = step
		}
	}
	if errors.Is(err, tms.ErrPoolNotFound) {
		if err := s.finish(ctx, pool); err != nil {
			return tms.Expired{}, err
		}
	}
	return total, err
}

func (s *Store) expire(ctx context.Context, pool string, limit int) (tms.Expired, error) {
	a, err := s.call(ctx, pool, fnExpire, strconv.Itoa(limit))
	if err != nil {
		return tms.Expired{}, err
	}
	done := tms.Expired{Now: rules.Instant(a.now), ExpiryCounts: a.counts(), NextDue: a.instant()}
	if oldest := a.int(); oldest >= 0 {
		done.Overdue = max(0, time.Duration(a.now-a.ahead-oldest)*time.Millisecond)
	}
	return done, a.failure()
}
