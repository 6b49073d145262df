// Package echo takes the echo of what is played out of what is captured: a canceller for loudspeaker and microphone in
// one box. It is pure Go, does not allocate while it runs, and its time is counted in samples.
package echo

import (
	"math"

	"sidetone/audio"
)

// Canceller takes an echo out, 10 ms at a time. Below 8 kHz a linear filter learns the path and a suppressor lowers what it
// leaves; above, the gain that the upper bins deserve is carried on. It is not safe for concurrent use.
type Canceller struct {
	farLow, micLow lower
	up             higher
	reference      *reference
	drift          drift
	filter         *kalman
	rest           *suppressor

	mic  [latency + wide]float64 // captured, as it was
	low  [2 * hop]float64        // the same below 8 kHz, a hop later
	high float64
}

// latency is by how many samples at 48 kHz what comes out is later than what went in: the two filters that part the
// bands, and the hop by which the suppressor's blocks overlap.
const latency = taps - 1 - (ratio - 1) + wide

// Latency is by how many samples at 48 kHz what comes out is later than what went in.
func (*Canceller) Latency() int { return latency }

// New makes a canceller.
func New() *Canceller {
	return &Canceller{reference: newReference(), filter: newKalman(), rest: newSuppressor(), high: 1}
}

// Play takes the next 20 ms of what is played, as a rule before the 20 ms that are captured in the same time. Where more or
// less is played than captured, the canceller follows.
func (c *Canceller) Play(far *audio.Frame) {
	var in [wide]float64
	var low [hop]float64
	for at := 0; at < audio.FrameSamples; at += wide {
		for i := range in {
			in[i] = float64(far[at+i])
		}
		c.farLow.process(&low, &in)
		c.reference.write(&low)
	}
}

// Capture takes the echo out of mic, in place. An echo may come up to 250 ms later than its sound was given to Play.
func (c *Canceller) Capture(mic *audio.Frame) {
	for at := 0; at < audio.FrameSamples; at += wide {
		c.hop((*[wide]int16)(mic[at:]))
	}
}

// Close is there for those who must close other cancellers; it does nothing.
func (c *Canceller) Close() {}

func (c *Canceller) hop(mic *[wide]int16) {
	var in, out [wide]float64
	var heard, left, echo, clean [hop]float64
	for i, v := range mic {
		in[i] = float64(v)
	}
	c.micLow.process(&heard, &in)
	c.advance()
	c.filter.cancel(&left, &echo, &heard)
	c.reference.faster = c.drift.update(c.filter)
	c.rest.process(&clean, &left, &echo, &c.filter.unsure)

	copy(c.mic[:], c.mic[wide:])
	copy(c.mic[latency:], in[:])
	copy(c.low[:], c.low[hop:])
	copy(c.low[hop:], heard[:])
	from, step := c.high, (c.rest.high-c.high)/wide
	for i := range clean {
		clean[i] -= (from + step*float64(ratio*i)) * c.low[i]
	}
	c.high = c.rest.high
	c.up.process(&out, &clean)
	for i := range out {
		v := out[i] + (from+step*float64(i))*c.mic[i]
		mic[i] = int16(math.Round(max(math.MinInt16, min(math.MaxInt16, v))))
	}
}

// advance gives the filter the next 10 ms of what was played. Where the clocks have drifted so far apart that there is
// none, or some hops too many, the path moves by a hop.
func (c *Canceller) advance() {
	var far [hop]float64
	if c.reference.ready() < hop {
		c.filter.miss()
		return
	}
	c.reference.read(&far)
	c.filter.push(&far)
	if c.reference.ready() >= 2*hop+hop/2 {
		c.reference.read(&far)
		c.filter.push(&far)
		c.filter.later()
	}
}

// SetDrift tells by how many parts in a million the clock of playback is faster than that of capture, where that is known.
// The canceller goes on from there.
func (c *Canceller) SetDrift(ppm float64) {
	c.drift.faster = max(-MaxDrift, min(MaxDrift, ppm)) * 1e-6
}

// Drift is by how many parts in a million the clock of playback is found to be faster than that of capture.
func (c *Canceller) Drift() float64 { return c.drift.faster * 1e6 }
