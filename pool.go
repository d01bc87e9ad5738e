package tms

import (
	"slices"
	"strings"
	"time"
)

// DefaultPool is the pool of a request that names none. It always exists.
const DefaultPool = "default"

// Selection says which of a pool's available tokens the next assignment takes. The age of an available token counts
// from its last sign of life; tokens of the same millisecond are ordered by their value.
type Selection string

const (
	SelectRandom Selection = "random" // any, each as likely as the other
	SelectFIFO   Selection = "fifo"   // the one whose last sign of life is longest ago
	SelectLIFO   Selection = "lifo"   // the one whose last sign of life is latest
)

// OnLeaseExpiry says what becomes of a token whose lease ended without an unblock.
type OnLeaseExpiry string

const (
	ExpiryReleases    OnLeaseExpiry = "release"    // it returns to the pool, after the cooldown if there is one
	ExpiryDeletes     OnLeaseExpiry = "delete"     // it is deleted
	ExpiryQuarantines OnLeaseExpiry = "quarantine" // it is put aside until somebody deletes it
)

// Policy is what a pool does with its tokens. Durations count in whole milliseconds.
type Policy struct {
	MaxTokens      int           // most tokens in the pool at once, in any state
	LeaseTTL       time.Duration // how long a lease lasts from its assignment, where the request does not say
	MaxLease       time.Duration // how far a lease may be granted or kept alive, from its assignment; zero: no limit
	MaxTTL         time.Duration // how long a lease lasts at most from its assignment or keep-alive; zero: no limit
	TokenTTL       time.Duration // how long a token lives after its last sign of life; zero: for ever
	Grace          time.Duration // how long after its end a lease may still be revived by a keep-alive
	Cooldown       time.Duration // how long a token rests between its return and its next assignment
	OnLeaseExpiry  OnLeaseExpiry
	Selection      Selection
	RequireLeaseID bool // keep-alive, unblock and delete of an assigned token must name its lease_id
	Paused         bool // assign is refused with ErrPoolPaused; everything else goes on

	// MaxLeasesPerClient is the most live leases of one client_id; zero: no limit. Where it is set, assign must name a
	// client_id, and the pool keeps an index of each client's leases. It can be turned on and off only while no token
	// is assigned.
	MaxLeasesPerClient int

	// Labels are the keys of metadata that an assign can match, in order, at most [MaxLabels]. The pool keeps an index
	// of them. They can be changed only while the pool holds no tokens. Nil: none.
	Labels []string

	// RequestTTL is how long the pool remembers a request that carried a RequestID.
	RequestTTL time.Duration

	// History is how many leases that have ended the pool remembers of each token, at most [MaxHistory]; zero: none. A
	// lower one forgets those beyond it at once, for who asks, and where they lie with the token's next lease.
	History int
}

// DefaultPolicy returns the policy of a pool for which nothing else was said.
func DefaultPolicy() Policy {
	return Policy{
		MaxTokens:     1_000_000,
		LeaseTTL:      time.Minute,
		TokenTTL:      5 * time.Minute,
		OnLeaseExpiry: ExpiryReleases,
		Selection:     SelectRandom,
		RequestTTL:    10 * time.Minute,
		History:       10,
	}
}

// PolicyChange names the parts of a policy that are to be set. A nil field is left as it is: as it was in a pool that
// exists, as in [DefaultPolicy] in a new one. The zero value changes nothing. Its tags are the names of the fields
// wherever a policy is written: on the wire, in the configuration file and in Redis.
type PolicyChange struct {
	If Condition `json:"-"` // on which pools the change is carried out, and no part of the policy

	MaxTokens      *int           `json:"max_tokens,omitzero"`
	LeaseTTL       *time.Duration `json:"lease_ttl,omitzero"`
	MaxLease       *time.Duration `json:"max_lease,omitzero"`
	MaxTTL         *time.Duration `json:"max_ttl,omitzero"`
	TokenTTL       *time.Duration `json:"token_ttl,omitzero"`
	Grace          *time.Duration `json:"grace,omitzero"`
	Cooldown       *time.Duration `json:"cooldown,omitzero"`
	OnLeaseExpiry  *OnLeaseExpiry `json:"on_lease_expiry,omitzero"`
	Selection      *Selection     `json:"selection,omitzero"`
	RequireLeaseID *bool          `json:"require_lease_id,omitzero"`
	Paused         *bool          `json:"paused,omitzero"`

	MaxLeasesPerClient *int           `json:"max_leases_per_client,omitzero"`
	Labels             *[]string      `json:"labels,omitzero"` // in any order
	RequestTTL         *time.Duration `json:"request_ttl,omitzero"`
	History            *int           `json:"history,omitzero"`
}

