package jitter

import "math"

const (
	lasting = 50 // pulls: a second of 20 ms frames
	recent  = 10
)

// delays remembers how much later than the fastest packet the last frames were played, in nanoseconds. The pulling clock
// comes in bursts on a busy machine; the lowest of some time is what counts.
type delays struct {
	ring [lasting]int64
	n    int
	at   int // of the newest
}

func (d *delays) reset() { d.n = 0 }

func (d *delays) add(v int64) {
	d.at = (d.at + 1) % lasting
	d.ring[d.at] = v
	d.n = min(d.n+1, lasting)
}

// shift moves all by how much the delay was changed on purpose.
func (d *delays) shift(by int64) {
	for i := range d.ring {
		d.ring[i] += by
	}
}

func (d *delays) latest() int64 { return d.ring[d.at] }

// lowest of the last second.
func (d *delays) lowest() int64 { return d.fold(d.n) }

// lowestOfLast is of the last fifth of a second, or very low before that has passed.
func (d *delays) lowestOfLast() int64 {
	if d.n < recent {
		return math.MinInt64 / 4
	}
	return d.fold(recent)
}

func (d *delays) fold(n int) int64 {
	v := int64(math.MaxInt64 / 4)
	for i := range n {
		v = min(v, d.ring[(d.at-i+lasting)%lasting])
	}
	return v
}
