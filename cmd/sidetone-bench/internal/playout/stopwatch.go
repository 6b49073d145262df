package playout

import "time"

// stopwatch adds up the CPU time of the engine, which stays on one thread.
type stopwatch struct{ total time.Duration }

// run counts what f takes.
func (s *stopwatch) run(f func()) {
	began := threadTime()
	f()
	s.total += threadTime() - began
}
