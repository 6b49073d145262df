// Package cpu tells what work costs.
package cpu

import (
	"time"

	"golang.org/x/sys/unix"
)

// ThreadTime is the CPU time of the calling thread.
func ThreadTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
