package storetest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Patience is how long a rule waits for what must come: much longer than it can take.
const patience = 30 * time.Second

var waitRules = []rule{
	{"WaitIsServed", "a request that waits is answered with the token that is given back meanwhile", waitServed},
	{"WaitIsServedAtOnce", "a request that may wait and need not is answered at once", waitAtOnce},
	{"WaitEnds", "a wait that was in vain ends after its time with no_token_available", waitEnds},
	{"WaitOutlastsALease", "who waits for a lease that nobody keeps alive is served when it ends", waitExpiry},
	{"WaitIsForWhatIsGenerated", "who waits is served with tokens that are generated meanwhile", waitGenerate},
	{"WaitKeepsTheOrder", "who waits longest is served first", waitOrder},
	{"CancelledWaitTakesNothing", "a wait whose context ends leaves the queue and takes nothing", waitCancelled},
	{"RepeatKeepsThePlace", "a request with a request_id that is repeated after its wait stands where it stood",
		waitRepeat},
	{"UnblockedRequestLeavesAtOnce",
		"unblock of a request that waits takes it out of the queue, and what it was handed goes on", waitUnblocked},
	{"WaitForAMatch", "who waits for a match is served with a token that suits", waitMatch},
	{"WaitForSeveral", "who waits for several tokens gets them all at once", waitSeveral},
	{"WaitIsRefusedWhereItIsInVain", "a wait in a paused or unknown pool, or beyond a quota, is refused at once",
		waitRefused},
	{"EverybodyIsServed", "many waiters on few tokens are all served, and no token has two holders", waitCrowd},
}

// RunWaiting checks the rules of stores that heed Wait, in real time. Where the opener gives several stores the
// operations of a rule go to them in turn.
func RunWaiting(t *testing.T, open func(t testing.TB) []tms.Sweeper) {
	for _, r := range waitRules {
		t.Run(r.name, func(t *testing.T) {
			r.check(t, func(t testing.TB, _ *Clock) []tms.Sweeper { return open(t) }, nil)
		})
	}
}

// outcome is what became of a request that waits.
type outcome struct {
	tms.AssignResult
	took time.Duration
}

// begin sends a request that waits, and returns when it stands in the queue, with what will become of it.
func (e *env) begin(pool string, request tms.AssignRequest) <-chan outcome {
	e.Helper()
	before := e.stats(pool).Waiting
	result := make(chan outcome, 1)
	go func() {
		start := time.Now()
		r := e.tryTake(pool, request)
		result <- outcome{r, time.Since(start)}
	}()
	e.untilWaiting(pool, before+1)
	return result
}

// untilWaiting returns when so many stand in the queue.
func (e *env) untilWaiting(pool string, n int) {
	e.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if e.stats(pool).Waiting == n {
			return
		}
	}
	e.Fatalf("%d wait, want %d", e.stats(pool).Waiting, n)
}

// served returns the tokens of a request that must be served.
func (e *env) served(result <-chan outcome) []tms.Token {
	e.Helper()
	select {
	case o := <-result:
		e.must(o.Err)
		return o.Tokens
	case <-time.After(patience):
		e.Fatalf("a request that waits is not served")
		return nil
	}
}

func waitServed(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a")
	result := e.begin(pool, tms.AssignRequest{ClientID: "c", Wait: patience})
	_, err := e.giveBack(pool, keys[0])
	e.must(err)
	got := e.served(result)
	e.equal("token", got[0].Value, "a")
	_, err = e.keep(pool, keyOf(got[0]))
	e.must(err)
}

func waitAtOnce(e *env) {
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, "a")
	e.takeAs(pool, tms.AssignRequest{Wait: patience})
	e.equal("waiting", e.stats(pool).Waiting, 0)
}

func waitEnds(e *env) {
	pool, _ := e.busy(tms.PolicyChange{}, "a")
	start := time.Now()
	err := e.tryTake(pool, tms.AssignRequest{Wait: 300 * ms}).Err
	e.refused(err, tms.ErrNoTokenAvailable)
	if took := time.Since(start); took < 300*ms {
		e.Errorf("a wait of 300 ms took %v", took)
	}
	e.equal("place", refusalOf(err).Place, 1)
	e.untilWaiting(pool, 0)
}

func waitExpiry(e *env) {
	pool, _ := e.busy(tms.PolicyChange{LeaseTTL: new(400 * ms)}, "a")
	got := e.served(e.begin(pool, tms.AssignRequest{Wait: patience, TTL: minute}))
	e.equal("token", got[0].Value, "a")
}

func waitGenerate(e *env) {
	pool := e.pool(tms.PolicyChange{})
	first := e.begin(pool, tms.AssignRequest{Wait: patience})
	second := e.begin(pool, tms.AssignRequest{Wait: patience})
	e.fill(pool, "a", "b")
	e.served(first)
	e.served(second)
}

