package redis_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

// Sorted sets hold the instants, a string with a TTL locks each assigned token, and nothing stays behind.
func TestWhatRedisHolds(t *testing.T) {
	server := redistest.New(t)
	s, c := open(t, server, redis.Options{}), raw(t, server)
	ctx := t.Context()
	put(t, s, "p", tms.PolicyChange{Cooldown: new(time.Minute), LeaseTTL: new(time.Minute), Grace: new(time.Second),
		TokenTTL: new(2 * time.Minute)})
	_, err := s.Generate(ctx, "p", tms.GenerateRequest{Tokens: []tms.NewToken{{Value: "a",
		Metadata: map[string]string{"k": "v"}}, {Value: "b"}, {Value: "c"}}})
	must(t, err)
	taken := []tms.Token{take(t, s, "p"), take(t, s, "p")}
	_, err = s.Unblock(ctx, "p", []tms.LeaseKey{{Token: taken[0].Value}})
	must(t, err)
	for key, kind := range map[string]string{"pool": "hash", "available": "zset", "assigned": "zset", "cooling": "zset",
		"seen": "zset", "lease:" + taken[1].Value: "string", "lease:" + taken[0].Value: "none", "token:a": "string"} {
		if got, _ := ask(t, c, "TYPE", "tms:{p}:"+key).ToString(); got != kind {
			t.Errorf("%s is a %s and not a %s", key, got, kind)
		}
	}
	lock := "tms:{p}:lease:" + taken[1].Value
	if left := millis(number(t, c, "PTTL", lock)); left < tms.MaxTTL+20*time.Minute ||
		left > tms.MaxTTL+21*time.Minute {
		t.Errorf("the lock lasts %v; it should last for the lease, the longest TTL there is and twenty minutes", left)
	}
	text, _ := ask(t, c, "GET", lock).ToString()
	if want := fmt.Sprintf("%s %d ", taken[1].Lease.ID, taken[1].Lease.Fence); !strings.HasPrefix(text, want) ||
		!strings.HasSuffix(text, " tester") {
		t.Errorf("the lock reads %q", text)
	}
	must(t, checkRedis(ctx, c))
	_, err = s.Delete(ctx, "p", []tms.LeaseKey{{Token: "a"}, {Token: "b"}, {Token: "c"}})
	must(t, err)
	if keys, _ := ask(t, c, "KEYS", "*").AsStrSlice(); !slices.Equal(sorted(keys),
		[]string{"tms:pools", "tms:store", "tms:{p}:pool"}) {
		t.Errorf("an empty pool leaves %q", keys)
	}
	must(t, s.DeletePool(ctx, "p"))
	if n := left(t, c); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// left returns how many keys there are beside the ID of the data.
func left(t *testing.T, c rueidis.Client) int64 {
	return number(t, c, "DBSIZE") - number(t, c, "EXISTS", "tms:store")
}

func millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

// What a lease string says is there for as long as it may count, whatever becomes of the policy meanwhile.
func TestALeaseStringOutlastsEveryPolicy(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{TokenTTL: new(tms.MinTTL), LeaseTTL: new(time.Minute)})
	c := raw(t, q.server)
	lasts := func(what string, atLeast time.Duration) {
		t.Helper()
		if left := millis(number(t, c, "PTTL", "tms:{p}:lease:a")); left < atLeast+tms.MaxTTL {
			t.Errorf("when it was %s the lease string lasts %v", what, left)
		}
	}
	fill(t, q.Store, "p", "a")
	take(t, q.Store, "p")
	lasts("assigned", time.Minute)
	_, err := q.KeepAlive(t.Context(), "p", []tms.LeaseKey{{Token: "a", TTL: time.Hour}})
	must(t, err)
	lasts("kept alive", time.Hour)
	q.join(ticket("1"), 1)
	q.release("a")
	lasts("handed", 0)
	q.picks(ticket("1"), "a")
	lasts("picked up", time.Minute)
}

