package storetest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	tms "github.com/manankarani/token-manager"
)

var raceRules = []rule{
	{"EightTokensEightWinners", "of 64 clients that race for 8 tokens exactly 8 win", raceForTokens},
	{"OneUnblockWins", "of many unblocks of one lease exactly one succeeds", raceUnblock},
	{"OneGenerateCreates", "a value that many generate at once is created once", raceGenerate},
	{"MaximumHoldsUnderPressure", "many generates at once never take a pool beyond max_tokens", raceForRoom},
	{"DeleteOrAssign", "a token that is deleted while it is assigned is gone, or assigned and gone", raceDeleteAssign},
	{"PoolGoneWhileAssigned",
		"assign in a pool that is deleted and made again gives a live lease or a refusal", racePool},
	{"PolicyChangesUnderLoad", "changes of a policy from many sides are each whole, and disturb nothing", racePolicy},
	{"NobodySharesAToken",
		"while clients assign, keep alive and unblock no token has two holders, and fences rise", raceCycle},
	{"LeasesUnderATickingClock", "no lease ends before its time while the clock runs and sweeps compete", raceTicking},
}

// parallel runs n functions at once and waits for all.
func parallel(n int, run func(i int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			run(i)
		})
	}
	close(start)
	all.Wait()
}

// expect marks the test as failed, from any goroutine, if err carries none of the codes; "" stands for no error.
func (e *env) expect(what string, err error, allowed ...tms.Code) {
	e.Helper()
	if code := tms.CodeOf(err); !slices.Contains(allowed, code) || code == "" && err != nil {
		e.Errorf("%s: %v", what, err)
	}
}

func raceForTokens(e *env) {
	for range 5 {
		pool := e.pool(tms.PolicyChange{})
		e.fill(pool, numbered("t", 8)...)
		var winners atomic.Int64
		parallel(64, func(int) {
			err := e.tryTake(pool, tms.AssignRequest{}).Err
			e.expect("assign", err, "", tms.ErrNoTokenAvailable)
			if err == nil {
				winners.Add(1)
			}
		})
		e.equal("winners", winners.Load(), int64(8))
		e.equal("sizes", e.stats(pool), tms.Stats{Assigned: 8})
	}
}

func raceUnblock(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	for range 10 {
		key := keyOf(e.take(pool))
		var winners atomic.Int64
		parallel(16, func(int) {
			_, err := e.giveBack(pool, key)
			e.expect("unblock", err, "", tms.ErrLeaseLost)
			if err == nil {
				winners.Add(1)
			}
		})
		e.equal("winners", winners.Load(), int64(1))
	}
}

func raceGenerate(e *env) {
	pool := e.pool(tms.PolicyChange{})
	values := numbered("t", 50)
	var created, existing atomic.Int64
	parallel(16, func(int) {
		g, err := e.Generate(e.Context(), pool, tms.GenerateRequest{Tokens: newTokens(values...)})
		e.expect("generate", err, "")
		created.Add(int64(g.Created))
		existing.Add(int64(g.Existing))
	})
	e.equal("created", created.Load(), int64(50))
	e.equal("existing", existing.Load(), int64(15*50))
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 50})
}

func raceForRoom(e *env) {
	pool := e.pool(tms.PolicyChange{MaxTokens: new(100)})
	var created atomic.Int64
	parallel(32, func(i int) {
		g, err := e.Generate(e.Context(), pool, tms.GenerateRequest{Tokens: newTokens(numbered(fmt.Sprintf("of %d: ",
			i),
			7)...)})
		e.expect("generate", err, "", tms.ErrPoolFull)
		created.Add(int64(g.Created))
	})
	e.equal("created", created.Load(), int64(98)) // 14 times 7; once more would be too many
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 98})
}

func raceDeleteAssign(e *env) {
	pool := e.pool(tms.PolicyChange{})
	values := numbered("t", 20)
	for range 10 {
		e.fill(pool, values...)
		parallel(40, func(i int) {
			if i%2 == 0 {
				e.expect("delete", e.drop(pool, byValue(values[i/2])), "")
				return
			}
			e.expect("assign", e.tryTake(pool, tms.AssignRequest{}).Err, "", tms.ErrNoTokenAvailable)
		})
		e.equal("sizes", e.stats(pool), tms.Stats{})
	}
}

