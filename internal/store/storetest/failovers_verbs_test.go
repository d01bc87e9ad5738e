package storetest

import (
	"fmt"
	"time"

	tms "github.com/manankarani/token-manager"
)

// verbs are what can happen in a story. The first ones happen often.
var verbs = []struct {
	name string
	do   func(s *story, on *master, m move)
}{
	{"assign", (*story).assigns}, {"assign again", (*story).assignsAgain}, {"keep alive", (*story).keepsAlive},
	{"unblock", (*story).unblocks}, {"fail over", (*story).failsOver}, {"wait", (*story).waits},
	{"bring a value", (*story).brings}, {"draw a value", (*story).draws}, {"unblock by force", (*story).forces},
	{"delete by force", (*story).deletes}, {"wind a clock", (*story).winds}, {"put aside", (*story).putsAside},
	{"restore", (*story).restores}, {"change lease_ttl", (*story).changes},
}

const (
	often = 6 // of the verbs
	bring = 6
)

var storyTTLs = []time.Duration{0, 0, second, 6 * second}

func storyValue(i int) string { return string(rune('a' + i%2)) }

func (s *story) assigns(on *master, m move) {
	h := &s.holders[m.who]
	if h.holds(s.now) {
		return
	}
	h.asked++
	h.request = fmt.Sprintf("%d of %d", h.asked, m.who)
	s.ask(on, m, tms.AssignRequest{RequestID: h.request, TTL: storyTTLs[m.what]})
}

// assignsAgain repeats the last request, as one does whose answer was lost.
func (s *story) assignsAgain(on *master, m move) {
	if h := &s.holders[m.who]; h.request != "" && !h.holds(s.now) {
		s.ask(on, m, tms.AssignRequest{RequestID: h.request, TTL: storyTTLs[m.what]})
	}
}

func (s *story) waits(on *master, m move) {
	if h := &s.holders[m.who]; !h.holds(s.now) {
		s.ask(on, m, tms.AssignRequest{Ticket: fmt.Sprint("of ", m.who)})
	}
}

func (s *story) ask(on *master, m move, request tms.AssignRequest) {
	request.ClientID = fmt.Sprint(m.who)
	results, err := on.store.Assign(s.Context(), tms.DefaultPool, []tms.AssignRequest{request})
	if err == nil && results[0].Err == nil && !m.unheard {
		s.gains(m.who, on, results[0].Tokens[0])
	}
}

// keepsAlive is of one who holds the lease by its own count: nobody else may go on with it.
func (s *story) keepsAlive(on *master, m move) {
	h := &s.holders[m.who]
	if !h.holds(s.now) {
		return
	}
	key := tms.LeaseKey{Token: h.token, LeaseID: h.id, TTL: storyTTLs[m.what]}
	results, err := on.store.KeepAlive(s.Context(), tms.DefaultPool, []tms.LeaseKey{key})
	switch {
	case err != nil || m.unheard:
	case results[0].Err == nil:
		s.answers(results[0].Token.Lease.TTL)
		h.until = max(h.until, s.now+results[0].Token.Lease.TTL.Milliseconds())
	default:
		if on == s.present() && !h.forced && !h.lost {
			s.breaks("a lease ended early")
		}
		h.id = ""
	}
}

func (s *story) unblocks(on *master, m move) {
	h := &s.holders[m.who]
	if h.id == "" {
		return
	}
	_, _ = on.store.Unblock(s.Context(), tms.DefaultPool,
		[]tms.LeaseKey{{Token: h.token, LeaseID: h.id, Quarantine: m.what == 3 && m.pause == 0}})
	h.until = 0
	if !m.unheard {
		h.id = ""
	}
}

func (s *story) failsOver(_ *master, m move) {
	if len(s.masters) > 3 {
		return
	}
	goesOn := oldMaster
	if m.unheard {
		goesOn = 0
	}
	s.failOver(m.what+m.who, min(m.pause, second), goesOn)
}

func (s *story) brings(on *master, m move) { s.generate(on, storyValue(m.what)) }

func (s *story) draws(on *master, _ move) {
	if s.drawn++; s.drawn < 3 {
		s.generate(on, "")
	}
}

func (s *story) generate(on *master, value string) {
	_, _ = on.store.Generate(s.Context(), tms.DefaultPool, tms.GenerateRequest{Tokens: []tms.NewToken{{Value: value}}})
}

func (s *story) forces(on *master, m move) {
	s.force(m)
	_, _ = on.store.Unblock(s.Context(), tms.DefaultPool, []tms.LeaseKey{{Token: storyValue(m.what)}})
}

func (s *story) deletes(on *master, m move) {
	s.force(m)
	_, _ = on.store.Delete(s.Context(), tms.DefaultPool, []tms.LeaseKey{{Token: storyValue(m.what)}})
}

// force excuses what becomes of the leases of a token from here on.
func (s *story) force(m move) {
	for i := range s.holders {
		if s.holders[i].token == storyValue(m.what) {
			s.holders[i].forced = true
		}
	}
}

func (s *story) winds(on *master, m move) {
	if s.free(on, storyValue(m.what)) {
		_, _ = on.store.KeepAlive(s.Context(), tms.DefaultPool, []tms.LeaseKey{{Token: storyValue(m.what)}})
	}
}

func (s *story) putsAside(on *master, m move) {
	if s.free(on, storyValue(m.what)) {
		key := tms.LeaseKey{Token: storyValue(m.what), Quarantine: true}
		_, _ = on.store.Unblock(s.Context(), tms.DefaultPool, []tms.LeaseKey{key})
	}
}

// free reports whether nobody holds the token as far as the master knows.
func (s *story) free(on *master, value string) bool {
	t, err := on.store.Token(s.Context(), tms.DefaultPool, tms.LeaseKey{Token: value})
	return err == nil && t.State != tms.Assigned
}

func (s *story) restores(on *master, m move) {
	_, _ = on.store.Restore(s.Context(), tms.DefaultPool, []string{storyValue(m.what)})
}

func (s *story) changes(on *master, m move) {
	ttl := []time.Duration{second, storyTTL, storyTTL, 4 * second}[m.what]
	_, _ = on.store.PutPool(s.Context(), tms.DefaultPool, tms.PolicyChange{LeaseTTL: new(ttl)})
}
