package storetest

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// Model is the plainest store that keeps the contract: maps, one lock, and a walk over the whole pool at every step.
// The random programs compare every other store with it.
type Model struct {
	clock *Clock
	draw  draw

	mu    sync.Mutex
	pools map[string]*modelPool
	fence int64
	own   bool // the draw is the model's own
}

// draw chooses what an assignment gives: one of the available values, which come oldest first, its lease's ID and
// fence.
type draw func(p tms.Policy, available []string) (value, leaseID string, fence int64)

// modelPool is a pool of the model.
type modelPool struct {
	model   *Model
	name    string
	policy  rules.Terms
	tokens  map[string]rules.Record
	expired tms.ExpiryCounts

	free     []string       // the available values, while a step needs them often; nil: not known
	tickets  []*modelTicket // in the order in which they joined
	requests map[string]*rules.Remembered

	longest, lasting int64 // the longest ttl above the policy's, and when no such lease can last any more
}

// NewModel returns an empty model that lives by the given clock.
func NewModel(clock *Clock) *Model {
	m := &Model{clock: clock, pools: map[string]*modelPool{}}
	m.draw, m.own = m.ownDraw, true
	m.put(tms.DefaultPool)
	return m
}

// ownDraw chooses as the policy says.
func (m *Model) ownDraw(p tms.Policy, available []string) (string, string, int64) {
	m.fence++
	return choose(p, available), tms.NewValue(), m.fence
}

// choose takes one of the values, which come oldest first, as the policy says.
func choose(p tms.Policy, available []string) string {
	switch p.Selection {
	case tms.SelectFIFO:
		return available[0]
	case tms.SelectLIFO:
		return available[len(available)-1]
	}
	return available[rand.IntN(len(available))]
}

func (m *Model) put(name string) *modelPool {
	if m.pools[name] == nil {
		m.pools[name] = &modelPool{model: m, name: name, policy: rules.Terms{Policy: tms.DefaultPolicy()},
			tokens: map[string]rules.Record{}, requests: map[string]*rules.Remembered{}}
	}
	return m.pools[name]
}

// lock begins a step, unless its context is over.
func (m *Model) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	return nil
}

// step runs one atomic step on a pool that exists.
func (m *Model) step(ctx context.Context, name string, run func(p *modelPool, now int64) error) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	p := m.pools[name]
	if p == nil {
		return tms.Refuse(tms.ErrPoolNotFound, "there is no pool %s", name)
	}
	return run(p, m.clock.Millis())
}

// settled runs one atomic step on a pool in which everything due has been carried out.
func (m *Model) settled(ctx context.Context, name string, run func(p *modelPool, now int64) error) error {
	return m.step(ctx, name, func(p *modelPool, now int64) error {
		p.settleAll(now)
		p.age(now)
		p.serve(now)
		defer p.serve(now)
		return run(p, now)
	})
}

// settleAll carries out everything that is due.
func (p *modelPool) settleAll(now int64) {
	for value := range p.tokens {
		p.settle(value, now)
	}
}

// settle carries out what is due of one token at the given instant.
func (p *modelPool) settle(value string, now int64) tms.ExpiryCounts {
	r, alive, counts := p.tokens[value].At(p.policy, now)
	p.tokens[value] = r
	if !alive {
		delete(p.tokens, value)
	}
	p.expired = p.expired.Add(counts)
	return counts
}

// PutPool makes or changes a pool.
func (m *Model) PutPool(ctx context.Context, name string, change tms.PolicyChange) (tms.Pool, error) {
	if err := m.lock(ctx); err != nil {
		return tms.Pool{}, err
	}
	defer m.mu.Unlock()
	exists := m.pools[name] != nil
	if err := rules.MayPut(name, change.If, exists); err != nil {
		return tms.Pool{}, err
	}
	p, now := m.put(name), m.clock.Millis()
	put := tms.Pool{Name: name}
	if was := p.policy.Policy; exists {
		put.Was = &was
	}
	policy, err := rules.ChangePolicy(p.policy.Policy, change, len(p.tokens), p.count(tms.Assigned))
	if err != nil { // it may be because of what is due
		p.settleAll(now)
		policy, err = rules.ChangePolicy(p.policy.Policy, change, len(p.tokens), p.count(tms.Assigned))
	}
	p.policy.Policy = policy
	if exists {
		p.lasts(put.Was.LeaseTTL.Milliseconds(), now)
	}
	p.settleAll(now) // under the new policy more may be due
	p.age(now)
	p.serve(now)
	put.Policy = p.policy.Policy
	return put, err
}

