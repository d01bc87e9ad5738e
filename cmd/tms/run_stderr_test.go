//go:build unix

package main

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// startRun starts tms run with the standard error.
func startRun(t *testing.T, p *process, stderr *os.File, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("tms", append([]string{"run", "--server", p.url}, args...)...)
	cmd.Stderr, cmd.WaitDelay = stderr, 10*time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd
}

// endsIn waits for the end of a command, which must come with the exit code, and in time.
func endsIn(t *testing.T, cmd *exec.Cmd, most time.Duration, code int) {
	t.Helper()
	late := time.AfterFunc(most, func() { cmd.Process.Kill() })
	defer late.Stop()
	cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("the exit code is %d, want %d (-1: it had not ended within %v, or died of a signal)", got, code, most)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// fullPipe returns the end of a pipe into which nothing more goes.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	var ends [2]int
	if err := syscall.Pipe(ends[:]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(ends[0]) })
	syscall.SetNonblock(ends[1], true)
	for err := error(nil); !errors.Is(err, syscall.EAGAIN); {
		_, err = syscall.Write(ends[1], make([]byte, 1))
	}
	syscall.SetNonblock(ends[1], false)
	return os.NewFile(uintptr(ends[1]), "full")
}

func TestAJobThatLostItsLeaseIsStoppedAlthoughNobodyReadsOfIt(t *testing.T) {
	p := startServe(t, "--store", "memory:")
	token := p.must(201, http.MethodPost, "/generate-token", nil).Token
	ready := filepath.Join(t.TempDir(), "ready")
	stderr := fullPipe(t)
	run := startRun(t, p, stderr, "--ttl", "1s", "--", "sh", "-c", `touch "$0"; exec sleep 60`, ready)
	stderr.Close()
	eventually(t, "the job has begun", func() bool { return exists(ready) })
	p.must(200, http.MethodPost, "/unblock-token", object{"token": token})
	endsIn(t, run, 20*time.Second, exitLeaseLost)
}

func TestAJobGoesOnAlthoughNobodyCanReadWhatIsSaid(t *testing.T) {
	p := startServe(t, "--store", "memory:")
	token := p.must(201, http.MethodPost, "/generate-token", nil).Token
	dir := t.TempDir()
	read, stderr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	run := startRun(t, p, stderr, "--ttl", "500ms", "--on-lost", "warn", "--",
		"sh", "-c", `touch "$0/ready"; until test -e "$0/go"; do sleep 0.05; done; exit 4`, dir)
	read.Close()
	stderr.Close()
	eventually(t, "the job has begun", func() bool { return exists(filepath.Join(dir, "ready")) })
	p.must(200, http.MethodPost, "/unblock-token", object{"token": token})
	time.Sleep(time.Second) // in which tms notices
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	endsIn(t, run, 20*time.Second, 4)
}
