package storetest

import (
	"context"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// mutant is a model with one fault.
type mutant struct {
	name   string
	caught string // the rule that must notice
	rare   bool   // the random programs need not notice
	plant  func(m *Model) tms.Sweeper
}

var mutants = []mutant{
	{"ignores the lease_id of a keep-alive", "OnlyTheHolderReleases", false,
		func(m *Model) tms.Sweeper { return anyoneKeeps{m} }},
	{"ends leases a millisecond early", "LeaseIsExactlyItsTTL", false,
		func(m *Model) tms.Sweeper { return earlyEnd{m} }},
	{"forgets the cooldown after unblock", "UnblockCools", false, func(m *Model) tms.Sweeper { return noRest{m} }},
	{"generates beyond the maximum", "PoolHasAMaximum", false, func(m *Model) tms.Sweeper { return overfull{m} }},
	{"drops a token between two pages", "ListingShowsEveryToken", false,
		func(m *Model) tms.Sweeper { return gapped{m} }},
	{"shortens leases", "KeepAliveNeverShortens", false, func(m *Model) tms.Sweeper { return shortens{m} }},
	{"forgets the metadata", "GenerateKeepsMetadata", false, func(m *Model) tms.Sweeper { return forgetful{m} }},
	{"ignores an update", "UpdateChangesMetadata", false, func(m *Model) tms.Sweeper { return stale{m} }},
	{"resets a policy that is changed", "ChangeKeepsTheRest", false, func(m *Model) tms.Sweeper { return resets{m} }},
	{"shows lease_ids", "ListingHidesLeaseIDs", false, func(m *Model) tms.Sweeper { return talkative{m} }},
	{"never has a next deadline", "SweepSaysWhenToComeBack", false, func(m *Model) tms.Sweeper { return careless{m} }},
	{"gives some tokens where all were asked for", "AssignGivesAllOrNone", false,
		func(m *Model) tms.Sweeper { return partial{m} }},
	{"takes an expired lease for a sign of life", "ExpiryIsNoSignOfLife", true,
		func(m *Model) tms.Sweeper { return revives{m} }},
	{"miscounts", "UnblockReturnsTheToken", false, func(m *Model) tms.Sweeper { return miscounts{m} }},
	{"gives a held token to a second client", "AssignGivesALease", false,
		func(m *Model) tms.Sweeper { return shares{m} }},
	{"counts fences anew in a pool made again", "FencesRise", true, func(m *Model) tms.Sweeper { return restarts{m} }},
	{"sweeps without a bound", "SweepIsBounded", true, func(m *Model) tms.Sweeper { return unbounded{m} }},
	{"takes foreign cursors", "BadCursorIsRefused", true, func(m *Model) tms.Sweeper { return gullible{m} }},
	{"goes on when its context is over", "CancelledIsAnError", true, func(m *Model) tms.Sweeper { return deaf{m} }},
	{"knows no time to retry", "AssignSaysWhenToRetry", true, func(m *Model) tms.Sweeper { return silent{m} }},
	{"sweeps in two steps", "KeepAliveDuringSweepIsNotOverridden", true, func(m *Model) tms.Sweeper { return torn{m} }},
	{"keeps alive in two steps", "DeletedTokensStayDeleted", true, func(m *Model) tms.Sweeper { return returns{m} }},
	{"unblocks in two steps", "OneUnblockWins", true, func(m *Model) tms.Sweeper { return twice{m} }},
	{"takes a token from its holder", "LeasesUnderATickingClock", true,
		func(m *Model) tms.Sweeper { return steals{m} }},
	{"issues falling fences", "OneUnblockWins", false, falls},
	{"deletes tokens under their holders", "TokenClockWaitsForTheLease", true,
		func(m *Model) tms.Sweeper { return hasty{m} }},
	{"leaves the rest of a pool that is deleted", "DeletePoolDeletesItsTokens", false,
		func(m *Model) tms.Sweeper { return remains{m} }},
	deviates("knows no grace", "GraceRevives", func(p *tms.Policy) { p.Grace = 0 }),
	deviates("knows no cooldown", "CooldownIsExact", func(p *tms.Policy) { p.Cooldown = 0 }),
	deviates("knows no max_lease", "KeepAliveStopsAtMaxLease", func(p *tms.Policy) { p.MaxLease = 0 }),
	deviates("knows no token clock", "TokenClockIsExact", func(p *tms.Policy) { p.TokenTTL = 0 }),
	deviates("asks for no lease_id", "DeleteRequiresLeaseID", func(p *tms.Policy) { p.RequireLeaseID = false }),
	deviates("does not pause", "PausedPoolGivesNothing", func(p *tms.Policy) { p.Paused = false }),
	deviates("releases only", "ExpiryQuarantines", func(p *tms.Policy) { p.OnLeaseExpiry = tms.ExpiryReleases }),
	deviates("gives the latest", "FIFOGivesTheOldest", func(p *tms.Policy) { p.Selection = tms.SelectLIFO }),
	deviates("gives the oldest", "RandomReachesEveryToken", func(p *tms.Policy) { p.Selection = tms.SelectFIFO }),
	{"draws as a hash table does", "RandomIsFair", true, buckets},
	{"knows tokens that nobody generated", "UnknownTokenIsNotFound", false,
		func(m *Model) tms.Sweeper { return strangers{m} }},
	{"generates in two steps", "MaximumHoldsUnderPressure", true, func(m *Model) tms.Sweeper { return crowded{m} }},
}

// keysAlone strips the keys of their lease_ids.
func keysAlone(keys []tms.LeaseKey) []tms.LeaseKey {
	bare := valuesOnly(keys)
	for i := range keys {
		bare[i].TTL = keys[i].TTL
	}
	return bare
}

// meddle changes the records of a pool.
func (m *Model) meddle(pool string, change func(p *modelPool, value string, r rules.Record, now int64) rules.Record) {
	_ = m.step(context.Background(), pool, func(p *modelPool, now int64) error {
		for value, r := range p.tokens {
			p.tokens[value] = change(p, value, r, now)
		}
		return nil
	})
}

type stale struct{ *Model }

func (m stale) Generate(ctx context.Context, pool string, request tms.GenerateRequest) (tms.Generated, error) {
	request.Update = false
	return m.Model.Generate(ctx, pool, request)
}

type anyoneKeeps struct{ *Model }

func (m anyoneKeeps) KeepAlive(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	results, err := m.Model.KeepAlive(ctx, pool, keysAlone(keys))
	for i, r := range results {
		if r.Token.Lease != nil {
			r.Token.Lease.ID = keys[i].LeaseID
		}
	}
	return results, err
}

type earlyEnd struct{ *Model }

func (m earlyEnd) Assign(ctx context.Context, pool string, r []tms.AssignRequest) ([]tms.AssignResult, error) {
	m.meddle(pool, func(p *modelPool, _ string, r rules.Record, now int64) rules.Record {
		if next, alive, _ := r.At(p.policy, now+1); r.State == tms.Assigned && alive {
			return next
		}
		return r
	})
	return m.Model.Assign(ctx, pool, r)
}

type noRest struct{ *Model }

func (m noRest) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	results, err := m.Model.Unblock(ctx, pool, keys)
	m.meddle(pool, func(_ *modelPool, _ string, r rules.Record, _ int64) rules.Record {
		if r.State == tms.Cooling {
			r.State, r.Until = tms.Available, 0
		}
		return r
	})
	return results, err
}

