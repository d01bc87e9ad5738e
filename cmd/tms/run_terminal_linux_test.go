package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a command on a pseudo-terminal of its own.
type terminal struct {
	*testing.T
	cmd     *exec.Cmd
	control *os.File
	shown   output
	read    chan struct{}
}

// onTerminal starts a command that asks the server and whose standard input, output and error are a terminal.
func onTerminal(t *testing.T, p *process, name string, args ...string) *terminal {
	t.Helper()
	control, tty := openTerminal(t)
	defer tty.Close()
	term := &terminal{T: t, cmd: exec.Command(name, args...), control: control, read: make(chan struct{})}
	term.cmd.Stdin, term.cmd.Stdout, term.cmd.Stderr = tty, tty, tty
	term.cmd.Env = append(os.Environ(), serverVariable+"="+p.url, "TERM=xterm", "NO_COLOR=")
	term.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := term.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(term.read)
		io.Copy(&term.shown, control)
	}()
	t.Cleanup(func() {
		term.cmd.Process.Kill()
		control.Close()
		<-term.read
	})
	return term
}

func openTerminal(t *testing.T) (control, tty *os.File) {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var number int
	raw, err := control.SyscallConn() // as Fd would make the reads of the terminal ones that Close does not end
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return control, tty
}

// awaits waits until the terminal shows the text.
func (term *terminal) awaits(text string) {
	term.Helper()
	defer func() {
		if term.Failed() {
			term.Logf("the terminal shows %q, without %q", term.shown.String(), text)
		}
	}()
	eventually(term.T, "the terminal shows the text", func() bool {
		return strings.Contains(term.shown.String(),
			text)
	})
}

func (term *terminal) types(text string) {
	term.Helper()
	if _, err := term.control.WriteString(text); err != nil {
		term.Fatal(err)
	}
}

// exits waits for the command's end, and kills one that does not end in time.
func (term *terminal) exits() {
	term.Helper()
	late := time.AfterFunc(20*time.Second, func() {
		term.Errorf("the command does not end; the terminal shows %q", term.shown.String())
		term.cmd.Process.Kill()
	})
	defer late.Stop()
	term.cmd.Wait()
}

// ends waits for the command's end and checks its exit code.
func (term *terminal) ends(code int) {
	term.Helper()
	term.exits()
	if got := term.cmd.ProcessState.ExitCode(); got != code {
		term.Errorf("the exit code is %d, want %d; the terminal shows %q", got, code, term.shown.String())
	}
}

func TestAJobHasTheTerminal(t *testing.T) {
	p := startServe(t, "--store", "memory:")
	p.must(201, "POST", "/generate-token", nil)

	t.Run("reads from it", func(t *testing.T) {
		term := onTerminal(t, p, "tms", "run", "--", "sh", "-c", `echo ask; read -r answer; echo "is $answer"; exit 6`)
		term.awaits("ask")
		term.types("forty-two\n")
		term.awaits("is forty-two")
		term.ends(6)
	})
	t.Run("dies of Ctrl-C", func(t *testing.T) {
		term := onTerminal(t, p, "tms", "run", "--", "sh", "-c", `echo ready; exec sleep 60`)
		term.awaits("ready")
		term.types("\x03")
		term.ends(128 + 2)
	})
	t.Run("survives Ctrl-C that it catches", func(t *testing.T) {
		term := onTerminal(t, p, "tms", "run", "--", "sh", "-c",
			`trap "echo caught; exit 9" INT; echo ready; while :; do sleep 0.05; done`)
		term.awaits("ready")
		term.types("\x03")
		term.awaits("caught")
		term.ends(9)
	})
	t.Run("leaves it to a shell at Ctrl-Z", func(t *testing.T) {
		term := onTerminal(t, p, "sh", "-m", "-c",
			`tms run -- sh -c 'echo ready; read -r answer; echo "is $answer"; exit 5'; echo "back $?"; fg; echo `+
				`"end $?"`)
		term.awaits("ready")
		term.types("\x1a")
		term.awaits("back 147")
		term.types("later\n")
		term.awaits("is later")
		term.awaits("end 5")
		term.ends(0)
	})
	t.Run("goes on at Ctrl-Z where no shell is", func(t *testing.T) {
		term := onTerminal(t, p, "tms", "run", "--", "sh", "-c", `echo ready; read -r answer; echo "is $answer"`)
		term.awaits("ready")
		term.types("\x1a")
		term.types("now\n")
		term.awaits("is now")
		term.ends(0)
	})
}

