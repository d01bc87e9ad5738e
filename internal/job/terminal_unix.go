//go:build unix

package job

import (
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

const terminalFD = 0 // standard input

// terminal is the one on standard input while the caller may read from it. Nil, there is none, and nothing is done.
type terminal struct{ group int }

// ownTerminal returns the terminal on standard input, if the caller is in its foreground.
func ownTerminal() *terminal {
	group, err := unix.IoctlGetInt(terminalFD, unix.TIOCGPGRP)
	if err != nil || group != syscall.Getpgrp() {
		return nil
	}
	return &terminal{group: group}
}

// give lets the process group read from the terminal, unless the caller has been sent to the background.
func (t *terminal) give(group int) {
	if t == nil {
		return
	}
	if now, err := unix.IoctlGetInt(terminalFD, unix.TIOCGPGRP); err == nil && now == t.group {
		unix.IoctlSetPointerInt(terminalFD, unix.TIOCSPGRP, group)
	}
}

// take gets the terminal back. The system would stop a process in the background for that, if it did not ignore SIGTTOU.
func (t *terminal) take() {
	if t == nil {
		return
	}
	signal.Ignore(syscall.SIGTTOU)
	defer signal.Reset(syscall.SIGTTOU)
	unix.IoctlSetPointerInt(terminalFD, unix.TIOCSPGRP, t.group)
}
