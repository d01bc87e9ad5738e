//go:build unix

package job

import (
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal is the caller's controlling one, which is lent to the job: while the caller's process group is its
// foreground. Nil, there is none, and nothing is done.
type terminal struct {
	fd  int
	own int // the caller's process group

	mu     sync.Mutex
	wanted bool // the job uses it
	lent   bool // the job's process group is its foreground
	closed bool
}

func openTerminal() *terminal {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return &terminal{fd: fd, own: syscall.Getpgrp(), wanted: uses(0) && uses(1)}
}

// uses reports whether a file is the controlling terminal. A job whose standard input and output are both is lent it
// from the start. Any other is lent it when it asks, because what stands beside it in a pipe may use it, too.
func uses(fd int) bool {
	_, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil
}

// foreground returns the process group that the terminal has in its foreground.
func (t *terminal) foreground() int {
	group, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	if err != nil {
		return 0
	}
	return group
}

// lendFirst reports whether a job is to be started in the foreground, which is then lent.
func (t *terminal) lendFirst() bool {
	if t == nil {
		return false
	}
	t.lent = t.wanted && t.foreground() == t.own
	return t.lent
}

// lend makes the process group the foreground where the caller's is, if the job uses the terminal, and reports whether
// it is now. That the job asks for it means that it does.
func (t *terminal) lend(group int, asked bool) bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.wanted = t.wanted || asked
	now := t.foreground()
	if t.wanted && now == t.own && unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, group) == nil {
		now, t.lent = group, true
	}
	return now == group
}

// takeBack makes the caller's group the foreground again, if the terminal was lent, and reports whether it was. From a
// shell that has it meanwhile it is not taken. The system would stop a process in the background for that, if it did
// not ignore SIGTTOU.
func (t *terminal) takeBack() bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	lent := t.lent && (t.foreground() != session() || t.own == session())
	if t.lent = false; !lent {
		return false
	}
	signal.Ignore(syscall.SIGTTOU)
	defer signal.Reset(syscall.SIGTTOU)
	return unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, t.own) == nil
}

// session returns the number of the caller's session, which is that of the process that leads it: a shell, as a rule.
func session() int {
	session, err := unix.Getsid(0)
	if err != nil {
		return 0
	}
	return session
}

// close takes the terminal back for good.
func (t *terminal) close() {
	if t == nil {
		return
	}
	t.takeBack()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	unix.Close(t.fd)
}
