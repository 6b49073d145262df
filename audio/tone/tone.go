// Package tone makes the sounds a telephone makes by itself: ring, ringback, busy, error and DTMF, and the sine that
// a test listens for. Every generator is an audio.Source: continuous in phase, without clicks, and without allocation.
package tone

import (
	"math"
	"time"

	"sidetone/audio"
)

// Level of the tones of this package in dB relative to a full-scale sine (dBFS). ITU-T E.180 asks for about -10 dBm0,
// which is 13 dB below the overload point of G.711; a little less leaves room for the loudspeaker's own gain.
const Level = -18.0

// ramp is how long a tone takes to come and to go, so that neither is a click.
const ramp = 5 * time.Millisecond

// step is one piece of a cadence: up to two frequencies for a time. No frequency is silence.
type step struct {
	freqs    [2]float64 // Hz; 0 is none
	duration time.Duration
}

// Generator plays a cadence. It is an audio.Source for one goroutine.
type Generator struct {
	steps   []step
	repeat  bool // from the start when the last step is over; otherwise silence follows
	amp     float64
	current int
	at      int // samples of the current step that were played
	osc     [2]oscillator
	samples int // of the current step; 0: endless
}

// newGenerator starts steps at level dBFS. A single step of no duration lasts for ever.
func newGenerator(level float64, repeat bool, steps ...step) *Generator {
	g := &Generator{steps: steps, repeat: repeat, amp: math.MaxInt16 * math.Pow(10, level/20)}
	g.enter(0)
	return g
}

// Sine is an endless tone of hz at level dBFS, where 0 is a full-scale sine.
func Sine(hz, level float64) *Generator {
	return newGenerator(level, false, step{freqs: [2]float64{hz}})
}

// Done reports whether a generator that does not repeat has played all of its sound.
func (g *Generator) Done() bool { return g.current >= len(g.steps) }

// PullFrame implements audio.Source.
func (g *Generator) PullFrame(f *audio.Frame) {
	for i := 0; i < len(f); {
		if g.Done() {
			clear(f[i:])
			return
		}
		n := len(f) - i
		if g.samples > 0 {
			n = min(n, g.samples-g.at)
		}
		g.render(f[i : i+n])
		i += n
		g.at += n
		if g.samples > 0 && g.at == g.samples {
			g.enter(g.current + 1)
		}
	}
	for i := range g.osc {
		g.osc[i].normalise()
	}
}

// enter starts step n, or the first one again after the last.
func (g *Generator) enter(n int) {
	if n >= len(g.steps) && g.repeat {
		n = 0
	}
	g.current, g.at = n, 0
	if g.Done() {
		return
	}
	s := g.steps[n]
	g.samples = int(s.duration * audio.SampleRate / time.Second)
	for i, hz := range s.freqs {
		g.osc[i] = newOscillator(hz)
	}
}

// render writes samples of the current step into out.
func (g *Generator) render(out []int16) {
	const edge = int(ramp * audio.SampleRate / time.Second)
	s := g.steps[g.current]
	amp := g.amp
	if s.freqs[1] != 0 {
		amp /= 2 // the sum of two keeps the peak of one
	}
	for i := range out {
		var v float64
		for j := range g.osc {
			if s.freqs[j] != 0 {
				v += g.osc[j].next()
			}
		}
		rise := g.at + i
		if g.samples > 0 {
			rise = min(rise, g.samples-1-rise)
		}
		gain := amp
		if rise < edge {
			gain *= float64(rise) / float64(edge)
		}
		out[i] = int16(math.RoundToEven(v * gain))
	}
}

// oscillator turns a unit vector by a fixed angle for each sample: a sine for two multiplications and no table.
type oscillator struct{ re, im, cos, sin float64 }

func newOscillator(hz float64) oscillator {
	sin, cos := math.Sincos(2 * math.Pi * hz / audio.SampleRate)
	return oscillator{re: 1, cos: cos, sin: sin}
}

func (o *oscillator) next() float64 {
	v := o.im
	o.re, o.im = o.re*o.cos-o.im*o.sin, o.re*o.sin+o.im*o.cos
	return v
}

// normalise takes away what rounding adds to the vector's length.
func (o *oscillator) normalise() {
	if k := (3 - (o.re*o.re + o.im*o.im)) / 2; o.re != 0 {
		o.re, o.im = o.re*k, o.im*k
	}
}
