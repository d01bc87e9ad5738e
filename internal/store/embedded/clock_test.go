package embedded

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	tms "github.com/manankarani/token-manager"
)

// reopened closes the store and opens its directory again.
func reopened(t *testing.T, s *Store, o Options) *Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// heldFor returns a store in a directory with a token that somebody holds.
func heldFor(t *testing.T, o Options, ttl time.Duration) (*Store, tms.Token) {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, tms.PolicyChange{LeaseTTL: &ttl, TokenTTL: new(2 * ttl)})
	fill(t, s, 1)
	return s, take(t, s, 1)[0]
}

func stateOf(t *testing.T, s *Store, value string) tms.State {
	t.Helper()
	token, err := s.Token(t.Context(), tms.DefaultPool, tms.LeaseKey{Token: value})
	if tms.CodeOf(err) == tms.ErrTokenNotFound {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return token.State
}

// While the server is down no clock runs: no lease ends, and no token dies, for want of a keep-alive that nobody could
// send. When it is back they go on.
func TestNothingEndsWhileTheServerIsDown(t *testing.T) {
	const ttl = time.Second
	o := Options{Dir: t.TempDir()}
	s, token := heldFor(t, o, ttl)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(4 * ttl)
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, s) })
	back := time.Now()
	for stateOf(t, s, token.Value) == tms.Assigned {
		time.Sleep(10 * time.Millisecond)
	}
	if lasted := time.Since(back); lasted < ttl/2 || lasted > 30*ttl {
		t.Errorf("the lease ended %v after the outage", lasted)
	}
}

// A store that was opened under a clock which is wrong goes on under one that is right, and the other way round; what
// it shows are instants of the clock that it has.
func TestAClockThatIsWrongAtTheStart(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"slow": -10 * time.Minute, "fast": 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			o := Options{Dir: t.TempDir()}
			wrongly, rightly := o, o
			wrongly.wall = func() time.Time { return time.Now().Add(wrong) }
			s, token := heldFor(t, wrongly, time.Minute)
			for _, o := range []Options{rightly, wrongly, rightly} {
				s = reopened(t, s, o)
				if state := stateOf(t, s, token.Value); state != tms.Assigned {
					t.Fatalf("the token is %q", state)
				}
			}
			defer shut(t, s)
			shown, err := s.Token(t.Context(), tms.DefaultPool, tms.LeaseKey{Token: token.Value})
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(shown.Lease.ExpiresAt); left < 30*time.Second || left > time.Minute+time.Second {
				t.Errorf("the lease ends in %v, want a minute", left)
			}
			if shown.Lease.TTL > time.Minute+time.Second {
				t.Errorf("the lease shows a ttl of %v", shown.Lease.TTL)
			}
		})
	}
}

// Where the fsync is put off a crash of the machine may lose answers, and one of the process none. So the pools settle
// after the first, and not after the second, nor after an orderly end, nor where every answer waits for its fsync.
func TestPoolsSettleWhereTheMachineWentDown(t *testing.T) {
	const now, later = "", "another boot"
	for name, c := range map[string]struct {
		interval time.Duration
		boot     string
		crash    bool
		settles  bool
	}{
		"machine, at an interval": {time.Hour, later, true, true},
		"process, at an interval": {time.Hour, now, true, false},
		"orderly, at an interval": {time.Hour, later, false, false},
		"machine, always":         {0, later, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Dir: t.TempDir(), SyncInterval: c.interval}
			s, _ := heldFor(t, o, time.Minute)
			if c.boot != now && s.lossy != "" {
				s.lossy = c.boot
				s.mu.Lock()
				s.storeInstant(s.clock.last)
				s.mu.Unlock()
			}
			fill(t, s, 1)
			if c.crash {
				crash(t, s)
			} else if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { shut(t, s) })
			p, _, err := s.Pool(t.Context(), tms.DefaultPool)
			if err != nil {
				t.Fatal(err)
			}
			if settles := !p.SettlingUntil.IsZero(); settles != c.settles {
				t.Errorf("it settles: %v, want %v", settles, c.settles)
			}
		})
	}
}

// crash ends the store as a kill does, once all that was answered is written.
func crash(t *testing.T, s *Store) {
	t.Helper()
	s.closing.Do(func() { close(s.ended) })
	s.beating.Wait()
	close(s.journal.stop)
	s.journal.idle.Wait()
	if err := s.journal.closeDB(); err != nil {
		t.Fatal(err)
	}
}

// While nobody calls, the clock is stored all the same, so that a crash gives back no more than it says.
func TestTheClockIsStoredWhileNobodyCalls(t *testing.T) {
	s, _ := heldFor(t, Options{Dir: t.TempDir()}, time.Minute)
	t.Cleanup(func() { shut(t, s) })
	s.mu.Lock()
	s.clock.offset += storeEvery + 1
	s.mu.Unlock()
	s.beat()
	s.mu.Lock()
	behind, pending := s.clock.last-s.clock.stored, s.journal.pending()
	s.mu.Unlock()
	if err := pending.wait(t.Context()); err != nil || behind > beatEvery.Milliseconds() {
		t.Errorf("the stored clock is %d ms behind, error %v", behind, err)
	}
}

// A log from before there were pools' clocks goes on at the wall clock's instant.
func TestALogWithoutAClock(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	s, token := heldFor(t, o, time.Minute)
	s = reopened(t, s, o)
	if err := s.journal.db.Delete(clockKey, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	crash(t, s)
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, s) })
	if state := stateOf(t, s, token.Value); state != tms.Assigned {
		t.Errorf("the token is %q", state)
	}
	if ahead := time.Now().UnixMilli() - s.clock.last; ahead < 0 || ahead > 10_000 {
		t.Errorf("the clock is %d ms behind the wall clock", ahead)
	}
}

// The secret of an installation outlives the store, unless that is in memory; no two have the same.
func TestTheSecretOutlivesTheStore(t *testing.T) {
	secretOf := func(s *Store) [32]byte {
		key, err := s.InstallationKey(t.Context())
		if err != nil || key == ([32]byte{}) {
			t.Errorf("the secret is %x, error %v", key, err)
		}
		return key
	}
	o := Options{Dir: t.TempDir()}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	first, again := secretOf(s), secretOf(s)
	s = reopened(t, s, o)
	defer s.Close()
	second := secretOf(s)
	if first != again || first != second || first == secretOf(open(t, Options{})) {
		t.Errorf("the secrets are %x, %x and %x", first, again, second)
	}
}
