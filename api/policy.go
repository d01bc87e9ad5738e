package api

import (
	"reflect"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Policy is a pool's policy on the wire and in the configuration file. In a request a field that is left out keeps its
// value; an answer has all of them.
type Policy struct {
	MaxTokens      *int               `json:"max_tokens,omitzero"`
	LeaseTTL       *Duration          `json:"lease_ttl,omitzero"`
	MaxLease       *Duration          `json:"max_lease,omitzero"`
	TokenTTL       *Duration          `json:"token_ttl,omitzero"`
	Grace          *Duration          `json:"grace,omitzero"`
	Cooldown       *Duration          `json:"cooldown,omitzero"`
	OnLeaseExpiry  *tms.OnLeaseExpiry `json:"on_lease_expiry,omitzero"`
	Selection      *tms.Selection     `json:"selection,omitzero"`
	RequireLeaseID *bool              `json:"require_lease_id,omitzero"`
	Paused         *bool              `json:"paused,omitzero"`

	MaxLeasesPerClient *int      `json:"max_leases_per_client,omitzero"`
	Labels             *[]string `json:"labels,omitzero"`
	RequestTTL         *Duration `json:"request_ttl,omitzero"`
}

// NewPolicy returns the policy with every field set.
func NewPolicy(p tms.Policy) Policy {
	return PolicyOf(tms.PolicyChange{
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

// PolicyOf returns the policy with the fields of the change.
func PolicyOf(c tms.PolicyChange) Policy {
	return Policy{
		MaxTokens:      c.MaxTokens,
		LeaseTTL:       (*Duration)(c.LeaseTTL),
		MaxLease:       (*Duration)(c.MaxLease),
		TokenTTL:       (*Duration)(c.TokenTTL),
		Grace:          (*Duration)(c.Grace),
		Cooldown:       (*Duration)(c.Cooldown),
		OnLeaseExpiry:  c.OnLeaseExpiry,
		Selection:      c.Selection,
		RequireLeaseID: c.RequireLeaseID,
		Paused:         c.Paused,

		MaxLeasesPerClient: c.MaxLeasesPerClient,
		Labels:             c.Labels,
		RequestTTL:         (*Duration)(c.RequestTTL),
	}
}

// without returns the policy without the fields that the other has alike.
func (p Policy) without(other Policy) Policy {
	fields, others := reflect.ValueOf(&p).Elem(), reflect.ValueOf(other)
	for i := range fields.NumField() {
		if reflect.DeepEqual(fields.Field(i).Interface(), others.Field(i).Interface()) {
			fields.Field(i).SetZero()
		}
	}
	return p
}

// Change returns the change that the policy asks for. It checks nothing: [tms.PolicyChange.Validate] does.
func (p Policy) Change() tms.PolicyChange {
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
		Labels:             p.Labels,
		RequestTTL:         (*time.Duration)(p.RequestTTL),
	}
}
