package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
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
	stderr *output
}

var servesOn = regexp.MustCompile(`^tms \S+ serves on (http://\S+)$`)

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
	cmd := exec.Command("tms", append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	p := &process{t: t, cmd: cmd, stderr: &output{}, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	cmd.Stderr = p.stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	p.url = p.awaitAddress(stdout)
	return p
}

func (p *process) awaitAddress(stdout io.Reader) string {
	p.t.Helper()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	match := servesOn.FindStringSubmatch(strings.TrimSpace(line))
	if match == nil {
		p.kill()
		p.t.Fatalf("tms serve said %q (%v), and on standard error: %s", line, err, p.stderr)
	}
	return match[1]
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
}

// call sends a request. An error means that its outcome is unknown.
func (p *process) call(method, path string, body object) (reply, error) {
	if body == nil {
		body = object{}
	}
	text, err := json.Marshal(body)
	if err != nil {
		return reply{}, err
	}
	request, err := http.NewRequest(method, p.url+path, bytes.NewReader(text))
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := p.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	r := reply{Status: response.StatusCode}
	if err := json.NewDecoder(response.Body).Decode(&r); err != nil {
		return reply{}, fmt.Errorf("%s %s: %d: %w", method, path, response.StatusCode, err)
	}
	return r, nil
}

type object map[string]any

// must sends a request that has to be answered with the status.
func (p *process) must(status int, method, path string, body object) reply {
	p.t.Helper()
	r, err := p.call(method, path, body)
	if err != nil || r.Status != status {
		p.t.Fatalf("%s %s: status %d, code %q, error %v, want status %d\n%s", method, path, r.Status, r.Code, err, status, p.stderr)
	}
	return r
}
