package main

import (
	"fmt"
	"os"
	"path/filepath"
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

// handOver returns the job's environment, and writes the file if there is to be one, which then holds the variables
// instead.
func (j *jobRun) handOver(v []variable) ([]string, error) {
	environment := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(jobVariables, name) // of a tms run around this one
	})
	if j.file != "" {
		return append(environment, serverVariable+"="+j.server), writeVariables(j.file, v)
	}
	for _, one := range v {
		environment = append(environment, one.name+"="+strings.Join(one.values, "\n"))
	}
	return environment, nil
}

// writeVariables puts a file that nobody else can read in the place of whatever is there. Each value is a line.
func writeVariables(path string, v []variable) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".tms-run-*") // mode 0600
	if err != nil {
		return fmt.Errorf("--file: %w", err)
	}
	defer os.Remove(file.Name())
	for _, one := range v {
		for _, value := range one.values {
			fmt.Fprintf(file, "%s=%s\n", one.name, value)
		}
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("--file: %w", err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("--file: %w", err)
	}
	return nil
}
