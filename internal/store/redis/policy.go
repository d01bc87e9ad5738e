package redis

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	tms "github.com/manankarani/token-manager"
)

// policy is a policy, or a change of one, as JSON that tms.lua reads and writes. Durations are milliseconds.
type policy struct {
	MaxTokens      *int               `json:"max_tokens,omitempty"`
	LeaseTTL       *millis            `json:"lease_ttl_ms,omitempty"`
	MaxLease       *millis            `json:"max_lease_ms,omitempty"`
	TokenTTL       *millis            `json:"token_ttl_ms,omitempty"`
	Grace          *millis            `json:"grace_ms,omitempty"`
	Cooldown       *millis            `json:"cooldown_ms,omitempty"`
	OnLeaseExpiry  *tms.OnLeaseExpiry `json:"on_lease_expiry,omitempty"`
	Selection      *tms.Selection     `json:"selection,omitempty"`
	RequireLeaseID *bool              `json:"require_lease_id,omitempty"`
	Paused         *bool              `json:"paused,omitempty"`

	MaxLeasesPerClient *int    `json:"max_leases_per_client,omitempty"`
	Labels             *labels `json:"labels,omitempty"`
	RequestTTL         *millis `json:"request_ttl_ms,omitempty"`
}

// labels are labels that read and write as one text, in order, with a line each: the JSON of Redis does not know an
// empty list from an empty map.
type labels []string

func (l labels) MarshalJSON() ([]byte, error) {
	return json.Marshal(strings.Join(slices.Sorted(slices.Values(l)), "\n"))
}

func (l *labels) UnmarshalJSON(text []byte) error {
	var joined string
	err := json.Unmarshal(text, &joined)
	*l = strings.FieldsFunc(joined, func(r rune) bool { return r == '\n' })
	return err
}

// millis is a duration that reads and writes as a number of milliseconds.
type millis time.Duration

func (m millis) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(m).Milliseconds()) }

func (m *millis) UnmarshalJSON(text []byte) error {
	var n int64
	err := json.Unmarshal(text, &n)
	*m = millis(n) * millis(time.Millisecond)
	return err
}

// encodeChange returns the change as JSON.
func encodeChange(c tms.PolicyChange) string {
	text, _ := json.Marshal(policy{ // numbers, strings and booleans cannot fail
		MaxTokens:      c.MaxTokens,
		LeaseTTL:       (*millis)(c.LeaseTTL),
		MaxLease:       (*millis)(c.MaxLease),
		TokenTTL:       (*millis)(c.TokenTTL),
		Grace:          (*millis)(c.Grace),
		Cooldown:       (*millis)(c.Cooldown),
		OnLeaseExpiry:  c.OnLeaseExpiry,
		Selection:      c.Selection,
		RequireLeaseID: c.RequireLeaseID,
		Paused:         c.Paused,

		MaxLeasesPerClient: c.MaxLeasesPerClient,
		Labels:             (*labels)(c.Labels),
		RequestTTL:         (*millis)(c.RequestTTL),
	})
	return string(text)
}

// encodePolicy returns the whole policy as JSON.
func encodePolicy(p tms.Policy) string {
	return encodeChange(tms.PolicyChange{
		MaxTokens:      &p.MaxTokens,
		LeaseTTL:       &p.LeaseTTL,
		MaxLease:       &p.MaxLease,
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
	})
}

// decodePolicy reads a policy. What it does not name is as in [tms.DefaultPolicy].
func decodePolicy(text string) (tms.Policy, error) {
	var p policy
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return tms.Policy{}, err
	}
	return tms.PolicyChange{
		MaxTokens:      p.MaxTokens,
		LeaseTTL:       (*time.Duration)(p.LeaseTTL),
		MaxLease:       (*time.Duration)(p.MaxLease),
		TokenTTL:       (*time.Duration)(p.TokenTTL),
		Grace:          (*time.Duration)(p.Grace),
		Cooldown:       (*time.Duration)(p.Cooldown),
		OnLeaseExpiry:  p.OnLeaseExpiry,
		Selection:      p.Selection,
		RequireLeaseID: p.RequireLeaseID,
		Paused:         p.Paused,

		MaxLeasesPerClient: p.MaxLeasesPerClient,
		Labels:             (*[]string)(p.Labels),
		RequestTTL:         (*time.Duration)(p.RequestTTL),
	}.Apply(tms.DefaultPolicy()), nil
}

// encodeMetadata returns metadata as JSON, "" for none.
func encodeMetadata(metadata map[string]string) string {
	if len(metadata) == 0 {
		return ""
	}
	text, _ := json.Marshal(metadata) // strings cannot fail
	return string(text)
}

func decodeMetadata(text string) (metadata map[string]string, err error) {
	err = json.Unmarshal([]byte(text), &metadata)
	return metadata, err
}
