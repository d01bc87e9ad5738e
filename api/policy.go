package api

import (
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
}

// NewPolicy returns the policy with every field set.
func NewPolicy(p tms.Policy) Policy {
	return Policy{
		MaxTokens:      &p.MaxTokens,
		LeaseTTL:       (*Duration)(&p.LeaseTTL),
		MaxLease:       (*Duration)(&p.MaxLease),
		TokenTTL:       (*Duration)(&p.TokenTTL),
		Grace:          (*Duration)(&p.Grace),
		Cooldown:       (*Duration)(&p.Cooldown),
		OnLeaseExpiry:  &p.OnLeaseExpiry,
		Selection:      &p.Selection,
		RequireLeaseID: &p.RequireLeaseID,
		Paused:         &p.Paused,
	}
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
	}
}
