//go:build unix

package job

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

var (
	ending = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}
	passed = []os.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGCONT, syscall.SIGTSTP}
)

type handle struct {
	pid      int // of the command, and the number of its process group
	terminal *terminal
}

// forward hands a signal on. One to go on is left to stopped while that is at work, which gives the job the terminal first.
func (j *Job) forward(s os.Signal) {
	if s == syscall.SIGCONT && (j.suspended.Load() || !j.mayContinue()) {
		return
	}
	j.signal(s)
}

// run starts the command, says so, and returns when it has ended. It keeps its thread, with which Linux lets the command
// die, for as long as the command runs.
func (j *Job) run(started chan<- error) {
	runtime.LockOSThread()
	j.handle.terminal = ownTerminal()
	err := j.start()
	started <- err
	if err == nil {
		j.code = j.wait()
		j.handle.terminal.take()
		close(j.done)
	}
}

func (j *Job) start() (err error) {
	attributes := &syscall.SysProcAttr{Setpgid: true, Foreground: j.handle.terminal != nil}
	dieWithParent(attributes)
	j.handle.pid, err = syscall.ForkExec(j.command.Path, j.command.Args, &syscall.ProcAttr{
		Env:   j.command.Env,
		Files: []uintptr{0, 1, 2},
		Sys:   attributes,
	})
	return err
}

// wait returns the command's exit code.
func (j *Job) wait() int {
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(j.handle.pid, &status, syscall.WUNTRACED, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return CannotRun // nobody else waits for it
		case status.Stopped():
			j.stopped(status.StopSignal())
		case status.Signaled():
			return 128 + int(status.Signal())
		default:
			return status.ExitStatus()
		}
	}
}

// stopped suspends the caller as well when the job was suspended as Ctrl-Z does it, so that the shell takes over, and
// lets the job go on when the shell lets the caller go on.
func (j *Job) stopped(by syscall.Signal) {
	if by == syscall.SIGSTOP { // somebody meant the job alone
		return
	}
	j.handle.terminal.take()
	if underShell() {
		j.suspended.Store(true)
		j.suspend()
		j.suspended.Store(false)
	}
	if !j.mayContinue() {
		return
	}
	j.handle.terminal.give(j.handle.pid)
	j.signal(syscall.SIGCONT)
}

// underShell says whether a shell with job control started the caller, which would let it go on again: such a shell puts
// what it starts into process groups of their own. The system does not suspend from the terminal what nobody looks after.
func underShell() bool {
	session, err := unix.Getsid(0)
	return err == nil && session != syscall.Getpgrp()
}

// suspend returns when the process goes on. The terminal would have suspended the whole process group of the caller. It
// uses SIGSTOP, because the Go runtime does not give back SIGTSTP once it was listened for.
func (j *Job) suspend() {
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	defer signal.Stop(resumed)
	whom := syscall.Getpid()
	if j.handle.terminal != nil {
		whom = 0
	}
	if syscall.Kill(whom, syscall.SIGSTOP) == nil {
		<-resumed
	}
}

func (j *Job) signal(s os.Signal) {
	if number, ok := s.(syscall.Signal); ok {
		syscall.Kill(-j.handle.pid, number)
	}
}

// terminate wakes a suspended job, too, or it would not hear that it is to end.
func (j *Job) terminate() {
	j.signal(syscall.SIGTERM)
	j.signal(syscall.SIGCONT)
}

func (j *Job) kill() { j.signal(syscall.SIGKILL) }

// alive says whether anything of the job's process group is left.
func (j *Job) alive() bool {
	return syscall.Kill(-j.handle.pid, 0) == nil && !onlyZombies(j.handle.pid)
}
