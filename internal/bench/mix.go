package bench

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The verbs of a mix.
const (
	Generate  = "generate"
	Assign    = "assign"
	KeepAlive = "keep-alive"
	Unblock   = "unblock"
	Delete    = "delete"
	Lookup    = "lookup"
)

// Verbs are all of them.
var Verbs = []string{Generate, Assign, KeepAlive, Unblock, Delete, Lookup}

const mostWeight = 1_000 // of one verb

// Mix is the cycle of verbs that each connection goes through.
type Mix []string

// ParseMix reads a mix such as "assign=1,keep-alive=2,unblock=1": one assign, then two keep-alives, then one unblock. A
// verb without a number stands once.
func ParseMix(text string) (Mix, error) {
	var mix Mix
	for part := range strings.SplitSeq(text, ",") {
		verb, weight, given := strings.Cut(strings.TrimSpace(part), "=")
		n := 1
		var err error
		if given {
			n, err = strconv.Atoi(weight)
		}
		if err != nil || n < 0 || n > mostWeight {
			return nil, fmt.Errorf("%s: must be a number from 0 to %d, is %q", verb, mostWeight, weight)
		}
		if !slices.Contains(Verbs, verb) {
			return nil, fmt.Errorf("%q is none of %s", verb, strings.Join(Verbs, ", "))
		}
		mix = append(mix, slices.Repeat([]string{verb}, n)...)
	}
	return mix, mix.check()
}

// check refuses a mix that could do nothing.
func (m Mix) check() error {
	if len(m) == 0 {
		return fmt.Errorf("has no verb")
	}
	for _, verb := range m {
		if verb != Generate && !slices.Contains(m, Assign) {
			return fmt.Errorf("%s needs the tokens that assign gives", verb)
		}
	}
	return nil
}
