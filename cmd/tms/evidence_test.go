package main

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var (
	evidenceLasts = flag.Duration("evidence", 0, "how long each row of the evidence lasts; 0: a few of them, 5s each")
	evidenceAnew  = flag.Bool("evidence.anew", false, "run the rows again that were seen for this commit")
)

// TestEvidence lets clients work on every way to keep tokens while it fails, and holds what all of them promise: no
// token has two holders, no fence is issued twice, and where answers last, none is lost. With -evidence 60s it runs all
// rows for that long each, goes on where an earlier run of the same commit ended, and writes the table of
// docs/reliability.md.
func TestEvidence(t *testing.T) {
	var seen *sightings
	if *evidenceLasts > 0 {
		seen = readSightings(t, *evidenceAnew)
		t.Cleanup(func() { seen.writeTable(t) })
	}
	for _, r := range rows {
		if seen.has(r) || seen == nil && !r.quick {
			continue
		}
		t.Run(strings.ReplaceAll(r.name+": "+r.faults, " ", "_"), func(t *testing.T) {
			t.Parallel()
			found := r.run(t)
			t.Log(found.line())
			if seen != nil && !t.Failed() {
				seen.add(t, found)
			}
		})
	}
}

// run lets the row happen, and fails the test for what contradicts its promises.
func (r row) run(t *testing.T) finding {
	seed := rand.Uint64()
	s := &soak{t: t, lasts: max(*evidenceLasts, 5*time.Second)}
	faults := r.begin(s)
	s.stock()
	s.run(seed, faults)
	if r.parts {
		s.says()
	} else {
		s.verdict()
	}
	missing := s.missing(r.lossy)
	doubled, fences := s.history.counts()
	lost := s.lost.Load() + int64(missing)
	if lost > 0 && !r.lossy || fences > 0 && !r.parts {
		t.Errorf("%d leases or tokens were lost that had been acknowledged, %d fences repeated", lost, fences)
	}
	return finding{Row: r.name, Faults: r.faults, Answered: s.answered.Load() - s.unknown.Load(),
		Unknown: s.unknown.Load(), Lost: lost, Doubled: doubled, Fences: fences, Gap: s.gap.longest, Seed: seed}
}

// missing compares the final listing with what was generated: it returns how many tokens are not there when all is
// over. Where none may be lost, each of them is free in the end, and can be had.
func (s *soak) missing(lossy bool) int {
	if !lossy {
		s.allComesBack()
		return 0
	}
	listed := map[string]bool{}
	eventually(s.t, "the tokens are listed", func() bool {
		var page struct{ Tokens []struct{ Token string } }
		s.seen(0).get(s.t, "/pools/soak/tokens", &page)
		for _, token := range page.Tokens {
			if listed[token.Token] {
				s.t.Errorf("%s is listed twice", token.Token)
			}
			listed[token.Token] = true
		}
		return true
	})
	return soakTokens - len(listed)
}