type overfull struct{ *Model }

func (m overfull) Generate(ctx context.Context, pool string, t tms.GenerateRequest) (g tms.Generated, err error) {
	before := m.max(pool, tms.MaxMaxTokens)
	defer m.max(pool, before)
	return m.Model.Generate(ctx, pool, t)
}

// max sets the pool's max_tokens and returns what it was.
func (m *Model) max(pool string, most int) (before int) {
	_ = m.step(context.Background(), pool, func(p *modelPool, _ int64) error {
		before, p.policy.MaxTokens = p.policy.MaxTokens, most
		return nil
	})
	return before
}

type gapped struct{ *Model }

func (m gapped) Tokens(ctx context.Context, pool string, f tms.Filter, cursor string, limit int) (tms.Page, error) {
	page, err := m.Model.Tokens(ctx, pool, f, cursor, limit)
	if n := len(page.Tokens); page.Next != "" && n > 1 {
		page.Tokens = page.Tokens[:n-1]
	}
	return page, err
}

type shortens struct{ *Model }

func (m shortens) KeepAlive(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	results, err := m.Model.KeepAlive(ctx, pool, keys)
	for i, key := range keys {
		if err != nil || results[i].Err != nil || results[i].Token.Lease == nil || key.TTL == 0 {
			continue
		}
		m.meddle(pool, func(_ *modelPool, value string, r rules.Record, now int64) rules.Record {
			if value == key.Token && r.State == tms.Assigned {
				r.Until = now + key.TTL.Milliseconds()
			}
			return r
		})
		l := results[i].Token.Lease
		l.ExpiresAt, l.TTL = m.clock.Now().Add(key.TTL), key.TTL
	}
	return results, err
}

