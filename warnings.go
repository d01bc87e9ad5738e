package tms

import (
	"fmt"
	"slices"
	"time"
)

// What is allowed and does what few would expect of it is told, not refused. Each warning is one sentence for a person;
// nil means that there is nothing to tell.

// Warnings returns what the policy does to tokens that few would expect of it.
func (p Policy) Warnings() (all []string) {
	if p.TokenTTL == 0 {
		return nil
	}
	if p.Cooldown >= p.TokenTTL {
		all = append(all, fmt.Sprintf("cooldown %v is not below token_ttl %v: a token that comes back dies while "+
			"it rests, "+
			"unless something keeps it alive", p.Cooldown, p.TokenTTL))
	}
	if p.OnLeaseExpiry == ExpiryReleases && p.longestSilence() >= p.TokenTTL {
		all = append(all, fmt.Sprintf("lease_ttl %v, with its grace, is not below token_ttl %v: a token whose holder "+
			"falls silent "+
			"does not come back, but is deleted when the lease ends", p.LeaseTTL, p.TokenTTL))
	}
	return all
}

// longestSilence returns how long after its assignment a lease ends that nobody keeps alive, and for which no TTL was
// asked.
func (p Policy) longestSilence() time.Duration {
	longest := p.LeaseTTL
	for _, bound := range []time.Duration{p.MaxLease, p.MaxTTL} {
		if bound > 0 {
			longest = min(longest, bound)
		}
	}
	return longest + p.Grace
}

// Warnings returns those of the pool's policy, and of an answer of PutPool what its change does not do.
func (p Pool) Warnings() []string {
	all := p.Policy.Warnings()
	if p.Was != nil && p.Policy.MaxLease > 0 && (p.Was.MaxLease == 0 || p.Was.MaxLease > p.Policy.MaxLease) {
		all = append(all, "max_lease is lower than it was: that ends no lease which stands now; each lasts as "+
			"long as it "+
			"was "+
			"granted or kept alive for, and cannot be kept alive beyond the new max_lease")
	}
	return all
}

// Warnings returns what is to be known of the request after it was carried out with that result.
func (r GenerateRequest) Warnings(result Generated) []string {
	own := slices.ContainsFunc(r.Tokens, func(t NewToken) bool { return t.Value != "" })
	if !own || result.ExpiresAt.IsZero() {
		return nil
	}
	return []string{fmt.Sprintf("your own values go to a pool whose tokens die: each is deleted at %s unless it is "+
		"assigned or "+
		"kept alive before; in a pool with token_ttl 0s they stay", result.ExpiresAt.UTC().Format(time.RFC3339))}
}

// Warnings returns what is to be known of the request after it was given the tokens.
func (r AssignRequest) Warnings(tokens []Token) []string {
	outlasts := func(t Token) bool {
		return t.Lease != nil && !t.ExpiresAt.IsZero() && !t.Lease.ExpiresAt.Before(t.ExpiresAt)
	}
	if r.TTL == 0 || !slices.ContainsFunc(tokens, outlasts) {
		return nil
	}
	return []string{fmt.Sprintf("ttl %v is not below the pool's token_ttl: if the lease ends and nobody has kept it "+
		"alive, the token "+
		"does not become available again", r.TTL)}
}
