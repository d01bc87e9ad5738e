package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// A service manager is told when the server can be asked, and when it stops.
func TestTheServiceManagerIsTold(t *testing.T) {
	dir, err := os.MkdirTemp("", "tms") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	server := exec.Command("tms", "serve", "--listen", "127.0.0.1:0", "--store", "memory:")
	server.Env = append(os.Environ(), "NOTIFY_SOCKET="+path)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	hears := func(want string) {
		t.Helper()
		text := make([]byte, 100)
		manager.SetReadDeadline(time.Now().Add(20 * time.Second))
		if n, err := manager.Read(text); err != nil || string(text[:n]) != want {
			t.Errorf("it is told %q, want %q; error %v", text[:n], want, err)
		}
	}
	hears(notifyReady)
	server.Process.Signal(syscall.SIGTERM)
	hears(notifyStopping)
	if err := server.Wait(); err != nil {
		t.Error(err)
	}
}

// A manager that is not there is no reason not to serve.
func TestAServiceManagerThatIsNotThere(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	p := startServe(t, "--store", "memory:")
	p.must(200, "GET", "/livez", nil)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if strings.Contains(p.stderr.String(), "the service manager cannot be told") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it logs %s", p.stderr.String())
		}
	}
}

// The command of the unit is one that this program takes.
func TestTheUnitServes(t *testing.T) {
	text, err := os.ReadFile("../../deploy/systemd/tms.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Type=notify\n", "DynamicUser=yes\n", "StateDirectory=tms\n"} {
		if !strings.Contains(string(text), "\n"+want) {
			t.Errorf("the unit lacks %q", want)
		}
	}
	_, rest, _ := strings.Cut(string(text), "\nExecStart=/usr/local/bin/tms ")
	line, _, _ := strings.Cut(rest, "\n")
	var serve *cobra.Command
	args := strings.Fields(line)
	if serve, args, err = newRoot().Find(args); err != nil || serve.Name() != "serve" {
		t.Fatalf("the unit runs %q: %v", line, err)
	}
	if err := serve.ParseFlags(args); err != nil {
		t.Error(err)
	}
}
