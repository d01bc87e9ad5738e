package main

import (
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestDurationsOfTheCommandLine(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "5": 5 * time.Second, "0.25": 250 * time.Millisecond, ".5": 500 * time.Millisecond,
		"2.": 2 * time.Second,
		"2d": 48 * time.Hour, "1.5d": 36 * time.Hour, "1d12h": 36 * time.Hour, "-1d": -24 * time.Hour,
		"-5":  -5 * time.Second,
		"90s": 90 * time.Second, "250ms": 250 * time.Millisecond, "1h30m": 90 * time.Minute,
	} {
		if got, err := time.ParseDuration(withUnits(text)); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "2d5", "5 s", "1d1d", "x", "1e3", "2D", "--5", "Inf", "0x5"} {
		if got, err := time.ParseDuration(withUnits(text)); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}

// Every duration of every command counts seconds; in a file and in the environment it has a unit.
func TestEveryDurationFlagCountsSeconds(t *testing.T) {
	n := 0
	everyFlag(newRoot(), func(f *pflag.Flag) {
		if isDuration(f) {
			n++
			if err := f.Value.Set("7"); err != nil || f.Value.String() != "7s" {
				t.Errorf("--%s 7: %v, %v", f.Name, f.Value, err)
			}
		}
	})
	if n < 20 {
		t.Errorf("there are only %d durations", n)
	}
	settings := new(config).settings()
	settings.VisitAll(takeSeconds)
	if err := set(settings, map[string]any{"max_wait": 5}, "key", keyOf); err == nil {
		t.Error("a file may leave the unit out")
	}
}