// A pool in every state, in numbers, leaves nothing when it is deleted.
func TestADeletedPoolLeavesNothing(t *testing.T) {
	server := redistest.New(t)
	clock := storetest.NewClock()
	s, c := open(t, server, redis.Options{Now: clock.Now}), raw(t, server)
	ctx := t.Context()
	put(t, s, "p", tms.PolicyChange{Cooldown: new(time.Minute), TokenTTL: new(time.Hour),
		OnLeaseExpiry: new(tms.ExpiryQuarantines)})
	tokens := make([]tms.NewToken, 4000)
	for i := range tokens {
		tokens[i] = tms.NewToken{Value: fmt.Sprint("t", i), Metadata: map[string]string{"i": fmt.Sprint(i)}}
	}
	_, err := s.Generate(ctx, "p", tms.GenerateRequest{Tokens: tokens})
	must(t, err)
	assign := func(ttl time.Duration) []tms.LeaseKey {
		results, err := s.Assign(ctx, "p", []tms.AssignRequest{{Count: 1000, TTL: ttl}})
		must(t, errors.Join(err, results[0].Err))
		var keys []tms.LeaseKey
		for _, token := range results[0].Tokens {
			keys = append(keys, tms.LeaseKey{Token: token.Value})
		}
		return keys
	}
	assign(time.Second)
	clock.Advance(2 * time.Second)
	_, err = s.Expire(ctx, "p", 5000)
	must(t, err)
	_, err = s.Unblock(ctx, "p", assign(time.Minute))
	must(t, err)
	assign(time.Minute)
	_, stats, err := s.Pool(ctx, "p")
	must(t, err)
	if stats.Available != 1000 || stats.Assigned != 1000 || stats.Cooling != 1000 || stats.Quarantined != 1000 {
		t.Fatalf("the sizes are %+v", stats)
	}
	must(t, checkRedis(ctx, c))
	must(t, s.DeletePool(ctx, "p"))
	if n := left(t, c); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// A deletion that was interrupted after its first step: the pool is gone for everybody, and somebody finishes.
func TestAnInterruptedDeletionIsFinished(t *testing.T) {
	for _, finish := range []string{"expire", "put"} {
		server := redistest.New(t)
		s, c := open(t, server, redis.Options{}), raw(t, server)
		ctx := t.Context()
		put(t, s, "p", tms.PolicyChange{})
		_, err := s.Generate(ctx, "p", tms.GenerateRequest{Tokens: make([]tms.NewToken, 2500)})
		must(t, err)
		old := take(t, s, "p")
		command := append([]string{"FCALL", "tms1_delete_pool", strconv.Itoa(len(redis.KeyNames))},
			redis.PoolKeys("p")...)
		ask(t, c, append(command, "")...)
		_, err = s.Token(ctx, "p", tms.LeaseKey{Token: "a"})
		refused(t, err, tms.ErrPoolNotFound)
		_, err = s.Assign(ctx, "p", make([]tms.AssignRequest, 1))
		refused(t, err, tms.ErrPoolNotFound)
		if finish == "expire" {
			_, err = s.Expire(ctx, "p", 10)
			refused(t, err, tms.ErrPoolNotFound)
			if n := left(t, c); n != 0 {
				t.Errorf("%d keys are left", n)
			}
		}
		put(t, s, "p", tms.PolicyChange{})
		_, stats, err := s.Pool(ctx, "p")
		must(t, err)
		if stats.Total() != 0 {
			t.Errorf("the new pool holds %d tokens", stats.Total())
		}
		fill(t, s, "p", old.Value)
		if fence := take(t, s, "p").Lease.Fence; fence <= old.Lease.Fence {
			t.Errorf("fence %d after %d", fence, old.Lease.Fence)
		}
		must(t, checkRedis(ctx, c))
	}
}

// A token whose lock is held, which nothing explains, rests until the lock is gone; another one is given.
func TestALockedTokenIsPassedOver(t *testing.T) {
	server := redistest.New(t)
	s, c := open(t, server, redis.Options{}), raw(t, server)
	put(t, s, "p", tms.PolicyChange{Selection: new(tms.SelectFIFO)})
	fill(t, s, "p", "a", "b", "c")
	ask(t, c, "SET", "tms:{p}:lease:b", "?", "PX", "100")
	results, err := s.Assign(t.Context(), "p", make([]tms.AssignRequest, 2))
	must(t, errors.Join(err, results[0].Err, results[1].Err))
	if got := results[0].Tokens[0].Value + results[1].Tokens[0].Value; got != "ac" {
		t.Errorf("assign gave %s", got)
	}
	token, err := s.Token(t.Context(), "p", tms.LeaseKey{Token: "b"})
	must(t, err)
	if token.State != tms.Cooling {
		t.Errorf("the locked token is %s", token.State)
	}
	eventually(t, "the token is given", func() bool {
		results, err := s.Assign(t.Context(), "p", make([]tms.AssignRequest, 1))
		return err == nil && results[0].Err == nil
	})
	must(t, checkRedis(t.Context(), c))
}

// When Redis has removed a lock before anybody came by, the set still says when the lease ends.
func TestAForgottenLockEndsWithItsLease(t *testing.T) {
	server := redistest.New(t)
	clock := storetest.NewClock()
	s, c := open(t, server, redis.Options{Now: clock.Now}), raw(t, server)
	ctx := t.Context()
	put(t, s, "p", tms.PolicyChange{})
	fill(t, s, "p", "a")
	held := take(t, s, "p")
	ask(t, c, "DEL", "tms:{p}:lease:a")
	kept, err := s.KeepAlive(ctx, "p", []tms.LeaseKey{{Token: "a", LeaseID: held.Lease.ID}})
	must(t, err)
	refused(t, kept[0].Err, tms.ErrLeaseLost)
	refusedDash, err := s.KeepAlive(ctx, "p", []tms.LeaseKey{{Token: "a", LeaseID: "-"}})
	must(t, err)
	refused(t, refusedDash[0].Err, tms.ErrLeaseLost)
	clock.Advance(time.Minute)
	token, err := s.Token(ctx, "p", tms.LeaseKey{Token: "a"})
	must(t, err)
	if token.State != tms.Assigned || !token.Lease.ExpiresAt.Equal(held.Lease.ExpiresAt) {
		t.Errorf("the token is %+v", token)
	}
	clock.Advance(time.Millisecond)
	take(t, s, "p")
	must(t, checkRedis(ctx, c))
}

// A sweep touches what is due, up to its limit, and walks over nothing else.
func TestSweepIsBounded(t *testing.T) {
	server := redistest.New(t)
	clock := storetest.NewClock()
	s, c := open(t, server, redis.Options{Now: clock.Now}), raw(t, server)
	ctx := t.Context()
	put(t, s, "p", tms.PolicyChange{TokenTTL: new(time.Duration(0))})
	for range 3 {
		_, err := s.Generate(ctx, "p", tms.GenerateRequest{Tokens: make([]tms.NewToken, 10_000)})
		must(t, err)
	}
	results, err := s.Assign(ctx, "p", []tms.AssignRequest{{Count: 1000}, {Count: 1000}})
	must(t, errors.Join(err, results[0].Err, results[1].Err))
	clock.Advance(time.Hour)
	for _, limit := range []int{1, 100, 1500} {
		ask(t, c, "CONFIG", "RESETSTAT")
		done, err := s.Expire(ctx, "p", limit)
		must(t, err)
		if done.Released != int64(limit) {
			t.Errorf("a sweep of %d released %d", limit, done.Released)
		}
	}
	text, _ := ask(t, c, "INFO", "commandstats").ToString()
	for _, walk := range []string{"keys", "scan", "zscan", "hgetall", "hscan"} {
		if strings.Contains(text, "cmdstat_"+walk+":") {
			t.Errorf("a sweep uses %s", walk)
		}
	}
	must(t, checkRedis(ctx, c))
}

// However many instants overtake each other, a pool's clock does not go back.
func TestAClockThatIsSetBackALittle(t *testing.T) {
	server := redistest.New(t)
	clock := storetest.NewClock()
	s := open(t, server, redis.Options{Now: clock.Now})
	put(t, s, "p", tms.PolicyChange{})
	fill(t, s, "p", "a")
	first := take(t, s, "p")
	clock.Advance(time.Minute + time.Millisecond)
	_, err := s.Expire(t.Context(), "p", 10)
	must(t, err)
	clock.Advance(-time.Millisecond)
	if second := take(t, s, "p"); !second.Lease.AssignedAt.After(first.Lease.ExpiresAt) {
		t.Errorf("assigned at %v while a lease lasts until %v", second.Lease.AssignedAt, first.Lease.ExpiresAt)
	}
}
