package storetest

import (
	"flag"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	tms "github.com/manankarani/token-manager"
)

// recorder is a test that keeps its failure to itself.
type recorder struct {
	testing.TB
	failed atomic.Bool
}

func (r *recorder) Fail()                 { r.failed.Store(true) }
func (r *recorder) Failed() bool          { return r.failed.Load() }
func (r *recorder) Errorf(string, ...any) { r.Fail() }
func (r *recorder) Error(...any)          { r.Fail() }
func (r *recorder) Fatalf(string, ...any) { r.FailNow() }
func (r *recorder) Fatal(...any)          { r.FailNow() }
func (r *recorder) Logf(string, ...any)   {}
func (r *recorder) Log(...any)            {}
func (r *recorder) FailNow() {
	r.Fail()
	runtime.Goexit()
}

// catches reports whether the rule fails on the store.
func catches(t *testing.T, r rule, open Opener) bool {
	t.Helper()
	rec, done := &recorder{TB: t}, make(chan struct{})
	go func() {
		defer close(done)
		r.check(rec, open, NewClock())
	}()
	<-done
	return rec.Failed()
}

// catchesInTime runs the rule, which is left to chance, up to ten times.
func catchesInTime(t *testing.T, r rule, open Opener) bool {
	for range 10 {
		if catches(t, r, open) {
			return true
		}
	}
	return false
}

// TestMutants plants one fault at a time into the model, each of which the rule named with it must catch. The random
// programs must catch all but those that need two clients at once, or a rare chain of steps.
func TestMutants(t *testing.T) {
	quietRapid(t)
	rules := map[string]rule{}
	for _, r := range slices.Concat(allRules(), allQueueRules()) {
		rules[r.name] = r
	}
	for _, m := range slices.Concat(mutants, queueMutants) {
		t.Run(m.name, func(t *testing.T) {
			open := func(_ testing.TB, clock *Clock) []tms.Sweeper { return []tms.Sweeper{m.plant(NewModel(clock))} }
			if r, ok := rules[m.caught]; !ok || !catches(t, r, open) {
				t.Errorf("%s does not catch a store that %s", m.caught, m.name)
			}
			if !m.rare && !catchesInTime(t, rules["RandomPrograms"], open) {
				t.Errorf("the random programs do not catch a store that %s", m.name)
			}
		})
	}
}

// quietRapid keeps failures that are wanted from being shrunk and written to files.
func quietRapid(t *testing.T) {
	for name, value := range map[string]string{"rapid.nofailfile": "true", "rapid.shrinktime": "0s"} {
		before := flag.Lookup(name).Value.String()
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = flag.Set(name, before) })
	}
}

// TestEveryRuleIsNamedOnce keeps the table usable as a list of names.
func TestEveryRuleIsNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range slices.Concat(allRules(), allQueueRules(), waitRules, takeoverRules, takeoverQueueRules) {
		if seen[r.name] || r.name == "" || r.says == "" {
			t.Errorf("rule %q is named twice, or says nothing", r.name)
		}
		seen[r.name] = true
	}
}
