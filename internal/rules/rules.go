// Package rules holds the transitions of a token as pure functions of its record, the pool's policy, an instant and a
// request. The embedded store runs on them, and so does the model that every store is compared with.
//
// Instants are whole milliseconds since 1970 on the store's clock. A deadline has passed when the clock is past it.
package rules

import (
	"maps"
	"math"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Never is the instant that does not come.
const Never = math.MaxInt64

// Record is what a store remembers of a token beyond its name. It is a value: a transition returns a new one.
type Record struct {
	State    tms.State
	Seen     int64 // the last sign of life
	Until    int64 // assigned: the lease's end; cooling: ready at; quarantined: since
	Lease    Lease // while assigned; zero otherwise
	Past     Past
	Metadata map[string]string
}

// Past is what is remembered of the leases that have ended.
type Past struct {
	Leases  int64 // how many there were
	Expired int64 // how many of them nobody ended
	Since   int64 // when the last one ended, or the token was put aside or restored; 0: never
	Client  string
	History History
}

// Lease is the part of a record that one assignment sets.
type Lease struct {
	ID         string
	Fence      int64
	ClientID   string
	AssignedAt int64
	TTL        int64 // what a keep-alive that names no TTL renews for, ms
	Handed     bool  // the token was handed to somebody who waits and has not been picked up: the lease has not begun
}

// Handed reports whether the token was handed to somebody who waits and has not picked it up.
func (r Record) Handed() bool { return r.Lease.Handed }

// New returns the record of a token that is generated, and whose last sign of life that is: see [Settling.Born].
func New(born int64, metadata map[string]string) Record {
	return Record{State: tms.Available, Seen: born, Metadata: metadata}
}

// At returns the record as it stands at now, every deadline that has passed carried out at its own instant. It returns
// false if the token is dead by then.
func (r Record) At(p Terms, now int64) (Record, bool, tms.ExpiryCounts) {
	var counts tms.ExpiryCounts
	alive := true
	for alive && now > r.Due(p) {
		r, alive = r.expire(p, &counts)
	}
	return r, alive, counts
}

// Due returns the record's next deadline.
func (r Record) Due(p Terms) int64 {
	switch r.State {
	case tms.Available:
		return r.tokenClock(p)
	case tms.Assigned:
		return r.leaseOver(p)
	case tms.Cooling:
		return min(r.Until, r.tokenClock(p))
	}
	return Never
}

// tokenClock returns when the token clock runs out.
func (r Record) tokenClock(p Terms) int64 {
	if p.TokenTTL == 0 {
		return Never
	}
	return p.Wound(r.Seen) + p.TokenTTL.Milliseconds()
}

// leaseOver returns when the lease is past reviving: while the pool settles, no inherited one is.
func (r Record) leaseOver(p Terms) int64 {
	if r.Handed() {
		return r.Until
	}
	over := r.Until + p.Grace.Milliseconds() + p.OldMaster
	if p.Inherited(r.Lease) {
		return max(over, p.Until)
	}
	return over
}

// expire carries out the next deadline.
func (r Record) expire(p Terms, counts *tms.ExpiryCounts) (Record, bool) {
	switch {
	case r.Handed():
		return r.TakeBack(), true
	case r.State == tms.Assigned:
		return r.endLease(p, counts)
	case r.State == tms.Cooling && r.Until < r.tokenClock(p):
		return r.rest(tms.Available, 0), true
	}
	counts.Deleted++
	return Record{}, false
}

// endLease carries out the end of a lease that nobody kept alive.
func (r Record) endLease(p Terms, counts *tms.ExpiryCounts) (Record, bool) {
	over := r.leaseOver(p)
	switch {
	case p.OnLeaseExpiry == tms.ExpiryQuarantines:
		counts.Quarantined++
		return r.rest(tms.Quarantined, over).after(p, r, over, tms.EndExpired, ""), true
	case p.OnLeaseExpiry == tms.ExpiryDeletes, over > r.tokenClock(p):
		counts.Deleted++
		return Record{}, false
	}
	counts.Released++
	return r.giveBack(p.Cooldown, over).after(p, r, over, tms.EndExpired, ""), true
}

// after returns the record with the lease of another, which ended at an instant, in its past. By is the key that ended
// it by force, if one did.
func (r Record) after(p Terms, held Record, at int64, end tms.End, by string) Record {
	r.Past.Leases, r.Past.Since, r.Past.Client = r.Past.Leases+1, at, held.Lease.ClientID
	if end == tms.EndExpired {
		r.Past.Expired++
	}
	r.Past.History = r.Past.History.with(p, held, at, end, by)
	return r
}

// giveBack returns the record of a token that came back at the given instant, and has to rest.
func (r Record) giveBack(cooldown time.Duration, at int64) Record {
	if cooldown > 0 {
		return r.rest(tms.Cooling, at+cooldown.Milliseconds())
	}
	return r.rest(tms.Available, 0)
}

// rest returns the record without a lease.
func (r Record) rest(state tms.State, until int64) Record {
	return Record{State: state, Seen: r.Seen, Until: until, Past: r.Past, Metadata: r.Metadata}
}

// Touch returns the record after a sign of life at now. A quarantined token's clock stands still.
func (r Record) Touch(p Terms, now int64) Record {
	switch {
	case r.State == tms.Quarantined:
	case r.mayBeHeld(p, now):
		r.Seen = p.oldSide()
	default:
		r.Seen = now
	}
	return r
}

// mayBeHeld reports whether a sign of life says nothing of who holds the token.
func (r Record) mayBeHeld(p Terms, now int64) bool {
	if r.State == tms.Assigned {
		return p.Settles(now) && r.Handed() && p.Inherited(r.Lease)
	}
	return p.Settles(now) && r.Seen < p.Taken
}

// Assign returns the record of an available token under a new lease: its ID, fence and client are given, for ttl, or
// for the pool's lease TTL if that is zero, and never for more than the pool's longest lease.
func (r Record) Assign(p Terms, now int64, l Lease, ttl time.Duration) Record {
	if ttl == 0 {
		ttl = p.LeaseTTL
	}
	if p.MaxLease > 0 {
		ttl = min(ttl, p.MaxLease)
	}
	l.AssignedAt, l.TTL, l.Handed = now, p.cut(p.bound(ttl.Milliseconds())), false
	return Record{State: tms.Assigned, Seen: now, Until: now + l.TTL, Lease: l, Past: r.Past, Metadata: r.Metadata}
}

// Hand returns the record of an available token that is kept for somebody who waits to pick it up. That is no sign of
// life.
func (r Record) Hand(now int64, l Lease) Record {
	l.Handed = true
	return Record{State: tms.Assigned, Seen: r.Seen, Until: PickupEnd(now), Lease: l, Past: r.Past,
		Metadata: r.Metadata}
}

// TakeBack returns the record of a handed token that was not picked up, as if it had never been handed.
func (r Record) TakeBack() Record { return r.rest(tms.Available, 0) }

// KeepAlive returns the record after a keep-alive of a token that lives at now.
func (r Record) KeepAlive(p Terms, now int64, key tms.LeaseKey) (Record, error) {
	if err := r.mayAct(p, key); err != nil || r.State != tms.Assigned {
		return r.Touch(p, now), err
	}
	ttl := r.Lease.TTL
	if key.TTL > 0 {
		ttl = key.TTL.Milliseconds()
	}
	end := now + p.cut(p.bound(ttl))
	if p.MaxLease > 0 {
		longest := r.Lease.AssignedAt + p.MaxLease.Milliseconds()
		if r.Until >= longest || longest <= now {
			return r, tms.ErrMaxLeaseExceeded
		}
		end = min(end, longest)
	}
	r.Until = max(r.Until, end)
	return r.Touch(p, now), nil
}

// Unblock returns the record after an unblock of a token that lives at now.
func (r Record) Unblock(p Terms, now int64, key tms.LeaseKey) (Record, error) {
	if err := r.mayAct(p, key); err != nil {
		return r, err
	}
	switch {
	case key.Quarantine:
		return r.putAside(p, now, force(key)), nil
	case r.State != tms.Assigned:
		return r, tms.ErrNotAssigned
	case key.Cooldown == nil:
		return r.Release(p, p.Cooldown, now, force(key)), nil
	case p.TokenTTL > 0 && *key.Cooldown >= p.TokenTTL:
		return r, TooLongARest()
	case key.Strict && *key.Cooldown > p.Cooldown:
		return r, RestOfOnesOwn()
	}
	return r.Release(p, *key.Cooldown, now, force(key)), nil
}

// force returns the name of the key that ends a lease without its lease_id.
func force(key tms.LeaseKey) string {
	if key.LeaseID != "" {
		return ""
	}
	return key.By
}

// putAside returns the record of a token that is quarantined at now.
func (r Record) putAside(p Terms, now int64, by string) Record {
	switch r.State {
	case tms.Quarantined:
		return r
	case tms.Assigned:
		return r.rest(tms.Quarantined, now).after(p, r, now, tms.EndQuarantined, by)
	}
	r = r.rest(tms.Quarantined, now)
	r.Past.Since = now
	return r
}

// Release returns the record of an assigned token that its client gives back at now, and that has to rest. By is the
// key that does so by force, if one does.
func (r Record) Release(p Terms, cooldown time.Duration, now int64, by string) Record {
	lease := r.Lease
	r = r.giveBack(cooldown, now).after(p, r, now, tms.EndReleased, by)
	r.Seen = p.Born(now, !p.Inherited(lease)) // of an inherited lease its holder may have let go before
	return r
}

// Restore returns the record of a quarantined token that is brought back at now.
func (r Record) Restore(p Terms, now int64) (Record, error) {
	if r.State != tms.Quarantined {
		return r, tms.ErrNotQuarantined
	}
	r = r.rest(tms.Available, 0)
	r.Seen, r.Past.Since = p.Born(now, false), now
	return r, nil
}

// Delete reports whether the token, which lives, may be deleted with this key.
func (r Record) Delete(p Terms, key tms.LeaseKey) error { return r.mayAct(p, key) }

// Lookup refuses a key whose lease_id is not that of the present lease. Without one it lets anybody look.
func (r Record) Lookup(key tms.LeaseKey) error {
	if key.LeaseID != "" && key.LeaseID != r.Lease.ID {
		return tms.ErrLeaseLost
	}
	return nil
}

// mayAct refuses a key that is not that of the present lease, or that names none where the pool requires it.
func (r Record) mayAct(p Terms, key tms.LeaseKey) error {
	if err := r.Lookup(key); err != nil {
		return err
	}
	switch {
	case key.LeaseID == "" && r.Handed():
		return OnItsWay()
	case key.LeaseID == "" && r.State == tms.Assigned && (p.RequireLeaseID || key.Strict):
		return tms.ErrNotHolder
	}
	return nil
}

// Token returns the record in the words of the contract, as it stands at now. The lease's ID is left out unless reveal
// is set: only the caller who proved to hold it, or was just given it, may see it.
func (r Record) Token(pool, value string, p Terms, now int64, reveal bool) tms.Token {
	t := tms.Token{Pool: pool, Value: value, State: r.State, Metadata: maps.Clone(r.Metadata)}
	if r.State != tms.Quarantined {
		t.ExpiresAt = Instant(r.tokenClock(p))
	}
	switch r.State {
	case tms.Cooling:
		t.ReadyAt = Instant(r.Until)
	case tms.Assigned:
		t.Lease = r.lease(now, reveal)
	}
	return t
}

// WithPast returns the token with what the record remembers of its leases.
func (r Record) WithPast(t tms.Token) tms.Token {
	t.Past = &tms.Past{Assigned: r.Past.Leases, Expired: r.Past.Expired, LastClient: tms.OwnerText(r.Past.Client)}
	since := r.Past.Since
	if r.State == tms.Assigned && !r.Handed() {
		t.Past.Assigned++
		t.Past.LastClient, since = tms.OwnerText(r.Lease.ClientID), r.Lease.AssignedAt
	}
	if since > 0 {
		t.Past.Since = Instant(since)
	}
	return t
}

// WithHistory returns the token, which has its past, with as much of its history as the pool remembers.
func (r Record) WithHistory(t tms.Token, p Terms) tms.Token {
	t.Past.Ended = r.Past.History.leases(p.History)
	return t
}

func (r Record) lease(now int64, reveal bool) *tms.Lease {
	l := &tms.Lease{ExpiresAt: Instant(r.Until), TTL: time.Duration(r.Until-now) * time.Millisecond}
	l.Holder, l.ClientID = tms.Owner(r.Lease.ClientID)
	if !r.Handed() { // before that the lease has not begun
		l.Fence, l.AssignedAt = r.Lease.Fence, Instant(r.Lease.AssignedAt)
	}
	if reveal {
		l.ID = r.Lease.ID
	}
	return l
}

// Shift returns the record with all its instants moved on by so many ms, which turns those of a pool's clock into
// wall-clock time.
func (r Record) Shift(by int64) Record {
	for _, at := range []*int64{&r.Seen, &r.Until, &r.Lease.AssignedAt, &r.Past.Since} {
		if *at != 0 { // which says that there is none
			*at += by
		}
	}
	return r
}

// Instant returns ms as a time in UTC, and the zero time for [Never].
func Instant(ms int64) time.Time {
	if ms == Never {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