// Condition says on which pools a change is carried out. It is looked at in the step that would carry it out.
type Condition string

const (
	IfAny     Condition = ""        // it makes a pool that is missing, and changes one that exists
	IfMissing Condition = "missing" // it makes a pool; where there is one it is refused with ErrPoolExists
	IfExists  Condition = "exists"  // it changes a pool; where there is none it is refused with ErrPoolNotFound
)

// Apply returns p with the change's fields set.
func (c PolicyChange) Apply(p Policy) Policy {
	set(&p.MaxTokens, c.MaxTokens)
	set(&p.LeaseTTL, c.LeaseTTL)
	set(&p.MaxLease, c.MaxLease)
	set(&p.MaxTTL, c.MaxTTL)
	set(&p.TokenTTL, c.TokenTTL)
	set(&p.Grace, c.Grace)
	set(&p.Cooldown, c.Cooldown)
	set(&p.OnLeaseExpiry, c.OnLeaseExpiry)
	set(&p.Selection, c.Selection)
	set(&p.RequireLeaseID, c.RequireLeaseID)
	set(&p.Paused, c.Paused)
	set(&p.MaxLeasesPerClient, c.MaxLeasesPerClient)
	set(&p.RequestTTL, c.RequestTTL)
	set(&p.History, c.History)
	if c.Labels != nil {
		p.Labels = slices.Sorted(slices.Values(*c.Labels)) // nil where there are none
	}
	return p
}

