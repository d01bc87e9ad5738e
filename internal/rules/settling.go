package rules

import (
	"math"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Takeover: another process begins to serve a pool, and may lack what was answered last. The pool settles then: for as
// long as a lease may last that nobody here knows of, only those tokens are given that surely nobody holds.
// takeover.lua says the same in Lua.
const (
	// Stale is how far, in ms, the stored instant of a pool may lie before what was answered.
	Stale = 1_000

	// Quiet is for how long after a takeover, in ms, nothing is given.
	Quiet = 1_000

	// LongestUnknown is the longest lease, in ms, where answers can be lost, so that no pool settles for longer.
	LongestUnknown = int64(time.Hour / time.Millisecond)
)

// Terms are what the transitions of a token depend on beside its record: the policy of its pool, and how far the pool
// has settled. The zero value of the latter is a pool that was never taken over.
type Terms struct {
	tms.Policy
	Settling
	MostLease int64 // the longest lease, in ms, where answers can be lost; 0: no limit
	Ahead     int64 // how far the wall clock is ahead of the pool's, in ms: for what people read
	OldMaster int64 // for how long, in ms, a process that was given up may still be asked: leases end later by it
}

// Settling is what the last takeover that made a pool settle has left.
type Settling struct {
	Taken  int64 // the instant at which it began
	Until  int64 // the last instant at which the pool settles
	Before int64 // the fence at which its epoch began: a lease with no greater one is inherited
}

// TakenOver returns what a takeover leaves in a pool, whose clock was stored when it stood at an instant: it settles
// until every lease is over of which only its holder may know. Granted is the longest ttl above the policy's, in ms,
// that was granted and may last. A pool that settles already goes on at least until then.
func (t Terms) TakenOver(stored, granted, fence int64) Settling {
	taken := stored + Stale + 1
	longest := t.OldMaster + max(t.cut(t.LeaseTTL.Milliseconds()), granted)
	return Settling{Taken: taken, Until: max(t.Until, taken+max(Quiet, longest)), Before: fence}
}

// Phase is what a pool goes through after a takeover: nothing is given, little is, all is.
type Phase int

const (
	Settled Phase = iota
	Still
	Unsettled
)

// Phase returns what the pool goes through.
func (s Settling) Phase(now int64) Phase {
	switch {
	case !s.Settles(now):
		return Settled
	case now <= s.Taken+Quiet:
		return Still
	}
	return Unsettled
}

// Settles reports whether the pool settles.
func (s Settling) Settles(now int64) bool { return s.Until != 0 && now <= s.Until }

// Inherited reports whether the lease is of an earlier process, which may have done more with it than is known here.
func (s Settling) Inherited(l Lease) bool { return s.Until != 0 && l.Fence <= s.Before }

// Wound returns what the clock of a token counts from, which was last seen alive at an instant. All clocks are wound
// when the pool has settled.
func (s Settling) Wound(seen int64) int64 { return max(seen, s.Until) }

// Born returns the last sign of life of a new token. A value that TMS drew is nobody's. One that a caller brings may
// have been lost, and be held.
func (s Settling) Born(now int64, drawn bool) int64 {
	if s.Settles(now) && !drawn {
		return s.oldSide()
	}
	return now
}

// oldSide returns the last instant on the side of the tokens that may be somebody's.
func (s Settling) oldSide() int64 { return s.Taken - 1 }

// Next returns when more can be given than now, or [Never].
func (s Settling) Next(now int64) int64 {
	switch s.Phase(now) {
	case Settled:
		return Never
	case Still:
		return s.Taken + Quiet
	}
	return s.Until
}

// Oldest returns the earliest last sign of life of an available token that is not dead.
func (t Terms) Oldest(now int64) int64 {
	if t.TokenTTL == 0 {
		return math.MinInt64
	}
	if from := now - t.TokenTTL.Milliseconds(); t.Until == 0 || t.Until < from {
		return from
	}
	return math.MinInt64
}

// Givable returns the earliest last sign of life of an available token that can be given.
func (t Terms) Givable(now int64) int64 {
	switch t.Phase(now) {
	case Settled:
		return t.Oldest(now)
	case Still:
		return math.MaxInt64
	}
	return t.Taken
}

// bound returns the ttl, in ms, that the policy lets one have.
func (t Terms) bound(ttl int64) int64 {
	if t.MaxTTL > 0 {
		return min(ttl, t.MaxTTL.Milliseconds())
	}
	return ttl
}

// cut returns the ttl, in ms, that is granted for one.
func (t Terms) cut(ttl int64) int64 {
	if t.MostLease > 0 {
		return min(ttl, t.MostLease)
	}
	return ttl
}
