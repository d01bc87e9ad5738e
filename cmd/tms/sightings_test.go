package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// finding is what was seen in one row of the evidence.
type finding struct {
	Row, Faults       string
	Answered, Unknown int64
	Lost              int64 // leases that stood, and tokens, that were gone though they had been acknowledged
	Doubled, Fences   int
	Gap               time.Duration // the longest in which nobody was answered
	Seed              uint64
}

func (f finding) line() string {
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %d | %d | %.1f s | %d |", f.Row, f.Faults, f.Answered, f.Unknown,
		f.Lost, f.Doubled, f.Fences, f.Gap.Seconds(), f.Seed)
}

// sightings are those of one commit, which are kept in a file, so that a run can go on where another one ended.
type sightings struct {
	mu     sync.Mutex
	Commit string
	Lasts  time.Duration
	Rows   []finding
}

const sightingsFile = "../../bin/evidence.json"

func readSightings(t *testing.T, anew bool) *sightings {
	t.Helper()
	now := &sightings{Commit: said(t, "git", "rev-parse", "--short", "HEAD"), Lasts: *evidenceLasts}
	text, err := os.ReadFile(sightingsFile)
	if anew || errors.Is(err, fs.ErrNotExist) {
		return now
	}
	before := &sightings{}
	if err = errors.Join(err, json.Unmarshal(text, before)); err != nil {
		t.Fatal(err)
	}
	if before.Commit != now.Commit || before.Lasts != now.Lasts {
		return now
	}
	return before
}

// said returns what a command prints.
func said(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

func (f *sightings) has(r row) bool {
	if f == nil {
		return false
	}
	_, ok := f.of(r)
	return ok
}

func (f *sightings) of(r row) (found finding, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, found := range f.Rows {
		if found.Row == r.name && found.Faults == r.faults {
			return found, true
		}
	}
	return finding{}, false
}

func (f *sightings) add(t *testing.T, found finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Rows = append(f.Rows, found)
	text, err := json.MarshalIndent(f, "", "  ")
	if err == nil {
		err = errors.Join(os.MkdirAll("../../bin", 0o700), os.WriteFile(sightingsFile, text, 0o600))
	}
	if err != nil {
		t.Error(err)
	}
}

const (
	evidencePage = "../../docs/reliability.md"
	tableHead    = "| tokens in | what happened | answered | unknown | lost | doubled | fences repeated | " +
		"longest gap | seed |\n" +
		"| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
)

var tablePlace = regexp.MustCompile(`(?s)(<!-- make evidence writes from here -->\n).*(<!-- to here -->)`)

// writeTable puts what was seen into the page.
func (f *sightings) writeTable(t *testing.T) {
	table := fmt.Sprintf("Commit %s, %v a row, two at a time, on %s:\n\n", f.Commit, f.Lasts, machine(t)) + tableHead
	for _, r := range rows {
		if found, ok := f.of(r); ok {
			table += found.line() + "\n"
		} else {
			t.Logf("the table lacks %s, %s, which is yet to be seen", r.name, r.faults)
		}
	}
	page, err := os.ReadFile(evidencePage)
	if err == nil {
		page = tablePlace.ReplaceAll(page, []byte("${1}\n"+table+"\n${2}"))
		err = os.WriteFile(evidencePage, page, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

// machine says what the rows were seen on.
func machine(t *testing.T) string {
	cpu := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if model := regexp.MustCompile(`model name\s*: (.*)`).FindSubmatch(info); model != nil {
			cpu = string(model[1])
		}
	}
	version := regexp.MustCompile(`v=(\S+)`).FindStringSubmatch(said(t, "redis-server", "--version"))
	return fmt.Sprintf("%d CPUs (%s), %s, Redis %s", runtime.NumCPU(), cpu, runtime.GOOS, version[1])
}

// The page has rows that there are, so that it is the command's and nobody's else.
func TestThePageHasRowsThatThereAre(t *testing.T) {
	page, err := os.ReadFile(evidencePage)
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, r := range rows {
		there[r.name+" | "+r.faults] = true
	}
	table := tablePlace.FindString(string(page))
	lines := regexp.MustCompile(`(?m)^\| ([^|]+ \| [^|]+) \| \d`).FindAllStringSubmatch(table, -1)
	for _, line := range lines {
		if !there[line[1]] {
			t.Errorf("there is no row %s", line[1])
		}
	}
	if len(lines) < len(rows)/2 {
		t.Errorf("the table has %d of %d rows: run make evidence", len(lines), len(rows))
	}
}
