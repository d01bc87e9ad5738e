package storetest

import (
	"context"
	"slices"
	"time"

	tms "github.com/manankarani/token-manager"
)

var poolRules = []rule{
	{"NewPoolHasDefaults", "a new pool has the default policy but for what was said, and no tokens", poolDefaults},
	{"ChangeKeepsTheRest", "a change of a policy leaves out what it does not name, and tokens stay", poolChange},
	{"ChangesTakeEffect",
		"a changed policy holds from the next step on, for the tokens that are there too", poolChangeActs},
	{"MaxTokensBelowTheSize", "max_tokens below the pool's size deletes nothing and admits nothing", poolShrinks},
	{"UnknownPoolIsNotFound", "every method but PutPool refuses an unknown pool with pool_not_found", poolUnknown},
	{"PoolsAreListedInOrder", "the names of all pools can be read in order, page by page", poolsListed},
	{"PoolsAreListedWithTheirSizes", "a listing of pools shows each with its policy and the sizes of its sets",
		poolsSized},
	{"DefaultPoolExists", "the pool default always exists and cannot be deleted", poolDefault},
	{"DeletePoolDeletesItsTokens", "DeletePool deletes the tokens and leases too, also more than 1,000", poolDeleted},
	{"InterruptedDeletePool",
		"a pool whose DeletePool was interrupted is there, or gone for everybody", poolInterrupted},
	{"RecreatedPoolIsEmpty", "a pool made again has no tokens, no counts and no policy of the old one", poolRecreated},
	{"PoolsAreApart", "nothing done in one pool is seen in another, also if its name begins the same", poolsApart},
}

func poolDefaults(e *env) {
	name := newName()
	e.pools = append(e.pools, name)
	want := tms.Pool{Name: name, Policy: tms.DefaultPolicy()}
	want.Policy.Cooldown = second
	e.equal("made", e.change(name, tms.PolicyChange{Cooldown: new(second)}), want)
	got, stats, err := e.Pool(e.Context(), name)
	e.must(err)
	e.equal("looked up", got, want)
	e.equal("sizes", stats, tms.Stats{})
}

func poolChange(e *env) {
	full := tms.Policy{MaxTokens: 7, LeaseTTL: second, MaxLease: 2 * second, MaxTTL: 3 * second, TokenTTL: 0,
		Grace: 300 * ms, Cooldown: 400 * ms,
		OnLeaseExpiry: tms.ExpiryQuarantines, Selection: tms.SelectLIFO, RequireLeaseID: true, Paused: true,
		MaxLeasesPerClient: 3, Labels: []string{"a", "b"}, RequestTTL: minute}
	change := full.Change()
	change.Labels = &[]string{"b", "a"}
	name := e.pool(change)
	e.fill(name, "a")
	e.equal("nothing changed", e.change(name, tms.PolicyChange{}).Policy, full)
	for _, c := range []tms.PolicyChange{{MaxTokens: new(9)}, {LeaseTTL: new(minute)}, {MaxLease: new(minute)},
		{MaxTTL: new(0 * ms)},
		{TokenTTL: new(minute)}, {Grace: new(0 * ms)}, {Cooldown: new(0 * ms)}, {OnLeaseExpiry: new(tms.ExpiryDeletes)},
		{Selection: new(tms.SelectFIFO)}, {RequireLeaseID: new(false)}, {Paused: new(false)},
		{MaxLeasesPerClient: new(0)}, {RequestTTL: new(second)}} {
		full = c.Apply(full)
		e.equal("changed", e.change(name, c).Policy, full)
		got, stats, err := e.Pool(e.Context(), name)
		e.must(err)
		e.equal("looked up", got.Policy, full)
		e.equal("sizes", stats, tms.Stats{Available: 1})
	}
}

func poolChangeActs(e *env) {
	pool := e.pool(tms.PolicyChange{TokenTTL: new(0 * ms)})
	e.fill(pool, "a", "b")
	lease := e.take(pool)
	e.change(pool, tms.PolicyChange{TokenTTL: new(minute)})
	e.equal("a token clock", e.look(pool, "a").ExpiresAt, e.instant(minute))
	e.change(pool, tms.PolicyChange{RequireLeaseID: new(true), Grace: new(second), LeaseTTL: new(second)})
	_, err := e.keep(pool, byValue(lease.Value))
	e.refused(err, tms.ErrNotHolder)
	e.equal("lease_ttl of the next lease", e.take(pool).Lease.TTL, second)
	e.advance(minute + second)
	e.is(pool, lease.Value, tms.Assigned) // in its grace
	e.change(pool, tms.PolicyChange{OnLeaseExpiry: new(tms.ExpiryQuarantines)})
	e.advance(ms)
	e.is(pool, lease.Value, tms.Quarantined)
}

