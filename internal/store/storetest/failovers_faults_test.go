package storetest

import (
	"math/rand/v2"
	"testing"

	tms "github.com/manankarani/token-manager"
	"github.com/manankarani/token-manager/internal/rules"
)

// storyMutants are faults that some story brings to light.
var storyMutants = []struct {
	name  string
	plant func(m *Model) tms.Sweeper
	spoil func(s *story)
}{
	{name: "takes over without settling",
		plant: settled(func(_ *modelPool, s rules.Settling) rules.Settling {
			return rules.Settling{Before: s.Before}
		})},
	{name: "takes over at the instant that is stored", spoil: func(s *story) { s.careful = false }},
	{name: "ends leases while an old master may be asked", spoil: func(s *story) { s.pool().policy.OldMaster = 0 }},
	{name: "hears no report", spoil: func(s *story) { s.deaf = true }},
	{name: "takes inherited leases for its own", plant: ofNobody},
	{name: "takes a keep-alive for a sign that nobody holds the token",
		plant: func(m *Model) tms.Sweeper { return believes{settler{m, nil}} }},
	{name: "takes a value that is brought for a new one",
		plant: func(m *Model) tms.Sweeper { return credulous{settler{m, nil}} }},
	{name: "begins no epoch", plant: func(m *Model) tms.Sweeper { return repeats{settler{m, nil}} }},
	{name: "keeps the first settling", plant: func(m *Model) tms.Sweeper { return onlyOnce{settler{m, nil}} }},
}

// TestFailoversFindFaults plants one fault at a time, and some story must bring it to light.
func TestFailoversFindFaults(t *testing.T) {
	for _, m := range storyMutants {
		t.Run(m.name, func(t *testing.T) {
			broken, moves := search(t, rand.Uint64(), 100*4_000, func(moves []move) string {
				plant := m.plant
				if plant == nil {
					plant = func(m *Model) tms.Sweeper { return m }
				}
				s := newStory(t, plant)
				if m.spoil != nil {
					m.spoil(s)
				}
				return s.tell(moves)
			})
			if broken == "" {
				t.Errorf("no story brings to light a store that %s", m.name)
			}
			t.Logf("%s:\n%s", broken, tellOf(moves))
		})
	}
}