type strangers struct{ *Model }

func (m strangers) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	results, err := m.Model.Unblock(ctx, pool, keys)
	for i := range results {
		if results[i].Err == tms.ErrTokenNotFound {
			results[i].Err = tms.ErrNotAssigned
		}
	}
	return results, err
}

type forgetful struct{ *Model }

func (m forgetful) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	results, err := m.Model.Unblock(ctx, pool, keys)
	for i := range results {
		results[i].Token.Metadata = nil
	}
	return results, err
}

type resets struct{ *Model }

func (m resets) PutPool(ctx context.Context, name string, c tms.PolicyChange) (tms.Pool, error) {
	if c.Grace == nil {
		c.Grace = new(time.Duration(0))
	}
	return m.Model.PutPool(ctx, name, c)
}

type talkative struct{ *Model }

func (m talkative) Token(ctx context.Context, pool string, key tms.LeaseKey) (tms.Token, error) {
	t, err := m.Model.Token(ctx, pool, key)
	if t.Lease != nil {
		t.Lease.ID = "secret"
	}
	return t, err
}

type careless struct{ *Model }

func (m careless) Expire(ctx context.Context, pool string, limit int) (tms.Expired, error) {
	done, err := m.Model.Expire(ctx, pool, limit)
	done.NextDue = time.Time{}
	return done, err
}

type partial struct{ *Model }

func (m partial) Assign(ctx context.Context, pool string, r []tms.AssignRequest) ([]tms.AssignResult, error) {
	results, err := m.Model.Assign(ctx, pool, r)
	for i := range results {
		for less := r[i]; results[i].Err != nil && less.Count > 1; less.Count-- {
			again, err := m.Model.Assign(ctx, pool, []tms.AssignRequest{less})
			if err == nil {
				results[i] = again[0]
			}
		}
	}
	return results, err
}

type revives struct{ *Model }

func (m revives) Assign(ctx context.Context, pool string, r []tms.AssignRequest) ([]tms.AssignResult, error) {
	m.meddle(pool, func(p *modelPool, _ string, r rules.Record, now int64) rules.Record {
		if next, alive, _ := r.At(p.policy, now); r.State == tms.Assigned && alive && next.State != tms.Assigned {
			return next.Touch(p.policy, now)
		}
		return r
	})
	return m.Model.Assign(ctx, pool, r)
}

type miscounts struct{ *Model }

func (m miscounts) Pool(ctx context.Context, name string) (tms.Pool, tms.Stats, error) {
	pool, stats, err := m.Model.Pool(ctx, name)
	if stats.Available > 0 {
		stats.Assigned++
	}
	return pool, stats, err
}
