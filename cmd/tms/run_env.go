package main

import (
	"cmp"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	tms "github.com/manankarani/token-manager"
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

// keyVariable has the key of the commands. A job finds it only if it is meant to.
const keyVariable = envPrefix + "KEY"

// jobVariables are all that tms run sets, or keeps from the job. They say nothing to tms serve.
var jobVariables = []string{
	serverVariable, poolVariable, tokenVariable, leaseIDVariable, fenceVariable,
	tokensVariable, leaseIDsVariable, fencesVariable, keyVariable, keyCommandVariable,
}

// commandVariables are those of the commands that ask a server, which say nothing to tms serve either.
var commandVariables = append([]string{caVariable, certVariable, certKeyVariable}, jobVariables...)

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
	if key, err := j.key(); j.passKey && err == nil && key != "" {
		environment = append(environment, keyVariable+"="+key)
	}
	if j.file != "" {
		return append(environment, serverVariable+"="+j.server, poolVariable+"="+j.pool)
	}
	for _, one := range v {
		environment = append(environment, one.name+"="+one.text())
	}
	return environment
}

// whoAmI returns who holds a token where the command line does not say.
func whoAmI() string {
	name := ""
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, _ := os.Hostname()
	return holderID(os.Getenv, name, host, os.Getpid())
}

// holderID tells two jobs of one machine apart: by the page of the CI's job, where there is one, and by the process. It
// returns what of that a client_id can be.
func holderID(env func(string) string, user, host string, pid int) string {
	process := fmt.Sprintf("%s:%d", host, pid)
	candidates := []string{user + "@" + process, process}
	if page := jobPage(env); page != "" {
		candidates = append([]string{page + " " + process, page}, candidates...)
	}
	for _, id := range candidates {
		if (tms.AssignRequest{ClientID: id}).Validate() == nil {
			return id
		}
	}
	return ""
}

// jobPage returns the address of the CI's page about the job, or "".
func jobPage(env func(string) string) string {
	switch {
	case env("GITHUB_ACTIONS") != "" && env("GITHUB_RUN_ID") != "":
		return fmt.Sprintf("%s/%s/actions/runs/%s/attempts/%s#%s", env("GITHUB_SERVER_URL"), env("GITHUB_REPOSITORY"),
			env("GITHUB_RUN_ID"), cmp.Or(env("GITHUB_RUN_ATTEMPT"), "1"), env("GITHUB_JOB"))
	case env("GITLAB_CI") != "":
		return env("CI_JOB_URL")
	case env("BUILDKITE") != "" && env("BUILDKITE_BUILD_URL") != "":
		return env("BUILDKITE_BUILD_URL") + "#" + env("BUILDKITE_JOB_ID")
	case env("JENKINS_URL") != "":
		return env("BUILD_URL")
	}
	return ""
}

// jobFile is a file with the variables that a job finds.
type jobFile struct {
	path string
	own  os.FileInfo
	pin  *os.File // keeps the system from giving its number to another file; nil, nothing does
}

const temporaryFile = ".tms-run-*"

// checkFile refuses what cannot become such a file, before a token is taken for it.
func checkFile(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("--file: %s is a directory", path)
	}
	file, err := os.CreateTemp(filepath.Dir(path), temporaryFile)
	if err != nil {
		return fmt.Errorf("--file: %w", err)
	}
	file.Close()
	os.Remove(file.Name())
	return nil
}

// writeJobFile puts a file that nobody else can read in the place of whatever is there.
func writeJobFile(path string, v []variable) (*jobFile, error) {
	f, err := replace(path, []byte(assignments(v)))
	if err != nil {
		return nil, fmt.Errorf("--file: %w", err)
	}
	return f, nil
}

func replace(path string, content []byte) (*jobFile, error) {
	file, err := os.CreateTemp(filepath.Dir(path), temporaryFile) // mode 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(content)
	own, statErr := file.Stat()
	if err = cmp.Or(err, statErr, file.Close()); err != nil {
		return nil, err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return nil, err
	}
	pin, _ := os.Open(path)
	return &jobFile{path, own, pin}, nil
}

// remove removes the file, but not what has taken its place meanwhile.
func (f *jobFile) remove() {
	now, err := os.Lstat(f.path)
	f.pin.Close()
	if err == nil && os.SameFile(now, f.own) {
		os.Remove(f.path)
	}
}

// assignments returns the variables as a shell reads them.
func assignments(v []variable) string {
	var text strings.Builder
	for _, one := range v {
		fmt.Fprintf(&text, "%s=%s\n", one.name, quoted(one.text()))
	}
	return text.String()
}

var needsNoQuotes = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// quoted returns a word that a shell reads as the value.
func quoted(value string) string {
	if needsNoQuotes.MatchString(value) {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}
