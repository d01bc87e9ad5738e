package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	tms "github.com/manankarani/token-manager"
)

// fromInput says in the help that tokens can come through a pipe.
const fromInput = "With - for a TOKEN it reads lines of standard\ninput in its place, each a token."

// valueRules say what the value of a token can be: as an argument, and as a line of an input. They return it as it is
// to be.
type valueRules interface {
	check(field, value string) (string, error)
	line(text string, first bool) (string, error)
}

// existing are the rules for tokens that a pool may have.
type existing struct{}

func (existing) check(field, value string) (string, error) {
	return value, tms.ValidateToken(field, value)
}

func (e existing) line(text string, _ bool) (string, error) { return e.check("token", text) }

// newValue are the rules for new tokens.
type newValue struct{ trim bool }

func (n newValue) check(field, value string) (string, error) {
	if n.trim {
		value = strings.TrimSpace(value)
	}
	switch err := tms.ValidateNewToken(field, value); {
	case value == "-":
		return "", tms.Invalid(field, "must not be -, which stands for standard input on the command line")
	case err != nil && tms.ValidateToken(field, value) == nil:
		return "", fmt.Errorf("%w; --trim cuts it", err)
	default:
		return value, err
	}
}

func (n newValue) line(text string, first bool) (string, error) {
	if other := otherForm(text, first); other != "" {
		return "", tms.Invalid("", "%s", other)
	}
	return n.check("token", text)
}

// values returns the tokens of the arguments. For "-", which can be one of them, stand the lines of standard input.
func (r *remote) values(args []string, rules valueRules) (all []string, err error) {
	read := false
	for i, arg := range args {
		if arg == "-" && read {
			return nil, usage("- stands for the lines of standard input, and can be given once")
		}
		if arg == "-" {
			read = true
			all, err = appendLines(all, r.InOrStdin(), rules)
		} else if arg, err = rules.check(fmt.Sprintf("token %d", i+1), arg); err == nil {
			all = append(all, arg)
		}
		if tms.CodeOf(err) != "" {
			return nil, usage("%v", err)
		} else if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// appendLines appends the tokens of an input.
func appendLines(all []string, in io.Reader, rules valueRules) ([]string, error) {
	for input, first := linesOf(in), true; ; first = false {
		line, err := input.next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err == nil {
			line, err = rules.line(line, first)
		}
		if tms.CodeOf(err) != "" {
			return nil, fmt.Errorf("%s:%d: %w", standardInput, input.number, err)
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", standardInput, err)
		}
		all = append(all, line)
	}
}

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
