package embedded

import (
	"cmp"
	"context"

	"github.com/tidwall/btree"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// memories are the requests that a pool remembers, by their ids and in the order in which they are forgotten.
type memories struct {
	byID   map[string]*rules.Remembered
	clocks *btree.BTreeG[memory]
}

type memory struct {
	until int64
	id    string
}

func newMemories() *memories {
	less := func(a, b memory) bool { return cmp.Or(cmp.Compare(a.until, b.until), cmp.Compare(a.id, b.id)) < 0 }
	return &memories{map[string]*rules.Remembered{}, btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
}

func (m *memories) set(id string, r *rules.Remembered) {
	m.forget(id)
	m.byID[id] = r
	m.clocks.Set(memory{r.Until, id})
}

func (m *memories) forget(id string) {
	if r := m.byID[id]; r != nil {
		m.clocks.Delete(memory{r.Until, id})
		delete(m.byID, id)
	}
}

// over returns at most limit ids that are remembered no longer.
func (m *memories) over(now int64, limit int) (ids []string) {
	m.clocks.Scan(func(i memory) bool {
		if i.until >= now || len(ids) == limit {
			return false
		}
		ids = append(ids, i.id)
		return true
	})
	return ids
}

// recall returns what is remembered of the request, or nil, or refuses one whose id was used for another.
func (t *step) recall(id string, fingerprint func() string) (*rules.Remembered, error) {
	if id == "" || t.requests.byID[id] == nil {
		return nil, nil
	}
	return t.requests.byID[id].Recall(fingerprint(), t.now)
}

// forget forgets at most limit requests whose time is over.
func (t *step) forget(limit int) {
	for _, id := range t.requests.over(t.now, limit) {
		t.requests.forget(id)
		if !rules.OfTicket(id) {
			t.store.journal.deleteRequest(t.name, id)
		}
	}
}

// remember keeps what was answered to a request with an id. Two that are over make room, so that no pool piles them up.
func (t *step) remember(id string, r *rules.Remembered) {
	t.rememberFor(id, t.policy.RequestTTL.Milliseconds(), r)
}

// rememberFor keeps it for so many ms. Tickets are those of this process, and not in the log.
func (t *step) rememberFor(id string, life int64, r *rules.Remembered) {
	if id == "" {
		return
	}
	t.forget(2)
	r.Until = t.now + life
	t.requests.set(id, r)
	if !rules.OfTicket(id) {
		t.store.journal.setRequest(t.name, id, r)
	}
}

func (t *step) rememberAssign(r tms.AssignRequest, tokens []tms.Token) {
	if id, life := rules.Memory(t.policy.Policy, r); id != "" {
		t.rememberFor(id, life, rules.Gave(r, tokens))
	}
}

// AnswerAgain answers a request, or a ticket that has left the queue, that was given tokens before. It returns nil, nil
// where nothing is remembered.
func (t *step) AnswerAgain(r tms.AssignRequest) ([]tms.Token, error) {
	id, _ := rules.Memory(t.policy.Policy, r)
	if rules.OfTicket(id) && t.queue.get(r.Ticket) != nil {
		return nil, nil
	}
	past, err := t.recall(id, func() string { return rules.AssignPrint(r) })
	if past == nil {
		return nil, err
	}
	tokens, err := t.replay(past, err)
	if rules.OfTicket(id) && err != nil {
		return nil, nil
	}
	return tokens, err
}

// replay answers a request that was carried out before with its leases as they now stand.
func (t *step) replay(past *rules.Remembered, err error) (tokens []tms.Token, _ error) {
	if err != nil {
		return nil, err
	}
	if len(past.Leases) == 0 {
		return nil, rules.LeaseEnded()
	}
	for _, granted := range past.Leases {
		e, alive := t.living(granted.Token)
		if !alive || e.held().ID != granted.ID || t.policy.Inherited(e.held()) {
			return nil, rules.LeaseEnded()
		}
		tokens = append(tokens, t.given(e))
	}
	return tokens, nil
}

// UnblockRequest implements [tms.Store].
func (s *Store) UnblockRequest(ctx context.Context, pool, requestID string) (ended int, err error) {
	err = s.do(ctx, pool, func(t *step) error {
		past := t.requests.byID[requestID]
		if past == nil || t.now > past.Until {
			t.remember(requestID, rules.GivenUp())
			return nil
		}
		for _, granted := range past.Leases {
			if e, alive := t.living(granted.Token); alive && e.held().ID == granted.ID {
				t.put(e, e.record().Release(t.policy, t.policy.Cooldown, t.now, ""))
				ended++
			}
		}
		return nil
	})
	return ended, err
}
