package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/manankarani/token-manager/api"
	"github.com/manankarani/token-manager/internal/bench"
	"github.com/manankarani/token-manager/internal/store/redis/redistest"
)

var (
	compareBase   = flag.String("compare", "", "compare this tree with that revision, and with what net/http can do")
	compareRounds = flag.Int("compare.rounds", 5, "how many rounds the comparison has")
	compareOnly   = flag.String("compare.only", "", "compare only what has one of these in its name: a|b")
)

// subject is one of the processes that are compared: its own server on one core, and what its store and the load need
// on the other.
type subject struct {
	*process
	name   string
	redis  *redistest.Server // nil: none
	leases string            // the request for a keep-alive of a thousand; "": it is no server of TMS
	rounds []figures
}

// figures are what one round showed, by what the figure is of.
type figures map[string]float64

// What a table shows.
const (
	perSecond   = "requests/s"
	serverCPU   = "server, µs/request"
	redisCPU    = "Redis, µs/request"
	p99         = "p99, ms"
	batchServer = "batch: server, µs/lease"
	batchRedis  = "batch: Redis, µs/lease"
	shortServer = "in short: server"
	shortRedis  = "in short: Redis"
)

var columns = []string{perSecond, serverCPU, redisCPU, p99, batchServer, batchRedis, shortServer, shortRedis}

// TestCompare puts this tree, another revision and the floors under the same load in turn, and prints the medians, with
// the medians of the ratios within a round to the other revision. It asserts nothing: speed depends on the machine.
func TestCompare(t *testing.T) {
	if *compareBase == "" {
		return
	}
	dir := t.TempDir()
	tms := map[string]string{"base": buildTMS(t, checkout(t, dir, *compareBase), filepath.Join(dir, "base")),
		"this": buildTMS(t, "../..", filepath.Join(dir, "this"))}
	subjects := floorSubjects(t, dir)
	for _, which := range []string{"base", "this"} {
		subjects = append(subjects, redisSubject(t, which, tms[which]), serverSubject(t, which, tms[which], "memory:"),
			serverSubject(t, which, tms[which], "embedded:"+filepath.Join(dir, "data-"+which)))
	}
	subjects = slices.DeleteFunc(subjects, func(s *subject) bool { return s == nil })
	for round := range *compareRounds {
		for _, s := range subjects {
			s.round(t, tms["this"])
		}
		t.Logf("round %d of %d", round+1, *compareRounds)
	}
	fmt.Print(comparison(subjects))
}

// checkout unpacks a revision, and returns where.
func checkout(t *testing.T, dir, revision string) string {
	t.Helper()
	tree := filepath.Join(dir, "tree")
	script := `mkdir "$2" && git -C ../.. archive "$1" | tar -x -C "$2"`
	if out, err := exec.Command("sh", "-ec", script, "sh", revision, tree).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return tree
}

func buildTMS(t *testing.T, tree, path string) string {
	t.Helper()
	build := exec.Command("go", "build", "-o", path, "./cmd/tms")
	build.Dir = tree
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func wanted(name string) bool {
	for part := range strings.SplitSeq(*compareOnly, "|") {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// round puts the load on the subject.
func (s *subject) round(t *testing.T, tms string) {
	t.Helper()
	before := s.cpu(t)
	out, err := pinned("1", tms, "bench", "--server", s.url, "--pool", "default", "--closed", "--duration", "2s",
		"--mix", "assign,keep-alive,unblock", "--output", "json", "--quiet").Output()
	var report bench.Report
	if err == nil {
		err = json.Unmarshal(out, &report)
	}
	if err != nil || len(report.Errors) > 0 || report.Requests == 0 {
		t.Fatalf("%s: %v: %s", s.name, err, out)
	}
	took := s.cpu(t).since(before, float64(report.Requests))
	f := figures{perSecond: report.PerSecond, p99: report.Latency[bench.All].P99, serverCPU: took.server,
		redisCPU: took.redis}
	if s.leases != "" {
		batches := s.batches(t, s.leases)
		f[batchServer], f[batchRedis] = batches.server, batches.redis
		if strings.HasSuffix(s.name, ", this") { // which another revision may not know
			short := s.batches(t, `{"answer":"short",`+s.leases[1:])
			f[shortServer], f[shortRedis] = short.server, short.redis
		}
	}
	s.rounds = append(s.rounds, f)
}

// batches measures what a lease costs in keep-alives of a thousand.
func (s *subject) batches(t *testing.T, request string) spent {
	const times = 100
	before := s.cpu(t)
	for range times {
		s.post(api.PathKeepAlive, request)
	}
	return s.cpu(t).since(before, times*1_000)
}

// spent is processor time, in seconds, or in µs for each of many.
type spent struct{ server, redis float64 }

func (s *subject) cpu(t *testing.T) (now spent) {
	now.server = cpuSeconds(t, s.cmd.Process.Pid)
	if s.redis != nil {
		now.redis = cpuSeconds(t, s.redis.Pid())
	}
	return now
}

func (s spent) since(before spent, n float64) spent {
	return spent{(s.server - before.server) * 1e6 / n, (s.redis - before.redis) * 1e6 / n}
}

// comparison returns the table of docs/benchmarks.md.
func comparison(subjects []*subject) string {
	text := "| | " + strings.Join(columns, " | ") + " |\n|" + strings.Repeat(" --- |", len(columns)+1) + "\n"
	for _, s := range subjects {
		text += "| " + s.name
		base := s.base(subjects)
		for _, column := range columns {
			text += " | " + s.cell(column, base)
		}
		text += " |\n"
	}
	return text
}

// base returns what the subject is compared with: the same store of the other revision, or nil.
func (s *subject) base(all []*subject) *subject {
	name, ok := strings.CutSuffix(s.name, ", this")
	at := slices.IndexFunc(all, func(other *subject) bool { return other.name == name+", base" })
	if !ok || at < 0 {
		return nil
	}
	return all[at]
}

// cell returns the median of the rounds, and that of the ratios within each.
func (s *subject) cell(column string, base *subject) string {
	values := s.values(column)
	if median(values) == 0 {
		return ""
	}
	text := fmt.Sprintf("%.4g", median(values))
	if base != nil && median(base.values(column)) > 0 {
		ratios := base.values(column)
		for i := range ratios {
			ratios[i] = values[i] / ratios[i]
		}
		text += fmt.Sprintf(", **%.2f**", median(ratios))
	}
	return text
}

func (s *subject) values(column string) (values []float64) {
	for _, round := range s.rounds {
		values = append(values, round[column])
	}
	return values
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}
