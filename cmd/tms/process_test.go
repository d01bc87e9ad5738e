package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a running tms serve.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	url    string
	client *http.Client
	stdout *output
	stderr *output
}

var servesOn = regexp.MustCompile(`^tms \S+ serves on (https?://\S+)\n`)

// output collects what a process writes, to be read while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// startServe starts tms serve on a free port and returns when it has said where it serves. It is killed with the test.
func startServe(t testing.TB, args ...string) *process {
	t.Helper()
	return startProcess(t, exec.Command("tms", append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...))
}

func startProcess(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, stdout: &output{}, stderr: &output{}}
	p.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	cmd.Stdout, cmd.Stderr = p.stdout, p.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	p.url = p.awaitAddress()
	return p
}

// awaitAddress returns where the process says that it serves.
func (p *process) awaitAddress() string {
	p.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if match := servesOn.FindStringSubmatch(p.stdout.String()); match != nil {
			return match[1]
		}
	}
	p.kill()
	p.t.Fatalf("tms serve said %q, and on standard error: %s", p.stdout, p.stderr)
	return ""
}

// kill ends the process as a crash does.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
	p.client.CloseIdleConnections()
}

// stop asks the process to end, and returns how it did.
func (p *process) stop() error {
	p.client.CloseIdleConnections()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.wait()
}

// wait returns how the process ended. One that does not end in ten seconds fails the test.
func (p *process) wait() error {
	p.t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(10 * time.Second):
		p.cmd.Process.Kill()
		<-ended
		p.t.Fatal("tms serve did not end")
		return nil
	}
}

// reply is what the tests read of any answer.
type reply struct {
	Status  int `json:"-"`
	Token   string
	LeaseID string `json:"lease_id"`
	Fence   int64
	State   string
	Code    string
	Deleted bool
	Created int
	Tokens  []string
}

// call sends a request. An error means that its outcome is unknown.
func (p *process) call(method, path string, body object) (reply, error) {
	return p.callUntil(context.Background(), method, path, body)
}

// callUntil is call that ends with the context.
func (p *process) callUntil(ctx context.Context, method, path string, body object) (r reply, err error) {
	if body == nil {
		body = object{}
	}
	text, err := json.Marshal(body)
	if err != nil {
		return r, err
	}
	request, err := http.NewRequestWithContext(ctx, method, p.url+path, bytes.NewReader(text))
	if err != nil {
		return r, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := p.client.Do(request)
	if err != nil {
		return r, err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&r); err != nil {
		return reply{}, fmt.Errorf("%s %s: %d: %w", method, path, response.StatusCode, err)
	}
	r.Status = response.StatusCode
	return r, nil
}

type object map[string]any

// must sends a request that has to be answered with the status.
func (p *process) must(status int, method, path string, body object) reply {
	p.t.Helper()
	r, err := p.call(method, path, body)
	if err != nil || r.Status != status {
		p.t.Fatalf("%s %s: status %d, code %q, error %v, want status %d\n%s", method, path, r.Status, r.Code, err,
			status,
			p.stderr)
	}
	return r
}
