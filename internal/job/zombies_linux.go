package job

import (
	"bytes"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

// onlyZombies reports whether all that is left of a process group has ended, and only waits for somebody to ask how: in
// many a container nobody ever does. It looks twice, because what is being started may be missing in one look.
func onlyZombies(group int) bool {
	first, second := allEnded(group), allEnded(group)
	return first && second
}

// mayNot says that a process group was not signalled because all that is left of it belongs to another user.
func mayNot(err error) bool { return err == syscall.EPERM }

func allEnded(group int) (ended bool) {
	processes, _ := os.ReadDir("/proc")
	for _, p := range processes {
		if state, _, of := stateOf(p.Name()); of != group {
			continue
		} else if state != 'Z' && state != 'X' {
			return false
		}
		ended = true
	}
	return ended
}

// reapAll reaps until the job is over.
func (j *Job) reapAll() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	defer signal.Stop(ended)
	for {
		j.reap()
		select {
		case <-ended:
		case <-j.over:
			j.reap()
			return
		}
	}
}

// reap asks all children that have ended how they did, so that they do not stay for ever; but not the command, which
// wait asks.
func (j *Job) reap() {
	processes, _ := os.ReadDir("/proc")
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == j.handle.pid {
			continue
		}
		if state, parent, _ := stateOf(p.Name()); state == 'Z' && parent == os.Getpid() {
			syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
	}
}

// stateOf reads the state of a process, its parent and its group from its line, which goes: number, name in
// parentheses, state, parent, group.
func stateOf(process string) (state byte, parent, group int) {
	line, err := os.ReadFile("/proc/" + process + "/stat")
	fields := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
	if err != nil || len(fields) < 3 {
		return 0, 0, 0
	}
	parent, _ = strconv.Atoi(string(fields[1]))
	group, _ = strconv.Atoi(string(fields[2]))
	return fields[0][0], parent, group
}
