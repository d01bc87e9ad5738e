package main

import (
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/manankarani/token-manager/api"
)

// A server that is away for longer than the lease lasts: the job has no instant left when the lease ends, although it
// does not heed TERM.
func TestAJobEndsBeforeItsLeaseWhileTheServerIsAway(t *testing.T) {
	dir := t.TempDir()
	p := startServe(t, "--store", "embedded:"+dir)
	token := p.must(201, http.MethodPost, "/generate-token", nil).Token
	run := exec.Command("tms", "run", "--server", p.url, "--ttl", "6s", "--",
		"sh", "-c", `trap "echo told" TERM; while :; do date +%s%N; done`)
	var out, said output
	run.Stdout, run.Stderr, run.WaitDelay = &out, &said, 10*time.Second
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the job has begun", func() bool { return out.String() != "" })
	p.kill()
	killed := time.Now()
	run.Wait()
	if code := run.ProcessState.ExitCode(); code != exitLeaseLost || !strings.Contains(out.String(), "told") {
		t.Errorf("exit code %d, and the job was not told; on standard error: %s", code, &said)
	}
	p = startServe(t, "--store", "embedded:"+dir)
	away := time.Since(killed) // in which no clock ran
	ended := endOfLease(t, p, token)
	if left := ended.Sub(lastInstant(out.String())); left <= 0 || left > 6*time.Second+away {
		t.Errorf("the job's last sign of life was %v before the lease's end", left)
	} else {
		t.Logf("the job's last sign of life was %v before the lease's end", left)
	}
}

// lastInstant returns the last instant that the lines have, in nanoseconds.
func lastInstant(lines string) (last time.Time) {
	for line := range strings.Lines(lines) {
		if ns, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64); err == nil && strings.HasSuffix(line, "\n") {
			last = time.Unix(0, ns)
		}
	}
	return last
}

// endOfLease returns when the lease ends, or ended, by the server.
func endOfLease(t *testing.T, p *process, token string) (end time.Time) {
	t.Helper()
	eventually(t, "the token is back", func() bool {
		found := p.lookup(token)
		end = found.Since
		return found.State == "available"
	})
	return end
}

type found struct {
	State string    `json:"state"`
	Since time.Time `json:"since"`
}

func (p *process) lookup(token string) (f found) {
	p.t.Helper()
	out, err := exec.Command("tms", "lookup", "--server", p.url, "-o", "json", token).Output()
	if err == nil {
		err = api.DecodeAnswer(out, &f)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

func TestTheMarginLeavesRoomForRenewalsAndForTheKill(t *testing.T) {
	for _, c := range []struct{ killAfter, ttl, margin time.Duration }{
		{5 * time.Second, time.Minute, 5500 * time.Millisecond},
		{5 * time.Second, 3 * time.Second, time.Second},
		{0, time.Minute, 500 * time.Millisecond},
		{time.Hour, 300 * time.Millisecond, 100 * time.Millisecond},
	} {
		if got := (&jobRun{killAfter: c.killAfter}).stopMargin(c.ttl); got != c.margin {
			t.Errorf("with %v to end and a lease of %v the margin is %v, want %v", c.killAfter, c.ttl, got, c.margin)
		}
	}
}

// A server that accepts requests and does not answer them.
func TestASignalEndsAWaitForAServerThatDoesNotAnswer(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	run := exec.Command("tms", "run", "--server", "http://"+mute.Addr().String(), "--", "true")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	asked, err := mute.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer asked.Close()
	if _, err := asked.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	run.Process.Signal(syscall.SIGTERM)
	endsIn(t, run, 15*time.Second, 128+15)
}
