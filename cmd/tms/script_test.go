package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// TestMain makes this test binary the command tms as well, for the scripts and for the processes that tests start.
func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // or a command under the race detector takes a second to end
	testscript.Main(m, map[string]func(){"tms": main, "empty": serveEmpty, "attacker": attackerMain})
}

func TestScripts(t *testing.T) {
	// heard, so that commands do not ignore it, as they otherwise would under nohup
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Values["script"] = &script{TB: env.T().(testing.TB), started: map[string]*started{}}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"serve":  scriptServe,
			"crash":  scriptCrash,
			"exits":  scriptExits,
			"await":  scriptAwait,
			"start":  scriptStart,
			"signal": scriptSignal,
			"ended":  scriptEnded,
		},
	})
}

// script is what the commands of one script have in common.
type script struct {
	testing.TB
	server  *process
	started map[string]*started
}

// started is a process in the background.
type started struct {
	cmd            *exec.Cmd
	stdout, stderr output
}

func of(ts *testscript.TestScript) *script { return ts.Value("script").(*script) }

// serve [FLAG...] starts tms serve with its tokens in memory, and names it in TMS_SERVER.
func scriptServe(ts *testscript.TestScript, _ bool, args []string) {
	of(ts).server = startServe(of(ts), append([]string{"--store", "memory:"}, args...)...)
	ts.Setenv(serverVariable, of(ts).server.url)
}

// crash kills the server.
func scriptCrash(ts *testscript.TestScript, _ bool, _ []string) { of(ts).server.kill() }

// exits CODE COMMAND... runs a command that must end with the exit code.
func scriptExits(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(wants(args[0], ts.Exec(args[1], args[2:]...)))
}

func wants(code string, err error) error {
	if err == nil && code == "0" {
		return nil
	}
	if exit, ok := err.(*exec.ExitError); ok && strconv.Itoa(exit.ExitCode()) == code {
		return nil
	}
	return fmt.Errorf("got %v, want the exit code %s", err, code)
}

// await COMMAND... repeats a command until it succeeds, for a minute.
func scriptAwait(ts *testscript.TestScript, _ bool, args []string) {
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = ts.Exec(args[0], args[1:]...); err == nil {
			return
		}
	}
	ts.Fatalf("%v in the end", err)
}

// start NAME COMMAND... starts a command in the background, which is killed at the end of the script.
func scriptStart(ts *testscript.TestScript, _ bool, args []string) {
	s := &started{cmd: exec.Command(args[1], args[2:]...)}
	s.cmd.Dir, s.cmd.Env = ts.Getenv("WORK"), environment(ts)
	s.cmd.Stdout, s.cmd.Stderr = &s.stdout, &s.stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.cmd.WaitDelay = 10 * time.Second // for what the command has left behind with its output
	ts.Check(s.cmd.Start())
	of(ts).started[args[0]] = s
	ts.Defer(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	})
}

func environment(ts *testscript.TestScript) []string {
	all := os.Environ()
	for _, name := range []string{"WORK", "HOME", "TMPDIR", serverVariable} {
		all = append(all, name+"="+ts.Getenv(name))
	}
	return all
}

// signal NAME SIGNAL sends a signal to a command in the background.
func scriptSignal(ts *testscript.TestScript, _ bool, args []string) {
	number := unix.SignalNum("SIG" + args[1])
	if number == 0 {
		ts.Fatalf("there is no signal %s", args[1])
	}
	ts.Check(of(ts).started[args[0]].cmd.Process.Signal(syscall.Signal(number)))
}

// ended NAME CODE waits for the end of a command in the background, which must be with the exit code; -1 is by a
// signal. What it wrote is then that of the last command.
func scriptEnded(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts).started[args[0]]
	late := time.AfterFunc(20*time.Second, func() { s.cmd.Process.Kill() })
	err := s.cmd.Wait()
	late.Stop()
	ts.Stdout().Write([]byte(s.stdout.String()))
	ts.Stderr().Write([]byte(s.stderr.String()))
	ts.Logf("[stdout]\n%s[stderr]\n%s", strings.TrimSpace(s.stdout.String()), strings.TrimSpace(s.stderr.String()))
	ts.Check(wants(args[1], err))
}
