package api

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	tms "github.com/manankarani/token-manager"
)

// GenerateRequest asks for new tokens: Count of them with drawn values, or those of Tokens. The zero value asks for
// one.
type GenerateRequest struct {
	Pool   string          `json:"pool,omitzero"`
	Count  *int            `json:"count,omitzero"`
	Tokens Batch[NewToken] `json:"tokens,omitzero"`

	// Update gives tokens that the pool has already the metadata that is brought for them.
	Update bool `json:"update,omitzero"`

	// RequestID makes the request safe to repeat. It may come as the header [HeaderRequestID] instead.
	RequestID string `json:"request_id,omitzero"`
}

// NewToken is a token to be generated. On the wire it is a string, its value, or an object with the value and metadata;
// an object without the value has one drawn.
type NewToken struct {
	Token    string
	Metadata map[string]string
}

type newTokenObject struct {
	Token    *string           `json:"token,omitzero"`
	Metadata map[string]string `json:"metadata,omitzero"`
}

// UnmarshalJSONFrom reads either form. A value that is given must not be empty.
func (t *NewToken) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	var o newTokenObject
	switch dec.PeekKind() {
	case '"':
		text, err := dec.ReadToken()
		if err != nil {
			return err
		}
		value := text.String()
		o.Token = &value
	case '{':
		if err := json.UnmarshalDecode(dec, &o); err != nil {
			return err
		}
	default:
		return &json.SemanticError{JSONKind: dec.PeekKind()}
	}
	return t.set(o)
}

func (t *NewToken) set(o newTokenObject) error {
	t.Metadata = o.Metadata
	if o.Token == nil {
		return nil
	}
	t.Token = *o.Token
	if t.Token == "" {
		return tms.Invalid("", "must not be empty")
	}
	return nil
}

// MarshalJSONTo writes the shorter form that says all.
func (t NewToken) MarshalJSONTo(enc *jsontext.Encoder) error {
	if t.Metadata == nil && t.Token != "" {
		return enc.WriteToken(jsontext.String(t.Token))
	}
	o := newTokenObject{Metadata: t.Metadata}
	if t.Token != "" {
		o.Token = &t.Token
	}
	return json.MarshalEncode(enc, &o)
}

// AssignRequest asks for Count tokens for one client; a nil Count asks for one.
type AssignRequest struct {
	Pool     string    `json:"pool,omitzero"`
	ClientID string    `json:"client_id,omitzero"`
	TTL      *Duration `json:"ttl,omitzero"`
	Count    *int      `json:"count,omitzero"`

	Wait   *Duration         `json:"wait,omitzero"`   // how long the request may wait its turn; nil: not at all
	Prefer string            `json:"prefer,omitzero"` // a token that is to be among those given, if it is available
	Match  map[string]string `json:"match,omitzero"`  // what the metadata of those given must have

	// RequestID makes the request safe to repeat. It may come as the header [HeaderRequestID] instead.
	RequestID string `json:"request_id,omitzero"`
}

// KeepAliveKey names a token and its lease, and how long the lease is to last from now.
type KeepAliveKey struct {
	Token   string    `json:"token,omitzero"`
	LeaseID string    `json:"lease_id,omitzero"`
	TTL     *Duration `json:"ttl,omitzero"`
}

// KeepAliveRequest is either one key or a batch of Leases.
type KeepAliveRequest struct {
	Pool string `json:"pool,omitzero"`
	KeepAliveKey
	Leases Batch[KeepAliveKey] `json:"leases,omitzero"`
	Answer AnswerForm          `json:"answer,omitzero"`
}

// AnswerForm says how a batch is answered.
type AnswerForm string

const (
	AnswerFull  AnswerForm = "full"  // a result for each key; the default
	AnswerShort AnswerForm = "short" // as Short
)

// Outcome says what becomes of a token that is unblocked.
type Outcome string

const (
	OutcomeRelease    Outcome = "release"    // it returns to the pool; the default
	OutcomeQuarantine Outcome = "quarantine" // it is put aside
)

// UnmarshalText refuses any other text.
func (o *Outcome) UnmarshalText(text []byte) error {
	*o = Outcome(text)
	if *o != OutcomeRelease && *o != OutcomeQuarantine {
		return tms.Invalid("", "must be %s or %s", OutcomeRelease, OutcomeQuarantine)
	}
	return nil
}

// UnblockKey names a token and its lease, and what is to become of the token. A nil Cooldown is the pool's.
type UnblockKey struct {
	Token    string    `json:"token,omitzero"`
	LeaseID  string    `json:"lease_id,omitzero"`
	Outcome  Outcome   `json:"outcome,omitzero"`
	Cooldown *Duration `json:"cooldown,omitzero"`
}

