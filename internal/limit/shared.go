package limit

import (
	"context"
	"sync"
	"time"
)

// Source keeps buckets that many servers share.
type Source interface {
	// Draw draws from the bucket of the name as many units as there are, least at least and most at most, or none. It
	// is one atomic step, by the source's own clock. Least is no more than the burst.
	Draw(ctx context.Context, name string, rate Rate, least, most int) (Drawn, error)
}

// Shared is a [Limiter] over buckets that servers share. It fetches units of frequent callers ahead, in slices, so that
// few calls ask the source, and asks for each unit of the others. It is made with [NewShared].
//
// All servers together let no more pass than the rate and the burst allow. What a server has fetched and not used
// within a second is lost to the caller; a slice is no more than twice what the server used of the one before, and than
// what comes in 50 ms.
type Shared struct {
	source Source
	now    func() time.Time

	mu     sync.Mutex
	slices map[string]*slice
	lookAt int
}

const (
	lapse     = time.Second           // how long a slice is good for
	sliceTime = 50 * time.Millisecond // no slice is more than comes in it
	rare      = 50                    // units a second below which a server fetches nothing ahead
)

// NewShared returns a limiter over the source.
func NewShared(source Source) *Shared {
	return &Shared{source: source, now: time.Now, slices: map[string]*slice{}, lookAt: fewBuckets}
}

// slice is what a server has fetched of one bucket.
type slice struct {
	mu      sync.Mutex
	rate    Rate
	units   int       // that are left
	used    int       // of the slice
	until   time.Time // it is good
	left    int       // in the source, when it was asked last
	full    time.Time // when its bucket is
	tooMany int       // units for which it had too few
	again   time.Time // when it has them
	asked   time.Time // when it was asked last
	drawing *drawing  // nil: nobody draws
}

// drawing is a call of the source on its way, which others wait for.
type drawing struct {
	done chan struct{}
	err  error
}

// Take implements [Limiter]. It asks the source at most once at a time for each name. An error says that the source
// could not be asked, or that ctx has ended while it was.
func (s *Shared) Take(ctx context.Context, name string, rate Rate, units int) (Drawn, error) {
	units = min(units, rate.Burst)
	one := s.slice(name)
	for {
		drawn, known, on, mine := one.take(s.now(), rate, units)
		if known {
			return drawn, nil
		}
		if mine {
			s.draw(context.WithoutCancel(ctx), one, on, name, rate, units) // others wait for it, too
		}
		select {
		case <-on.done:
		case <-ctx.Done():
			return Drawn{}, ctx.Err()
		}
		if on.err != nil {
			return Drawn{}, on.err
		}
	}
}

// take takes units of the slice, or says that there are too few. Else it returns the call of the source to wait for,
// and whether it is the caller's to make.
func (c *slice) take(now time.Time, rate Rate, units int) (drawn Drawn, known bool, on *drawing, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.After(c.until) || rate != c.rate {
		c.units = 0
	}
	if rate != c.rate {
		c.rate, c.asked = rate, time.Time{}
	}
	if c.units >= units {
		c.units -= units
		c.used += units
		return Drawn{units, c.left + c.units, 0, max(0, c.full.Sub(now))}, true, nil, false
	}
	if units >= c.tooMany && now.Before(c.again) && now.Sub(c.asked) < lapse {
		return Drawn{0, c.left + c.units, c.again.Sub(now), max(0, c.full.Sub(now))}, true, nil, false
	}
	if mine = c.drawing == nil; mine {
		c.drawing = &drawing{done: make(chan struct{})}
	}
	return drawn, false, c.drawing, mine
}

// draw asks the source for a slice that holds so many units at least.
func (s *Shared) draw(ctx context.Context, c *slice, on *drawing, name string, rate Rate, units int) {
	c.mu.Lock()
	least, most := units-c.units, max(units-c.units, min(2*c.used, ahead(rate)))
	c.mu.Unlock()
	drawn, err := s.source.Draw(ctx, name, rate, least, most)
	now := s.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drawing, on.err = nil, err
	if err == nil {
		c.left, c.full = drawn.Left, now.Add(drawn.Full)
		c.tooMany, c.again, c.asked = units, now.Add(drawn.Wait), now
	}
	if drawn.Units > 0 {
		c.units, c.used, c.until = c.units+drawn.Units, 0, now.Add(lapse)
	}
	close(on.done)
}

// ahead is how many units a server fetches at most.
func ahead(rate Rate) int {
	if rate.interval() > time.Second/rare {
		return 0
	}
	return int(sliceTime / rate.interval())
}

// slice returns that of the name.
func (s *Shared) slice(name string) *slice {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.slices[name]
	if one == nil {
		if len(s.slices) >= s.lookAt {
			s.forget()
		}
		one = &slice{}
		s.slices[name] = one
	}
	return one
}

// forget drops the slices that hold nothing any more. It is next when there are twice as many.
func (s *Shared) forget() {
	now := s.now()
	for name, one := range s.slices {
		one.mu.Lock()
		if one.drawing == nil && now.After(one.until) && now.After(one.again) {
			delete(s.slices, name)
		}
		one.mu.Unlock()
	}
	s.lookAt = max(fewBuckets, 2*len(s.slices))
}
