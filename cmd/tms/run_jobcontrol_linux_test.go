package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Those of a shell with job control, and of one without.
var shells = map[string][]string{"sh": {"sh", "-c"}, "sh -m": {"sh", "-m", "-c"}, "bash -m": {"bash", "-m", "-c"}}

func inShell(t *testing.T, p *process, shell, script string) *terminal {
	t.Helper()
	argv := append(shells[shell], script)
	return onTerminal(t, p, argv[0], argv[1:]...)
}

// signalPipe makes a named pipe from which a job reads when to go on. A job that starts processes meanwhile, to sleep,
// can be suspended between vfork and exec, which leaves its shell waiting for ever.
func signalPipe(t *testing.T) (path string, send func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "go")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pipe.Close() })
	return path, func() {
		if _, err := pipe.WriteString("go\n"); err != nil {
			t.Fatal(err)
		}
	}
}

// A job gets the terminal when it asks for it, although its standard input is another.
func TestAJobReadsFromTheTerminalBesideStandardInput(t *testing.T) {
	p := startServe(t, "--store", "memory:")
	p.must(201, "POST", "/generate-token", nil)
	const script = `echo x | tms run -- sh -c 'read a; echo "in $a"; read b </dev/tty; echo "tty $b"'; echo "end $?"`
	for shell := range shells {
		t.Run(shell, func(t *testing.T) {
			term := inShell(t, p, shell, script)
			term.awaits("in x")
			term.types("abc\n")
			term.awaits("tty abc")
			term.awaits("end 0")
			term.ends(0)
		})
	}
}

// The terminal is left to the other commands of a pipe.
func TestAJobSharesTheTerminalWithThoseBesideIt(t *testing.T) {
	p := startServe(t, "--store", "memory:")
	p.must(201, "POST", "/generate-token", nil)
	for shell := range shells {
		t.Run(shell+" before it", func(t *testing.T) {
			term := inShell(t, p, shell,
				`sh -c 'echo ask; read -r a; echo "$a"' | tms run -- sed 's/^/job /'; echo "end $?"`)
			term.awaits("job ask")
			term.types("abc\n")
			term.awaits("job abc")
			term.awaits("end 0")
			term.ends(0)
		})
		t.Run(shell+" behind it", func(t *testing.T) {
			term := inShell(t, p, shell,
				`tms run -- sh -c 'echo one; exec sleep 60' | sh -c 'read -r a; echo "$a"; read -r b </dev/tty; `+
					`echo "tty $b"; kill 0'`)
			term.awaits("one")
			term.types("abc\n")
			term.awaits("tty abc")
			term.exits()
		})
	}
}

func TestAJobInTheBackgroundComesToTheForeground(t *testing.T) {
	p := startServe(t, "--store", "memory:")
	p.must(201, "POST", "/generate-token", nil)
	for _, shell := range []string{"sh -m", "bash -m"} {
		t.Run(shell+" from the start", func(t *testing.T) {
			term := inShell(t, p, shell, `tms run -- sh -c '
					read -r a; echo "got $a"; read -r b; echo "then $b"; exit 5' &
				until grep -q "^State:.T" /proc/$!/status; do sleep 0.05; done; echo stopped; fg; echo "end $?"`)
			term.awaits("stopped")
			term.types("abc\n")
			term.awaits("got abc")
			term.types("def\n")
			term.awaits("then def")
			term.awaits("end 5")
			term.ends(0)
		})
		t.Run(shell+" after it was there", func(t *testing.T) {
			pipe, send := signalPipe(t)
			term := inShell(t, p, shell, `tms run -- sh -c '
					exec 3<`+pipe+`; echo ready; read -r go <&3; read -r a; echo "got $a"; exit 5'
				echo "back $?"; bg; echo behind; fg; echo "end $?"`)
			term.awaits("ready")
			term.types("\x1a")
			term.awaits("behind")
			send()
			term.types("abc\n")
			term.awaits("got abc")
			term.awaits("end 5")
			term.ends(0)
		})
		t.Run(shell+" and leaves the terminal alone where it ends behind", func(t *testing.T) {
			pipe, send := signalPipe(t)
			term := inShell(t, p, shell, `tms run -- sh -c 'exec 3<`+pipe+`; echo ready; read -r go <&3'
				echo "back $?"; bg; read -r a; wait; echo "read $a"; read -r b; echo "then $b"`)
			term.awaits("ready")
			term.types("\x1a")
			term.awaits("back")
			send()
			term.types("abc\n")
			term.awaits("read abc")
			term.types("def\n")
			term.awaits("then def")
			term.ends(0)
		})
	}
}

// Ctrl-C ends not only the job but the script around it, as it would without tms.
func TestCtrlCEndsTheScriptAroundAJob(t *testing.T) {
	for name, command := range map[string]string{
		"alone":     `tms run -- sh -c 'echo ready; exec sleep 60'`,
		"in a pipe": `tms run -- sh -c 'echo ready; exec sleep 60' | cat`,
	} {
		t.Run(name, func(t *testing.T) {
			p := startServe(t, "--store", "memory:")
			token := p.must(201, "POST", "/generate-token", nil).Token
			term := onTerminal(t, p, "bash", "-c", `for i in 1 2 3; do `+command+`; echo "after it"; done`)
			term.awaits("ready")
			term.types("\x03")
			term.exits()
			status := term.cmd.ProcessState.Sys().(syscall.WaitStatus)
			if !status.Signaled() || status.Signal() != syscall.SIGINT ||
				strings.Contains(term.shown.String(), "after it") {
				t.Errorf("the script's status is %#x; the terminal shows %q", status, term.shown.String())
			}
			if state := p.must(200, "POST", "/lookup-token", object{"token": token}).State; state != "available" {
				t.Errorf("the token is %s", state)
			}
		})
	}
	t.Run("unless it catches that", func(t *testing.T) {
		p := startServe(t, "--store", "memory:")
		p.must(201, "POST", "/generate-token", nil)
		term := onTerminal(t, p, "bash", "-c",
			`trap "echo caught" INT; tms run -- sh -c 'echo ready; exec sleep 60'; echo "back $?"`)
		term.awaits("ready")
		term.types("\x03")
		term.awaits("caught")
		term.awaits("back 130")
		term.ends(0)
	})
}
