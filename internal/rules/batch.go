package rules

import tms "github.com/manankarani/token-manager"

// Spread ends a batch of so many items, some of which have results, at a step that brought an error. A refusal of the
// first step refuses the batch; one of a later step, when something may have changed already, is the answer to the items
// that are left.
func Spread[R any](results []R, size int, err error, refused func(error) R) ([]R, error) {
	if len(results) == 0 || tms.CodeOf(err) == "" {
		return nil, err
	}
	for len(results) < size {
		results = append(results, refused(err))
	}
	return results, nil
}

// Paused refuses a request for tokens of a pool that gives none.
func Paused(pool string) error { return tms.Refuse(tms.ErrPoolPaused, "pool %q is paused", pool) }

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
