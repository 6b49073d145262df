//go:build !linux

package playout

import "time"

var began = time.Now()

// threadTime is the time that has passed: there is no portable CPU time of a thread.
func threadTime() time.Duration { return time.Since(began) }
