package rules

import tms "github.com/manankarani/token-manager"

// Spread ends a batch of so many items, some of which have results, at a step that brought an error. A refusal of the
// first step refuses the batch; one of a later step, when something may have changed already, is the answer to the
// items that are left.
func Spread[R any](results []R, size int, err error, refused func(error) R) ([]R, error) {
	if len(results) == 0 || tms.CodeOf(err) == "" {
		return nil, err
	}
	for len(results) < size {
		results = append(results, refused(err))
	}
	return results, nil
}

// UnlessPaused returns the results of an assign, or refuses the batch if each of them is that the pool is paused.
func UnlessPaused(pool string, results []tms.AssignResult) ([]tms.AssignResult, error) {
	for _, result := range results {
		if tms.CodeOf(result.Err) != tms.ErrPoolPaused {
			return results, nil
		}
	}
	if len(results) == 0 {
		return results, nil
	}
	return nil, Paused(pool)
}

// AssignInSteps answers requests by steps, in order. Each step is given at least one request, and more while all
// together ask for at most so many tokens and each goes together with the first.
func AssignInSteps(pool string, requests []tms.AssignRequest, most int, together func(a, b tms.AssignRequest) bool,
	step func([]tms.AssignRequest) ([]tms.AssignResult, error)) ([]tms.AssignResult, error) {
	results := make([]tms.AssignResult, 0, len(requests))
	for len(results) < len(requests) {
		done, err := step(assignStep(requests[len(results):], most, together))
		if err != nil {
			return Spread(results, len(requests), err,
				func(err error) tms.AssignResult { return tms.AssignResult{Err: err} })
		}
		results = append(results, done...)
	}
	return UnlessPaused(pool, results)
}

func assignStep(requests []tms.AssignRequest, most int, together func(a,
	b tms.AssignRequest) bool) []tms.AssignRequest {
	total := 0
	for i, r := range requests {
		if total += max(1, r.Count); i > 0 && (total > most || !together(requests[0], r)) {
			return requests[:i]
		}
	}
	return requests
}

// PoolPage makes a page of at most limit pools of their names, of which there may be one more, looking at each. A pool
// that has been deleted since it was named is left out.
func PoolPage(names []string, limit int, look func(string) (tms.Pool, tms.Stats, error)) (page tms.PoolPage,
	err error) {
	if len(names) > limit {
		names = names[:limit]
		page.Next = names[limit-1]
	}
	for _, name := range names {
		pool, stats, err := look(name)
		switch {
		case err == nil:
			page.Pools = append(page.Pools, tms.PoolStats{Pool: pool, Stats: stats})
		case tms.CodeOf(err) != tms.ErrPoolNotFound:
			return tms.PoolPage{}, err
		}
	}
	return page, nil
}