// A job that was suspended for longer than its lease does not go on.
func TestASuspendedJobThatLostItsLeaseEnds(t *testing.T) {
	p := startServe(t, "--store", "memory:")
	token := p.must(201, "POST", "/generate-token", nil).Token
	const job = `i=0; while :; do i=$((i+1)); case $i in *00000) echo runs; esac; done` // a job that starts no process
	term := onTerminal(t, p, "sh", "-m", "-c",
		`tms run --ttl 4s -- sh -c '`+job+`'; echo "back $?"; read -r go; fg; echo "end $?"`)
	term.awaits("runs")
	term.types("\x1a")
	term.awaits("back 147")
	eventually(t, "the lease has ended", func() bool {
		return p.must(200, "POST", "/lookup-token",
			object{"token": token}).State == "available"
	})
	term.types("go\n")
	term.awaits("end 76")
	if _, after, _ := strings.Cut(term.shown.String(), "back 147"); strings.Contains(after, "runs\r") {
		t.Errorf("the job went on: %q", term.shown.String())
	}
}

func TestWhoWaitsOnATerminalSeesHowItStands(t *testing.T) {
	p := startServe(t, "--store", "memory:")
	token := p.must(201, "POST", "/generate-token", nil).Token
	p.must(200, "POST", "/assign-token", object{"client_id": "build-7"})
	term := onTerminal(t, p, "tms", "run", "--wait", "1m", "--", "echo", "started")
	term.awaits(`waiting for a token of the pool "default" for 1s, place 1 of 1; held by build-7 since `)
	if strings.Contains(term.shown.String(), token) {
		t.Error("the line shows a token")
	}
	p.must(200, "POST", "/unblock-token", object{"token": token})
	term.awaits("\r\x1b[Kstarted")
	term.ends(0)
}

func TestWhoWaitsOnATerminalSeesThatTheServerIsSilent(t *testing.T) {
	p := startServe(t, "--store", "memory:")
	token := p.must(201, "POST", "/generate-token", nil).Token
	p.must(200, "POST", "/assign-token", object{})
	term := onTerminal(t, p, "tms", "run", "--wait", "5m", "--", "echo", "started")
	term.awaits("place 1 of 1")
	p.cmd.Process.Signal(syscall.SIGSTOP)
	term.awaits(`s; nothing heard from the server for `)
	p.cmd.Process.Signal(syscall.SIGCONT)
	p.must(200, "POST", "/unblock-token", object{"token": token})
	term.awaits("\r\x1b[Kstarted")
	term.ends(0)
}

func TestDestructiveVerbsAskOnATerminal(t *testing.T) {
	p := startServe(t, "--store", "memory:")
	for _, name := range []string{"a", "b"} {
		p.must(201, "POST", "/generate-token", object{"tokens": []string{name}})
	}
	term := onTerminal(t, p, "tms", "delete", "a")
	term.awaits(`Delete "a" of the pool "default" for good, and take it from whoever holds it? [y/N] `)
	term.types("\n")
	term.ends(1)
	p.must(200, "POST", "/lookup-token", object{"token": "a"})

	term = onTerminal(t, p, "tms", "delete", "a")
	term.awaits("[y/N] ")
	term.types("y\n")
	term.ends(0)
	p.must(404, "POST", "/lookup-token", object{"token": "a"})

	p.must(201, "PUT", "/pools/seats", object{})
	term = onTerminal(t, p, "tms", "pool", "rm", "seats")
	term.awaits(`Remove the pool "seats" with its 0 tokens, of which 0 are assigned, for good? [y/N] `)
	term.types("yes\n")
	term.ends(0)
}

// A terminal shows how far something long is, and bold headers unless NO_COLOR says otherwise.
func TestATerminalShowsMore(t *testing.T) {
	p := startServe(t, "--store", "memory:")
	term := onTerminal(t, p, "tms", "generate", "--count", "20000", "-o", "json")
	term.awaits("tokens\r\x1b[K") // the progress, and that it is taken away
	term.awaits(`20000 tokens created in the pool "default"`)
	term.ends(0)

	term = onTerminal(t, p, "tms", "pools")
	term.awaits("\x1b[1mPOOL")
	term.ends(0)
	term = onTerminal(t, p, "sh", "-c", "NO_COLOR=1 exec tms pools")
	term.awaits("default")
	term.ends(0)
	if strings.Contains(term.shown.String(), "\x1b") {
		t.Errorf("NO_COLOR is not heeded: %q", term.shown.String())
	}
}