func waitOrder(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a")
	var results []<-chan outcome
	for i := range 5 {
		results = append(results, e.begin(pool, tms.AssignRequest{ClientID: fmt.Sprint(i), Wait: patience}))
	}
	key := keys[0]
	for _, result := range results {
		_, err := e.giveBack(pool, key)
		e.must(err)
		key = keyOf(e.served(result)[0])
	}
}

func waitCancelled(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a")
	ctx, cancel := context.WithCancel(e.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := e.Assign(ctx, pool, []tms.AssignRequest{{Wait: patience}})
		gone <- err
	}()
	e.untilWaiting(pool, 1)
	behind := e.begin(pool, tms.AssignRequest{Wait: patience})
	cancel()
	if err := <-gone; err == nil || tms.CodeOf(err) != "" {
		e.Errorf("a wait whose context ended says %v", err)
	}
	e.untilWaiting(pool, 1)
	_, err := e.giveBack(pool, keys[0])
	e.must(err)
	e.served(behind)
}

func waitRepeat(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a")
	again := tms.AssignRequest{ClientID: "again", RequestID: "again", Wait: 200 * ms}
	first := e.begin(pool, again)
	behind := e.begin(pool, tms.AssignRequest{ClientID: "behind", Wait: patience})
	e.refused((<-first).Err, tms.ErrNoTokenAvailable)
	again.Wait = patience
	repeated := make(chan outcome, 1)
	go func() { repeated <- outcome{e.tryTake(pool, again), 0} }()
	time.Sleep(20 * ms) // so that it is there; if it is not, its place is
	_, err := e.giveBack(pool, keys[0])
	e.must(err)
	got := e.served(repeated)
	e.equal("the repeat after its lease began", e.takeAs(pool, again)[0].Lease.ID, got[0].Lease.ID)
	_, err = e.giveBack(pool, keyOf(got[0]))
	e.must(err)
	e.served(behind)
}

func waitUnblocked(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a")
	gone := e.begin(pool, tms.AssignRequest{RequestID: "gone", Wait: patience})
	behind := e.begin(pool, tms.AssignRequest{RequestID: "behind", Wait: patience})
	e.equal("ended", e.endRequest(pool, "gone"), 0)
	e.equal("waiting", e.stats(pool).Waiting, 1)
	_, err := e.giveBack(pool, keys[0])
	e.must(err)
	e.served(behind)
	e.refused((<-gone).Err, tms.ErrLeaseLost)
}

func waitMatch(e *env) {
	pool := e.pool(tms.PolicyChange{Labels: &[]string{"site"}})
	oslo := e.begin(pool, tms.AssignRequest{Match: map[string]string{"site": "Oslo"}, Wait: patience})
	e.fill(pool, "elsewhere")
	e.equal("taken by who does not wait", e.take(pool).Value, "elsewhere")
	metadata := map[string]string{"site": "Oslo"}
	_, err := e.Generate(e.Context(), pool, tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "here",
		Metadata: metadata}}})
	e.must(err)
	e.equal("given", e.served(oslo)[0].Value, "here")
}

func waitSeveral(e *env) {
	pool, keys := e.busy(tms.PolicyChange{}, "a", "b")
	both := e.begin(pool, tms.AssignRequest{Count: 2, Wait: patience})
	for _, key := range keys {
		_, err := e.giveBack(pool, key)
		e.must(err)
	}
	e.equal("tokens", len(e.served(both)), 2)
}

func waitRefused(e *env) {
	pool, _ := e.busy(tms.PolicyChange{MaxLeasesPerClient: new(1)}, "a")
	e.refused(e.tryTake(pool, tms.AssignRequest{ClientID: "first", Wait: patience}).Err, tms.ErrQuotaExceeded)
	e.refused(e.tryTake(pool, tms.AssignRequest{Wait: patience}).Err, tms.ErrInvalidRequest)
	e.change(pool, tms.PolicyChange{Paused: new(true)})
	e.refused(e.tryTake(pool, tms.AssignRequest{ClientID: "b", Wait: patience}).Err, tms.ErrPoolPaused)
	e.refused(e.tryTake(newName(), tms.AssignRequest{Wait: patience}).Err, tms.ErrPoolNotFound)
}

func waitCrowd(e *env) {
	const clients, tokens = 40, 3
	pool := e.pool(tms.PolicyChange{})
	e.fill(pool, numbered("t", tokens)...)
	var holders sync.Map
	var served atomic.Int64
	parallel(clients, func(i int) {
		for range 4 {
			result := e.tryTake(pool, tms.AssignRequest{ClientID: fmt.Sprint(i), Wait: patience})
			e.expect("assign", result.Err, "")
			for _, t := range result.Tokens {
				served.Add(1)
				e.hold(&holders, pool, t)
			}
		}
	})
	e.equal("served", served.Load(), int64(4*clients))
	e.equal("sizes", e.stats(pool), tms.Stats{Available: tokens})
}
