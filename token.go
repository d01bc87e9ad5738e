package tms

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// State is what a token is at an instant. A token is in exactly one state.
type State string

const (
	Available   State = "available"   // it can be assigned
	Assigned    State = "assigned"    // a client holds it, or may still revive its lease
	Cooling     State = "cooling"     // it came back and rests until its cooldown is over
	Quarantined State = "quarantined" // it was put aside; it neither expires nor is assigned
)

// Limits of what a request may carry. A longer or larger one is refused with [ErrInvalidRequest].
const (
	MaxPoolName      = 63          // bytes
	MaxTokenBytes    = 512         // bytes of a token's value
	MaxClientIDBytes = 256         // bytes
	MaxLeaseIDBytes  = 64          // bytes
	MaxMetadataBytes = 4096        // bytes of a token's metadata, keys and values together
	MaxBatch         = 10_000      // tokens or leases in one request
	MaxLabelledBatch = 1_000       // tokens in one request to generate, in a pool with labels
	MaxAssignCount   = 1_000       // tokens of one assignment
	MaxRequestID     = 128         // bytes
	MaxLabels        = 3           // labels of one pool
	MaxLabelBytes    = 64          // bytes of a label
	MaxMaxTokens     = 100_000_000 // tokens in one pool
	MaxHistory       = 100         // leases that have ended, of one token
	MinTTL           = 100 * time.Millisecond
	MaxTTL           = 30 * 24 * time.Hour
)

// Token is one member of a pool as it stood at one instant of the store's clock.
type Token struct {
	Pool      string
	Value     string // what names the token in its pool
	State     State
	Metadata  map[string]string // what the token was brought with; nil where nothing was
	ExpiresAt time.Time         // when the token clock runs out; zero: never. A live lease outlasts it
	ReadyAt   time.Time         // of a cooling token: when it becomes available; zero otherwise
	Lease     *Lease            // of an assigned token; nil otherwise
	Masked    bool              // Value is a mask, the same each time, and Metadata is left out
	Past      *Past             // what was before, in the answers of Token and Tokens; nil in all others
}

// Past is what a pool remembers of a token's leases. It is forgotten when the token is deleted. The zero value is that
// of a token that was never assigned.
type Past struct {
	Assigned   int64  // how often the token was assigned, its present lease included
	Expired    int64  // how many of these leases ended without an unblock
	LastClient string // the client_id of the present or last lease
	// when the present lease began, or else when the last one ended or the token was put aside or restored
	Since time.Time

	// Ended are the leases that have ended, the last one first, as many as the pool remembers: see [Policy.History].
	// Only Token tells, where the key asks for them; nil in all other answers.
	Ended []PastLease
}

// PastLease is a lease that has ended. Its instants are those of the wall clock when it did.
type PastLease struct {
	Fence      int64
	Holder     string    // the name of the key with which it was taken; empty: it was taken without one
	ClientID   string    // who held it, in the caller's words
	AssignedAt time.Time // when it began
	RenewedAt  time.Time // when it was kept alive last, or else when it began
	EndedAt    time.Time // when it had ended; of one that expired, with the pool's grace
	End        End
	By         string // the name of the key that ended it by force, without its lease_id; empty: none did
}

// End is how a lease ended.
type End string

const (
	EndReleased    End = "released"    // it was unblocked, and the token returned to the pool
	EndQuarantined End = "quarantined" // it was unblocked, and the token put aside
	EndExpired     End = "expired"     // nobody kept it alive
)

// GenerateRequest asks for tokens.
type GenerateRequest struct {
	Tokens []NewToken

	// Update gives tokens that the pool has already the metadata that the request brings for them. Those that it brings
	// without any keep theirs.
	Update bool

	// RequestID makes the request safe to repeat: see [Store.Generate]. Empty: a repeat is another request.
	RequestID string
}

// NewToken is a token to be generated.
type NewToken struct {
	// brought by the user: see [ValidateNewToken]; empty: the store draws one with [NewValue]
	Value    string
	Metadata map[string]string // kept with the token; nil: none
}

// Generated is what became of the tokens of one Generate, in the order in which they were asked for.
type Generated struct {
	Tokens    []string
	Created   int       // how many are new
	Existing  int       // how many were there already; generate wound their clocks
	Differing int       // how many of these had other metadata than was brought for them, which an Update has changed
	ExpiresAt time.Time // when their token clocks run out; zero: never
}

// ValidateToken refuses a token value that is empty, longer than [MaxTokenBytes], not UTF-8 or holds a control
// character.
func ValidateToken(field, value string) error {
	if value == "" {
		return Invalid(field, "must be given")
	}
	return validateText(field, value, MaxTokenBytes)
}

// ValidateNewToken refuses the value of a token to be generated that [ValidateToken] refuses, or that begins or ends
// with a blank: it would be told apart by nobody from the value without. Of a token that exists it is no limit.
func ValidateNewToken(field, value string) error {
	if strings.TrimSpace(value) != value {
		return Invalid(field, "must not begin or end with a blank")
	}
	return ValidateToken(field, value)
}

func validateText(field, text string, most int) error {
	switch {
	case len(text) > most:
		return Invalid(field, "must have at most %d bytes, has %d", most, len(text))
	case !utf8.ValidString(text):
		return Invalid(field, "must be UTF-8")
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return Invalid(field, "must be printable, holds %U", r)
		}
	}
	return nil
}

// ValidateMetadata refuses metadata whose keys and values have more than [MaxMetadataBytes] together, or an empty key.
func ValidateMetadata(field string, metadata map[string]string) error {
	size := 0
	for key, value := range metadata {
		if key == "" {
			return Invalid(field, "must not have an empty key")
		}
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return Invalid(field, "must be UTF-8")
		}
		size += len(key) + len(value)
	}
	if size > MaxMetadataBytes {
		return Invalid(field, "must have at most %d bytes, has %d", MaxMetadataBytes, size)
	}
	return nil
}

// ValidateTTL refuses a duration outside [MinTTL] to [MaxTTL], or one that is not whole milliseconds.
func ValidateTTL(field string, ttl time.Duration) error {
	if ttl < MinTTL || ttl > MaxTTL {
		return Invalid(field, "must be %v to %v", MinTTL, MaxTTL)
	}
	if ttl%time.Millisecond != 0 {
		return Invalid(field, "must be whole milliseconds")
	}
	return nil
}
