package rules

import (
	tms "github.com/manankarani/token-manager"
)

// FewExpiries is how many expiries a look at a pool carries out where more are due than one step can. The rest it
// counts.
const FewExpiries = 50

// Overdue is how many deadlines of a pool have passed and were not yet carried out. pools.lua counts the same in Lua.
type Overdue struct {
	Leases    int // that are over
	Rested    int // of these, those whose cooldown would be over as well
	Cooldowns int // that are over
	Tokens    int // that are available and whose clock has run out
}

// Count returns the sizes of the pool's sets as they would be, for all that these numbers tell: a token whose lease is
// over is counted as what the policy makes of it, whatever its own clock.
func (o Overdue) Count(p Terms, s tms.Stats) tms.Stats {
	s.Assigned -= o.Leases
	switch p.OnLeaseExpiry {
	case tms.ExpiryQuarantines:
		s.Quarantined += o.Leases
	case tms.ExpiryDeletes:
	default:
		s.Available += o.Rested
		s.Cooling += o.Leases - o.Rested
	}
	s.Cooling -= o.Cooldowns
	s.Available += o.Cooldowns - o.Tokens
	return s
}
