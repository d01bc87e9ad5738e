package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	tms "github.com/manankarani/token-manager"
)

// freeBytes is how much of a request's body is read without asking the budget. A larger buffer is not kept for the next
// request.
const freeBytes = 64 << 10

// budget is what the bodies of all requests that are under way may take in memory, beyond what is free for each.
type budget struct {
	total, each int64 // most in all, and for one address

	mu   sync.Mutex
	used int64
	by   map[netip.Addr]int64 // by address; none that uses nothing
}

// newBudget returns one of so many bytes, of which an address has a quarter. Both hold one body of the largest size.
func newBudget(total, largest int64) *budget {
	return &budget{total: max(total, largest), each: max(total/4, largest), by: map[netip.Addr]int64{}}
}

// take reserves so many bytes more for an address, or refuses.
func (b *budget) take(from netip.Addr, n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.used+n > b.total:
		return overloaded("the bodies of requests take as much memory as they may")
	case b.by[from]+n > b.each:
		return overloaded("the bodies of requests from one address take as much memory as they may")
	}
	b.used += n
	b.by[from] += n
	return nil
}

func (b *budget) give(from netip.Addr, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	if b.by[from] -= n; b.by[from] == 0 {
		delete(b.by, from)
	}
}

// reading fills a buffer from a body, with room from the budget.
type reading struct {
	*budget
	from  netip.Addr
	size  int64 // of the body; less than zero: not known
	taken int64
}

func (r *reading) fill(buffer *bytes.Buffer, body io.Reader) error {
	for {
		if err := r.grow(buffer); err != nil {
			return err
		}
		room := buffer.AvailableBuffer()[:min(buffer.Available(), freeBytes)]
		n, err := body.Read(room)
		buffer.Write(room[:n])
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		giveWay(buffer)
	}
}

// grow makes room in a buffer that is full. It takes what the larger buffer has beyond what is free.
func (r *reading) grow(buffer *bytes.Buffer) error {
	if buffer.Available() > 0 {
		return nil
	}
	more := max(buffer.Len(), 4<<10)
	if left := r.size - int64(buffer.Len()); left >= 0 {
		more = min(more, int(left)+1) // one to see the end with
	}
	need := int64(buffer.Len()+more) - freeBytes - r.taken
	if need > 0 {
		if err := r.take(r.from, need); err != nil {
			return err
		}
		r.taken += need
	}
	if buffer.Len() == 0 {
		buffer.Grow(more)
		return nil
	}
	larger := bytes.NewBuffer(make([]byte, 0, buffer.Len()+more))
	for buffer.Len() > 0 {
		larger.Write(buffer.Next(freeBytes))
		giveWay(larger)
	}
	*buffer = *larger
	return nil
}

// giveWay lets others run beside who fills a large buffer: without a pause that would keep a processor from them for up
// to ten milliseconds.
func giveWay(buffer *bytes.Buffer) {
	if buffer.Len() >= freeBytes {
		runtime.Gosched()
	}
}

func (r *reading) done() {
	if r.taken > 0 {
		r.give(r.from, r.taken)
	}
	r.taken = 0
}

// heavy are the requests with large bodies that are carried out at once: what they are decoded into, and their answers,
// take several times the memory of their bodies, and half of the processors are for others.
type heavy chan struct{}

func newHeavy() heavy { return make(heavy, max(1, runtime.GOMAXPROCS(0)/2)) }

// enter waits until the request may be carried out, and returns what lets the next one in.
func (h heavy) enter(ctx context.Context) (leave func(), err error) {
	select {
	case h <- struct{}{}:
		return sync.OnceFunc(func() { <-h }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// overloaded refuses a request that would be too much for now.
func overloaded(format string, args ...any) error {
	refusal := tms.Refuse(tms.ErrOverloaded, format, args...)
	refusal.RetryAfter = 500 * time.Millisecond
	return refusal
}

// crowd counts the waiters, of whom there may be so many.
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
