package jitter

import "time"

const (
	binWidth = 5 * time.Millisecond
	bins     = 160 // up to 800 ms

	// block is the time over which the slowest packet counts as one observation.
	block = 500 * time.Millisecond
	// quantile of the observations that the target covers, in 1/1024.
	quantile = 973 // 0.95
	// forget is by how much an old observation weighs less with each new one, in 1/1024: to a third in about 20 s.
	forget = 1000

	// fastestOver is how long the fastest packet is remembered, in blocks: long enough to be found again on a link whose
	// delay wanders, short enough to follow a sound card that drifts. A power of two.
	fastestOver = 8

	// settle is how long the starting delay is kept, and fall the time in which the target loses two thirds of what it
	// has too much.
	settle, fall = 15 * time.Second, 8 * time.Second
)

// estimator learns how late packets come, relative to the fastest, and what delay covers that. All times are in
// nanoseconds; an offset is a packet's arrival less the time of its timestamp.
type estimator struct {
	cfg     Config
	any     bool
	began   int64
	last    int64 // latest arrival
	minima  [fastestOver]int64
	at      int64 // number of the block that minima's newest entry is of
	slowest int64 // of the block, relative to the fastest
	weights [bins]uint32
	total   uint64

	needed int64 // what the histogram asks for
	target int64
}

func (e *estimator) reset(c Config) {
	*e = estimator{cfg: c, target: int64(c.Start)}
}

// fastest is the offset of the fastest packet of late.
func (e *estimator) fastest() int64 {
	m := e.minima[0]
	for _, v := range e.minima[1:] {
		m = min(m, v)
	}
	return m
}

// due is when a packet of that timestamp is to be played.
func (e *estimator) due(ts int64) int64 { return e.fastest() + nanos(ts) + e.target }

// outOfBounds reports whether no packet of this stream could come with that offset.
func (e *estimator) outOfBounds(offset int64) bool {
	d := offset - e.fastest()
	return e.any && (d > int64(maxSkew) || d < -int64(maxSkew))
}

// add learns from a packet.
func (e *estimator) add(offset, arrival int64) {
	if !e.any {
		e.any, e.began, e.last = true, arrival, arrival
		e.at = arrival / int64(block)
		for i := range e.minima {
			e.minima[i] = offset
		}
	}
	passed := max(arrival-e.last, 0)
	e.last = max(e.last, arrival)
	if n := e.last / int64(block); n != e.at {
		e.observe(e.slowest)
		for i := range e.minima { // blocks without a packet repeat the last one
			if int64(i) < min(n-e.at, fastestOver) {
				e.minima[(e.at+1+int64(i))&(fastestOver-1)] = offset
			}
		}
		e.at, e.slowest = n, 0
	}
	newest := &e.minima[e.at&(fastestOver-1)]
	*newest = min(*newest, offset)
	e.slowest = max(e.slowest, offset-e.fastest())
	e.follow(passed)
}

// observe puts the slowest packet of a block into the histogram.
func (e *estimator) observe(late int64) {
	e.total = 0
	for i, w := range e.weights {
		e.weights[i] = uint32(uint64(w) * forget / 1024)
		e.total += uint64(e.weights[i])
	}
	const one = 1 << 24
	i := min(max(late/int64(binWidth), 0), bins-1)
	e.weights[i] += one
	e.total += one

	sum := uint64(0)
	for i, w := range e.weights {
		if sum += uint64(w); sum*1024 >= e.total*quantile {
			e.needed = int64(i+1) * int64(binWidth)
			return
		}
	}
}

// settled reports whether the stream is old enough for its delay to be lowered.
func (e *estimator) settled() bool { return e.last-e.began >= int64(settle) }

// follow moves the target to where it is needed: up at once, down slowly.
func (e *estimator) follow(passed int64) {
	want := max(e.needed, int64(e.cfg.Min))
	if !e.settled() {
		want = max(want, int64(e.cfg.Start))
	}
	want = min(want, int64(e.cfg.Max))
	if want < e.target {
		want = e.target - (e.target-want)*min(passed, int64(fall))/int64(fall)
	}
	e.target = want
}