// Change returns the change that gives any pool the policy p.
func (p Policy) Change() PolicyChange {
	return PolicyChange{
		MaxTokens:      &p.MaxTokens,
		LeaseTTL:       &p.LeaseTTL,
		MaxLease:       &p.MaxLease,
		MaxTTL:         &p.MaxTTL,
		TokenTTL:       &p.TokenTTL,
		Grace:          &p.Grace,
		Cooldown:       &p.Cooldown,
		OnLeaseExpiry:  &p.OnLeaseExpiry,
		Selection:      &p.Selection,
		RequireLeaseID: &p.RequireLeaseID,
		Paused:         &p.Paused,

		MaxLeasesPerClient: &p.MaxLeasesPerClient,
		Labels:             &p.Labels,
		RequestTTL:         &p.RequestTTL,
		History:            &p.History,
	}
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

// Pool is a named set of tokens under one policy.
type Pool struct {
	Name   string
	Policy Policy
	Was    *Policy // in the answer of PutPool, the policy before; nil where it made the pool, and in all other answers

	// SettlingUntil is when the pool has settled after a takeover, in the answers of Pool and Pools; zero where it has.
	// Until then only those tokens are given that surely nobody holds; see [ErrPoolSettling].
	SettlingUntil time.Time
}

// PoolPage is a part of a listing of pools.
type PoolPage struct {
	Pools []PoolStats
	Next  string // the name after which the next page begins; empty: this was the last
}

// PoolStats is a pool with the sizes of its sets.
type PoolStats struct {
	Pool
	Stats
}

// Stats are the sizes of a pool's sets, and what has expired in it since it was made.
type Stats struct {
	Available, Assigned, Cooling, Quarantined int

	// Waiting is how many stand in the pool's queue; see [Queue].
	Waiting int

	// Expired counts what every server of the store has carried out in this pool, not this one's share.
	Expired ExpiryCounts
}

// Total returns the number of tokens in the pool.
func (s Stats) Total() int { return s.Available + s.Assigned + s.Cooling + s.Quarantined }

// ExpiryCounts says what became of tokens whose clocks ran out.
type ExpiryCounts struct {
	Released    int64 // leases that ended and whose token returned to the pool or went to rest
	Quarantined int64 // leases that ended and whose token was put aside
	Deleted     int64 // tokens that were deleted, by the token clock or by OnLeaseExpiry
}

// Total returns the number of expiries.
func (c ExpiryCounts) Total() int64 { return c.Released + c.Quarantined + c.Deleted }

// Add returns the sums.
func (c ExpiryCounts) Add(o ExpiryCounts) ExpiryCounts {
	return ExpiryCounts{c.Released + o.Released, c.Quarantined + o.Quarantined, c.Deleted + o.Deleted}
}

// Sub returns the differences.
func (c ExpiryCounts) Sub(o ExpiryCounts) ExpiryCounts {
	return ExpiryCounts{c.Released - o.Released, c.Quarantined - o.Quarantined, c.Deleted - o.Deleted}
}

// Expired is what one sweep of a pool did and when the next one has work.
type Expired struct {
	ExpiryCounts

	Now     time.Time     // the store's clock at this step
	NextDue time.Time     // when the next deadline passes; before Now: more is due already; zero: nothing will be due
	Overdue time.Duration // how long the oldest deadline had passed when the sweep began
}

// ValidatePoolName refuses a pool name outside [a-z0-9][a-z0-9._-]{0,62}.
func ValidatePoolName(field, name string) error {
	if name == "" || len(name) > MaxPoolName {
		return Invalid(field, "must have 1 to %d characters", MaxPoolName)
	}
	for i := range len(name) {
		if !poolNameByte(name[i], i == 0) {
			return Invalid(field, "must be a-z, 0-9, '.', '_' or '-', and begin with a letter or digit")
		}
	}
	return nil
}

func poolNameByte(b byte, first bool) bool {
	alnum := 'a' <= b && b <= 'z' || '0' <= b && b <= '9'
	return alnum || !first && (b == '.' || b == '_' || b == '-')
}

// Validate refuses a change with a value outside the limits and names the field as it is called on the wire.
func (c PolicyChange) Validate() error {
	if c.MaxTokens != nil && (*c.MaxTokens < 1 || *c.MaxTokens > MaxMaxTokens) {
		return Invalid("max_tokens", "must be 1 to %d", MaxMaxTokens)
	}
	if c.MaxLeasesPerClient != nil && (*c.MaxLeasesPerClient < 0 || *c.MaxLeasesPerClient > MaxMaxTokens) {
		return Invalid("max_leases_per_client", "must be 0 to %d", MaxMaxTokens)
	}
	if c.History != nil && (*c.History < 0 || *c.History > MaxHistory) {
		return Invalid("history", "must be 0 to %d", MaxHistory)
	}
	if err := c.validateLabels(); err != nil {
		return err
	}
	for _, d := range []struct {
		field  string
		value  *time.Duration
		zeroOK bool
	}{
		{"lease_ttl", c.LeaseTTL, false},
		{"max_lease", c.MaxLease, true},
		{"max_ttl", c.MaxTTL, true},
		{"token_ttl", c.TokenTTL, true},
		{"grace", c.Grace, true},
		{"cooldown", c.Cooldown, true},
		{"request_ttl", c.RequestTTL, false},
	} {
		if d.value == nil || d.zeroOK && *d.value == 0 {
			continue
		}
		if err := ValidateTTL(d.field, *d.value); err != nil {
			return err
		}
	}
	if err := oneOf("on_lease_expiry", c.OnLeaseExpiry, ExpiryReleases, ExpiryDeletes, ExpiryQuarantines); err != nil {
		return err
	}
	return oneOf("selection", c.Selection, SelectRandom, SelectFIFO, SelectLIFO)
}

func (c PolicyChange) validateLabels() error {
	if c.Labels == nil {
		return nil
	}
	if len(*c.Labels) > MaxLabels {
		return Invalid("labels", "must be at most %d keys, has %d", MaxLabels, len(*c.Labels))
	}
	for i, label := range *c.Labels {
		if label == "" || slices.Contains((*c.Labels)[:i], label) {
			return Invalid("labels", "must be different keys, none of them empty")
		}
		if err := validateText("labels", label, MaxLabelBytes); err != nil {
			return err
		}
	}
	return nil
}

func oneOf[T ~string](field string, value *T, allowed ...T) error {
	if value == nil || slices.Contains(allowed, *value) {
		return nil
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
	}
	last := len(names) - 1
	return Invalid(field, "must be %s or %s", strings.Join(names[:last], ", "), names[last])
}
