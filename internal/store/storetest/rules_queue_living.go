package storetest

import (
	"fmt"
	"math/rand/v2"
	"time"

	tms "github.com/manankarani/token-manager"
)

// Whoever waits and lives is served.
var livingRules = []rule{
	{"WhoLivesIsServed", "however many waits end, hang up and die, at least 80 % of a pool goes to those who live",
		livingServed},
}

func livingServed(e *env) {
	for _, returns := range []bool{false, true} {
		h := &hall{env: e, returns: returns, random: rand.New(rand.NewPCG(1, 2))}
		h.pool = e.pool(tms.PolicyChange{})
		e.fill(h.pool, numbered("t", hallTokens)...)
		for i := range h.guests {
			h.guests[i] = &guest{number: i}
		}
		for h.at = 0; h.at < hallTime; h.at += hallStep {
			h.step()
			e.advance(hallStep)
		}
		share := float64(h.grants) * float64(hallJob) / float64(hallTokens*hallTime)
		e.Logf("with request_id: %v; %d grants, %.0f %% of the capacity", returns, h.grants, 100*share)
		if share < 0.8 {
			e.Errorf("those who live had %.0f %% of the pool", 100*share)
		}
	}
}

const (
	hallTokens = 4
	hallJob    = second
	hallTime   = 30 * second
	hallStep   = 200 * ms
	hallBeat   = 600 * ms // how often a server shows a ticket
)

// hall is a pool that 40 clients wait for, as servers make it of their requests.
type hall struct {
	*env
	pool    string
	returns bool // requests have a request_id: places are kept
	random  *rand.Rand
	at      time.Duration
	guests  [40]*guest
	waits   int
	grants  int
}

// guest is one client: it waits until it is served or loses patience, works, and waits again.
type guest struct {
	number int
	ticket string // empty while it works
	until  time.Duration
	dies   bool          // at the end of its patience its server is gone, without a word
	next   time.Duration // when its ticket is shown
	key    tms.LeaseKey
}

// step lets the guests do what they do at an instant.
func (h *hall) step() {
	h.finish()
	h.depart()
	var shown []*guest
	for _, g := range h.guests {
		if g.ticket == "" && g.key.Token == "" {
			h.arrive(g)
		}
		if g.ticket != "" && g.next <= h.at {
			shown = append(shown, g)
		}
	}
	h.show(shown)
	h.show(h.woken())
}

func (h *hall) arrive(g *guest) {
	h.waits++
	g.ticket, g.next = fmt.Sprintf("wait %d", h.waits), h.at
	g.until = h.at + second + time.Duration(h.random.Int64N(int64(5*second)))
	g.dies = h.waits%3 == 0 // the others' time is over, or they hang up: the server says so
}

// finish has the tokens of those who are done given back.
func (h *hall) finish() {
	var keys []tms.LeaseKey
	for _, g := range h.guests {
		if g.key.Token != "" && g.until <= h.at {
			keys = append(keys, g.key)
			g.key = tms.LeaseKey{}
		}
	}
	results, err := h.Unblock(h.Context(), h.pool, keys)
	h.must(err)
	for _, r := range results {
		h.must(r.Err)
	}
}

// depart lets those go who wait no longer.
func (h *hall) depart() {
	var left []string
	for _, g := range h.guests {
		if g.ticket == "" || g.until > h.at {
			continue
		}
		if !g.dies {
			left = append(left, g.ticket)
		}
		g.ticket = ""
	}
	if len(left) > 0 {
		h.must(h.Leave(h.Context(), h.pool, left, h.returns))
	}
}

// show shows the tickets of guests, who begin to work where they are served.
func (h *hall) show(guests []*guest) {
	var requests []tms.AssignRequest
	for _, g := range guests {
		requests = append(requests, tms.AssignRequest{Ticket: g.ticket, ClientID: g.ticket})
		g.next = h.at + hallBeat
	}
	results, err := h.Assign(h.Context(), h.pool, requests)
	h.must(err)
	for i, r := range results {
		if r.Err != nil {
			h.refused(r.Err, tms.ErrNoTokenAvailable)
			continue
		}
		h.grants++
		guests[i].ticket, guests[i].key, guests[i].until = "", keyOf(r.Tokens[0]), h.at+hallJob
	}
}

// woken returns the guests that were handed a token.
func (h *hall) woken() (woken []*guest) {
	for _, t := range h.list(h.pool, tms.Filter{State: tms.Assigned}, hallTokens) {
		for _, g := range h.guests {
			if g.ticket != "" && g.ticket == t.Lease.ClientID && t.Lease.Fence == 0 {
				woken = append(woken, g)
			}
		}
	}
	return woken
}
