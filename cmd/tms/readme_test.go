package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/manankarani/token-manager/internal/loopback"
)

var (
	shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")
	goBlock    = regexp.MustCompile("(?s)```go\n(.*?)```")
	curlLine   = regexp.MustCompile(`^curl(?: -X (\w+))?(?: -H 'Idempotency-Key: (\S+)')?(?: --json '(.*)')? ` +
		`localhost:8080(/\S*)$`)
)

// Every curl line of the README is a request that the server understands. Those that name a lease_id name one that
// nobody holds.
func TestTheRequestsOfTheReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	p := startServe(t, "--store", "memory:")
	paths := map[string]bool{}
	for _, block := range shellBlock.FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			if strings.HasPrefix(line, "curl") {
				paths[p.runCurl(strings.TrimSpace(line))] = true
			}
		}
	}
	for _, path := range []string{"/generate-token", "/assign-token", "/keep-alive", "/unblock-token",
		"/delete-token"} {
		if !paths[path] {
			t.Errorf("the README shows no request of %s", path)
		}
	}
}

// runCurl sends the request of a line and returns its path.
func (p *process) runCurl(line string) (path string) {
	p.t.Helper()
	parts := curlLine.FindStringSubmatch(line)
	if parts == nil {
		p.t.Fatalf("not a curl line as this test reads them: %s", line)
	}
	method, body := parts[1], object{}
	if method == "" {
		method = "POST"
	}
	if parts[3] != "" {
		if err := json.Unmarshal([]byte(parts[3]), &body); err != nil {
			p.t.Fatalf("%s: %v", line, err)
		}
	}
	if parts[2] != "" {
		body["request_id"] = parts[2] // which the header means
	}
	r, err := p.call(method, parts[4], body)
	if err != nil || !slices.Contains([]int{200, 201, 410}, r.Status) {
		p.t.Errorf("%s: status %d, code %q, error %v", line, r.Status, r.Code, err)
	}
	return parts[4]
}

// Every tms line of the README's blocks does what it says, one after the other, on one server.
func TestTheCommandsOfTheReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	p, ran := startServe(t, "--store", "memory:"), 0
	for _, block := range shellBlock.FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "tms ") {
				continue
			}
			ran++
			cmd := exec.Command("sh", "-c", line)
			cmd.Env = append(os.Environ(), "TMS_SERVER="+p.url)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
		}
	}
	if ran < 5 {
		t.Errorf("the README shows %d commands", ran)
	}
}

// What the README shows to a team works as it stands, one line after the other, in one shell.
func TestTheReadmeForATeam(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## For a team\n")
	section, _, _ = strings.Cut(section, "\n## ")
	address := loopback.Addr(t)
	port := address[strings.LastIndex(address, ":"):]
	onLoopback := strings.NewReplacer("--listen :8443", "--listen "+address, ":8443", port)
	script := []string{"set -e", "trap 'kill $server' EXIT"}
	for line := range strings.Lines(section) {
		if line, shown := strings.CutPrefix(strings.TrimSpace(line), "$ "); shown {
			script = append(script, onLoopback.Replace(line))
		}
		if strings.HasSuffix(script[len(script)-1], " &") {
			script = append(script, "server=$!",
				"until tms healthcheck --listen "+address+" --tls-cert cert.pem --tls-key key.pem",
				"do kill -0 $server; sleep 0.1; done")
		}
	}
	if len(script) > 2+3+10 {
		t.Errorf("the README needs more than ten lines")
	}
	shell := exec.Command("sh", "-c", strings.Join(script, "\n"))
	shell.Dir = t.TempDir()
	out, err := shell.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\nthis job has KEY-") {
		t.Errorf("%v\n%s", err, out)
	}
}

// The Go of the README stands, line by line, in an example of the client that is compiled and run.
func TestTheGoOfTheReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../../client/readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	block := goBlock.FindSubmatch(readme)
	if block == nil || !strings.Contains(unindented(string(example)), unindented(string(block[1]))) {
		t.Error("the Go block of the README is not that of client/readme_test.go")
	}
}

func unindented(text string) string {
	var plain strings.Builder
	for line := range strings.Lines(text) {
		plain.WriteString(strings.TrimLeft(line, "\t"))
	}
	return plain.String()
}
