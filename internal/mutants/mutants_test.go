package mutants

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var runMutants = flag.Bool("mutants", false, "build TMS with each of the faults, and run the tests that must catch it")

// mutant is TMS with one fault: a text of a file that is replaced by another.
type mutant struct {
	name     string
	file     string // below the root
	old, new string
	tests    string // of the package of the file, that must catch it, as go test -run has it
}

const (
	takeoverOnRedis = "TakeoverContract$|Fences|ComesBackSettles|NeverKnew"
	clockOnRedis    = "Clock|NothingEnds|Served"
	embeddedTests   = "Takeover|Clock|Fences|Settle|NothingEnds"
)

const (
	asks  = "processOf(conn.B(), key)"
	waits = "conn.B().Wait().Numreplicas(int64(r.need)).Timeout(r.within.Milliseconds()).Build()"
)

const (
	redisDir    = "internal/store/redis/"
	embeddedDir = "internal/store/embedded/"
)

var mutants = []mutant{
	{"a takeover does not settle", redisDir + "takeover.lua", "if settles then unsettle(pool) end", "",
		takeoverOnRedis},
	{"T lacks its second", redisDir + "takeover.lua", "pool.instant = pool.instant + STALE + 1",
		"pool.instant = pool.instant + 1", takeoverOnRedis},
	{"a takeover does not wait for W", redisDir + "takeover.lua", "max(QUIET, wait + longest(pool))",
		"max(QUIET, longest(pool))", "OldMaster"},
	{"no W before a lease is over", redisDir + "served.lua", "brought = true, said.wait,", "brought = true, 0,",
		"OldMaster"},
	{"a keep-alive of a token that nobody holds un-settles it", redisDir + "verbs.lua",
		"r.seen = settling() and inherited(r) and oldSide() or now", "r.seen = now", takeoverOnRedis},
	{"a token that comes back un-settles", redisDir + "expire.lua",
		"mayBeHeld(r) and oldSide() or now, true", "now, true", takeoverOnRedis},
	{"a generate of a lost value un-settles it", redisDir + "generate.lua",
		"settling() and not drawn and oldSide() or now", "now", takeoverOnRedis},
	{"a restore un-settles", redisDir + "verbs.lua",
		"r.state, r.seen, r.since = AVAILABLE, settling() and oldSide() or now, now",
		"r.state, r.seen, r.since = AVAILABLE, now, now", takeoverOnRedis},
	{"an inherited lease ends while its pool settles", redisDir + "expire.lua",
		"return settling() and some('fresh') or keys[3] end", "return keys[3] end", takeoverOnRedis},
	{"a repeat of an inherited request is answered", redisDir + "claim.lua",
		"r.id ~= leases[2 * i] or inherited(r) then", "r.id ~= leases[2 * i] then", takeoverOnRedis},
	{"reports are not made", redisDir + "pulse.go", "\t\t\t\ts.report()\n", "", "WhatWasLostIsReported"},
	{"reports are not heard", redisDir + "pools.lua", "lasts(was)", "", "WhatWasLostIsReported|" + takeoverOnRedis},
	{"the beat does not look at the replid", redisDir + "served.lua",
		"if reign and reign ~= replid then memories, count = {}, 0 end", "", "Reign|" + takeoverOnRedis},
	{"a move over 1.5 s counts", redisDir + "served.lua", "local MOVE = 1500", "local MOVE = 1e12", clockOnRedis},
	{"a move counts beyond the server's own clock", redisDir + "served.lua", "    to = min(to, line)\n", "",
		clockOnRedis},
	{"a step back is followed", redisDir + "served.lua",
		"served, called = max(served, to), instant", "served, called = to, instant", clockOnRedis},
	{"a new server moves the clock", redisDir + "served.lua",
		"heard[server] + reading or served", "heard[server] + reading or to", "NewServer"},
	{"a new server's leases last no longer", redisDir + "served.lua",
		"behind = min(MOVE, behind + idle)", "behind = 0", "NewServer"},
	{"a restart counts its downtime", redisDir + "takeover.lua",
		"pool.instant = pool.instant or wallInstant()\n  local another",
		"pool.instant = wallInstant()\n  local another", clockOnRedis},
	{"a WAIT is ignored", redisDir + "replicas.go", "n < int64(r.need)", "n < 0", "Replica"},
	{"a WAIT asks on a connection that has not asked anything since", redisDir + "replicas.go",
		asks + ",\n\t\t" + waits + ")",
		waits + ",\n\t\t" + asks + ")\n\tresults[0], results[1] = results[1], results[0]", "Replica"},
	{"a WAIT may ask another server", redisDir + "replicas.go", "asked != ran", "asked != ran && false",
		"AnotherServer"},
	{"a call counts though its connection was made anew", redisDir + "replicas.go",
		"w.err == nil && r.calls.dials.Load() != dials", "false", "ConnectionMadeAnew"},
	{"a refusal does not wait for the replicas", redisDir + "redis.go",
		"if err := s.replicas.have(ctx, key, function, dials); err != nil {",
		"if _, no := readAnswer(\"\", result); no != nil {\n\t} else if err := " +
			"s.replicas.have(ctx, key, function, dials); err != nil {", "Replica"},
	{"one caller's refusal is answered to another of the group", redisDir + "combine.go",
		"call.results, results = results[:len(call.items):len(call.items)], results[len(call.items):]",
		"call.results = results[:len(call.items):len(call.items)]", "Combined"},
	{"who leaves a group is carried out all the same", redisDir + "combine.go",
		"g.calls = append(g.calls[:i:i], g.calls[i+1:]...)", "_ = i", "Leave"},
	{"a keep-alive goes by the token, whatever lease it names", redisDir + "swift.lua",
		"if same ~= id or at == '0' or own", "if at == '0' or own", "Contract$"},
	{"an end of a lease before all others is not remembered", redisDir + "assign.lua", "  endsAt(ASSIGNED, till)\n", "",
		"Contract$"},
	{"a lease string that is old is not written anew", redisDir + "swift.lua",
		" or floor((now - at) / AGE) > floor((till - ttl - at) / AGE)", "", "AKeepAliveLeaves"},
	{"a history has one lease more", redisDir + "writes.lua", "first(past, policy.history - 1)",
		"first(past, policy.history)", "AHistoryTakesNoMore"},
	{"who used force is not written", redisDir + "verbs.lua", "      r.by = by\n", "", "Contract$/History"},
	{"a past without a history loses the first line", redisDir + "writes.lua", "sub(past, from, last) or '\\n'",
		"sub(past, from, last) or ''", "Contract$/History"},
	{"a history outlives its token", embeddedDir + "journal.go",
		"\t\tj.append(j.batch().Delete(historyKey(pool, e.value()), nil))\n", "", "OnDisk/History"},
	{"a library is downgraded", redisDir + "library.go", "loaded >= l.version", "loaded == l.version", "Version"},
	{"what a master answered that is confirmed no more counts", redisDir + "redis.go",
		"s.sentinels.vouch(); err != nil && !reads[function]", "s.sentinels.vouch(); err != nil && false",
		"ALateAnswer"},

	{"the epoch of a restored directory goes on", embeddedDir + "load.go",
		"max(issued, fenceAt(s.clock.fresh()))", "issued", embeddedTests},
	{"a restored directory does not settle", embeddedDir + "load.go", "s.goOn(lost || j.putBack)", "s.goOn(lost)",
		embeddedTests + "|Backup|Restore"},
	{"a machine that went down lets no pool settle", embeddedDir + "clock.go",
		`return r.Lossy != "" && r.Lossy != bootOf(), nil`, "return false, nil", embeddedTests},
	{"a restart of the embedded store counts its downtime", embeddedDir + "clock.go", "s.clock.goOn(r.Instant)",
		"s.clock.goOn(max(r.Instant, s.clock.fresh()))", embeddedTests},
	{"an answer does not wait for its fsync", embeddedDir + "disk.go", "deferred: d.deferred}", "deferred: true}",
		"TheMachine"},
	{"a log that ends is not synced", embeddedDir + "diskfile.go", "\tf.syncLocked()\n\tf.closed = true",
		"\tf.closed = true", "TheMachine|AtAnInterval"},
	{"a list of files is not made durable", embeddedDir + "disk.go", "\t\td.syncDir()\n", "", "TheMachine"},
	{"a store goes on after a failure", embeddedDir + "disk.go", "\t\td.failure.fail(err)\n", "\t\t_ = err\n",
		"TheDisk"},
	{"a look at another's data under Sentinels resets the store", redisDir + "reset.go",
		"if s.sentinels.differs(true) {", "if s.sentinels.differs(true) && false {", "ComesBackEmpty"},

	{"a move of the embedded clock over 1.5 s counts", "internal/rules/served.go",
		"min(clock-s.began, s.served+mostMove)", "clock-s.began", "Served"},
	{"a step back of the embedded clock is followed", "internal/rules/served.go",
		"s.served = max(s.served, min(clock-s.began, s.served+mostMove))",
		"s.served = min(clock-s.began, s.served+mostMove)", "Served"},
}