// UnblockRequest is one key, a batch of Leases, or a ClientID or a RequestID alone, which means all leases of that
// client, or all that an assign with that request_id was given or waits for.
type UnblockRequest struct {
	Pool string `json:"pool,omitzero"`
	UnblockKey
	Leases    Batch[UnblockKey] `json:"leases,omitzero"`
	Answer    AnswerForm        `json:"answer,omitzero"`
	ClientID  string            `json:"client_id,omitzero"`
	RequestID string            `json:"request_id,omitzero"`
}

// Key names a token and its lease.
type Key struct {
	Token   string `json:"token,omitzero"`
	LeaseID string `json:"lease_id,omitzero"`
}

// DeleteRequest is either one key or a batch of Leases.
type DeleteRequest struct {
	Pool string `json:"pool,omitzero"`
	Key
	Leases Batch[Key] `json:"leases,omitzero"`
}

// RestoreRequest asks to return quarantined tokens to the pool: either one Token or a batch of Tokens.
type RestoreRequest struct {
	Pool   string        `json:"pool,omitzero"`
	Token  string        `json:"token,omitzero"`
	Tokens Batch[string] `json:"tokens,omitzero"`
}

// LookupRequest asks for one token, or with a LeaseID for what one holds.
type LookupRequest struct {
	Pool    string `json:"pool,omitzero"`
	Token   string `json:"token"`
	LeaseID string `json:"lease_id,omitzero"`
}

// Generated answers a GenerateRequest. Token is there when one token was asked for.
type Generated struct {
	Pool      string   `json:"pool"`
	Token     string   `json:"token,omitzero"`
	Tokens    []string `json:"tokens"`
	Created   int      `json:"created"`
	Existing  int      `json:"existing"`
	Differing int      `json:"differing,omitzero"`
	ExpiresAt Time     `json:"expires_at,omitzero"`
	Warnings  []string `json:"warnings,omitzero"` // see [tms.GenerateRequest.Warnings]
}

// Token is a token as every answer shows it; fields that do not apply are left out. The answers of assign and
// keep-alive show a lease: an assigned token with renew_after_ms and, for its holder, lease_id. No other answer has
// them.
type Token struct {
	Pool           string            `json:"pool"`
	Token          string            `json:"token"`
	Masked         bool              `json:"masked,omitzero"`
	State          tms.State         `json:"state,omitzero"`
	LeaseID        string            `json:"lease_id,omitzero"`
	Fence          int64             `json:"fence,omitzero"`
	Holder         string            `json:"holder,omitzero"`
	ClientID       string            `json:"client_id,omitzero"`
	AssignedAt     Time              `json:"assigned_at,omitzero"`
	LeaseExpiresAt Time              `json:"lease_expires_at,omitzero"`
	TTLMS          int64             `json:"ttl_ms,omitzero"`
	RenewAfterMS   int64             `json:"renew_after_ms,omitzero"`
	ReadyAt        Time              `json:"ready_at,omitzero"`
	ExpiresAt      Time              `json:"expires_at,omitzero"`
	Metadata       map[string]string `json:"metadata,omitzero"`
	// only in the answer of delete, with nothing but the names
	Deleted bool `json:"deleted,omitzero"`

	*Past // only in the answers of lookup and of listings
}

// Past is what a pool remembers of a token's leases.
type Past struct {
	AssignedCount int64  `json:"assigned_count"`
	ExpiredCount  int64  `json:"expired_count"`
	Since         Time   `json:"since,omitzero"`
	LastClientID  string `json:"last_client_id,omitzero"`

	// only in the answer of token-history: the last one first; nil in all others
	History []PastLease `json:"history,omitzero"`
}

// PastLease is a lease that has ended.
type PastLease struct {
	Fence      int64   `json:"fence"`
	Holder     string  `json:"holder,omitzero"`
	ClientID   string  `json:"client_id,omitzero"`
	AssignedAt Time    `json:"assigned_at"`
	RenewedAt  Time    `json:"renewed_at"`
	EndedAt    Time    `json:"ended_at"`
	End        tms.End `json:"end"`
	EndedBy    string  `json:"ended_by,omitzero"` // by force
}

// Assigned answers an AssignRequest: a lease where one token was asked for, and Leases otherwise.
type Assigned struct {
	*Token
	Leases   []Token  `json:"leases,omitzero"`
	Warnings []string `json:"warnings,omitzero"` // see [tms.AssignRequest.Warnings]
}

// Results answers a batch, in the order of its keys.
type Results struct {
	Results []Result `json:"results"`
}

