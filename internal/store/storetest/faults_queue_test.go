package storetest

import (
	"context"
	"maps"
	"slices"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// Faults of waiting, repeating and choosing.
var queueMutants = []mutant{
	asks("remembers no request", "RepeatedAssignTakesOneToken", func(r *tms.AssignRequest) { r.RequestID = "" }),
	asks("ignores the match", "MatchGivesOnlyWhatSuits", func(r *tms.AssignRequest) { r.Match = nil }),
	asks("ignores the preference", "PreferredTokenIsGiven", func(r *tms.AssignRequest) { r.Prefer = "" }),
	asks("lets nobody queue", "TicketQueuesWhereNothingIsFree", func(r *tms.AssignRequest) { r.Ticket = "" }),
	deviates("knows no quota", "QuotaHolds", func(p *tms.Policy) { p.MaxLeasesPerClient = 0 }),
	deviates("knows no labels", "MatchGivesOnlyWhatSuits", func(p *tms.Policy) { p.Labels = nil }),
	{"takes any request for the one that it remembers", "RequestIDOfAnotherRequestIsRefused", false,
		func(m *Model) tms.Sweeper { return lax{m} }},
	{"serves the latest first", "UnblockedGoesToTheLongestWaiter", true,
		func(m *Model) tms.Sweeper { return upsideDown{m} }},
	{"lets those who do not wait overtake", "NobodyOvertakes", false, func(m *Model) tms.Sweeper { return pushy{m} }},
	{"keeps what nobody picks up", "NotPickedUpGoesToTheNext", true, func(m *Model) tms.Sweeper { return clingy{m} }},
	{"keeps those in the queue who have left", "WhoLivesIsServed", true,
		func(m *Model) tms.Sweeper { return patient{m} }},
	{"keeps tokens back for who wants more than there are", "MoreThanThePoolHoldsWaits", true,
		func(m *Model) tms.Sweeper { return hoarding{m} }},
	{"says that nothing is available", "RefusalsSayTheSame", false, func(m *Model) tms.Sweeper { return curt{m} }},
	{"remembers no ticket that was given tokens", "WhatATicketWasGivenIsRemembered", false,
		func(m *Model) tms.Sweeper { return absentMinded{m} }},
	{"quarantines nothing", "UnblockQuarantines", false, func(m *Model) tms.Sweeper { return trusting{m} }},
	{"forgets the past", "PastIsRemembered", false, func(m *Model) tms.Sweeper { return blank{m} }},
	{"releases every client's leases", "ClientGivesAllBack", false, func(m *Model) tms.Sweeper { return sweeping{m} }},
}

// asks is a store that changes what is asked of assign.
func asks(name, caught string, change func(*tms.AssignRequest)) mutant {
	return mutant{name, caught, false, func(m *Model) tms.Sweeper { return other{m, change} }}
}

type other struct {
	*Model
	change func(*tms.AssignRequest)
}

func (m other) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	requests = slices.Clone(requests)
	for i := range requests {
		m.change(&requests[i])
	}
	return m.Model.Assign(ctx, pool, requests)
}

type lax struct{ *Model }

func (m lax) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	_ = m.step(ctx, pool, func(p *modelPool, _ int64) error {
		for _, request := range requests {
			if past := p.requests[request.RequestID]; past != nil {
				past.Print = rules.AssignPrint(request)
			}
		}
		return nil
	})
	return m.Model.Assign(ctx, pool, requests)
}

type upsideDown struct{ *Model }

func (m upsideDown) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	_ = m.step(ctx, pool, func(p *modelPool, _ int64) error {
		slices.Reverse(p.tickets)
		return nil
	})
	return m.Model.Unblock(ctx, pool, keys)
}

type pushy struct{ *Model }

func (m pushy) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	if len(requests) != 1 || requests[0].Ticket != "" {
		return m.Model.Assign(ctx, pool, requests)
	}
	_ = m.step(ctx, pool, func(p *modelPool, now int64) error {
		for _, t := range p.tickets {
			for _, value := range t.offer {
				p.tokens[value] = p.tokens[value].TakeBack()
			}
		}
		p.tickets = nil
		return nil
	})
	return m.Model.Assign(ctx, pool, requests)
}

type clingy struct{ *Model }

func (m clingy) Token(ctx context.Context, pool string, key tms.LeaseKey) (tms.Token, error) {
	m.meddle(pool, func(p *modelPool, value string, r rules.Record, now int64) rules.Record {
		if r.Handed() {
			r.Until = rules.PickupEnd(now)
		}
		return r
	})
	return m.Model.Token(ctx, pool, key)
}

type patient struct{ *Model }

func (m patient) Leave(ctx context.Context, pool string, tickets []string, keep bool) error {
	if keep {
		return nil
	}
	return m.Model.Leave(ctx, pool, tickets, false)
}

type hoarding struct{ *Model }

func (m hoarding) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	blocked := false
	_ = m.step(ctx, pool, func(p *modelPool, _ int64) error {
		blocked = slices.ContainsFunc(p.tickets, func(t *modelTicket) bool { return t.waits() && !p.inLine(t) })
		return nil
	})
	if blocked && requests[0].Ticket == "" {
		return []tms.AssignResult{{Err: rules.NoneAvailable(1, tms.Refusal{})}}, nil
	}
	return m.Model.Assign(ctx, pool, requests)
}

type curt struct{ *Model }

func (m curt) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	results, err := m.Model.Assign(ctx, pool, requests)
	for _, r := range results {
		if refusal := refusalOf(r.Err); refusal.Code == tms.ErrNoTokenAvailable {
			refusal.Available = 0
		}
	}
	return results, err
}

type absentMinded struct{ *Model }

func (m absentMinded) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult,
	error) {
	_ = m.step(ctx, pool, func(p *modelPool, _ int64) error {
		maps.DeleteFunc(p.requests, func(name string, _ *rules.Remembered) bool { return rules.OfTicket(name) })
		return nil
	})
	return m.Model.Assign(ctx, pool, requests)
}

type trusting struct{ *Model }

func (m trusting) Unblock(ctx context.Context, pool string, keys []tms.LeaseKey) ([]tms.TokenResult, error) {
	keys = slices.Clone(keys)
	for i := range keys {
		keys[i].Quarantine = false
	}
	return m.Model.Unblock(ctx, pool, keys)
}

type blank struct{ *Model }

func (m blank) Token(ctx context.Context, pool string, key tms.LeaseKey) (tms.Token, error) {
	t, err := m.Model.Token(ctx, pool, key)
	if t.Past != nil {
		t.Past = &tms.Past{}
	}
	return t, err
}

type sweeping struct{ *Model }

func (m sweeping) UnblockClient(ctx context.Context, pool, client string) (n int, err error) {
	clients := map[string]bool{client: true}
	_ = m.step(ctx, pool, func(p *modelPool, _ int64) error {
		for _, r := range p.tokens {
			clients[r.Lease.ClientID] = true
		}
		return nil
	})
	for client := range clients {
		var more int
		more, err = m.Model.UnblockClient(ctx, pool, client)
		n += more
	}
	return n, err
}
