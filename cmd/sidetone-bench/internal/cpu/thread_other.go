//go:build !linux

package cpu

import "time"

var began = time.Now()

// ThreadTime is the time that has passed: there is no portable CPU time of a thread.
func ThreadTime() time.Duration { return time.Since(began) }