func poolShrinks(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a", "b", "c")
	e.change(pool, tms.PolicyChange{MaxTokens: new(2)})
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 3})
	e.equal("existing", e.generate(pool, "a", "b", "c").Existing, 3)
	e.must(e.drop(pool, byValue("a")))
	_, err := e.Generate(e.Context(), pool, tms.GenerateRequest{Tokens: newTokens("d")})
	e.refused(err, tms.ErrPoolFull)
	e.must(e.drop(pool, byValue("b")))
	e.fill(pool, "d")
}

// methods calls every method that names a pool, except PutPool.
func methods(e *env, ctx context.Context, pool string) map[string]error {
	keys := []tms.LeaseKey{byValue("a")}
	errs := map[string]error{"DeletePool": e.DeletePool(ctx, pool)}
	_, _, errs["Pool"] = e.Pool(ctx, pool)
	_, errs["Generate"] = e.Generate(ctx, pool, tms.GenerateRequest{Tokens: newTokens("a")})
	_, errs["Assign"] = e.Assign(ctx, pool, []tms.AssignRequest{{}})
	_, errs["KeepAlive"] = e.KeepAlive(ctx, pool, keys)
	_, errs["Unblock"] = e.Unblock(ctx, pool, keys)
	_, errs["Delete"] = e.Delete(ctx, pool, keys)
	_, errs["Expire"] = e.Expire(ctx, pool, 10)
	_, errs["Token"] = e.Token(ctx, pool, tms.LeaseKey{Token: "a"})
	_, errs["Tokens"] = e.Tokens(ctx, pool, tms.Filter{}, "", 10)
	return errs
}

func poolUnknown(e *env) {
	gone := e.pool(tms.PolicyChange{})
	e.fill(gone, "a")
	e.must(e.DeletePool(e.Context(), gone))
	for range 2 { // so that with two stores each method meets both
		for _, pool := range []string{newName(), gone} {
			for method, err := range methods(e, e.Context(), pool) {
				if tms.CodeOf(err) != tms.ErrPoolNotFound {
					e.Errorf("%s of an unknown pool: %v", method, err)
				}
			}
		}
		_, _ = e.Pools(e.Context(), "", 1)
	}
}

func poolsListed(e *env) {
	mine := []string{}
	for range 7 {
		mine = append(mine, e.pool(tms.PolicyChange{}))
	}
	slices.Sort(mine)
	e.must(e.DeletePool(e.Context(), mine[3]))
	mine = slices.Delete(mine, 3, 4)
	for _, limit := range []int{1, 3, 1000} {
		names := e.poolNames(limit)
		if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
			e.Fatalf("pools are not listed in order, each once: %v", names)
		}
		if !slices.Contains(names, tms.DefaultPool) {
			e.Fatalf("the pool default is not listed: %v", names)
		}
		names = slices.DeleteFunc(names, func(n string) bool { return !slices.Contains(mine, n) })
		e.equal("pools", names, mine)
	}
	names, err := e.PoolNames(e.Context(), mine[1], 2)
	e.must(err)
	e.equal("names", len(names), 2)
	e.equal("the first name after another", names[0] > mine[1] && names[1] > names[0], true)
}

func poolsSized(e *env) {
	pool := e.pool(tms.PolicyChange{Cooldown: new(second), TokenTTL: new(minute)})
	e.fill(pool, "a", "b", "c")
	_, err := e.giveBack(pool, keyOf(e.take(pool)))
	e.must(err)
	e.take(pool)
	before := pool[:len(pool)-1] // which sorts right before it, but for pools of other tests
	for name, more := before, true; more; more = name != "" {
		page, err := e.Pools(e.Context(), name, 1)
		e.must(err)
		if name = page.Next; len(page.Pools) > 0 && page.Pools[0].Name == pool {
			got, stats, err := e.Pool(e.Context(), pool)
			e.must(err)
			e.equal("the pool", page.Pools[0].Pool, got)
			e.equal("its sizes", page.Pools[0].Stats, stats)
			e.equal("they", stats, tms.Stats{Available: 1, Assigned: 1, Cooling: 1})
			return
		}
	}
	e.Errorf("the pool is not listed")
}

