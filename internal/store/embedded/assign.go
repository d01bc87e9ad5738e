package embedded

import (
	"context"
	"math"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// Assign implements [tms.Store]. Requests for more than 1,000 tokens in all go in several steps.
func (s *Store) Assign(ctx context.Context, pool string, requests []tms.AssignRequest) ([]tms.AssignResult, error) {
	alike := func(tms.AssignRequest, tms.AssignRequest) bool { return true }
	return rules.AssignInSteps(pool, requests, maxStep, alike, func(part []tms.AssignRequest) ([]tms.AssignResult,
		error) {
		return s.assign(ctx, pool, part)
	})
}

// assign answers requests in one step.
func (s *Store) assign(ctx context.Context, pool string, requests []tms.AssignRequest) (results []tms.AssignResult,
	err error) {
	err = s.do(ctx, pool, func(t *step) error {
		if !t.policy.Paused && t.gather(t.wanted(requests)) {
			return errAgain
		}
		for _, r := range requests {
			tokens, err := rules.Assign(t.name, t.policy.Policy, r, t)
			results = append(results, tms.AssignResult{Tokens: tokens, Err: err})
			t.handOff() // before the next request could take what a ticket of this one left to others
		}
		return nil
	})
	return results, err
}

// every is more than there can be.
const every = math.MaxInt32

// wanted returns how many available tokens the requests need to find. What a request may get beyond any token, or by
// its client's other leases, cannot be known before all that is due has come back.
func (p *pool) wanted(requests []tms.AssignRequest) (total int) {
	if p.policy.MaxLeasesPerClient > 0 {
		return every
	}
	for _, r := range requests {
		if r.Ticket != "" || r.Prefer != "" || r.RequestID != "" || len(r.Match) > 0 {
			return every
		}
		total += max(1, r.Count)
	}
	return total
}

// spare is how many returns an assign carries out beyond those that it needs, so that even without a sweep a pool in
// use does not pile them up.
const spare = 10

// gather carries out returns that are due, and hands what comes back to waiters: a few in any case, and more
// while fewer tokens than wanted are available. It reports whether it stopped because the step has touched enough.
func (t *step) gather(wanted int) (more bool) {
	for n := 0; n < wanted+spare || t.supply("") < wanted; n++ {
		d := t.nextReturn()
		if d.at >= t.now {
			return false
		}
		if n == maxStep {
			return true
		}
		t.settle(d.entry)
		t.handOff()
	}
	return false
}

// supply returns how many tokens of a lane can be assigned.
func (t *step) supply(lane string) int {
	x := t.lane(lane)
	return x.size() - x.rank(t.policy.Givable(t.now))
}

// Shown implements [rules.View], as the other methods of a step with capital letters do.
func (t *step) Shown(id string) (*tms.AssignRequest, bool) {
	ticket := t.queue.get(id)
	if ticket == nil {
		return nil, false
	}
	if offered := t.offered(ticket); len(offered) > 0 && t.policy.Inherited(offered[0].held()) {
		t.leave(ticket, true) // another process handed them, and they may have been picked up
	}
	return &ticket.Request, ticket.Offer != nil
}

// Ready reports whether it is the request's turn, and there are tokens enough.
func (t *step) Ready(r tms.AssignRequest) bool {
	lane := rules.Lane(r.Match)
	return t.turn(lane, t.queue.get(r.Ticket)) && t.supply(lane) >= max(1, r.Count)
}

// Grant gives the request tokens, which must be there, and takes its ticket, if it has one, out of the queue.
func (t *step) Grant(r tms.AssignRequest) (tokens []tms.Token) {
	ticket := t.queue.get(r.Ticket)
	t.dismiss(ticket)
	for _, e := range t.choose(rules.Lane(r.Match), r) {
		t.put(e, e.record().Assign(t.policy, t.now, t.newLease(r), r.TTL))
		tokens = append(tokens, t.given(e))
	}
	t.rememberAssign(r, tokens)
	t.kept = t.kept || ticket != nil // it may be the turn of those behind it
	return tokens
}

func (t *step) newLease(r tms.AssignRequest) rules.Lease {
	return rules.Lease{ID: t.store.newID(), Fence: t.store.nextFence(), ClientID: r.ClientID}
}

// given returns a token as whoever was given its lease sees it.
func (t *step) given(e *entry) tms.Token {
	return t.token(e, e.record(), true)
}

// choose returns as many tokens of the lane as the request asks for, which must be there: the one that it prefers, if
// it is among them, and those that the selection takes.
func (t *step) choose(lane string, r tms.AssignRequest) []*entry {
	var chosen []*entry
	if e, alive := t.living(r.Prefer); alive && e.is(tms.Available) &&
		e.seen >= t.policy.Givable(t.now) && rules.Suits(e.metadata().unpack(), r.Match) {
		chosen = append(chosen, e)
		t.unlist(e)
	}
	for len(chosen) < max(1, r.Count) {
		e := t.pick(lane, t.policy.Givable(t.now))
		chosen = append(chosen, e)
		t.unlist(e) // so that it is not picked again
	}
	for _, e := range chosen {
		t.list(e)
	}
	return chosen
}

// Quota refuses a request whose client would hold more leases than it may. Leases that are over have come back before.
func (t *step) Quota(r tms.AssignRequest) error {
	most := t.policy.MaxLeasesPerClient
	if most == 0 {
		return nil
	}
	held := 0
	if x := t.clients[r.ClientID]; x != nil {
		held = x.size()
	}
	if count := max(1, r.Count); held+count > most {
		return rules.OverQuota(held, count, most)
	}
	return nil
}

// noneAvailable refuses count tokens of the lane, and says how it stands.
func (t *step) noneAvailable(lane string, ticket *ticket, count int) *tms.Refusal {
	r := tms.Refusal{Available: t.supply(lane), Waiting: t.queue.waiting}
	if ticket != nil {
		r.Place = t.queue.place(ticket)
	}
	if at := min(t.nextReturn().at, t.policy.Next(t.now)); at != rules.Never {
		r.RetryAfter = time.Duration(at+1-t.now) * time.Millisecond
	}
	if e := t.mortal().first(); e != nil && !e.handed() {
		r.HeldBy, r.HeldSince = e.lease.ClientID, t.store.clock.wall(e.lease.AssignedAt)
	}
	if t.policy.Settles(t.now) {
		return rules.NotSettled(count, r)
	}
	return rules.NoneAvailable(count, r)
}
