//go:build unix

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// limitedServe starts tms serve where it may have so many files open.
func limitedServe(t *testing.T, files int, args ...string) *exec.Cmd {
	t.Helper()
	script := fmt.Sprintf(`ulimit -n %d; exec tms serve --listen 127.0.0.1:0 "$@"`, files)
	return exec.CommandContext(t.Context(), "sh", append([]string{"-c", script, "sh"}, args...)...)
}

// A server that may have fewer files open than max_connections keeps some back for its store, which goes on to write
// them under any number of connections. It says so.
func TestConnectionsLeaveTheStoreItsFiles(t *testing.T) {
	p := startProcess(t, limitedServe(t, 64, "--store", "embedded:"+t.TempDir()))
	eventually(t, "the server says that it lowers its connections",
		func() bool { return strings.Contains(p.stderr.String(), "max_connections is lowered") })
	for range 100 {
		c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 4 { // more than what fills a log twice, which begins another and writes a table
		r, err := p.callUntil(ctx, http.MethodPost, "/generate-token", object{"count": 10_000})
		if err != nil || r.Created != 10_000 {
			t.Fatalf("generate: %+v, %v\n%s", r, err, p.stderr)
		}
	}
	if err := p.stop(); err != nil {
		t.Errorf("it ended with %v: %s", err, p.stderr)
	}
}

// Where the files do not suffice for the store it does not begin to serve.
func TestTooFewFilesAreRefused(t *testing.T) {
	out, err := limitedServe(t, 40, "--store", "memory:").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "may have 40 files open") {
		t.Errorf("%v: %s", err, out)
	}
}
