package redis_test

import (
	"errors"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
)

// A keep-alive moves the end of a lease and leaves its string alone, from which the last sign of life follows; once in
// a while the string is written anew, so that it never goes before the lease.
func TestAKeepAliveLeavesTheLeaseString(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{LeaseTTL: new(time.Minute), TokenTTL: new(time.Hour)}, named("a")...)
	c, held := raw(t, q.server), take(t, q.Store, "p")
	const lock = "tms:{p}:lease:a"
	ask(t, c, "PEXPIRE", lock, "1000000")
	wrote := 0
	for range 41 {
		q.clock.Advance(30 * time.Second)
		results, err := q.KeepAlive(t.Context(), "p", []tms.LeaseKey{{Token: "a", LeaseID: held.Lease.ID}})
		must(t, errors.Join(err, results[0].Err))
		token := results[0].Token
		if now := q.clock.Now(); !token.ExpiresAt.Equal(now.Add(time.Hour)) ||
			!token.Lease.ExpiresAt.Equal(now.Add(time.Minute)) {
			t.Fatalf("at %v the token is %+v", now, token)
		}
		if number(t, c, "PTTL", lock) > 1_000_000 {
			wrote++
			ask(t, c, "PEXPIRE", lock, "1000000")
		}
	}
	if wrote != 2 {
		t.Errorf("in twenty minutes the string was written %d times", wrote)
	}
	must(t, checkRedis(t.Context(), c))
}

// However a lease was prolonged, what is said of its token is what the contract says: by its own time, by a shorter,
// by a longer one, and by its own again.
func TestTheLastSignOfLifeFollows(t *testing.T) {
	q := newQueued(t, tms.PolicyChange{LeaseTTL: new(time.Minute), TokenTTL: new(time.Hour)}, named("a")...)
	held := take(t, q.Store, "p")
	end := held.Lease.ExpiresAt
	for _, ttl := range []time.Duration{0, time.Second, 0, 10 * time.Minute, 0, time.Second, time.Minute, 0} {
		q.clock.Advance(7 * time.Second)
		key := tms.LeaseKey{Token: "a", LeaseID: held.Lease.ID, TTL: ttl}
		results, err := q.KeepAlive(t.Context(), "p", []tms.LeaseKey{key})
		must(t, errors.Join(err, results[0].Err))
		now, asked := q.clock.Now(), ttl
		if asked == 0 {
			asked = time.Minute
		}
		if until := now.Add(asked); until.After(end) {
			end = until
		}
		seen, err := q.Token(t.Context(), "p", tms.LeaseKey{Token: "a"})
		must(t, err)
		for _, token := range []tms.Token{results[0].Token, seen} {
			if !token.ExpiresAt.Equal(now.Add(time.Hour)) || !token.Lease.ExpiresAt.Equal(end) {
				t.Errorf("after %v at %v: %+v, %+v", ttl, now, token, token.Lease)
			}
		}
	}
}
