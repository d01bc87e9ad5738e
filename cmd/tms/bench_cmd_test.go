package main

import (
	"slices"
	"testing"

	"github.com/manankarani/token-manager/internal/bench"
)

func TestABenchKeepsTheErrorsOfItsFirstPart(t *testing.T) {
	a := benchAnswer{Report: &bench.Report{Errors: map[string]int64{"unreachable": 2, "lease_lost": 1}}}
	a.follow(&bench.Report{Errors: map[string]int64{"unreachable": 3}, Requests: 5}, 7)
	if a.Errors["unreachable"] != 5 || a.Errors["lease_lost"] != 1 || a.Requests != 5 || a.Rate != 7 {
		t.Errorf("got %+v", a)
	}
}

func TestABenchSaysWhatHadNoAnswer(t *testing.T) {
	got := benchAnswer{Report: &bench.Report{
		Seconds: 5, Requests: 100, PerSecond: 20, Unsent: 399, Unanswered: 1, OwnCPU: 1.25,
		Errors: map[string]int64{"unreachable": 2},
	}, Most: 40}.lines()
	want := []string{
		"",
		"at most 40 requests in a second; then",
		"100 requests in 5.00 s: 20 in a second",
		"this command took 25 % of a processor",
		"399 more were due and not sent in time; above they count with the time they waited",
		"1 more were cut off by the interrupt; above they count with the time they waited",
		"2 errors: unreachable",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
