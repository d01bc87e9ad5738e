package main

import (
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/manankarani/token-manager/internal/loopback"
)

// A wait goes on while its server is away for longer than a request is repeated, whether the server was stopped or
// killed, and whichever command waits.
func TestAWaitOutlivesItsServer(t *testing.T) {
	for name, end := range map[string]func(*process){
		"stopped": func(p *process) { p.stop() },
		"killed":  (*process).kill,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"--store", "embedded:" + t.TempDir(), "--listen", loopback.Addr(t)}
			p := startServe(t, args...)
			keys := p.holdAll(2) // one for each waiter, whoever comes first after the restart
			run := waiting(t, p, "run", "-q", "--wait", "2m", "--", "true")
			p.untilQueued(t, 1)
			assign := waiting(t, p, "assign", "-q", "--wait", "2m")
			p.untilQueued(t, 2)
			end(p)
			time.Sleep(2500 * time.Millisecond) // of which nobody may tire
			p = startServe(t, args...)
			for _, key := range keys {
				p.must(200, http.MethodPost, "/unblock-token", key)
			}
			for verb, cmd := range map[string]*exec.Cmd{"run": run, "assign": assign} {
				if err := cmd.Wait(); err != nil {
					t.Errorf("%s: %v: %s", verb, err, cmd.Stderr)
				}
			}
		})
	}
}

// waiting starts a command that asks the server, with a deadline.
func waiting(t *testing.T, p *process, args ...string) *exec.Cmd {
	t.Helper()
	return waitingTo(t, &strings.Builder{}, p, args...)
}

// waitingTo is waiting for a command whose standard error is read while it runs.
func waitingTo(t *testing.T, stderr io.Writer, p *process, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("tms", args...)
	cmd.Env = append(cmd.Environ(), serverVariable+"="+p.url)
	cmd.Stderr, cmd.Stdout = stderr, &strings.Builder{}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		late.Stop()
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}
