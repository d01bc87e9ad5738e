//go:build unix

package job

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

var (
	ending = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}
	passed = []os.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGCONT, syscall.SIGTSTP}
)

type handle struct {
	pid      int // of the command, and the number of its process group
	terminal *terminal
	typed    syscall.Signal // which ended the command in the foreground of the terminal; zero: none did
	alone    bool           // nobody else but the job got it
}

// forward hands a signal on. One to go on is left to stopped while that is at work, which lends the job the terminal
// first.
func (j *Job) forward(s os.Signal) {
	if s == syscall.SIGCONT {
		if j.suspended.Load() || !j.mayContinue() {
			return
		}
		j.handle.terminal.lend(j.handle.pid, false)
	}
	j.signal(s)
}

// run starts the command, says so, and returns when it has ended. It keeps its thread, with which Linux lets the
// command die, for as long as the command runs.
func (j *Job) run(started chan<- error) {
	runtime.LockOSThread()
	j.handle.terminal = openTerminal()
	defer j.handle.terminal.close()
	err := j.start()
	started <- err
	if err == nil {
		status := j.wait()
		j.noteTyped(status)
		j.code = codeOf(status)
		close(j.done)
	}
}

func (j *Job) start() (err error) {
	t := j.handle.terminal
	attributes := &syscall.SysProcAttr{Setpgid: true}
	if t.lendFirst() {
		attributes.Foreground, attributes.Ctty = true, t.fd
	}
	dieWithParent(attributes)
	j.handle.pid, err = syscall.ForkExec(j.command.Path, j.command.Args, &syscall.ProcAttr{
		Env:   j.command.Env,
		Files: []uintptr{0, 1, 2},
		Sys:   attributes,
	})
	return err
}

// wait returns how the command ended.
func (j *Job) wait() (status syscall.WaitStatus) {
	for {
		_, err := syscall.Wait4(j.handle.pid, &status, syscall.WUNTRACED, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return CannotRun << 8 // nobody else waits for it
		case status.Stopped():
			j.stopped(status.StopSignal())
		default:
			return status
		}
	}
}

func codeOf(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// stopped lends the terminal to a job that was stopped because it asked for it. Where it cannot be lent, or the job was
// suspended as Ctrl-Z does it, the caller is suspended as well, so that the shell takes over, and the job goes on when
// the shell lets the caller go on.
func (j *Job) stopped(by syscall.Signal) {
	if by == syscall.SIGSTOP { // somebody meant the job alone
		return
	}
	asks := by == syscall.SIGTTIN || by == syscall.SIGTTOU
	if asks && j.resume(true) {
		return
	}
	whole := j.handle.terminal.takeBack() || asks
	if underShell() {
		j.suspended.Store(true)
		j.suspend(whole)
		j.suspended.Store(false)
	} else if asks {
		return // until a signal to go on: it would only ask again
	}
	j.resume(false)
}

// resume lets the job go on, with the terminal if it can be lent. One that asks for it goes on with it only.
func (j *Job) resume(asks bool) bool {
	if !j.mayContinue() || !j.handle.terminal.lend(j.handle.pid, asks) && asks {
		return false
	}
	j.signal(syscall.SIGCONT)
	return true
}

// underShell reports whether a shell with job control started the caller, which would let it go on again: such a shell
// puts what it starts into process groups of their own. The system does not suspend from the terminal what nobody looks
// after.
func underShell() bool { return session() != syscall.Getpgrp() }

// suspend returns when the process goes on. The terminal would have suspended the whole process group of the caller
// where it was the job that it suspended. It uses SIGSTOP, because the Go runtime does not give back SIGTSTP once it
// was listened for.
func (j *Job) suspend(whole bool) {
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	defer signal.Stop(resumed)
	whom := syscall.Getpid()
	if whole {
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

// alive reports whether anything of the job's process group is left.
func (j *Job) alive() bool {
	select {
	case <-j.done:
		err := syscall.Kill(-j.handle.pid, 0)
		return (err == nil || mayNot(err)) && !onlyZombies(j.handle.pid)
	default:
		return true
	}
}
