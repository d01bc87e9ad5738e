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
}

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

// LookupRequest asks for one token.
type LookupRequest struct {
	Pool  string `json:"pool,omitzero"`
	Token string `json:"token"`
}
