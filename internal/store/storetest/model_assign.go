package storetest

import (
	"cmp"
	"context"
	"slices"
	"time"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// modelTicket is one who waits in the model, was handed something, or is absent.
type modelTicket struct {
	request tms.AssignRequest
	since   int64
	until   int64    // the last instant at which it is what it is
	offer   []string // what it was handed; nil otherwise
	absent  bool
}

func (t *modelTicket) waits() bool { return t.offer == nil && !t.absent }

// excuse makes the ticket absent until an instant.
func (t *modelTicket) excuse(until int64) { t.until, t.offer, t.absent = until, nil, true }

func (t *modelTicket) lane() string { return rules.Lane(t.request.Match) }
func (t *modelTicket) count() int   { return max(1, t.request.Count) }

// Assign leases tokens.
func (m *Model) Assign(ctx context.Context, pool string, reqs []tms.AssignRequest) (results []tms.AssignResult,
	err error) {
	err = m.settled(ctx, pool, func(p *modelPool, now int64) error {
		p.free = p.available()
		defer func() { p.free = nil }()
		for _, request := range reqs {
			tokens, err := rules.Assign(p.name, p.policy.Policy, request, modelView{p, now})
			results = append(results, tms.AssignResult{Tokens: tokens, Err: err})
			if request.Ticket != "" {
				p.serve(now)
			}
		}
		results, err = rules.UnlessPaused(pool, results)
		return err
	})
	return results, err
}

// modelView is a pool of the model as the order of decisions sees it.
type modelView struct {
	*modelPool
	now int64
}

func (v modelView) AnswerAgain(r tms.AssignRequest) ([]tms.Token, error) {
	return v.answerAgain(r, v.now)
}
func (v modelView) Quota(r tms.AssignRequest) error   { return v.quota(r) }
func (v modelView) QueueUp(r tms.AssignRequest) error { return v.queueUp(v.ticket(r.Ticket), r, v.now) }
func (v modelView) Dismiss(id string)                 { v.dismiss(v.ticket(id)) }
func (v modelView) Grant(r tms.AssignRequest) []tms.Token {
	return v.model.give(v.modelPool, v.now, r, nil)
}

func (v modelView) Shown(id string) (*tms.AssignRequest, bool) {
	t := v.ticket(id)
	if t == nil {
		return nil, false
	}
	if t.offer != nil && v.policy.Inherited(v.tokens[t.offer[0]].Lease) {
		v.takeBack(t, v.now)
		t.excuse(rules.KeptUntil(v.now))
	}
	return &t.request, t.offer != nil
}

func (v modelView) PickUp(r tms.AssignRequest) []tms.Token {
	return v.model.give(v.modelPool, v.now, r, v.ticket(r.Ticket).offer)
}

func (v modelView) Ready(r tms.AssignRequest) bool {
	return v.turn(v.ticket(r.Ticket), rules.Lane(r.Match)) && len(v.suitable(r.Match)) >= max(1, r.Count)
}

// give leases the tokens that the request was handed, or else those that it may choose.
func (m *Model) give(p *modelPool, now int64, r tms.AssignRequest, handed []string) (tokens []tms.Token) {
	p.dismiss(p.ticket(r.Ticket))
	for i := range max(1, r.Count) {
		from := p.choice(r, i)
		if handed != nil {
			from = handed[i : i+1]
		}
		value, id, fence := m.draw(p.policy.Policy, from)
		lease := rules.Lease{ID: id, Fence: fence, ClientID: r.ClientID}
		if handed != nil && m.own {
			lease = p.tokens[value].Lease
		}
		p.tokens[value] = p.tokens[value].Assign(p.policy, now, lease, r.TTL)
		p.lasts(p.tokens[value].Lease.TTL, now)
		p.taken(value)
		tokens = append(tokens, p.tokens[value].Token(p.name, value, p.policy, now, true))
	}
	if id, life := rules.Memory(p.policy.Policy, r); id != "" {
		p.requests[id] = rules.Gave(r, tokens)
		p.requests[id].Until = now + life
	}
	return tokens
}

// answerAgain answers what was given tokens before, if that is remembered.
func (p *modelPool) answerAgain(r tms.AssignRequest, now int64) ([]tms.Token, error) {
	id, _ := rules.Memory(p.policy.Policy, r)
	if rules.OfTicket(id) && p.ticket(r.Ticket) != nil {
		return nil, nil
	}
	past, err := p.recall(id, rules.AssignPrint(r), now)
	if past == nil {
		return nil, err
	}
	tokens, err := p.replay(past, now, err)
	if rules.OfTicket(id) && err != nil {
		return nil, nil
	}
	return tokens, err
}

// choice returns what the i-th token of a request may be: the preferred one if it is there, or any that suits.
func (p *modelPool) choice(r tms.AssignRequest, i int) []string {
	suitable := p.suitable(r.Match)
	if i == 0 && slices.Contains(suitable, r.Prefer) {
		return []string{r.Prefer}
	}
	return suitable
}

// suitable returns the available values that the match lets through, oldest first.
func (p *modelPool) suitable(match map[string]string) []string {
	if len(match) == 0 {
		return p.available()
	}
	for key := range match {
		if !slices.Contains(p.policy.Labels, key) {
			return nil // it was one when the request joined the queue
		}
	}
	others := func(v string) bool { return !rules.Suits(p.tokens[v].Metadata, match) }
	return slices.DeleteFunc(slices.Clone(p.available()), others)
}

// taken takes the value out of those that are known to be available.
func (p *modelPool) taken(value string) {
	if at := slices.Index(p.free, value); at >= 0 {
		p.free = slices.Delete(p.free, at, at+1)
	}
}

// quota refuses a client that would hold too much.
func (p *modelPool) quota(r tms.AssignRequest) error {
	if p.policy.MaxLeasesPerClient == 0 {
		return nil
	}
	held := 0
	for _, record := range p.tokens {
		if record.State == tms.Assigned && record.Lease.ClientID == r.ClientID {
			held++
		}
	}
	if count := max(1, r.Count); held+count > p.policy.MaxLeasesPerClient {
		return rules.OverQuota(held, count, p.policy.MaxLeasesPerClient)
	}
	return nil
}

// queueUp lets the request wait if it has a ticket, and refuses it.
func (p *modelPool) queueUp(t *modelTicket, r tms.AssignRequest, now int64) error {
	if t == nil && r.Ticket != "" {
		t = &modelTicket{request: r, since: now}
		p.tickets = append(p.tickets, t)
	}
	refusal := tms.Refusal{Available: len(p.suitable(r.Match)), RetryAfter: p.retryAfter(now)}
	refusal.HeldBy, refusal.HeldSince = p.holder()
	if t != nil {
		t.until, t.absent = rules.PresentUntil(now), false
		refusal.Place = p.place(t)
	}
	refusal.Waiting = p.waiting()
	if p.policy.Settles(now) {
		settles := time.Duration(p.policy.Next(now)+1-now) * ms
		refusal.RetryAfter = min(cmp.Or(refusal.RetryAfter, settles), settles)
		return rules.NotSettled(max(1, r.Count), refusal)
	}
	return rules.NoneAvailable(max(1, r.Count), refusal)
}

// holder returns who holds the lease that ends first, and since when, unless that is one which has not begun.
func (p *modelPool) holder() (client string, since time.Time) {
	first, ends := "", int64(rules.Never)
	for value, r := range p.tokens {
		if r.State == tms.Assigned && (r.Until < ends || r.Until == ends && value < first) {
			first, ends = value, r.Until
		}
	}
	if r := p.tokens[first]; first != "" && !r.Handed() {
		client, since = r.Lease.ClientID, rules.Instant(r.Lease.AssignedAt)
	}
	return client, since
}

// ticket returns the ticket of that name, or nil.
func (p *modelPool) ticket(id string) *modelTicket {
	at := slices.IndexFunc(p.tickets, func(t *modelTicket) bool { return t.request.Ticket == id })
	if id == "" || at < 0 {
		return nil
	}
	return p.tickets[at]
}

// dismiss forgets a ticket.
func (p *modelPool) dismiss(gone *modelTicket) {
	p.tickets = slices.DeleteFunc(p.tickets, func(t *modelTicket) bool { return t == gone })
}

// age makes those absent whose time is over, and forgets those that were it.
func (p *modelPool) age(now int64) {
	for _, t := range p.tickets {
		if t.until < now && !t.absent {
			t.excuse(rules.KeptAfter(t.until))
		}
	}
	p.tickets = slices.DeleteFunc(p.tickets, func(t *modelTicket) bool { return t.until < now })
}

func (p *modelPool) nextAged() int64 {
	next := int64(rules.Never)
	for _, t := range p.tickets {
		next = min(next, t.until)
	}
	return next
}

// inLine reports whether others may wait for the ticket's sake: it is present, and the pool holds what it wants.
func (p *modelPool) inLine(t *modelTicket) bool {
	return t.waits() && (t.lane() != "" || t.count() == 1 || t.count() <= p.holds())
}

// holds returns how many tokens can be had sooner or later.
func (p *modelPool) holds() int { return len(p.tokens) - p.count(tms.Quarantined) }

// place returns which of its line the ticket is.
func (p *modelPool) place(t *modelTicket) int {
	place := 1
	for _, other := range p.tickets[:slices.Index(p.tickets, t)] {
		if other.lane() == t.lane() && p.inLine(other) {
			place++
		}
	}
	return place
}

func (p *modelPool) waiting() (n int) {
	for _, t := range p.tickets {
		if t.waits() {
			n++
		}
	}
	return n
}

// turn reports whether nobody comes before the ticket, or before a request that has none: nobody in its line, and
// nobody older who waits for any token.
func (p *modelPool) turn(t *modelTicket, lane string) bool {
	for _, other := range p.tickets {
		switch {
		case other == t:
			return true
		case (other.lane() == lane || other.lane() == "") && p.inLine(other):
			return false
		}
	}
	return true
}

// serve hands tokens to the oldest ticket whose turn it is and for whom there are enough, until there is none.
func (p *modelPool) serve(now int64) {
	if p.free == nil {
		p.free = p.available()
		defer func() { p.free = nil }()
	}
	for i := 0; i < len(p.tickets) && len(p.free) > 0 && !p.policy.Paused; i++ {
		t := p.tickets[i]
		if !t.waits() || !p.turn(t, t.lane()) || len(p.suitable(t.request.Match)) < t.count() {
			continue
		}
		if p.quota(t.request) != nil {
			p.dismiss(t)
		} else {
			p.hand(t, now)
		}
		i = -1
	}
}

// hand keeps tokens for the ticket to be picked up.
func (p *modelPool) hand(t *modelTicket, now int64) {
	for i := range t.count() {
		value := choose(p.policy.Policy, p.choice(t.request, i))
		p.model.fence++
		lease := rules.Lease{ID: tms.NewValue(), Fence: p.model.fence, ClientID: t.request.ClientID}
		p.tokens[value] = p.tokens[value].Hand(now, lease)
		p.taken(value)
		t.offer = append(t.offer, value)
	}
	t.until = rules.PickupEnd(now)
}

// takeBack takes back what the ticket was handed.
func (p *modelPool) takeBack(t *modelTicket, now int64) {
	for _, value := range t.offer {
		p.tokens[value] = p.tokens[value].TakeBack()
		p.settle(value, now)
	}
}

// Leave takes tickets out of the queue, or makes them absent.
func (m *Model) Leave(ctx context.Context, pool string, tickets []string, keep bool) error {
	return m.settled(ctx, pool, func(p *modelPool, now int64) error {
		for _, id := range tickets {
			t := p.ticket(id)
			if t == nil {
				continue
			}
			p.takeBack(t, now)
			if keep {
				t.excuse(rules.KeptUntil(now))
			} else {
				p.dismiss(t)
			}
		}
		return nil
	})
}

// Listen wakes nobody.
func (m *Model) Listen(ctx context.Context, _ func(string)) error {
	<-ctx.Done()
	return nil
}

// recall returns what is remembered of a request.
func (p *modelPool) recall(id, print string, now int64) (*rules.Remembered, error) {
	if id == "" {
		return nil, nil
	}
	return p.requests[id].Recall(print, now)
}

func (p *modelPool) remember(id string, r *rules.Remembered, now int64) {
	r.Until = now + p.policy.RequestTTL.Milliseconds()
	p.requests[id] = r
}

// replay answers a repeated request.
func (p *modelPool) replay(past *rules.Remembered, now int64, err error) (tokens []tms.Token, _ error) {
	if err != nil {
		return nil, err
	}
	if len(past.Leases) == 0 {
		return nil, rules.LeaseEnded()
	}
	for _, granted := range past.Leases {
		r := p.tokens[granted.Token]
		if r.Lease.ID != cmp.Or(granted.ID, "-") || p.policy.Inherited(r.Lease) {
			return nil, rules.LeaseEnded()
		}
		tokens = append(tokens, r.Token(p.name, granted.Token, p.policy, now, true))
	}
	return tokens, nil
}