func racePool(e *env) {
	pool := e.pool(tms.PolicyChange{})
	parallel(12, func(i int) {
		for range 15 {
			switch {
			case i == 0:
				e.expect("delete pool", e.DeletePool(e.Context(), pool), "", tms.ErrPoolNotFound)
			case i < 3:
				_, err := e.PutPool(e.Context(), pool, tms.PolicyChange{})
				e.expect("put pool", err, "")
			case i < 6:
				_, err := e.Generate(e.Context(), pool, tms.GenerateRequest{Tokens: newTokens("a", "b", "c", "")})
				e.expect("generate", err, "", tms.ErrPoolNotFound)
			default:
				err := e.tryTake(pool, tms.AssignRequest{}).Err
				e.expect("assign", err, "", tms.ErrPoolNotFound, tms.ErrNoTokenAvailable)
			}
		}
	})
	e.change(pool, tms.PolicyChange{})
	e.must(e.DeletePool(e.Context(), pool))
	e.change(pool, tms.PolicyChange{})
	e.equal("sizes", e.stats(pool), tms.Stats{})
}

func racePolicy(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, numbered("t", 8)...)
	parallel(12, func(i int) {
		for n := range 20 {
			if i < 4 { // grace and lease_ttl are always changed together
				d := time.Duration(i+n+1) * second
				_, err := e.PutPool(e.Context(), pool, tms.PolicyChange{Grace: &d, LeaseTTL: &d})
				e.expect("put pool", err, "")
				continue
			}
			e.cycle(pool)
		}
	})
	p, _, err := e.Pool(e.Context(), pool)
	e.must(err)
	e.equal("grace, which was set with lease_ttl", p.Policy.Grace, p.Policy.LeaseTTL)
}

// cycle takes a token, keeps it alive and gives it back.
func (e *env) cycle(pool string) {
	result := e.tryTake(pool, tms.AssignRequest{})
	e.expect("assign", result.Err, "", tms.ErrNoTokenAvailable)
	if result.Err != nil {
		return
	}
	_, err := e.keep(pool, keyOf(result.Tokens[0]))
	e.expect("keep-alive", err, "")
	_, err = e.giveBack(pool, keyOf(result.Tokens[0]))
	e.expect("unblock", err, "")
}

func raceCycle(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, numbered("t", 5)...)
	var holders sync.Map
	parallel(16, func(i int) {
		for range 60 {
			result := e.tryTake(pool, tms.AssignRequest{ClientID: fmt.Sprint(i)})
			e.expect("assign", result.Err, "", tms.ErrNoTokenAvailable)
			for _, t := range result.Tokens {
				e.hold(&holders, pool, t)
			}
		}
	})
	e.equal("sizes", e.stats(pool), tms.Stats{Available: 5})
}

// hold claims the token among its holders from the answer of assign until the call of unblock.
func (e *env) hold(holders *sync.Map, pool string, t tms.Token) {
	if other, held := holders.LoadOrStore(t.Value, t.Lease.Fence); held {
		e.Errorf("token %s with fence %d is held with fence %d already", t.Value, t.Lease.Fence, other)
	}
	_, err := e.keep(pool, keyOf(t))
	e.expect("keep-alive", err, "")
	holders.Delete(t.Value)
	_, err = e.giveBack(pool, keyOf(t))
	e.expect("unblock", err, "")
}

// raceTicking lets leases run out under their holders. What the answers promised is compared in the invariant check.
func raceTicking(e *env) {
	pool := e.pool(tms.PolicyChange{LeaseTTL: new(100 * ms), TokenTTL: new(0 * ms)})
	values := numbered("t", 5)
	e.fill(pool, values...)
	parallel(16, func(i int) {
		for n := range 60 {
			switch {
			case i < 2:
				_, err := e.Expire(e.Context(), pool, 3)
				e.expect("expire", err, "")
				e.advance(25 * ms)
			default:
				e.tickingClient(pool, n)
			}
		}
	})
	e.equal("total", e.stats(pool).Total(), len(values))
}

// tickingClient takes a token and keeps it alive until it is lost, or gives it back.
func (e *env) tickingClient(pool string, n int) {
	for _, t := range e.tryTake(pool, tms.AssignRequest{}).Tokens {
		for range n % 4 {
			kept, err := e.keep(pool, keyOf(t))
			e.expect("keep-alive", err, "", tms.ErrLeaseLost)
			if err == nil && kept.Lease.Fence != t.Lease.Fence {
				e.Errorf("keep-alive of fence %d answered with fence %d", t.Lease.Fence, kept.Lease.Fence)
			}
		}
		if n%3 != 0 {
			_, err := e.giveBack(pool, keyOf(t))
			e.expect("unblock", err, "", tms.ErrLeaseLost)
		}
	}
}
