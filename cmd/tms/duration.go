package main

import (
	"regexp"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// seconds is a duration on the command line. A bare number counts seconds, as timeout, flock and sleep have it, and
// there are days. HTTP, YAML and the environment have it otherwise: there a duration has a unit.
type seconds struct{ pflag.Value }

const secondsForm = "a duration such as 90s, 5m, 250ms or 2d, or a number of seconds"

func (s seconds) Set(text string) error { return s.Value.Set(withUnits(text)) }

var (
	bareNumber = regexp.MustCompile(`^-?(\d+\.?\d*|\.\d+)$`)
	withDays   = regexp.MustCompile(`^(-?)(\d+(?:\.\d+)?)d(.*)$`)
)

// withUnits returns a duration in the notation of Go, or the text as it is.
func withUnits(text string) string {
	if bareNumber.MatchString(text) {
		return text + "s"
	}
	parts := withDays.FindStringSubmatch(text)
	if parts == nil {
		return text
	}
	n, err := strconv.ParseFloat(parts[2], 64)
	if err != nil {
		return text
	}
	return parts[1] + strconv.FormatFloat(24*n, 'f', -1, 64) + "h" + parts[3]
}

// takeSeconds makes the durations among flags such as count seconds.
func takeSeconds(f *pflag.Flag) {
	if _, done := f.Value.(seconds); done || !isDuration(f) {
		return
	}
	f.Value = seconds{f.Value}
	if f.DefValue == "0s" {
		f.DefValue = "0" // which the help leaves out
	}
}

// everyFlag calls visit for every flag of the command and of those below it.
func everyFlag(cmd *cobra.Command, visit func(f *pflag.Flag)) {
	cmd.Flags().VisitAll(visit)
	for _, c := range cmd.Commands() {
		everyFlag(c, visit)
	}
}

func isDuration(f *pflag.Flag) bool {
	return f.Value.Type() == "duration" || f.Value.Type() == new(syncInterval).Type()
}
