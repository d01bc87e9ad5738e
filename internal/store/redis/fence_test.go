package redis_test

import (
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// lost is how far above what is stored an epoch begins at least.
const lost = 1 << 24

// atOnce lets a master send its data to a replica without a delay in which others could join.
var atOnce = []string{"--repl-diskless-sync-delay", "0"}

// reign is a Redis server whose fences are watched.
type reign struct {
	*testing.T
	server *redistest.Server
	store  *redis.Store
	last   int64
	pass   func() // lets some time pass
}

func newReign(t *testing.T, args ...string) *reign {
	server := redistest.New(t, args...)
	r := &reign{T: t, server: server, store: open(t, server, redis.Options{}), pass: moment}
	r.remake()
	return r
}

func moment() { time.Sleep(20 * time.Millisecond) }

// remake makes the pool, where there is none, with a token.
func (r *reign) remake() {
	r.Helper()
	put(r, r.store, "p", tms.PolicyChange{LeaseTTL: new(500 * time.Millisecond)})
	fill(r, r.store, "p", "x")
}

// rises assigns a token, whose fence must be above all before.
func (r *reign) rises(when string) {
	r.Helper()
	token := r.take()
	if token.Lease.Fence <= r.last {
		r.Errorf("%s: fence %d after %d", when, token.Lease.Fence, r.last)
	}
	r.last = token.Lease.Fence
	results, err := r.store.Unblock(r.Context(), "p", []tms.LeaseKey{{Token: token.Value, LeaseID: token.Lease.ID}})
	must(r, err)
	if code := tms.CodeOf(results[0].Err); code != "" && code != tms.ErrLeaseLost { // which is short
		r.Error(results[0].Err)
	}
}

// take assigns a token, once the pool has settled.
func (r *reign) take() tms.Token {
	r.Helper()
	for range 10_000 {
		results, err := r.store.Assign(r.Context(), "p", []tms.AssignRequest{{}})
		must(r, err)
		if results[0].Err == nil {
			return results[0].Tokens[0]
		}
		refused(r, results[0].Err, tms.ErrPoolSettling)
		r.pass()
	}
	r.Fatal("the pool does not settle")
	return tms.Token{}
}

func (r *reign) crash() {
	r.Helper()
	r.server.Kill()
	r.server.Start()
	eventually(r, "redis is back", func() bool { return r.store.Ready(r.Context()) == nil })
}

// An epoch that Redis has forgotten, because it came back with an older snapshot, is not begun a second time.
func TestFencesRiseOverForgottenEpochs(t *testing.T) {
	r := newReign(t)
	r.rises("at first")
	ask(t, raw(t, r.server), "SAVE")
	for range 3 {
		r.crash()
		r.rises("after another crash")
	}
}

// A pool that is deleted and made again has greater fences, whatever epochs there were, and whichever process
// remembers.
func TestFencesRiseOverADeletion(t *testing.T) {
	r := newReign(t, "--appendonly", "yes", "--appendfsync", "always")
	for range 3 {
		r.crash()
		r.rises("after a crash")
	}
	must(t, r.store.DeletePool(t.Context(), "p"))
	must(t, checkRedis(t.Context(), raw(t, r.server)))
	r.crash()
	r.remake()
	r.rises("after the deletion")
	must(t, checkRedis(t.Context(), raw(t, r.server)))
}

func TestFencesRiseOverAFlush(t *testing.T) {
	r := newReign(t, "--appendonly", "yes", "--appendfsync", "always")
	for range 3 {
		r.crash()
		r.rises("after a crash")
		ask(t, raw(t, r.server), "FLUSHALL")
		r.store = open(t, r.server, redis.Options{})
		r.remake()
		r.rises("after a flush")
	}
}

// What a replica did while it was promoted is overwritten by the old master; promoted again, it does not do it again.
func TestFencesRiseOverALostReign(t *testing.T) {
	r, second := newReign(t, atOnce...), redistest.New(t)
	b := raw(t, second)
	r.rises("at first")
	promoted := &reign{T: t, server: second, store: open(t, second, redis.Options{}), last: r.last, pass: moment}
	for range 2 {
		redistest.Follow(t, second, r.server)
		ask(t, b, "REPLICAOF", "NO", "ONE")
		promoted.rises("after a promotion")
	}
}

// A replica that is promoted begins a new epoch, and so does a master that comes back to the office.
func TestATakeoverBeginsAnEpoch(t *testing.T) {
	first, second := redistest.New(t, atOnce...), redistest.New(t, atOnce...)
	a, b := raw(t, first), raw(t, second)
	s := open(t, first, redis.Options{Lossless: true})
	fill(t, s, tms.DefaultPool, "a", "b", "c", "d")
	fence := take(t, s, tms.DefaultPool).Lease.Fence
	redistest.Follow(t, second, first)
	ask(t, b, "REPLICAOF", "NO", "ONE")
	onSecond := take(t, open(t, second, redis.Options{Lossless: true}), tms.DefaultPool).Lease.Fence
	redistest.Follow(t, first, second)
	ask(t, a, "REPLICAOF", "NO", "ONE")
	back := take(t, s, tms.DefaultPool).Lease.Fence
	if onSecond-fence < lost || back-onSecond < lost {
		t.Errorf("fence %d, on the replica %d, and then %d", fence, onSecond, back)
	}
	if again := take(t, s, tms.DefaultPool).Lease.Fence; again != back+1 {
		t.Errorf("fence %d after %d in one epoch", again, back)
	}
}

// A master that comes back to the office by a partial resynchronisation still has the library's memory of its pools.
// What the other master did meanwhile, and has not replicated, is lost all the same.
func TestAMasterThatComesBackSettles(t *testing.T) {
	first, second := redistest.New(t, atOnce...), redistest.New(t, atOnce...)
	a, b := raw(t, first), raw(t, second)
	s := open(t, first, redis.Options{})
	fill(t, s, tms.DefaultPool, "a", "b")
	release(t, s, tms.DefaultPool, take(t, s, tms.DefaultPool).Value)
	redistest.Follow(t, second, first)
	ask(t, b, "REPLICAOF", "NO", "ONE")
	redistest.Follow(t, first, second)
	if n := field(t, b, "sync_partial_ok"); n != 1 {
		t.Fatalf("%v resynchronisations were partial, want 1", n)
	}
	s.Beat()
	onSecond := open(t, second, redis.Options{Lossless: true})
	first.Stop()
	ask(t, b, "CLIENT", "KILL", "TYPE", "REPLICA")
	take(t, onSecond, tms.DefaultPool)
	must(t, onSecond.Close())
	second.Kill()
	first.Continue()
	ask(t, a, "REPLICAOF", "NO", "ONE")
	s.Beat()
	results, err := s.Assign(t.Context(), tms.DefaultPool, []tms.AssignRequest{{}})
	must(t, err)
	refused(t, results[0].Err, tms.ErrPoolSettling)
}
