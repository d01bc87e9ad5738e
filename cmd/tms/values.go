package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

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
