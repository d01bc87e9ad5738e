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
