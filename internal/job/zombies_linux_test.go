package job

import (
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
