package tms

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"time"
)

// Lease is one client's exclusive right to a token until an instant.
type Lease struct {
	// ID is the unguessable proof of this lease, new at every assignment. Only Assign, and a KeepAlive that named it,
	// give it; it is empty everywhere else.
	ID string

	// Fence grows with every assignment of the token and is never issued twice, whatever restarts or failovers come
	// between, so that the protected resource can refuse the smaller one. It is below 2^53.
	Fence int64

	Holder     string    // the name of the key with which it was taken; empty: it was taken without one
	ClientID   string    // who holds the lease, in the caller's words; may be empty
	AssignedAt time.Time // when the lease began
	ExpiresAt  time.Time // when the lease clock runs out

	// TTL is what was left of the lease at the instant of the step. A client counts it from before it sent its request,
	// on its own monotonic clock. It is zero or negative while a lease lives on in its grace.
	TTL time.Duration
}

// Who returns who holds the lease as people read it: "holder/client_id".
func (l Lease) Who() string { return OwnerText(Owned(l.Holder, l.ClientID)) }

// AssignRequest asks for tokens for one client.
type AssignRequest struct {
	ClientID string        // who asks, in the caller's words, or as [Owned] has it; may be empty
	Count    int           // how many tokens, all or none; zero: one
	TTL      time.Duration // of the leases, at most the pool's MaxTTL and MaxLease; zero: the pool's LeaseTTL

	// Prefer names a token that is to be the first of those given, if it is available and suits Match. Empty: none is.
	Prefer string

	// Match gives only tokens whose metadata has these values. Its keys must be labels of the pool. Nil: any token. It
	// cannot be combined with Count above one where the request waits.
	Match map[string]string

	// RequestID makes the request safe to repeat: see [Store.Assign]. Empty: a repeat is another request.
	RequestID string

	// Wait is how long the request may wait its turn, in whole milliseconds. Only a store that says so heeds it, as one
	// that internal/wait wraps and the Go client do; others answer at once.
	Wait time.Duration

	// Ticket is the request's place in the pool's queue: see [Queue]. Empty: it does not queue.
	Ticket string
}

// AssignResult answers one AssignRequest: either tokens, each with its lease, or a refusal.
type AssignResult struct {
	Tokens []Token
	Err    error
}

// LeaseKey names a token and, where LeaseID is set, the lease that the operation is meant for.
type LeaseKey struct {
	Token   string
	LeaseID string // empty: the token alone is the proof, unless the pool says RequireLeaseID
	// KeepAlive only: how long the lease is to last from now, at most the pool's MaxTTL; zero: as long as it was
	// assigned for
	TTL time.Duration

	// Quarantine, in Unblock only, puts the token aside instead of returning it to the pool: it is broken. Without a
	// LeaseID it does so to a token that nobody holds, too.
	Quarantine bool

	// Cooldown, in Unblock only, is how long the token rests, in place of the pool's cooldown. Nil: as long as the pool
	// says; zero: not at all. It must be below the pool's TokenTTL, where that is not zero, so that the token outlives
	// it, and of a Strict key at most the pool's.
	Cooldown *time.Duration

	// Strict means that the token alone is no proof, as in a pool that says RequireLeaseID: without a LeaseID the
	// operation is refused with [ErrNotHolder] where somebody holds the token. A Cooldown above the pool's is refused
	// with [ErrNotPermitted]. It is not for the wire.
	Strict bool

	// By, in Unblock without a LeaseID, is the name of the key with which a lease is ended by force, for the token's
	// history. It is not for the wire.
	By string

	// History, in Token only, asks for the leases of the token that have ended: see [Past.Ended].
	History bool

	// Brief, in KeepAlive and Unblock, says that it is enough to know whether it was done and for how long the lease
	// lasts at least. Then a store may leave all of the token out but its Value and the TTL of its Lease, which spares
	// most of the work of a large batch.
	Brief bool
}

// TokenResult answers one LeaseKey: either the token as it now stands, or a refusal.
type TokenResult struct {
	Token Token
	Err   error
}

// Validate refuses a request outside the limits and names the field as it is called on the wire.
func (r AssignRequest) Validate() error {
	if err := validateText("client_id", r.ClientID, MaxClientIDBytes); err != nil {
		return err
	}
	if r.Count < 0 || r.Count > MaxAssignCount {
		return Invalid("count", "must be 1 to %d", MaxAssignCount)
	}
	if err := r.validateChoice(); err != nil {
		return err
	}
	if err := ValidateRequestID("request_id", r.RequestID); err != nil {
		return err
	}
	return validateOptionalTTL(r.TTL)
}

func (r AssignRequest) validateChoice() error {
	if r.Prefer != "" {
		if err := ValidateToken("prefer", r.Prefer); err != nil {
			return err
		}
	}
	if err := ValidateMetadata("match", r.Match); err != nil {
		return err
	}
	if r.Wait < 0 {
		return Invalid("wait", "must not be negative")
	}
	if r.Wait%time.Millisecond != 0 {
		return Invalid("wait", "must be whole milliseconds")
	}
	if r.Wait > 0 && r.Count > 1 && len(r.Match) > 0 {
		return Invalid("match", "cannot be combined with wait and a count above 1")
	}
	return nil
}

// ValidateRequestID refuses a request_id that is longer than [MaxRequestID], not UTF-8 or not printable. An empty one
// is none.
func ValidateRequestID(field, id string) error { return validateText(field, id, MaxRequestID) }

// Validate refuses a key outside the limits and names the field as it is called on the wire.
func (k LeaseKey) Validate() error {
	if err := ValidateToken("token", k.Token); err != nil {
		return err
	}
	if err := validateText("lease_id", k.LeaseID, MaxLeaseIDBytes); err != nil {
		return err
	}
	if k.Cooldown != nil {
		if err := k.validateCooldown(); err != nil {
			return err
		}
	}
	return validateOptionalTTL(k.TTL)
}

func (k LeaseKey) validateCooldown() error {
	switch {
	case k.Quarantine:
		return Invalid("cooldown", "cannot be combined with quarantine")
	case *k.Cooldown == 0:
		return nil
	}
	return ValidateTTL("cooldown", *k.Cooldown)
}

func validateOptionalTTL(ttl time.Duration) error {
	if ttl == 0 {
		return nil
	}
	return ValidateTTL("ttl", ttl)
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// NewValue returns 128 random bits as 22 base62 characters: the value of a generated token, or a lease's ID. It uses
// [crypto/rand] and is safe for concurrent use.
func NewValue() string {
	var random [16]byte
	rand.Read(random[:])
	return Value(random)
}

// Value returns 128 bits as 22 base62 characters.
func Value(random [16]byte) string {
	high, low := binary.BigEndian.Uint64(random[:8]), binary.BigEndian.Uint64(random[8:])
	var text [22]byte
	for i := len(text) - 1; i >= 0; i-- {
		var digit uint64
		high, digit = high/62, high%62
		low, digit = bits.Div64(digit, low, 62)
		text[i] = base62[digit]
	}
	return string(text[:])
}
