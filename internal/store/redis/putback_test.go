package redis_test

import (
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// hashKey is where the pool's fences are counted, and keptKey where a test keeps a copy of it.
const (
	hashKey = "tms:{p}:pool"
	keptKey = "kept:{p}"
)

// A putBack is a way in which the keys of a pool come back as they were some fences ago, while Redis runs.
type putBack struct {
	name string
	keep func(r *reign, c rueidis.Client) (back func())
}

func keepCopy(r *reign, c rueidis.Client) func() {
	ask(r, c, "COPY", hashKey, keptKey, "REPLACE")
	return func() { ask(r, c, "COPY", keptKey, hashKey, "REPLACE") }
}

func keepDump(r *reign, c rueidis.Client) func() {
	dump, err := ask(r, c, "DUMP", hashKey).ToString()
	must(r, err)
	return func() { ask(r, c, "RESTORE", hashKey, "0", dump, "REPLACE") }
}

func keepDatabase(r *reign, c rueidis.Client) func() {
	keys, err := ask(r, c, "KEYS", "tms:*").AsStrSlice()
	must(r, err)
	for _, key := range keys {
		ask(r, c, "COPY", key, key, "DB", "1", "REPLACE")
	}
	return func() { ask(r, c, "SWAPDB", "0", "1") }
}

var putBacks = []putBack{
	{"COPY", keepCopy},
	{"RESTORE", keepDump},
	{"SWAPDB", keepDatabase},
	{"a pool made again, and RESTORE", func(r *reign, c rueidis.Client) func() {
		back := keepDump(r, c)
		return func() {
			must(r, r.store.DeletePool(r.Context(), "p"))
			r.remake()
			r.rises("made again")
			back()
		}
	}},
	{"a pool of another name, and COPY", func(r *reign, c rueidis.Client) func() {
		put(r, r.store, "q", tms.PolicyChange{LeaseTTL: new(500 * time.Millisecond)})
		return func() { ask(r, c, "COPY", "tms:{q}:pool", hashKey, "REPLACE") }
	}},
}

// Fences rise over keys that are put back into a running Redis, however they come there, and wherever its clock stands:
// what the process remembers of an epoch goes before what is stored of it.
func TestFencesRiseOverKeysPutBack(t *testing.T) {
	for name, start := range map[string]time.Time{
		"the clock of Redis": {}, "a clock far behind": time.Unix(1, 0),
		"a clock that is late": time.Now().Add(-time.Hour),
	} {
		for _, way := range putBacks {
			t.Run(way.name+" under "+name, func(t *testing.T) {
				t.Parallel()
				r := underClock(t, start)
				r.remake()
				r.risesOver(way, raw(t, r.server))
			})
		}
	}
}

// underClock returns a reign whose store has a clock that stands until the reign lets time pass; at zero, that of
// Redis.
func underClock(t *testing.T, start time.Time) *reign {
	server := redistest.New(t)
	r := &reign{T: t, server: server, pass: moment}
	o := redis.Options{}
	if !start.IsZero() {
		o.Now = func() time.Time { return start }
		r.pass = func() { start = start.Add(100 * time.Millisecond) }
	}
	r.store = open(t, server, o)
	return r
}

// A library that is loaded again remembers nothing, and trusts no fence that is stored.
func TestFencesRiseOverKeysPutBackAndANewLibrary(t *testing.T) {
	r := newReign(t)
	c := raw(t, r.server)
	back := keepCopy(r, c)
	for range 3 {
		r.rises("meanwhile")
		// an epoch may begin 2^16 fences above what is stored: 16 ms ahead of the clock
		time.Sleep(20 * time.Millisecond)
		ask(t, c, "FUNCTION", "FLUSH")
		back()
		r.rises("put back")
	}
}

// risesOver puts the pool back twice, the second time what was put back the first time.
func (r *reign) risesOver(way putBack, c rueidis.Client) {
	r.rises("at first")
	back := way.keep(r, c)
	for range 2 {
		for range 3 {
			r.rises("meanwhile")
		}
		back()
		r.rises("put back")
		before := r.last
		if r.rises("in the same epoch"); r.last != before+1 {
			r.Errorf("fence %d after %d in one epoch", r.last, before)
		}
	}
}

// Pools of one name in two databases of a Redis are two pools: each is served in its own epoch, and a call in one does
// not make the process look again who serves the other. So are a pool and its copy, from their second call on.
func TestTwoDatabasesAreServedSideBySide(t *testing.T) {
	server := redistest.New(t)
	c := raw(t, server)
	first := open(t, server, redis.Options{})
	fill(t, first, tms.DefaultPool, "x")
	other := open(t, server, redis.Options{URL: server.URL() + "/1"})
	fill(t, other, tms.DefaultPool, "x")
	copied := open(t, server, redis.Options{URL: server.URL() + "/2"})
	for _, end := range []string{"pool", "available"} {
		key := "tms:{default}:" + end
		ask(t, c, "COPY", key, key, "DB", "2")
	}
	stores := []*redis.Store{first, other, copied}
	for range 2 {
		turns(t, stores)
	}
	ask(t, c, "CONFIG", "RESETSTAT")
	for range 10 {
		fences := turns(t, stores)
		if slices.Sort(fences); fences[0] == fences[1] || fences[1] == fences[2] {
			t.Errorf("the fences of one token are %d", fences)
		}
	}
	if n := calls(t, c)["info"]; n > 5 {
		t.Errorf("the process asked %d times who it is", n)
	}
}

// turns lets a token of each store be used in turn, and returns the fences.
func turns(t *testing.T, stores []*redis.Store) (fences []int64) {
	for _, s := range stores {
		fences = append(fences, take(t, s, tms.DefaultPool).Lease.Fence)
		release(t, s, tms.DefaultPool, "x")
	}
	return fences
}

// calls returns how often each command was called, by functions too, since the statistics were reset.
func calls(t testing.TB, c rueidis.Client) map[string]int {
	t.Helper()
	text, err := ask(t, c, "INFO", "commandstats").ToString()
	must(t, err)
	counts := map[string]int{}
	for _, found := range regexp.MustCompile(`cmdstat_(\w+):calls=(\d+)`).FindAllStringSubmatch(text, -1) {
		counts[found[1]], err = strconv.Atoi(found[2])
		must(t, err)
	}
	return counts
}

// What is remembered of the ends of leases is forgotten when keys are put back: a lease of before ends, too.
func TestALeaseThatWasPutBackEnds(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{LeaseTTL: new(time.Minute), TokenTTL: new(time.Duration(0))}, named("a")...)
	c := raw(t, q.server)
	take(t, q.Store, "p")
	keys, err := ask(t, c, "KEYS", "tms:{p}:*").AsStrSlice()
	must(t, err)
	for _, key := range keys {
		ask(t, c, "COPY", key, "kept:"+key, "REPLACE")
	}
	q.release("a")
	take(t, q.Store, "p") // which issues another fence, so that it is seen that this one was lost
	q.release("a")
	q.clock.Advance(time.Hour)
	refused(t, q.show(tms.AssignRequest{Count: 2}).Err, tms.ErrNoTokenAvailable) // it finds that no lease ends, ever
	later, err := ask(t, c, "KEYS", "tms:{p}:*").AsStrSlice()
	must(t, err)
	ask(t, c, append([]string{"DEL"}, later...)...)
	for _, key := range keys {
		ask(t, c, "RENAME", "kept:"+key, key)
	}
	for range 5 {
		q.clock.Advance(time.Minute)
		_, err := q.Expire(t.Context(), "p", 10)
		must(t, err)
	}
	_, stats, err := q.Pool(t.Context(), "p")
	must(t, err)
	if stats.Available != 1 || stats.Expired.Released != 1 {
		t.Errorf("five minutes later the pool has %+v", stats)
	}
	must(t, checkRedis(t.Context(), c))
}
