package jitter

import "math"

const (
	lasting = 50 // pulls: a second of 20 ms frames
	recent  = 10
)

// delays remembers how much later than the fastest packet the last frames were played, in nanoseconds. The pulling clock
// comes in bursts on a busy machine; the extremes over some time are what counts.
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

// lowest of the last second, or very low before a second has passed.
func (d *delays) lowest() int64 { return d.fold(lasting, false) }

// lowestOfLast and highest are of the last fifth of a second.
func (d *delays) lowestOfLast() int64 { return d.fold(recent, false) }

// highest is very high before there are enough.
func (d *delays) highest() int64 { return d.fold(recent, true) }

func (d *delays) fold(n int, highest bool) int64 {
	v := int64(math.MaxInt64 / 4)
	if highest {
		v = -v
	}
	if d.n < n {
		return -v
	}
	for i := range n {
		x := d.ring[(d.at-i+lasting)%lasting]
		if highest {
			v = max(v, x)
		} else {
			v = min(v, x)
		}
	}
	return v
}