// Each fault can be planted: its text stands in the file once.
func TestMutantsFitTheCode(t *testing.T) {
	for _, m := range mutants {
		text, err := os.ReadFile(filepath.Join("../..", m.file))
		if err != nil || strings.Count(string(text), m.old) != 1 {
			t.Errorf("%s: %q does not stand in %s once; %v", m.name, m.old, m.file, err)
		}
	}
}

// TestMutants prints which test catches which fault. It takes some minutes, and runs with -mutants only.
func TestMutants(t *testing.T) {
	if !*runMutants {
		return
	}
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			if caught := m.run(t); caught == "" {
				t.Errorf("nothing catches that %s", m.name)
			} else {
				t.Logf("%s: caught by %s", m.name, caught)
			}
		})
	}
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// run runs the tests with the fault, and returns the one that caught it; "": none did.
func (m mutant) run(t *testing.T) (caught string) {
	test := exec.Command("go", "test", "-count=1", "-failfast", "-overlay", m.overlay(t), "-run", m.tests,
		"./"+filepath.Dir(m.file))
	test.Dir = "../.."
	out, err := test.CombinedOutput()
	if err == nil {
		return ""
	}
	all := failed.FindAllStringSubmatch(string(out), -1)
	if len(all) == 0 {
		t.Fatalf("%s: it cannot be built, or ended: %s", m.name, out)
	}
	return all[len(all)-1][1]
}

// overlay returns a file that tells the go command of the fault.
func (m mutant) overlay(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../..", m.file))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	planted, list := filepath.Join(dir, filepath.Base(path)), filepath.Join(dir, "overlay.json")
	write(t, planted, []byte(strings.Replace(string(text), m.old, m.new, 1)))
	names, _ := json.Marshal(map[string]map[string]string{"Replace": {path: planted}}) // of strings: cannot fail
	write(t, list, names)
	return list
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
