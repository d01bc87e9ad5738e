package limit

import (
	"context"
	"sync"
	"time"
)

// Limiter says who may go on. It is safe for concurrent use.
type Limiter interface {
	// Take takes so many units from the bucket of the name, or none where there are fewer: then Units is zero and Wait
	// says for how long. More units than the burst cost the whole burst. The rate is not zero.
	Take(ctx context.Context, name string, rate Rate, units int) (Drawn, error)
}

// Local is a [Limiter] for one server. It is made with [NewLocal].
type Local struct {
	now func() time.Duration

	mu     sync.Mutex
	full   map[string]time.Duration // when the bucket is full; none that is full when it is looked through
	lookAt int                      // how many there are when it is next
}

const fewBuckets = 1_000

// NewLocal returns a limiter whose buckets are full. Now is a clock that is never set; nil: that of the process.
func NewLocal(now func() time.Duration) *Local {
	if now == nil {
		start := time.Now()
		now = func() time.Duration { return time.Since(start) }
	}
	return &Local{now: now, full: map[string]time.Duration{}, lookAt: fewBuckets}
}

// Take implements [Limiter]. It does not block, and its error is nil. A bucket takes space until it is full again.
func (l *Local) Take(_ context.Context, name string, rate Rate, units int) (d Drawn, _ error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, units := l.now(), min(units, rate.Burst)
	if len(l.full) >= l.lookAt {
		l.forget(now)
	}
	d, l.full[name] = rate.draw(now, l.full[name], units, units)
	return d, nil
}

// forget drops the buckets that are full. It is as good as never where few are: the next look is when there are twice
// as many.
func (l *Local) forget(now time.Duration) {
	for name, full := range l.full {
		if full <= now {
			delete(l.full, name)
		}
	}
	l.lookAt = max(fewBuckets, 2*len(l.full))
}
