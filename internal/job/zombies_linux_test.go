package job

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// In a container whose first process asks nobody how it ended, what the command has left there stays for ever.
func TestWhatHasEndedIsGoneWhetherOrNotAnybodyAskedHow(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	j := startShell(t, "sleep 0.2 & exit 0")
	defer syscall.Wait4(-j.handle.pid, nil, 0, nil)
	j.Clear(time.Minute, func() { t.Error("it took a process that had ended for one that runs") })
	if syscall.Kill(-j.handle.pid, 0) != nil {
		t.Error("there was no such process")
	}
}

// What has lost its parents in a container comes to its first process, which must ask how each ended, and still learn
// how its command did.
func TestOrphansAreReapedAndTheCommandIsNot(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	let, begun := filepath.Join(t.TempDir(), "go"), filepath.Join(t.TempDir(), "started")
	script := `for i in 1 2 3 4 5 6 7 8; do (exit 3 &); (sh -c 'exit 4' & exit 0); done; touch "$1"
		until test -e "$2"; do sleep 0.01; done; exit 7`
	path, _, err := Find("sh")
	if err != nil {
		t.Fatal(err)
	}
	j, err := Start(Command{Path: path, Args: []string{"sh", "-c", script, "sh", begun, let}, Env: os.Environ(),
		Reap: true})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Stop(0)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(begun); err == nil && len(zombies(j.handle.pid)) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody asked how %v ended", zombies(j.handle.pid))
		}
	}
	if err := os.WriteFile(let, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if j.ExitCode() != 7 {
		t.Errorf("exit code %d", j.ExitCode())
	}
}

// zombies returns the children that have ended, but for the command.
func zombies(command int) (all []string) {
	processes, _ := os.ReadDir("/proc")
	for _, p := range processes {
		if state, parent, _ := stateOf(p.Name()); state == 'Z' && parent == os.Getpid() &&
			p.Name() != strconv.Itoa(command) {
			all = append(all, p.Name())
		}
	}
	return all
}
