package redis_test

import (
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
	"github.com/manankarani/token-manager/internal/store/storetest"
)

const oldMaster = 3 * time.Second

// Where an old master may still be asked for a while, a lease that nobody ended is over later by that time, and a pool
// settles for longer by it.
func TestWhereAnOldMasterMayBeAsked(t *testing.T) {
	server, clock := redistest.New(t, "--appendonly", "yes", "--appendfsync", "always"), storetest.NewClock()
	s := open(t, server, redis.Options{Now: clock.Now, OldMaster: oldMaster})
	put(t, s, "p", tms.PolicyChange{LeaseTTL: new(5 * time.Second), TokenTTL: new(time.Duration(0))})
	fill(t, s, "p", "a")
	take(t, s, "p")
	clock.Advance(5*time.Second + oldMaster)
	assigns(t, s, tms.ErrNoTokenAvailable)
	clock.Advance(100 * time.Millisecond) // calls are late by turns
	assigns(t, s, "")
	taken := &taken{checked{s, raw(t, server)}, server}
	taken.TakeOver(t)
	clock.Advance(5*time.Second + oldMaster)
	assigns(t, s, tms.ErrPoolSettling)
	clock.Advance(1200 * time.Millisecond) // the new process takes the clock for up to a second later than it was
	assigns(t, s, "")
}

// assigns asks for a token, which the store refuses with the code, or gives; it is given back then only by its clock.
func assigns(t *testing.T, s *redis.Store, code tms.Code) {
	t.Helper()
	results, err := s.Assign(t.Context(), "p", []tms.AssignRequest{{}})
	must(t, err)
	if got := tms.CodeOf(results[0].Err); got != code {
		t.Errorf("assign says %q, want %q", got, code)
	}
}
