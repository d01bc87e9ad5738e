package tms

import (
	"strings"
	"testing"
	"time"
)

// TestPoliciesAreWarnedOf: each trap is told with the names of what makes it, and nothing is told where there is none.
func TestPoliciesAreWarnedOf(t *testing.T) {
	for _, c := range []struct {
		name   string
		change PolicyChange
		says   string // of the one warning; "": there is none
	}{
		{"the default", PolicyChange{}, ""},
		{"cooldown as long as token_ttl", PolicyChange{Cooldown: new(5 * time.Minute)},
			"cooldown 5m0s is not below token_ttl 5m0s"},
		{"cooldown below token_ttl", PolicyChange{Cooldown: new(5*time.Minute - 1)}, ""},
		{"cooldown of tokens that live for ever", PolicyChange{Cooldown: new(time.Hour),
			TokenTTL: new(time.Duration(0))},
			""},
		{"lease as long as token_ttl", PolicyChange{LeaseTTL: new(5 * time.Minute)},
			"lease_ttl 5m0s, with its grace, is not below"},
		{"lease and grace", PolicyChange{LeaseTTL: new(3 * time.Minute), Grace: new(2 * time.Minute)},
			"lease_ttl 3m0s, with its grace"},
		{"lease that max_lease cuts", PolicyChange{LeaseTTL: new(time.Hour), MaxLease: new(time.Minute)}, ""},
		{"long lease, and quarantine", PolicyChange{LeaseTTL: new(time.Hour), OnLeaseExpiry: new(ExpiryQuarantines)},
			""},
		{"long lease, and delete", PolicyChange{LeaseTTL: new(time.Hour), OnLeaseExpiry: new(ExpiryDeletes)}, ""},
	} {
		told(t, c.name, c.change.Apply(DefaultPolicy()).Warnings(), c.says)
	}
}

func told(t *testing.T, what string, got []string, says string) {
	t.Helper()
	if says == "" && len(got) > 0 || says != "" && (len(got) != 1 || !strings.Contains(got[0], says)) {
		t.Errorf("%s: warned of %q, want %q", what, got, says)
	}
}

func TestALowerMaxLeaseIsWarnedOf(t *testing.T) {
	with := func(d time.Duration) *Policy { return &Policy{MaxLease: d} }
	const says = "max_lease is lower than it was: that ends no lease which stands now"
	for _, c := range []struct {
		name string
		was  *Policy
		is   time.Duration
		says string
	}{
		{"a new pool", nil, time.Minute, ""}, {"turned on", with(0), time.Minute, says},
		{"lowered", with(time.Hour), time.Minute, says},
		{"left", with(time.Minute), time.Minute, ""}, {"raised", with(time.Second), time.Minute, ""},
		{"turned off", with(time.Second), 0, ""},
	} {
		told(t, c.name, Pool{Policy: *with(c.is), Was: c.was}.Warnings(), c.says)
	}
}

func TestOwnValuesThatDieAreWarnedOf(t *testing.T) {
	drawn, own := make([]NewToken, 2), []NewToken{{}, {Value: "KEY-1"}}
	dies := Generated{ExpiresAt: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
	told(t, "drawn values", GenerateRequest{Tokens: drawn}.Warnings(dies), "")
	told(t, "own values that stay", GenerateRequest{Tokens: own}.Warnings(Generated{}), "")
	told(t, "own values", GenerateRequest{Tokens: own}.Warnings(dies), "each is deleted at 2030-01-02T03:04:05Z")
}

func TestALeaseThatOutlastsItsTokenIsWarnedOf(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	lasts := func(d, lives time.Duration) []Token {
		return []Token{{ExpiresAt: now.Add(lives), Lease: &Lease{ExpiresAt: now.Add(d)}}}
	}
	asked := AssignRequest{TTL: time.Hour}
	told(t, "shorter", asked.Warnings(lasts(time.Minute, time.Hour)), "")
	told(t, "as long", asked.Warnings(lasts(time.Hour, time.Hour)), "ttl 1h0m0s is not below the pool's token_ttl")
	told(t, "the pool's own", AssignRequest{}.Warnings(lasts(time.Hour, time.Minute)), "")
	told(t, "tokens that live for ever", asked.Warnings([]Token{{Lease: &Lease{ExpiresAt: now}}}), "")
}