// count returns how many tokens are in a state.
func (p *modelPool) count(state tms.State) (n int) {
	for _, r := range p.tokens {
		if r.State == state {
			n++
		}
	}
	return n
}

// Pool returns a pool and its sizes.
func (m *Model) Pool(ctx context.Context, name string) (pool tms.Pool, stats tms.Stats, err error) {
	err = m.settled(ctx, name, func(p *modelPool, now int64) error {
		pool = tms.Pool{Name: name, Policy: p.policy.Policy}
		if p.policy.Settles(now) {
			pool.SettlingUntil = rules.Instant(p.policy.Until)
		}
		stats.Expired = p.expired
		stats.Available, stats.Assigned = p.count(tms.Available), p.count(tms.Assigned)
		stats.Cooling, stats.Quarantined = p.count(tms.Cooling), p.count(tms.Quarantined)
		stats.Waiting = p.waiting()
		return nil
	})
	return pool, stats, err
}

// Pools returns a page of pools.
func (m *Model) Pools(ctx context.Context, after string, limit int) (tms.PoolPage, error) {
	names, err := m.PoolNames(ctx, after, limit+1)
	if err != nil {
		return tms.PoolPage{}, err
	}
	return rules.PoolPage(names, limit, func(name string) (tms.Pool, tms.Stats, error) { return m.Pool(ctx, name) })
}

// PoolNames returns names in order.
func (m *Model) PoolNames(ctx context.Context, after string, limit int) ([]string, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var names []string
	for name := range m.pools {
		if name > after {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names[:min(limit, len(names))], nil
}

// DeletePool deletes a pool.
func (m *Model) DeletePool(ctx context.Context, name string) error {
	return m.step(ctx, name, func(*modelPool, int64) error {
		if name == tms.DefaultPool {
			return tms.Invalid("pool", "%s always exists", name)
		}
		delete(m.pools, name)
		return nil
	})
}

// Expire carries out what is due, the oldest deadline first.
func (m *Model) Expire(ctx context.Context, name string, limit int) (done tms.Expired, err error) {
	err = m.step(ctx, name, func(p *modelPool, now int64) error {
		done.Now = rules.Instant(now)
		before := p.expired
		if len(p.tickets) > 0 { // nobody is handed a token while another that is due might be theirs
			p.settleAll(now)
		}
		if _, due := p.next(); due < now {
			done.Overdue = time.Duration(now-due) * time.Millisecond
		}
		for range limit {
			value, due := p.next()
			if due >= now {
				break
			}
			p.settle(value, due+1)
		}
		done.ExpiryCounts = p.expired.Sub(before)
		p.age(now)
		p.serve(now)
		_, due := p.next()
		done.NextDue = rules.Instant(min(due, p.nextAged(), p.policy.Next(now)))
		return nil
	})
	return done, err
}

// next returns the token with the next deadline, and that deadline.
func (p *modelPool) next() (string, int64) {
	value, due := "", int64(rules.Never)
	for v, r := range p.tokens {
		if d := r.Due(p.policy); d < due {
			value, due = v, d
		}
	}
	return value, due
}

// available returns the values that can be assigned, the one whose last sign of life is longest ago first.
func (p *modelPool) available() []string {
	if p.free != nil {
		return p.free
	}
	from := p.policy.Givable(p.model.clock.Millis())
	var values []string
	for v, r := range p.tokens {
		if r.State == tms.Available && r.Seen >= from {
			values = append(values, v)
		}
	}
	slices.SortFunc(values, func(a, b string) int {
		return cmp.Or(cmp.Compare(p.tokens[a].Seen, p.tokens[b].Seen), cmp.Compare(a, b))
	})
	return values
}

// Close does nothing.
func (m *Model) Close() error { return nil }