// Short answers a batch that asked for [AnswerShort]: what was done, and what was refused.
type Short struct {
	Done    int       `json:"done"`
	Refused []Refused `json:"refused,omitzero"`

	// Of a keep-alive: for how long each of the leases lasts at least, and how long to wait with the next one. Zero:
	// none was renewed.
	TTLMS        int64 `json:"ttl_ms,omitzero"`
	RenewAfterMS int64 `json:"renew_after_ms,omitzero"`
}

// Refused is a key of a batch, by its place from 0 on, and why it was refused.
type Refused struct {
	Index   int      `json:"index"`
	Problem *Problem `json:"problem"`
}

// Result is either a token or a problem. Its Err is nil where it is a token.
type Result struct {
	*Token
	*Problem
}

// ClientUnblocked answers an UnblockRequest for all leases of a client.
type ClientUnblocked struct {
	Pool      string `json:"pool"`
	ClientID  string `json:"client_id"`
	Unblocked int    `json:"unblocked"`
}

// RequestUnblocked answers an UnblockRequest for what an assign was given.
type RequestUnblocked struct {
	Pool      string `json:"pool"`
	RequestID string `json:"request_id"`
	Unblocked int    `json:"unblocked"`
}

// Pool is a pool as answers show it. Tokens, Expired and Waiting are left out where only the policy was asked for.
type Pool struct {
	Pool   string `json:"pool"`
	Policy Policy `json:"policy"`
	// of what a change has changed, the values before; nil in a pool that was made
	Was     *Policy  `json:"was,omitzero"`
	Tokens  *Counts  `json:"tokens,omitzero"`
	Expired *Expired `json:"expired,omitzero"`
	Waiting *int     `json:"waiting,omitzero"` // in the pool's queue

	SettlingUntil Time `json:"settling_until,omitzero"` // after a takeover; left out where the pool has settled

	Warnings []string `json:"warnings,omitzero"` // only in the answer of a PUT: see [tms.Pool.Warnings]
}

// Counts are the sizes of a pool's sets.
type Counts struct {
	Available   int `json:"available"`
	Assigned    int `json:"assigned"`
	Cooling     int `json:"cooling"`
	Quarantined int `json:"quarantined"`
	Total       int `json:"total"`
}

// Expired says what has expired in a pool since it was made.
type Expired struct {
	Released    int64 `json:"released"`
	Quarantined int64 `json:"quarantined"`
	Deleted     int64 `json:"deleted"`
}

// PoolDeleted answers the deletion of a pool.
type PoolDeleted struct {
	Pool    string `json:"pool"`
	Deleted bool   `json:"deleted"`
}

// Pools is a page of pools.
type Pools struct {
	Pools      []Pool `json:"pools"`
	NextCursor string `json:"next_cursor,omitzero"`
}

// Tokens is a page of tokens. It may hold fewer than were asked for, or none, and still have a next one.
type Tokens struct {
	Tokens     []Token `json:"tokens"`
	NextCursor string  `json:"next_cursor,omitzero"`
}

// Waiters are those who wait in a pool's queue, in the order in which they joined.
type Waiters struct {
	Waiters []Waiter `json:"waiters"`
}

// Waiter is one of them.
type Waiter struct {
	Place    int               `json:"place"`
	Holder   string            `json:"holder,omitzero"`
	ClientID string            `json:"client_id,omitzero"`
	Since    Time              `json:"since"`
	Count    int               `json:"count"`
	Match    map[string]string `json:"match,omitzero"`
}

// Caller says to a caller who it is to the server.
type Caller struct {
	Key     string   `json:"key,omitzero"` // the name of its key; left out where the server asks for none
	May     []string `json:"may"`          // as configurations have it
	Expires Time     `json:"expires_at,omitzero"`
}

// PutKeyRequest asks to keep a key in the store: all of it but the key itself.
type PutKeyRequest struct {
	Name    string   `json:"name"`
	ID      string   `json:"id"`
	Hash    string   `json:"hash"`
	May     []string `json:"may"`
	Expires Time     `json:"expires_at,omitzero"`
}

// AccessKey is a key as a server lists it.
type AccessKey struct {
	Name    string   `json:"name"`
	ID      string   `json:"id,omitzero"` // left out of one of the configuration
	May     []string `json:"may"`
	Expires Time     `json:"expires_at,omitzero"`
	MadeAt  Time     `json:"made_at,omitzero"`
	UsedAt  Time     `json:"used_at,omitzero"`
}

// Keys answers with all keys of a server.
type Keys struct {
	Keys []AccessKey `json:"keys"`
}

// KeysDeleted answers how many keys were deleted.
type KeysDeleted struct {
	Name    string `json:"name"`
	Deleted int    `json:"deleted"`
}

// Health answers that the server lives, or is ready to serve.
type Health struct {
	Status     string `json:"status"`
	Version    string `json:"version,omitzero"`
	Durability string `json:"durability,omitzero"` // of a ready server: what its answers outlive
}
