package redis

import (
	"context"
	"sync"
)

const (
	mostFlying = 2  // groups of a line that are on their way at once
	mostCalls  = 64 // of a group
	fewItems   = 8  // of a call that is combined; larger ones go alone, and are steps enough
)

// combiner makes one step of calls that come at the same time: those of a pool, while others of it are on their way. A
// call that nobody is before goes at once, alone. So a group has one instant, one command and one WAIT.
//
// A call is answered for its own items only. Who leaves before the group is sent is taken out of it; after that the
// outcome is unknown, as of a call alone.
type combiner[Item, Result any] struct {
	run func(ctx context.Context, pool string, items []Item) ([]Result, error) // as one step

	mu    sync.Mutex
	lines map[string]*line[Item, Result] // by the pool
}

// line are the calls of a pool. It is there as long as one is on its way.
type line[Item, Result any] struct {
	flying int
	next   *group[Item, Result] // gathers; nil: none
}

// group are calls that go together.
type group[Item, Result any] struct{ calls []*joined[Item, Result] }

// joined is one call of a group.
type joined[Item, Result any] struct {
	items   []Item
	results []Result
	err     error
	done    chan struct{}
}

func newCombiner[Item, Result any](
	run func(ctx context.Context, pool string, items []Item) ([]Result, error)) *combiner[Item, Result] {
	return &combiner[Item, Result]{run: run, lines: map[string]*line[Item, Result]{}}
}

// do carries the items out, and returns a result for each of them.
func (c *combiner[Item, Result]) do(ctx context.Context, pool string, items []Item) ([]Result, error) {
	if len(items) > fewItems {
		return c.run(ctx, pool, items)
	}
	call, with := c.join(pool, items)
	if call == nil {
		defer c.lands(pool)
		return c.run(ctx, pool, items)
	}
	select {
	case <-call.done:
		return call.results, call.err
	case <-ctx.Done():
		c.leaves(with, call)
		return nil, outcome(ctx.Err())
	}
}

// join lets the items go at once, alone, or puts them into the group that gathers.
func (c *combiner[Item, Result]) join(pool string, items []Item) (*joined[Item, Result], *group[Item, Result]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lines[pool]
	if l == nil {
		l = &line[Item, Result]{}
		c.lines[pool] = l
	}
	if l.flying < mostFlying {
		l.flying++
		return nil, nil
	}
	if l.next == nil {
		l.next = &group[Item, Result]{}
	}
	call, with := &joined[Item, Result]{items: items, done: make(chan struct{})}, l.next
	if with.calls = append(with.calls, call); len(with.calls) >= mostCalls {
		c.start(pool, l)
	}
	return call, with
}

// start sends the group that gathers. The lock must be held.
func (c *combiner[Item, Result]) start(pool string, l *line[Item, Result]) {
	g := l.next
	l.next = nil
	l.flying++
	go c.fly(pool, g)
}

// lands says that a group has been answered, and sends the next.
func (c *combiner[Item, Result]) lands(pool string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lines[pool]
	l.flying--
	if l.next != nil && l.flying < mostFlying {
		c.start(pool, l)
	}
	if l.flying == 0 {
		delete(c.lines, pool)
	}
}

// leaves takes the call out of the group, unless that is on its way.
func (c *combiner[Item, Result]) leaves(g *group[Item, Result], call *joined[Item, Result]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, other := range g.calls {
		if other == call {
			g.calls = append(g.calls[:i:i], g.calls[i+1:]...)
			return
		}
	}
}

// takes returns the calls of a group that is sent: nobody leaves it any more.
func (c *combiner[Item, Result]) takes(g *group[Item, Result]) []*joined[Item, Result] {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := g.calls
	g.calls = nil
	return calls
}

// fly carries a group out, and gives each call what is its own.
func (c *combiner[Item, Result]) fly(pool string, g *group[Item, Result]) {
	calls := c.takes(g)
	var all []Item
	for _, call := range calls {
		all = append(all, call.items...)
	}
	var results []Result
	var err error
	if len(all) > 0 { // nobody else may be left
		results, err = c.run(context.Background(), pool, all)
	}
	c.lands(pool)
	for _, call := range calls {
		if call.err = err; err == nil {
			call.results, results = results[:len(call.items):len(call.items)], results[len(call.items):]
		}
		close(call.done)
	}
}
