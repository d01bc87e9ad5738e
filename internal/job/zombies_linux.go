package job

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// onlyZombies says whether all that is left of a process group has ended, and only waits for somebody to ask how: in many
// a container nobody ever does. It looks twice, because what is being started may be missing in one look.
func onlyZombies(group int) bool { return allEnded(group) && allEnded(group) }

// mayNot says that a process group was not signalled because all that is left of it belongs to another user.
func mayNot(err error) bool { return err == syscall.EPERM }

func allEnded(group int) (ended bool) {
	processes, _ := os.ReadDir("/proc")
	for _, p := range processes {
		if state, of := stateOf(p.Name()); of != group {
			continue
		} else if state != 'Z' && state != 'X' {
			return false
		}
		ended = true
	}
	return ended
}

// stateOf reads the state of a process and its group from its line, which goes: number, name in parentheses, state, parent,
// group.
func stateOf(process string) (state byte, group int) {
	line, err := os.ReadFile("/proc/" + process + "/stat")
	fields := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
	if err != nil || len(fields) < 3 {
		return 0, 0
	}
	group, _ = strconv.Atoi(string(fields[2]))
	return fields[0][0], group
}
