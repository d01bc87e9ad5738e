package main

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/manankarani/token-manager/client"
)

// The variables that a job finds. Those of the second group have one value for each token, on lines of their own; those
// of the first have the first of them.
const (
	tokenVariable    = envPrefix + "TOKEN"
	leaseIDVariable  = envPrefix + "LEASE_ID"
	fenceVariable    = envPrefix + "FENCE"
	poolVariable     = envPrefix + "POOL"
	tokensVariable   = envPrefix + "TOKENS"
	leaseIDsVariable = envPrefix + "LEASE_IDS"
	fencesVariable   = envPrefix + "FENCES"
)

// jobVariables are all that tms run sets. They say nothing to tms serve.
var jobVariables = []string{
	serverVariable, poolVariable, tokenVariable, leaseIDVariable, fenceVariable,
	tokensVariable, leaseIDsVariable, fencesVariable,
}

// variable is one that a job finds, with its values.
type variable struct {
	name   string
	values []string
}

func variables(server string, helds []*client.Held) []variable {
	tokens, leaseIDs := variable{name: tokensVariable}, variable{name: leaseIDsVariable}
	fences := variable{name: fencesVariable}
	for _, h := range helds {
		tokens.values = append(tokens.values, h.Token())
		leaseIDs.values = append(leaseIDs.values, h.LeaseID())
		fences.values = append(fences.values, strconv.FormatInt(h.Fence(), 10))
	}
	return []variable{
		{serverVariable, []string{server}},
		{poolVariable, []string{helds[0].Pool()}},
		{tokenVariable, tokens.values[:1]},
		{leaseIDVariable, leaseIDs.values[:1]},
		{fenceVariable, fences.values[:1]},
		tokens, leaseIDs, fences,
	}
}

// text is the value of the variable: of several, each is a line.
func (v variable) text() string { return strings.Join(v.values, "\n") }

// environment returns the job's. Without a file the variables are in it.
func (j *jobRun) environment(v []variable) []string {
	environment := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(jobVariables, name) // of a tms run around this one
	})
	if j.file != "" {
		return append(environment, serverVariable+"="+j.server, poolVariable+"="+j.pool)
	}
	for _, one := range v {
		environment = append(environment, one.name+"="+one.text())
	}
	return environment
}
