package rules_test

import (
	"testing"

	"github.com/manankarani/token-manager/internal/rules"
)

// Served time moves with the clock, by a second and a half at once at most, and never back.
func TestServedTime(t *testing.T) {
	var s rules.Served
	for i, move := range []struct{ clock, served int64 }{
		{10_000, 0}, {10_700, 700}, {11_700, 1_700}, // it is called
		{71_700, 3_200}, {71_701, 3_201}, {71_702, 3_202}, // for a minute it was not
		{11_702, 3_202}, {11_703, 3_203}, // its clock was set back
		{12_703, 4_203}, {13_500, 5_000},
	} {
		if got := s.Move(move.clock); got != move.served {
			t.Fatalf("move %d, to %d: served %d, want %d", i, move.clock, got, move.served)
		}
		if at := s.Began() + move.served; at > move.clock {
			t.Errorf("move %d: served time is ahead of the clock", i)
		}
	}
}
