//go:build unix

package job

import (
	"os/signal"
	"syscall"
	"time"
)

// noteTyped takes the terminal back from a command that has ended, and notes whether that was by a signal typed there.
func (j *Job) noteTyped(status syscall.WaitStatus) {
	t := j.handle.terminal
	lent := t.takeBack()
	typed := status.Signaled() && (status.Signal() == syscall.SIGINT || status.Signal() == syscall.SIGQUIT)
	if typed && (lent || t != nil && t.foreground() == t.own) {
		j.handle.typed, j.handle.alone = status.Signal(), lent && !j.told.Load()
	}
}

// Follow ends the caller by the signal that ended the command, if that was typed on the terminal: a script around the
// caller ends only if it got the signal itself and sees that what it ran died of it. Where the terminal was lent, only
// the job got it, so that the rest of the caller's process group is sent it now. A caller that leads its session has
// nobody around it, and Follow returns, as it does after SIGQUIT, by which a Go program cannot die quietly.
func (j *Job) Follow() {
	<-j.done
	typed := j.handle.typed
	if typed == 0 || session() == syscall.Getpid() {
		return
	}
	whom := syscall.Getpid()
	if j.handle.alone {
		whom = 0
	}
	if typed == syscall.SIGINT {
		signal.Reset(typed)
		defer time.Sleep(time.Second) // it comes
	}
	syscall.Kill(whom, typed)
}
