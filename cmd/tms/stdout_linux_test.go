package main

import (
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// failsToSay runs a command whose standard output takes nothing. It must not end as if all were well.
func failsToSay(t *testing.T, p *process, args ...string) {
	t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	cmd := exec.Command("tms", args...)
	cmd.Env = append(os.Environ(), "TMS_SERVER="+p.url)
	said := &output{}
	cmd.Stdout, cmd.Stderr = full, said
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() == exitUsage ||
		!strings.Contains(said.String(), "no space left") {
		t.Errorf("tms %s: error %v, it said %s", strings.Join(args, " "), err, said)
	}
}

// A command whose standard output cannot be written does not end with 0: each command's help, and whatever prints.
func TestWhatCannotBeSaidIsAFailure(t *testing.T) {
	p := startServe(t, "--store", "memory:")
	p.must(201, http.MethodPost, "/generate-token", object{"tokens": []string{"a", "b", "c"}})
	p.must(200, http.MethodPost, "/assign-token", object{"prefer": "a"})
	for _, line := range []string{
		"version", "config default", "config check", "completion bash", "help",
		"pools", "pool show default", "tokens", "lookup a", "export", "generate", "assign", "keep-alive a",
		"unblock --yes a", "delete --yes b", "lookup c -o json", "tokens -o name", "bench --duration 100ms",
	} {
		failsToSay(t, p, strings.Fields(line)...)
	}
	var all func(cmd *cobra.Command)
	all = func(cmd *cobra.Command) {
		for _, c := range cmd.Commands() {
			failsToSay(t, p, append(strings.Fields(c.CommandPath())[1:], "--help")...)
			all(c)
		}
	}
	all(newRoot())
}

// A server goes on when nobody reads what it says any more: when the readers have gone, as those of serve | head, and
// when they are there and do not read.
func TestServeNeedsNoReaders(t *testing.T) {
	for name, stderr := range map[string]func() *os.File{
		"gone": func() *os.File {
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			read.Close()
			return write
		},
		"do not read": func() *os.File { return fullPipe(t) },
	} {
		t.Run(name, func(t *testing.T) {
			p := &process{t: t, stdout: &output{}, stderr: &output{}, client: &http.Client{}}
			p.cmd = exec.Command("tms", "serve", "--listen", "127.0.0.1:0", "--store", "memory:", "--log-level",
				"debug")
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			log := stderr()
			p.cmd.Stdout, p.cmd.Stderr = write, log
			if err := p.cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.kill)
			write.Close()
			log.Close()
			first := make([]byte, 1<<10)
			n, _ := read.Read(first)
			read.Close()
			if match := servesOn.FindStringSubmatch(string(first[:n])); match == nil {
				t.Fatalf("it said %s", first[:n])
			} else {
				p.url = match[1]
			}
			for range 20 {
				p.must(201, http.MethodPost, "/generate-token", nil)
			}
			if err := p.stop(); err != nil {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}
