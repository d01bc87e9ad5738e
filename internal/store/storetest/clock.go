package storetest

import (
	"sync/atomic"
	"time"
)

// Clock is a store clock that stands still until a test moves it. It counts whole milliseconds, as the contract does,
// and is safe for concurrent use. A store under test takes every instant from Now.
type Clock struct{ ms atomic.Int64 }

// NewClock returns a clock that stands at the present instant. It is near the real time so that a store whose server
// removes forgotten records by its own clock does not remove them under the test's hands.
func NewClock() *Clock {
	c := &Clock{}
	c.ms.Store(time.Now().UnixMilli())
	return c
}

// Now returns the clock's instant in UTC.
func (c *Clock) Now() time.Time { return time.UnixMilli(c.Millis()).UTC() }

// Millis returns the clock's instant as milliseconds since 1970.
func (c *Clock) Millis() int64 { return c.ms.Load() }

// Advance moves the clock on by d, which is cut to whole milliseconds.
func (c *Clock) Advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }
