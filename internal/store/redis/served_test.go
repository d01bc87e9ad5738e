package redis_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/store/redis"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

// leased is a pool of a token that somebody holds, on a Redis whose clock can be set.
type leased struct {
	*redis.Store
	t      *testing.T
	server *redistest.Server
	clock  *redistest.Clock
	token  tms.Token
	taken  time.Time
}

func newLeased(t *testing.T, ttl time.Duration, o redis.Options, args ...string) *leased {
	server, clock := redistest.NewWithClock(t, args...)
	l := &leased{Store: open(t, server, o), t: t, server: server, clock: clock}
	put(t, l.Store, "p", tms.PolicyChange{LeaseTTL: &ttl, TokenTTL: new(2 * ttl)})
	fill(t, l.Store, "p", "a")
	l.token, l.taken = take(t, l.Store, "p"), time.Now()
	return l
}

// look returns the token, or false if it is gone.
func (l *leased) look() (tms.Token, bool) {
	l.t.Helper()
	token, err := l.Token(l.t.Context(), "p", tms.LeaseKey{Token: "a"})
	if code := tms.CodeOf(err); code == tms.ErrTokenNotFound {
		return token, false
	}
	must(l.t, err)
	return token, true
}

// stands checks that the lease stands, and shows no more than its TTL, or what is given back of it.
func (l *leased) stands(when string, back time.Duration) {
	l.t.Helper()
	token, _ := l.look()
	if token.State != tms.Assigned {
		l.t.Fatalf("%s the token is %q", when, token.State)
	}
	if wall := time.Until(token.Lease.ExpiresAt); token.Lease.TTL > l.token.Lease.TTL+back {
		l.t.Errorf("%s the lease shows a ttl of %v, and ends in %v", when, token.Lease.TTL, wall)
	}
}

// ends waits until the lease is over, which it must be neither early nor late.
func (l *leased) ends(ttl, late time.Duration) {
	l.t.Helper()
	eventually(l.t, "the lease ends", func() bool {
		token, there := l.look()
		return !there || token.State != tms.Assigned
	})
	if lasted := time.Since(l.taken); lasted < ttl || lasted > ttl+late {
		l.t.Errorf("a lease of %v lasted %v", ttl, lasted)
	}
}

// Whatever becomes of the wall clock of Redis, a lease lasts for as long as it was granted.
func TestALeaseOutlastsAClockThatIsSet(t *testing.T) {
	for name, step := range map[string]time.Duration{
		"2 s on": 2 * time.Second, "a minute on": time.Minute, "a day on": 24 * time.Hour,
		"an hour back": -time.Hour, "2 s back": -2 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const ttl = 3 * time.Second
			l := newLeased(t, ttl, redis.Options{})
			time.Sleep(700 * time.Millisecond)
			l.clock.Set(step)
			l.stands("at once", 0)
			time.Sleep(time.Second)
			l.stands("a second later", 0)
			l.ends(ttl, 20*time.Second)
		})
	}
}

// A clock that is set to and fro all the time ends no lease early either.
func TestALeaseOutlastsAClockThatJumps(t *testing.T) {
	const ttl = 3 * time.Second
	l := newLeased(t, ttl, redis.Options{})
	for i := range 20 {
		l.clock.Set(time.Duration(i%2) * 10 * time.Second)
		time.Sleep(50 * time.Millisecond)
		l.stands("after a jump", 0)
	}
	l.ends(ttl, 20*time.Second)
}

// Under load served time keeps pace with the clock: many callers of several servers, whose calls are late by turns.
func TestServedTimeKeepsPaceUnderLoad(t *testing.T) {
	const ttl = 6 * time.Second
	l := newLeased(t, ttl, redis.Options{})
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 3 {
		s := open(t, l.server, redis.Options{})
		for range 8 {
			load.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						s.Pool(t.Context(), "p")
					}
				}
			})
		}
	}
	l.ends(ttl, ttl/2)
	close(stop)
	load.Wait()
}

// While Redis is down no clock runs: no lease ends and no token dies for want of a keep-alive that nobody could send.
func TestNothingEndsWhileRedisIsDown(t *testing.T) {
	for name, o := range map[string]redis.Options{"that loses nothing": {Lossless: true}, "": {}} {
		t.Run("a Redis "+name, func(t *testing.T) {
			t.Parallel()
			const ttl = time.Second
			l := newLeased(t, ttl, o, "--appendonly", "yes", "--appendfsync", "always")
			l.server.Kill()
			time.Sleep(4 * ttl)
			l.server.Start()
			eventually(t, "redis is back", func() bool { return l.Ready(t.Context()) == nil })
			back := time.Now()
			l.stands("after the outage", time.Second) // its clock may have been stored so long before
			results, err := l.KeepAlive(t.Context(), "p", []tms.LeaseKey{{Token: "a", LeaseID: l.token.Lease.ID}})
			must(t, err)
			must(t, results[0].Err)
			eventually(t, "the lease ends when it is not kept alive", func() bool {
				token, _ := l.look()
				return token.State == tms.Available
			})
			if lasted := time.Since(back); lasted < ttl {
				t.Errorf("the lease ended %v after the outage", lasted)
			}
			eventually(t, "the token is given again", func() bool {
				results, err := l.Assign(t.Context(), "p", []tms.AssignRequest{{}})
				return err == nil && results[0].Err == nil
			})
		})
	}
}

