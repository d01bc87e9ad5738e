package job

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCommandsAreFoundAsShellsDo(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{
		"sh": 0, "/nothing/there": NotFound, "nothing-there": NotFound, plain: CannotRun,
	} {
		path, code, err := Find(name)
		if code != want || (err == nil) != (want == 0) || (path == "") != (want != 0) {
			t.Errorf("%s: path %q, code %d, error %v, want code %d", name, path, code, err, want)
		}
	}
}

func startShell(t *testing.T, script string) *Job {
	t.Helper()
	path, _, err := Find("sh")
	if err != nil {
		t.Fatal(err)
	}
	j, err := Start(Command{Path: path, Args: []string{"sh", "-c", script}, Env: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestExitCodesAreThoseOfShells(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 143, "kill -KILL $$": 137} {
		if got := startShell(t, script).ExitCode(); got != want {
			t.Errorf("%s ends with %d, want %d", script, got, want)
		}
	}
}

func TestStopGivesTimeAndThenKills(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	for script, want := range map[string]int{
		"trap 'exit 5' TERM; touch " + ready + "; while :; do sleep 0.01; done": 5,
		"trap '' TERM; touch " + ready + "; while :; do sleep 0.01; done":       137,
	} {
		j := startShell(t, script)
		for _, err := os.Stat(ready); err != nil; _, err = os.Stat(ready) {
			time.Sleep(time.Millisecond)
		}
		os.Remove(ready)
		if j.Stop(300 * time.Millisecond); j.ExitCode() != want {
			t.Errorf("%s ends with %d, want %d", script, j.ExitCode(), want)
		}
	}
}

func TestACommandThatCannotBeStartedLeavesNothing(t *testing.T) {
	if _, err := Start(Command{Path: "/nothing/there"}); err == nil {
		t.Error("it was started")
	}
}

func TestWhatOutlivesTheCommandIsStoppedInTheEnd(t *testing.T) {
	for _, script := range []string{"exit 3", "sleep 0.1 & exit 3"} {
		j := startShell(t, script)
		j.Clear(time.Minute, func() { t.Errorf("%s: it was stopped", script) })
		if j.ExitCode() != 3 || j.alive() {
			t.Errorf("%s: exit code %d, alive %v", script, j.ExitCode(), j.alive())
		}
	}
	for _, script := range []string{"sleep 60 & exit 3", "(trap '' TERM; sleep 60) & exit 3"} {
		j, stopped := startShell(t, script), false
		if j.Clear(100*time.Millisecond, func() { stopped = true }); !stopped || j.ExitCode() != 3 || j.alive() {
			t.Errorf("%s: stopped %v, exit code %d, alive %v", script, stopped, j.ExitCode(), j.alive())
		}
	}
}
