package storetest

import (
	"errors"
	"slices"
	"sync"

	tms "github.com/manankarani/token-manager"
)

var putRules = []rule{
	{"PutPoolSaysWhatWas", "PutPool returns the policy as it was before, and none where it made the pool", putWas},
	{"IfMissingOnlyMakes",
		"a change for a pool that is missing makes it, and is refused where it exists, which it leaves as it " +
			"is", putMissing},
	{"IfExistsOnlyChanges",
		"a change for a pool that exists changes it, and is refused where it is missing, which it does not " +
			"make", putExists},
	{"ALowerMaxLeaseEndsNoLease",
		"a max_lease that is lowered ends no lease that stands: it only keeps it from being kept alive",
		putLowerMaxLease},
	{"OneMakesThePool", "of many that make a pool at once, if it is missing, one does", putRace},
}

func putWas(e *env) {
	pool := e.pool(tms.PolicyChange{Grace: new(second)})
	policy := tms.DefaultPolicy()
	for range 3 { // so that it does not matter which of several stores is asked
		was := policy
		was.Grace, policy.Grace = e.policyOf(pool).Grace, e.policyOf(pool).Grace+second
		e.equal("changed", e.change(pool, tms.PolicyChange{Grace: &policy.Grace}),
			tms.Pool{Name: pool, Policy: policy, Was: &was})
	}
	was := policy
	e.equal("left as it is", e.change(pool, tms.PolicyChange{}), tms.Pool{Name: pool, Policy: policy, Was: &was})
	e.must(e.DeletePool(e.Context(), pool))
	e.equal("made again", e.change(pool, tms.PolicyChange{}), tms.Pool{Name: pool, Policy: tms.DefaultPolicy()})
	if e.change(tms.DefaultPool, tms.PolicyChange{}).Was == nil {
		e.Errorf("PutPool says that it has made the pool %s, which always exists", tms.DefaultPool)
	}
}

// policyOf returns the policy of the pool.
func (e *env) policyOf(pool string) tms.Policy {
	e.Helper()
	p, _, err := e.Pool(e.Context(), pool)
	e.must(err)
	if p.Was != nil {
		e.Errorf("a pool that is only looked at has a policy that it had before")
	}
	return p.Policy
}

func putMissing(e *env) {
	pool := newName()
	e.pools = append(e.pools, pool)
	e.change(pool, tms.PolicyChange{Grace: new(second), If: tms.IfMissing})
	e.fill(pool, "a")
	for _, name := range []string{pool, tms.DefaultPool} {
		before := e.policyOf(name)
		for range 2 {
			_, err := e.PutPool(e.Context(), name, tms.PolicyChange{Grace: new(minute), If: tms.IfMissing})
			e.refused(err, tms.ErrPoolExists)
		}
		e.equal("policy", e.policyOf(name), before)
	}
	e.must(e.DeletePool(e.Context(), pool))
	e.change(pool, tms.PolicyChange{If: tms.IfMissing})
	e.equal("sizes", e.stats(pool), tms.Stats{})
}

func putExists(e *env) {
	pool, gone := newName(), e.pool(tms.PolicyChange{})
	e.fill(gone, "a")
	e.must(e.DeletePool(e.Context(), gone))
	change := tms.PolicyChange{Grace: new(second), If: tms.IfExists}
	for _, name := range []string{pool, gone, pool, gone} {
		_, err := e.PutPool(e.Context(), name, change)
		e.refused(err, tms.ErrPoolNotFound)
		_, _, err = e.Pool(e.Context(), name)
		e.refused(err, tms.ErrPoolNotFound)
		e.equal("is listed", slices.Contains(e.poolNames(1000), name), false)
	}
	e.pools = append(e.pools, pool)
	e.change(pool, tms.PolicyChange{})
	e.equal("grace", e.change(pool, change).Policy.Grace, second)
	e.equal("grace of the default pool", e.change(tms.DefaultPool, change).Policy.Grace, second)
	e.change(tms.DefaultPool, tms.PolicyChange{Grace: new(0 * ms)})
}

func putLowerMaxLease(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	key := keyOf(e.take(pool))
	e.change(pool, tms.PolicyChange{MaxLease: new(second)})
	e.advance(minute)
	e.is(pool, "a", tms.Assigned)
	_, err := e.keep(pool, key)
	e.refused(err, tms.ErrMaxLeaseExceeded)
	e.advance(ms)
	e.is(pool, "a", tms.Available)
}

func putRace(e *env) {
	pool := newName()
	e.pools = append(e.pools, pool)
	errs := make([]error, 20)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			_, errs[i] = e.PutPool(e.Context(), pool, tms.PolicyChange{If: tms.IfMissing})
		})
	}
	all.Wait()
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
		} else if !errors.Is(err, tms.ErrPoolExists) {
			e.Errorf("put pool: %v", err)
		}
	}
	e.equal("made", made, 1)
}
