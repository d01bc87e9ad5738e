package embedded

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/manankarani/token-manager/internal/rules"
)

// clock is the store's clock, by which all its pools run: served time, that goes on from where an earlier process left
// it. See [rules.Served].
type clock struct {
	brought func() time.Time // the clock of the options, which is served time itself; nil: the process's own
	opened  int64            // the wall clock at opening, ms
	since   time.Time        // when that was
	served  rules.Served
	offset  int64 // how far the pools' clocks are ahead of that
	stored  int64 // the instant that the log has
	last    int64 // that of the last step: the clock never goes back
}

// beatEvery is how often the clock moves on where nobody calls.
const beatEvery = 500 * time.Millisecond

// storeEvery is how far, in ms, a clock that nobody moves but its own beat may be ahead of what is stored: a restart
// gives back so much.
const storeEvery = 30_000

// base returns where the clock stands that the pools' clocks run beside.
func (c *clock) base() int64 {
	if c.brought != nil {
		return c.brought().UnixMilli()
	}
	return c.served.Move(c.opened + time.Since(c.since).Milliseconds())
}

// ahead returns how far the wall clock is ahead of the pools'. Began is 0 where the clock is brought.
func (c *clock) ahead() int64 { return c.served.Began() - c.offset }

// fresh returns where the clock of a store begins that nobody has served before.
func (c *clock) fresh() int64 {
	if c.brought != nil {
		return c.brought().UnixMilli()
	}
	return c.opened
}

// now moves the clock on, and returns its instant.
func (c *clock) now() int64 {
	c.last = max(c.last, c.base()+c.offset)
	return c.last
}

// goOn lets the clock go on from an instant, wherever the process's own stands.
func (c *clock) goOn(instant int64) {
	c.offset = instant - c.base()
	if c.brought != nil {
		c.offset = max(0, c.offset)
	}
	c.stored, c.last = instant, instant
}

// wall returns an instant of the pools as a time.
func (c *clock) wall(at int64) time.Time {
	if at == rules.Never {
		return time.Time{}
	}
	return rules.Instant(at + c.ahead())
}

// shift returns an instant of the pools, as [rules.Instant] has it, as a time.
func (c *clock) shift(at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return at.Add(time.Duration(c.ahead()) * time.Millisecond)
}

// clockRecord is what the log keeps of the clock, and of what a crash may cost.
type clockRecord struct {
	Instant int64 `json:"instant"`

	// Lossy is, where syncs are put off and the store is open, the boot of the machine.
	Lossy string `json:"lossy,omitzero"`
}

// settlingRecord is what the log keeps of a pool beside its policy.
type settlingRecord struct {
	rules.Settling
	Longest int64 // the longest ttl above the policy's that was granted or renewed, in ms
	Lasting int64 // the last instant at which such a lease may last
}

func encodeJSON(v any) []byte {
	raw, _ := json.Marshal(v) // a struct of numbers and strings cannot fail
	return raw
}

// instant moves the clock on to the present step. The lock must be held.
func (s *Store) instant() int64 {
	now := s.clock.now()
	if now-s.clock.stored > rules.Stale {
		s.storeInstant(now)
	}
	return now
}

func (s *Store) storeInstant(now int64) {
	s.clock.stored = now
	s.journal.setClock(clockRecord{now, s.lossy})
}

// beats moves the clock on while nobody calls.
func (s *Store) beats() {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ended:
			return
		case <-tick.C:
			s.beat()
		}
	}
}

func (s *Store) beat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.clock.now(); now-s.clock.stored > storeEvery && s.stopped() == nil {
		s.storeInstant(now)
	}
}

// bootOf names the present run of the machine. Where it has no name each process is taken for one.
func bootOf() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return strconv.Itoa(os.Getpid())
	}
	return strings.TrimSpace(string(id))
}

// readClock lets the clock go on from what the log says, and reports whether answers may have been lost: where syncs
// were put off and the machine went down, and where a copy was put back.
func (s *Store) readClock() (lost bool, err error) {
	raw, err := s.journal.get(clockKey)
	if err != nil {
		return false, err
	}
	if raw == nil { // from before there were pools' clocks: its instants are those of the wall clock
		s.clock.goOn(s.clock.fresh())
		return false, nil
	}
	var r clockRecord
	if err := json.Unmarshal(raw, &r); err != nil {
		return false, err
	}
	s.clock.goOn(r.Instant)
	return r.Lossy != "" && r.Lossy != bootOf(), nil
}

// goOn lets the pools settle where answers may have been lost, and notes that the store is open.
func (s *Store) goOn(lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if lost {
		s.takeOver()
	}
	s.storeInstant(s.clock.last)
}

// noteClose notes that everything is on the disk that was answered, once it is.
func (s *Store) noteClose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped() == nil {
		s.lossy = ""
		s.storeInstant(s.clock.now())
	}
}

// takeOver lets all pools settle, as copies of what they were. The lock must be held.
func (s *Store) takeOver() {
	stored := s.clock.stored
	for _, p := range s.pools {
		p.policy.Settling = p.policy.TakenOver(stored, p.granted(stored), s.lastFence)
		p.fresh = newIndex()
		s.journal.setSettling(p)
	}
	s.clock.goOn(max(s.clock.last, stored+rules.Stale+1))
	s.storeInstant(s.clock.last)
}
