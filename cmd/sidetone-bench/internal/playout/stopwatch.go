package playout

import (
	"time"

	"sidetone/cmd/sidetone-bench/internal/cpu"
)

// stopwatch adds up the CPU time of the engine, which stays on one thread.
type stopwatch struct{ total time.Duration }

// run counts what f takes.
func (s *stopwatch) run(f func()) {
	began := cpu.ThreadTime()
	f()
	s.total += cpu.ThreadTime() - began
}
