package bench

import (
	"syscall"
	"time"
)

// ownCPU returns the processor time that this process has taken.
func ownCPU() time.Duration {
	var began, ended, system, user syscall.Filetime
	self, err := syscall.GetCurrentProcess()
	if err == nil {
		err = syscall.GetProcessTimes(self, &began, &ended, &system, &user)
	}
	if err != nil {
		return 0
	}
	return hundredsOfNs(user) + hundredsOfNs(system)
}

func hundredsOfNs(t syscall.Filetime) time.Duration {
	return 100 * time.Duration(int64(t.HighDateTime)<<32|int64(t.LowDateTime))
}
