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
			if rapid.Bool().Draw(t, "with more") {
				token.Metadata["m"] = ""
			}
		}
		return token
	})

	requestGen = rapid.Custom(func(t *rapid.T) tms.AssignRequest {
		r := tms.AssignRequest{
			ClientID: rapid.SampledFrom(someClients).Draw(t, "client_id"),
			Count:    rapid.SampledFrom([]int{0, 0, 1, 2, 3}).Draw(t, "count"),
			TTL:      noneTTLs.Draw(t, "ttl"),
			Prefer:   rapid.SampledFrom(append([]string{"", "", "", ""}, someValues...)).Draw(t, "prefer"),
		}
		if rapid.IntRange(0, 4).Draw(t, "with a match") == 0 {
			r.Match = rapid.SampledFrom(someMatches).Draw(t, "match")
		}
		return r
	})

	someMatches = []map[string]string{{"n": "1"}, {"n": "1"}, {"n": "two {}"}, {"n": "1", "m": ""}, {"m": "2"}}

	// recurring are requests that come again and again, so that they are repeated, or wait and are shown again.
	recurring = []tms.AssignRequest{
		{Ticket: "first", ClientID: "one"},
		{Ticket: "second", ClientID: "client two"},
		{Ticket: "many", ClientID: "one", Count: 2},
		{Ticket: "more", ClientID: "five", Count: 3},
		{Ticket: "most", ClientID: "six", Count: 5},
		{Ticket: "picky", ClientID: "three", Match: map[string]string{"n": "1"}},
		{Ticket: "fussy", ClientID: "three", Prefer: "b", Match: map[string]string{"n": "two {}"}},
		{Ticket: "sure", ClientID: "four", RequestID: "r1"},
		{RequestID: "r1", ClientID: "four"},
		{RequestID: "r2", ClientID: "one", Count: 2},
		{RequestID: "r2", ClientID: "other"},
		{Ticket: "first", ClientID: "other"},
	}

	filterGen = rapid.Custom(func(t *rapid.T) tms.Filter {
		return tms.Filter{
			State: rapid.SampledFrom([]tms.State{"", "", tms.Available, tms.Assigned, tms.Cooling,
				tms.Quarantined}).Draw(t, "state"),
			ClientID: rapid.SampledFrom(append([]string{"", ""}, someClients...)).Draw(t, "client_id"),
		}
	})
)

// drawPolicy returns a change that sets each part of a policy, or leaves it out.
func (p *program) drawPolicy(t *rapid.T) tms.PolicyChange {
	selections := []tms.Selection{tms.SelectFIFO, tms.SelectLIFO}
	// which token somebody was handed shows only when they pick it up, so that it must not be left to chance
	if !p.queues {
		selections = append(selections, tms.SelectRandom)
	}
	expiries := rapid.SampledFrom([]tms.OnLeaseExpiry{tms.ExpiryReleases, tms.ExpiryDeletes, tms.ExpiryQuarantines})
	return tms.PolicyChange{
		MaxTokens:      maybe(t, "max_tokens", rapid.SampledFrom([]int{2, 5, 100, 100})),
		LeaseTTL:       maybe(t, "lease_ttl", ttlGen),
		MaxLease:       maybe(t, "max_lease", noneTTLs),
		MaxTTL:         maybe(t, "max_ttl", noneTTLs),
		TokenTTL:       maybe(t, "token_ttl", noneTTLs),
		Grace:          maybe(t, "grace", noneTTLs),
		Cooldown:       maybe(t, "cooldown", noneTTLs),
		OnLeaseExpiry:  maybe(t, "on_lease_expiry", expiries),
		Selection:      maybe(t, "selection", rapid.SampledFrom(selections)),
		RequireLeaseID: maybe(t, "require_lease_id", rapid.Bool()),
		Paused:         maybe(t, "paused", rapid.SampledFrom([]bool{false, false, false, true})),

		MaxLeasesPerClient: maybe(t, "max_leases_per_client", rapid.SampledFrom([]int{0, 0, 1, 2})),
		Labels:             maybe(t, "labels", rapid.SampledFrom([][]string{nil, {"n"}, {"n", "m"}})),
		RequestTTL:         maybe(t, "request_ttl", ttlGen),
	}
}

// newPolicy returns the policy of a new pool.
func (p *program) newPolicy(t *rapid.T) tms.PolicyChange {
	change := p.drawPolicy(t)
	if p.queues && change.Selection == nil {
		change.Selection = new(tms.SelectFIFO)
	}
	return change
}

// drawRequests returns requests of any kind, and none with a ticket where the stores have no queue.
func (p *program) drawRequests(t *rapid.T) []tms.AssignRequest {
	requests := rapid.SliceOfN(requestGen, 1, 3).Draw(t, "requests")
	for i := range requests {
		if rapid.IntRange(0, 2).Draw(t, "recurring") == 0 {
			requests[i] = rapid.SampledFrom(recurring).Draw(t, "which")
		}
		if !p.queues {
			requests[i].Ticket = ""
		}
	}
	return requests
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
	key.Quarantine = rapid.IntRange(0, 5).Draw(t, "quarantine") == 0
	if !key.Quarantine && rapid.IntRange(0, 3).Draw(t, "with a cooldown") == 0 {
		key.Cooldown = new(noneTTLs.Draw(t, "cooldown"))
	}
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
