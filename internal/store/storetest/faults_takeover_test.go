package storetest

import (
	"context"
	"slices"
	"testing"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// takeoverMutants are models whose takeovers have one fault.
var takeoverMutants = []struct {
	name   string
	caught string
	plant  func(m *Model) tms.Sweeper
}{
	{"takes over without settling", "OldTokensAreGivenWhenSettled",
		settled(func(_ *modelPool, s rules.Settling) rules.Settling { return rules.Settling{Before: s.Before} })},
	{"gives something at once", "NothingIsGivenAtFirst",
		settled(func(_ *modelPool, s rules.Settling) rules.Settling {
			s.Taken -= rules.Quiet + 1
			return s
		})},
	{"settles for the present lease_ttl only", "LowerLeaseTTLIsWaitedFor",
		settled(func(p *modelPool, s rules.Settling) rules.Settling {
			s.Until = s.Taken + max(rules.Quiet, p.policy.LeaseTTL.Milliseconds())
			return s
		})},
	{"forgets the longer leases", "LongerLeasesAreWaitedFor",
		settled(func(p *modelPool, s rules.Settling) rules.Settling {
			s.Until = s.Taken + max(rules.Quiet, p.policy.LeaseTTL.Milliseconds())
			return s
		})},
	{"lets inherited leases end", "InheritedLeaseStands", ofNobody},
	{"takes what was unblocked for free", "InheritedLeaseIsGivenBack", ofNobody},
	{"answers a repeat with an inherited lease", "InheritedRequestIsNotRepeated", ofNobody},
	{"lets a hand-over stand", "HandedBeforeIsTakenBack", ofNobody},
	{"winds no clock at the end", "NoTokenDiesWhileItSettles",
		func(m *Model) tms.Sweeper { return forgetsToWind{settler{m, nil}} }},
	{"takes a keep-alive for a sign that nobody holds the token", "NoSignOfLifeUnsettles",
		func(m *Model) tms.Sweeper { return believes{settler{m, nil}} }},
	{"takes a value that is brought for a new one", "BroughtSinceIsNotGiven",
		func(m *Model) tms.Sweeper { return credulous{settler{m, nil}} }},
	{"keeps what was drawn since", "DrawnSinceIsGiven",
		func(m *Model) tms.Sweeper { return drawsOld{settler{m, nil}} }},
	{"says nothing of the settling", "PoolSaysUntilWhenItSettles",
		func(m *Model) tms.Sweeper { return mute{settler{m, nil}} }},
	{"begins no epoch", "FencesRiseOverATakeover", func(m *Model) tms.Sweeper { return repeats{settler{m, nil}} }},
	{"keeps the first settling", "TakeoverWhileItSettles",
		func(m *Model) tms.Sweeper { return onlyOnce{settler{m, nil}} }},
}

// settler is a model that changes how its pools settle.
type settler struct {
	*Model
	change func(*modelPool, rules.Settling) rules.Settling
}

func settled(change func(*modelPool, rules.Settling) rules.Settling) func(m *Model) tms.Sweeper {
	return func(m *Model) tms.Sweeper { return settler{m, change} }
}

// ofNobody takes no lease for an inherited one.
func ofNobody(m *Model) tms.Sweeper {
	return settler{m, func(_ *modelPool, s rules.Settling) rules.Settling { s.Before = 0; return s }}
}

func (s settler) TakeOver(t testing.TB) {
	s.Model.TakeOver(t)
	for _, p := range s.pools {
		if s.change != nil {
			p.policy.Settling = s.change(p, p.policy.Settling)
		}
	}
}

// onNewSide brings the tokens to the side of those that are given.
func (s settler) onNewSide(pool string, tokens []string) {
	s.meddle(pool, func(p *modelPool, value string, r rules.Record, now int64) rules.Record {
		if slices.Contains(tokens, value) && r.State != tms.Assigned {
			r.Seen = max(r.Seen, now)
		}
		return r
	})
}

type believes struct{ settler }

func (m believes) KeepAlive(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	results, err := m.Model.KeepAlive(ctx, pool, keys)
	for _, key := range keys {
		m.onNewSide(pool, []string{key.Token})
	}
	return results, err
}

type credulous struct{ settler }

func (m credulous) Generate(ctx context.Context, pool string, r tms.GenerateRequest) (tms.Generated, error) {
	g, err := m.Model.Generate(ctx, pool, r)
	m.onNewSide(pool, g.Tokens)
	return g, err
}

type drawsOld struct{ settler }

func (m drawsOld) Generate(ctx context.Context, pool string, r tms.GenerateRequest) (tms.Generated, error) {
	r.Tokens = slices.Clone(r.Tokens)
	for i := range r.Tokens {
		if r.Tokens[i].Value == "" {
			r.Tokens[i].Value = tms.NewValue()
		}
	}
	return m.Model.Generate(ctx, pool, r)
}

type forgetsToWind struct{ settler }

func (m forgetsToWind) Expire(ctx context.Context, pool string, limit int) (tms.Expired, error) {
	_ = m.step(ctx, pool, func(p *modelPool, now int64) error {
		for value, r := range p.tokens {
			if r.State == tms.Available && now > r.Seen+p.policy.TokenTTL.Milliseconds() {
				delete(p.tokens, value)
			}
		}
		return nil
	})
	return m.Model.Expire(ctx, pool, limit)
}

type mute struct{ settler }

func (m mute) Pool(ctx context.Context, name string) (tms.Pool, tms.Stats, error) {
	pool, stats, err := m.Model.Pool(ctx, name)
	return tms.Pool{Name: pool.Name, Policy: pool.Policy}, stats, err
}

type repeats struct{ settler }

func (m repeats) TakeOver(t testing.TB) {
	m.settler.TakeOver(t)
	m.fence = 0
}

type onlyOnce struct{ settler }

func (m onlyOnce) TakeOver(t testing.TB) {
	before := map[string]rules.Settling{}
	for name, p := range m.pools {
		before[name] = p.policy.Settling
	}
	m.settler.TakeOver(t)
	for name, p := range m.pools {
		if before[name].Until != 0 {
			p.policy.Settling = before[name]
		}
	}
}

// TestTakeoverMutants plants one fault at a time into the takeovers of the model, which the rule named with it must
// catch.
func TestTakeoverMutants(t *testing.T) {
	named := map[string]rule{}
	for _, r := range slices.Concat(takeoverRules, takeoverQueueRules) {
		named[r.name] = r
	}
	for _, m := range takeoverMutants {
		t.Run(m.name, func(t *testing.T) {
			open := func(_ testing.TB, clock *Clock) []tms.Sweeper { return []tms.Sweeper{m.plant(NewModel(clock))} }
			if r, ok := named[m.caught]; !ok || !catches(t, r, open) {
				t.Errorf("%s does not catch a store that %s", m.caught, m.name)
			}
		})
	}
}
