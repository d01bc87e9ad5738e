package main

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")
	curlLine   = regexp.MustCompile(`^curl(?: -X (\w+))?(?: --json '(.*)')? localhost:8080(/\S*)$`)
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
	for _, path := range []string{"/generate-token", "/assign-token", "/keep-alive", "/unblock-token", "/delete-token"} {
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
	if parts[2] != "" {
		if err := json.Unmarshal([]byte(parts[2]), &body); err != nil {
			p.t.Fatalf("%s: %v", line, err)
		}
	}
	r, err := p.call(method, parts[3], body)
	if err != nil || !slices.Contains([]int{200, 201, 410}, r.Status) {
		p.t.Errorf("%s: status %d, code %q, error %v", line, r.Status, r.Code, err)
	}
	return parts[3]
}
