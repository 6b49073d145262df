package device

import (
	"time"

	"sidetone/audio"
	"sidetone/audio/dsp"
)

const (
	// Two cards differ by what two cheap crystals differ at most.
	matchLimit = 500.0 // ppm
	// matchSlew is how fast the rate may move: slow enough for an echo canceller to follow.
	matchSlew = 5.0 // ppm/s
	// learning is how long the clocks are watched before the rate is set for the first time, at once: at matchSlew it would
	// come too late for clocks that differ much.
	learning = 4 * time.Second
	// The controller mends an error within some 40 s, without going beyond.
	matchP = 1.0   // ppm for a sample
	matchI = 0.013 // ppm/s for a sample
	// matchSmooth is how much of what is seen counts each frame: 2 s. A card's callbacks come when the kernel has time.
	matchSmooth = 0.01
	// matchAhead is how far playback is filled at the start: a frame more than for one card, for what two clocks do.
	matchAhead = ahead + audio.FrameSamples
	// matchJump is the error beyond which a frame is left out, or another one played, as after an underrun.
	matchJump = audio.FrameSamples
)

// match plays on one card what comes at the clock of another: it keeps so many samples waiting for the playback card by
// making a little more or less of each frame. So capture and the sound that is played have one clock, the capture card's,
// and the echo of what is played comes back after the same time always.
type match struct {
	async  dsp.Async
	target float64
	out    [audio.FrameSamples + 16]int16

	frames int
	err    float64 // samples too many, smoothed
	trend  float64 // ppm: what the two clocks differ by
	rate   float64 // ppm
	fit    fit
}

// newMatch aims at the middle of what a card that takes a period at a time may leave of matchAhead.
func newMatch() *match { return &match{target: matchAhead - audio.FrameSamples/2} }

// convert gives the samples to be played of a frame.
func (m *match) convert(f *audio.Frame) []int16 {
	m.async.SetRate(m.rate)
	return m.out[:m.async.Process(f[:], m.out[:])]
}

// jump tells how many frames more to play than come: 0, 1 or -1, for errors that the rate would need minutes for.
func (m *match) jump(waiting float64) int {
	switch e := waiting - m.target; {
	case e > matchJump:
		return -1
	case e < -matchJump:
		return 1
	}
	return 0
}

// follow is told, once for each frame, how many samples wait for the playback card before it: those in its ring, less what
// the card has played meanwhile of the last period that it took.
func (m *match) follow(waiting float64) {
	const seconds = float64(audio.FrameDuration) / float64(time.Second)
	e := waiting - m.target
	m.frames++
	if at := time.Duration(m.frames) * audio.FrameDuration; at <= learning {
		m.fit.add(at.Seconds(), e)
		if at == learning {
			slope, now := m.fit.line(at.Seconds())
			m.trend = limited(-slope / audio.SampleRate * 1e6)
			m.rate = m.trend
			m.target += now // what is there is as good as what was meant: the sound need not move
			m.err = 0
		}
		return
	}
	m.err += matchSmooth * (e - m.err)
	m.trend = limited(m.trend - matchI*m.err*seconds)
	to := limited(m.trend - matchP*m.err)
	m.rate += max(-matchSlew*seconds, min(matchSlew*seconds, to-m.rate))
}

func limited(ppm float64) float64 { return max(-matchLimit, min(matchLimit, ppm)) }

// fit is a straight line through points, by least squares.
type fit struct{ n, x, y, xx, xy float64 }

func (f *fit) add(x, y float64) {
	f.n, f.x, f.y, f.xx, f.xy = f.n+1, f.x+x, f.y+y, f.xx+x*x, f.xy+x*y
}

// line gives the slope, and where the line is at x.
func (f *fit) line(x float64) (slope, y float64) {
	slope = (f.n*f.xy - f.x*f.y) / (f.n*f.xx - f.x*f.x)
	return slope, f.y/f.n + slope*(x-f.x/f.n)
}
