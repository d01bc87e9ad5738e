package client

import (
	"time"

	"golang.org/x/sys/unix"
)

// suspended returns for how long the machine was suspended since it started: by how much the clock that goes on
// meanwhile is ahead of the one that does not, which is Go's. Zero where it cannot be told.
func suspended() time.Duration {
	var always, awake unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &always) != nil ||
		unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) != nil {
		return 0
	}
	return max(0, time.Duration(always.Nano()-awake.Nano()))
}