// poolNames reads the names of all pools.
func (e *env) poolNames(limit int) (names []string) {
	e.Helper()
	after := ""
	for {
		page, err := e.Pools(e.Context(), after, limit)
		e.must(err)
		if len(page.Pools) > limit {
			e.Fatalf("a page of at most %d pools holds %d", limit, len(page.Pools))
		}
		for _, p := range page.Pools {
			names = append(names, p.Name)
		}
		if after = page.Next; after == "" {
			return names
		}
	}
}

func poolDefault(e *env) {
	p, _, err := e.Pool(e.Context(), tms.DefaultPool)
	e.must(err)
	e.equal("policy", p, tms.Pool{Name: tms.DefaultPool, Policy: tms.DefaultPolicy()})
	value := newName()
	e.fill(tms.DefaultPool, value)
	e.refused(e.DeletePool(e.Context(), tms.DefaultPool), tms.ErrInvalidRequest)
	e.is(tms.DefaultPool, value, tms.Available)
	e.must(e.drop(tms.DefaultPool, byValue(value)))
}

func poolDeleted(e *env) {
	const size = 2500
	pool := e.pool(tms.PolicyChange{})
	values := numbered("t", size)
	e.fill(pool, values...)
	leases := e.takeAs(pool, tms.AssignRequest{Count: 1000})
	e.must(e.DeletePool(e.Context(), pool))
	e.refused(e.DeletePool(e.Context(), pool), tms.ErrPoolNotFound)
	_, err := e.Expire(e.Context(), pool, 1000)
	e.refused(err, tms.ErrPoolNotFound)
	e.change(pool, tms.PolicyChange{})
	e.equal("sizes", e.stats(pool), tms.Stats{})
	e.is(pool, values[0], "")
	_, err = e.keep(pool, keyOf(leases[0]))
	e.refused(err, tms.ErrTokenNotFound)
	e.fill(pool, values...)
	e.takeAs(pool, tms.AssignRequest{Count: 1000})
}

func poolInterrupted(e *env) {
	const size = 5000
	for i := range 5 {
		pool := e.pool(tms.PolicyChange{})
		e.fill(pool, numbered("t", size)...)
		ctx, cancel := context.WithTimeout(e.Context(), time.Duration(i)*ms)
		err := e.DeletePool(ctx, pool)
		cancel()
		if _, stats, goneErr := e.Pool(e.Context(), pool); err != nil && goneErr == nil {
			e.equal("sizes of a pool that is there", stats, tms.Stats{Available: size})
			e.expect("delete pool", e.DeletePool(e.Context(), pool), "", tms.ErrPoolNotFound)
		}
		_, err = e.Token(e.Context(), pool, tms.LeaseKey{Token: "t4999"})
		e.refused(err, tms.ErrPoolNotFound)
		e.change(pool, tms.PolicyChange{})
		e.equal("sizes of a pool made again", e.stats(pool), tms.Stats{})
		e.fill(pool, "t1", "t4999")
		e.equal("assigned", len(e.takeAs(pool, tms.AssignRequest{Count: 2})), 2)
	}
}

func poolRecreated(e *env) {
	pool, _ := oneOfEach(e)
	e.sweepAll(pool)
	e.must(e.DeletePool(e.Context(), pool))
	e.equal("made again", e.change(pool, tms.PolicyChange{}), tms.Pool{Name: pool, Policy: tms.DefaultPolicy()})
	e.equal("sizes", e.stats(pool), tms.Stats{})
	e.equal("listed", len(e.list(pool, tms.Filter{}, 10)), 0)
	e.equal("next due", e.sweep(pool, 10).NextDue.IsZero(), true)
	e.fill(pool, "available", "assigned", "cooling", "quarantined")
}

func poolsApart(e *env) {
	one := e.pool(tms.PolicyChange{})
	two := one + ".x"
	e.pools = append(e.pools, two)
	e.change(two, tms.PolicyChange{})
	e.fill(one, "a", "b")
	e.fill(two, "a")
	lease := e.take(two)
	e.is(one, "a", tms.Available)
	_, err := e.giveBack(one, keyOf(lease))
	e.refused(err, tms.ErrLeaseLost)
	e.must(e.drop(one, byValue("a")))
	e.is(two, "a", tms.Assigned)
	e.must(e.DeletePool(e.Context(), one))
	e.is(two, "a", tms.Assigned)
	_, err = e.giveBack(two, keyOf(lease))
	e.must(err)
}
