package storetest

import (
	"time"

	"pgregory.net/rapid"

	tms "github.com/manankarani/token-manager"
)

// The values and durations of random programs are few, so that they meet: the same token again, two deadlines at once.
var (
	someValues  = []string{"a", "b", "c", "d", "e", "{f}:g h", "ü\"'\\"}
	someClients = []string{"", "one", "client two"}
	someTTLs    = []time.Duration{100 * ms, 150 * ms, 200 * ms, 300 * ms, second, minute}

	ttlGen   = rapid.SampledFrom(someTTLs)
	noneTTLs = rapid.SampledFrom(append([]time.Duration{0, 0, 0}, someTTLs...))

	newTokenGen = rapid.Custom(func(t *rapid.T) tms.NewToken {
		token := tms.NewToken{Value: rapid.SampledFrom(append([]string{""}, someValues...)).Draw(t, "value")}
		if rapid.Bool().Draw(t, "with metadata") {
			token.Metadata = map[string]string{"n": rapid.SampledFrom([]string{"1", "two {}"}).Draw(t, "metadata")}
		}
		return token
	})

	requestGen = rapid.Custom(func(t *rapid.T) tms.AssignRequest {
		return tms.AssignRequest{
			ClientID: rapid.SampledFrom(someClients).Draw(t, "client_id"),
			Count:    rapid.SampledFrom([]int{0, 0, 1, 2, 3}).Draw(t, "count"),
			TTL:      noneTTLs.Draw(t, "ttl"),
		}
	})

	filterGen = rapid.Custom(func(t *rapid.T) tms.Filter {
		return tms.Filter{
			State: rapid.SampledFrom([]tms.State{"", "", tms.Available, tms.Assigned, tms.Cooling,
				tms.Quarantined}).Draw(t, "state"),
			ClientID: rapid.SampledFrom(append([]string{"", ""}, someClients...)).Draw(t, "client_id"),
		}
	})
)

// drawPolicy returns a change that sets each part of a policy, or leaves it out.
func drawPolicy(t *rapid.T) tms.PolicyChange {
	expiries := rapid.SampledFrom([]tms.OnLeaseExpiry{tms.ExpiryReleases, tms.ExpiryDeletes, tms.ExpiryQuarantines})
	return tms.PolicyChange{
		MaxTokens:      maybe(t, "max_tokens", rapid.SampledFrom([]int{2, 5, 100, 100})),
		LeaseTTL:       maybe(t, "lease_ttl", ttlGen),
		MaxLease:       maybe(t, "max_lease", noneTTLs),
		TokenTTL:       maybe(t, "token_ttl", noneTTLs),
		Grace:          maybe(t, "grace", noneTTLs),
		Cooldown:       maybe(t, "cooldown", noneTTLs),
		OnLeaseExpiry:  maybe(t, "on_lease_expiry", expiries),
		Selection:      maybe(t, "selection", rapid.SampledFrom([]tms.Selection{tms.SelectRandom, tms.SelectFIFO, tms.SelectLIFO})),
		RequireLeaseID: maybe(t, "require_lease_id", rapid.Bool()),
		Paused:         maybe(t, "paused", rapid.SampledFrom([]bool{false, false, false, true})),
	}
}

// maybe draws a value, or leaves it out.
func maybe[T any](t *rapid.T, what string, gen *rapid.Generator[T]) *T {
	if rapid.IntRange(0, 2).Draw(t, what+" is given") == 0 {
		return nil
	}
	return new(gen.Draw(t, what))
}

// drawKeys returns keys of any token, with the lease_id of a present or past lease of it, of another's, or with none.
func (p *program) drawKeys(t *rapid.T) []tms.LeaseKey {
	return rapid.SliceOfN(rapid.Custom(p.drawKey), 1, 4).Draw(t, "keys")
}

func (p *program) drawKey(t *rapid.T) tms.LeaseKey {
	key := tms.LeaseKey{Token: rapid.SampledFrom(someValues).Draw(t, "value")}
	if last := len(p.held) - 1; last >= 0 && rapid.IntRange(0, 3).Draw(t, "held lately") > 0 {
		key = p.held[rapid.IntRange(max(0, last-3), last).Draw(t, "lease")]
	}
	key.TTL = noneTTLs.Draw(t, "ttl")
	switch rapid.SampledFrom([]string{"its own", "its own", "none", "any", "wrong"}).Draw(t, "lease_id") {
	case "none":
		key.LeaseID = ""
	case "wrong":
		key.LeaseID = "0123456789012345678901"
	case "any":
		if len(p.held) > 0 {
			key.LeaseID = rapid.SampledFrom(p.held).Draw(t, "other").LeaseID
		}
	}
	return key
}
