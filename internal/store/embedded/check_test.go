package embedded

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/google/go-cmp/cmp"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// Check compares the indexes of every pool with its tokens, and the log with the memory.
func (s *Store) Check(ctx context.Context) error {
	pending, err := s.locked(func() error {
		var wrong []error
		for _, p := range s.pools {
			wrong = append(wrong, p.check())
		}
		return errors.Join(append(wrong, s.checkLog())...)
	})
	return pending.durable(ctx, err)
}

func (p *pool) check() error {
	listed := 0
	for _, state := range rules.States {
		p.set(state).tree.Scan(func(i item) bool {
			if p.tokens[i.value()] == i.entry && i.is(state) && position(i.entry) == i {
				listed++
			}
			return true
		})
	}
	sizes := p.available.size() + p.assigned.size() + p.cooling.size() + p.quarantined.size()
	if listed != len(p.tokens) || sizes != listed {
		return fmt.Errorf("pool %s: %d tokens, %d stand in their sets, which hold %d", p.name, len(p.tokens), listed,
			sizes)
	}
	for slot, e := range p.free.entries {
		if int(e.slot) != slot || p.tokens[e.value()] != e || !e.is(tms.Available) {
			return fmt.Errorf("pool %s: slot %d of the bag holds what does not belong there", p.name, slot)
		}
	}
	if len(p.free.entries) != p.available.size() {
		return fmt.Errorf("pool %s: %d are available, %d of them in the bag", p.name, p.available.size(),
			len(p.free.entries))
	}
	if p.cooling.size() != p.coolingSeen.size() {
		return fmt.Errorf("pool %s: %d cool, %d of them in order of death", p.name, p.cooling.size(),
			p.coolingSeen.size())
	}
	if p.queue.empty() && len(p.freed) > 0 {
		return fmt.Errorf("pool %s: %d tokens are kept in mind for waiters, and nobody waits", p.name, len(p.freed))
	}
	return errors.Join(p.checkLanes(), p.checkClients(), p.checkQueue())
}

// checkLanes holds that each available token stands in every lane that it suits, and nothing else does.
func (p *pool) checkLanes() error {
	want := 0
	for _, e := range p.free.entries {
		for _, lane := range p.lanesOf(e) {
			want++
			if x := p.lanes[lane]; x == nil || !has(x, position(e)) {
				return fmt.Errorf("pool %s: token %q does not stand in lane %q", p.name, e.value(), lane)
			}
		}
	}
	return p.checkSizes("lanes", p.lanes, want)
}

func (p *pool) checkClients() error {
	want := 0
	if p.policy.MaxLeasesPerClient > 0 {
		want = p.assigned.size()
	}
	for client, x := range p.clients {
		if first := x.first(); first == nil || first.lease.ClientID != client {
			return fmt.Errorf("pool %s: the index of client %q is not its own", p.name, client)
		}
	}
	return p.checkSizes("clients", p.clients, want)
}

func (p *pool) checkSizes(what string, indexes map[string]*index, want int) error {
	got := 0
	for _, x := range indexes {
		got += x.size()
	}
	if got != want {
		return fmt.Errorf("pool %s: the %s hold %d, want %d", p.name, what, got, want)
	}
	return nil
}

func has(x *index, i item) bool {
	_, found := x.tree.Get(i)
	return found
}

// checkQueue holds that the handed tokens are those of tickets, unless both are over.
func (p *pool) checkQueue() error {
	handed := 0
	p.assigned.tree.Scan(func(i item) bool {
		if i.handed() {
			handed++
		}
		return true
	})
	if handed != p.handed.size() {
		return fmt.Errorf("pool %s: %d tokens are handed, %d in order", p.name, handed, p.handed.size())
	}
	return nil
}

// checkLog reads the log as an opening would, with the group that is not yet written laid on top.
func (s *Store) checkLog() error {
	if s.journal == nil || s.journal.open.batch != nil {
		return nil
	}
	if s.journal.writing != nil {
		<-s.journal.writing.done
	}
	other := &Store{pools: map[string]*pool{}, journal: s.journal}
	if err := other.read(); err != nil {
		return err
	}
	for name, p := range s.pools {
		if diff := cmp.Diff(p.remembered(), other.pools[name].remembered()); diff != "" {
			return fmt.Errorf("pool %s: in memory -, in the log +\n%s", name, diff)
		}
	}
	if len(s.pools) != len(other.pools) {
		return fmt.Errorf("%d pools in memory, %d in the log", len(s.pools), len(other.pools))
	}
	return nil
}

// whole returns what is remembered of the token, with its metadata.
func (e *entry) whole() rules.Record {
	r := e.record()
	r.Metadata = e.metadata().unpack()
	return r
}

type image struct {
	Policy  tms.Policy
	Expired tms.ExpiryCounts
	Tokens  map[string]rules.Record

	Requests map[string]*rules.Remembered
}

func (p *pool) remembered() image {
	m := image{p.policy.Policy, p.expired, map[string]rules.Record{}, maps.Clone(p.requests.byID)}
	// kept in memory only
	maps.DeleteFunc(m.Requests, func(id string, _ *rules.Remembered) bool { return rules.OfTicket(id) })
	for value, e := range p.tokens {
		m.Tokens[value] = e.whole()
	}
	return m
}
