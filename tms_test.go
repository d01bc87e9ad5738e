package tms_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	tms "github.com/manankarani/token-manager"
)

func TestNewValuesAre22Base62CharactersAndDiffer(t *testing.T) {
	seen := map[string]bool{}
	first := map[byte]bool{}
	for range 10_000 {
		value := tms.NewValue()
		if len(value) != 22 ||
			strings.Trim(value, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "" ||
			seen[value] {
			t.Fatalf("%q is not a new value", value)
		}
		seen[value], first[value[0]] = true, true
	}
	if len(first) != 8 { // 2^128 / 62^21 is 7.8: the first character is 0 to 7
		t.Errorf("the values begin with %d different characters", len(first))
	}
}

func TestARefusalKeepsItsCode(t *testing.T) {
	refusal := tms.Invalid("tokens[3].metadata", "must have at most %d bytes, has %d", 4096, 5000)
	err := fmt.Errorf("generate: %w", refusal)
	if !errors.Is(err, tms.ErrInvalidRequest) || tms.CodeOf(err) != tms.ErrInvalidRequest {
		t.Errorf("the code of %v is %q", err, tms.CodeOf(err))
	}
	if want := "invalid_request: tokens[3].metadata: must have at most 4096 bytes, has 5000"; refusal.Error() != want {
		t.Errorf("the text is %q", refusal.Error())
	}
	if tms.CodeOf(errors.New("lost connection")) != "" || tms.CodeOf(nil) != "" {
		t.Error("an error without a code has one")
	}
}

func TestLimits(t *testing.T) {
	many := strings.Repeat("é", 257)
	for name, test := range map[string]struct {
		err   error
		field string // empty: allowed
	}{
		"pool":                      {tms.ValidatePoolName("pool", "a.b_c-9"), ""},
		"longest pool":              {tms.ValidatePoolName("pool", strings.Repeat("a", 63)), ""},
		"pool of nothing":           {tms.ValidatePoolName("pool", ""), "pool"},
		"pool too long":             {tms.ValidatePoolName("pool", strings.Repeat("a", 64)), "pool"},
		"pool with a capital":       {tms.ValidatePoolName("pool", "Licences"), "pool"},
		"pool that begins with '.'": {tms.ValidatePoolName("pool", ".."), "pool"},
		"token":                     {tms.ValidateToken("token", "+47 900 00 {x}:é"), ""},
		"no token":                  {tms.ValidateToken("token", ""), "token"},
		"token too long":            {tms.ValidateToken("token", many), "token"},
		"token with a newline":      {tms.ValidateToken("token", "a\nb"), "token"},
		"token that is not UTF-8":   {tms.ValidateToken("token", "\xff"), "token"},
		"token of blanks":           {tms.ValidateToken("token", " a "), ""},
		"new token":                 {tms.ValidateNewToken("token", "a  b"), ""},
		"no new token":              {tms.ValidateNewToken("token", ""), "token"},
		"new token begins blank":    {tms.ValidateNewToken("token", " a"), "token"},
		"new token ends blank":      {tms.ValidateNewToken("token", "a "), "token"},
		"new token ends wide blank": {tms.ValidateNewToken("token", "a\u3000"), "token"},
		"new token is a blank":      {tms.ValidateNewToken("token", " "), "token"},
		"no metadata":               {tms.ValidateMetadata("metadata", nil), ""},
		"most metadata": {tms.ValidateMetadata("metadata", map[string]string{"k": strings.Repeat("v", 4095)}),
			""},
		"too much metadata": {tms.ValidateMetadata("metadata", map[string]string{"k": strings.Repeat("v", 4096)}),
			"metadata"},
		"metadata under no key":    {tms.ValidateMetadata("metadata", map[string]string{"": "v"}), "metadata"},
		"shortest ttl":             {tms.ValidateTTL("ttl", 100*time.Millisecond), ""},
		"longest ttl":              {tms.ValidateTTL("ttl", 720*time.Hour), ""},
		"ttl too short":            {tms.ValidateTTL("ttl", 99*time.Millisecond), "ttl"},
		"ttl too long":             {tms.ValidateTTL("ttl", 720*time.Hour+1), "ttl"},
		"ttl between milliseconds": {tms.ValidateTTL("ttl", time.Second+1), "ttl"},
		"assign":                   {tms.AssignRequest{}.Validate(), ""},
		"assign too many":          {tms.AssignRequest{Count: 1001}.Validate(), "count"},
		"assign less than none":    {tms.AssignRequest{Count: -1}.Validate(), "count"},
		"client too long":          {tms.AssignRequest{ClientID: strings.Repeat("c", 257)}.Validate(), "client_id"},
		"assign for no time":       {tms.AssignRequest{TTL: 1}.Validate(), "ttl"},
		"lease":                    {tms.LeaseKey{Token: "a", LeaseID: "b"}.Validate(), ""},
		"lease without token":      {tms.LeaseKey{LeaseID: "b"}.Validate(), "token"},
		"lease_id too long":        {tms.LeaseKey{Token: "a", LeaseID: strings.Repeat("b", 65)}.Validate(), "lease_id"},
		"policy":                   {policy(func(p *tms.PolicyChange) {}), ""},
		"most tokens":              {policy(func(p *tms.PolicyChange) { p.MaxTokens = ptr(100_000_000) }), ""},
		"max_tokens too large": {policy(func(p *tms.PolicyChange) { p.MaxTokens = ptr(100_000_001) }),
			"max_tokens"},
		"max_tokens zero": {policy(func(p *tms.PolicyChange) { p.MaxTokens = ptr(0) }), "max_tokens"},
		"lease_ttl zero": {policy(func(p *tms.PolicyChange) { p.LeaseTTL = ptr(time.Duration(0)) }),
			"lease_ttl"},
		"token_ttl zero": {policy(func(p *tms.PolicyChange) { p.TokenTTL = ptr(time.Duration(0)) }), ""},
		"grace negative": {policy(func(p *tms.PolicyChange) { p.Grace = ptr(-time.Second) }), "grace"},
		"selection unknown": {policy(func(p *tms.PolicyChange) { p.Selection = ptr(tms.Selection("best")) }),
			"selection"},
		"on_lease_expiry unknown": {policy(func(p *tms.PolicyChange) { p.OnLeaseExpiry = ptr(tms.OnLeaseExpiry("x")) }),
			"on_lease_expiry"},
	} {
		var refusal *tms.Refusal
		if errors.As(test.err, &refusal) != (test.field != "") {
			t.Errorf("%s: %v", name, test.err)
		} else if refusal != nil && (refusal.Field != test.field || refusal.Detail == "" ||
			refusal.Code != tms.ErrInvalidRequest) {
			t.Errorf("%s: %v names %q", name, refusal, refusal.Field)
		}
	}
}

func policy(set func(*tms.PolicyChange)) error {
	var change tms.PolicyChange
	set(&change)
	return change.Validate()
}

func ptr[T any](v T) *T { return &v }

func TestAChangeSetsOnlyWhatItNames(t *testing.T) {
	before := tms.DefaultPolicy()
	after := tms.PolicyChange{Paused: ptr(true), Grace: ptr(time.Second)}.Apply(before)
	want := before
	want.Paused, want.Grace = true, time.Second
	if !reflect.DeepEqual(after, want) {
		t.Errorf("got %+v, want %+v", after, want)
	}
}
