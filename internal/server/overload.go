package server

import (
	"sync/atomic"
	"time"

	tms "github.com/manankarani/token-manager"
)

// overloaded refuses a request that would be too much for now.
func overloaded(format string, args ...any) error {
	refusal := tms.Refuse(tms.ErrOverloaded, format, args...)
	refusal.RetryAfter = 500 * time.Millisecond
	return refusal
}

// crowd counts those who wait, of whom there may be so many.
type crowd struct {
	most int64
	now  atomic.Int64
}

// enter lets one more in, who must leave, unless there are too many already.
func (c *crowd) enter() error {
	if c.now.Add(1) > c.most {
		c.now.Add(-1)
		return overloaded("%d requests wait already, as many as may; ask again, or without wait", c.most)
	}
	return nil
}

func (c *crowd) leave() { c.now.Add(-1) }
