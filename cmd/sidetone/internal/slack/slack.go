// Package slack, once it is linked in, lets the kernel wake the program's threads up to a millisecond late, so that wake-ups
// fall together (prctl PR_SET_TIMERSLACK). While anything runs, the Go runtime's monitor looks at it each 20 us; in a call,
// which has something to do a hundred times a second for a fraction of a millisecond, that took a fifth of all CPU.
//
// A thread has the slack of the one that made it, and the monitor is made before any Go code of ours runs: hence C.
package slack

import "C"