// A Redis that hangs for a while has not served, and ends nothing.
func TestNothingEndsWhileRedisHangs(t *testing.T) {
	const ttl = 2 * time.Second
	l := newLeased(t, ttl, redis.Options{})
	l.server.Stop()
	time.Sleep(3 * time.Second)
	l.server.Continue()
	l.stands("after it hung", 0)
	l.ends(4*time.Second, 20*time.Second)
}

// What servers remember is told to the process that takes over: a lease longer than the pool's is waited for, though
// its grant was lost, and so is a fence.
func TestWhatWasLostIsReported(t *testing.T) {
	server := redistest.New(t)
	s, other := open(t, server, redis.Options{}), open(t, server, redis.Options{})
	put(t, s, "p", tms.PolicyChange{LeaseTTL: new(500 * time.Millisecond)})
	fill(t, s, "p", "a", "b")
	must(t, other.Ready(t.Context()))
	ask(t, raw(t, server), "SAVE")
	s.Beat() // so that both have met the process
	other.Beat()
	results, err := other.Assign(t.Context(), "p", []tms.AssignRequest{{TTL: time.Minute}})
	must(t, err)
	must(t, results[0].Err)
	server.Kill()
	server.Start()
	eventually(t, "redis is back", func() bool { return s.Ready(t.Context()) == nil })
	eventually(t, "the longer lease is reported", func() bool {
		p, _, err := s.Pool(t.Context(), "p")
		return err == nil && time.Until(p.SettlingUntil) > 50*time.Second
	})
	refusals, err := s.Assign(t.Context(), "p", []tms.AssignRequest{{}})
	must(t, err)
	refused(t, refusals[0].Err, tms.ErrPoolSettling)

	must(t, other.Close()) // which alone had known of the longer lease
	ask(t, raw(t, server), "SAVE")
	server.Kill()
	server.Start()
	eventually(t, "the pool settles on for as long as before", func() bool {
		p, _, err := s.Pool(t.Context(), "p")
		return err == nil && time.Until(p.SettlingUntil) > 30*time.Second
	})
}

// Time in which no server called, all of them being stopped, has not been served.
func TestNothingEndsWhileNobodyCalls(t *testing.T) {
	const ttl = 3 * time.Second
	l := newLeased(t, ttl, redis.Options{})
	l.StopBeats()
	time.Sleep(ttl + time.Second)
	l.stands("after a time without calls", 0)
}

// A server that is new moves no clock, whatever was done to that of Redis meanwhile: its first call says nothing of how
// much time has passed.
func TestANewServerMovesNoClock(t *testing.T) {
	const ttl = 3 * time.Second
	l := newLeased(t, ttl, redis.Options{})
	for i := range 8 {
		l.clock.Set(time.Duration(i%2) * 10 * time.Second)
		l.stands("after a jump", 0)
		must(t, open(t, l.server, redis.Options{}).Ready(t.Context()))
		l.stands("after a server was new", 0)
	}
	l.ends(ttl, 20*time.Second)
}

// A lease that a new server grants lasts as long as it says, although an older one knows better what time it is, and
// whoever looks, be it a server of version 1.
func TestALeaseOfANewServerLasts(t *testing.T) {
	const ttl = time.Second
	server := redistest.New(t)
	c, keys := raw(t, server), redis.PoolKeys("p")
	older := open(t, server, redis.Options{})
	put(t, older, "p", tms.PolicyChange{LeaseTTL: new(ttl)})
	fill(t, older, "p", "a")
	older.StopBeats()
	for range 3 {
		s := open(t, server, redis.Options{})
		_, _, err := s.Pool(t.Context(), "p") // with which it begins to know what time it is
		must(t, err)
		s.StopBeats()
		time.Sleep(600 * time.Millisecond)
		newer := open(t, server, redis.Options{})
		newer.StopBeats()
		began, token := time.Now(), take(t, newer, "p")
		for time.Since(began) < ttl-100*time.Millisecond {
			ask(t, c, append(append([]string{"FCALL", "tms1_token", fmt.Sprint(len(keys))}, keys...), "", "a")...)
			seen, err := s.Token(t.Context(), "p", tms.LeaseKey{Token: token.Value})
			if err != nil || seen.State != tms.Assigned {
				t.Fatalf("after %v the token is %q, error %v", time.Since(began), seen.State, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		eventually(t, "the lease ends", func() bool {
			seen, err := older.Token(t.Context(), "p", tms.LeaseKey{Token: token.Value})
			return err == nil && seen.State == tms.Available
		})
	}
}
