package dsp

import (
	"math"

	"sidetone/audio"
)

// highPass takes away what stands below speech: rumble, hum, and the sound card's zero that is none. A Butterworth filter
// of the second order.
type highPass struct {
	b0, a1, a2     float64
	x1, x2, y1, y2 float64
}

// newHighPass makes one that lowers hz, in Hz, by 3 dB.
func newHighPass(hz float64) highPass {
	w := 2 * math.Pi * hz / audio.SampleRate
	alpha := math.Sin(w) / math.Sqrt2
	a0 := 1 + alpha
	return highPass{b0: (1 + math.Cos(w)) / 2 / a0, a1: -2 * math.Cos(w) / a0, a2: (1 - alpha) / a0}
}

func (h *highPass) process(f *audio.Frame) {
	for i, v := range f {
		x := float64(v)
		y := h.b0*(x-2*h.x1+h.x2) - h.a1*h.y1 - h.a2*h.y2
		h.x2, h.x1 = h.x1, x
		h.y2, h.y1 = h.y1, y
		f[i] = rounded(y)
	}
}

func rounded(v float64) int16 {
	return int16(math.Round(max(math.MinInt16, min(math.MaxInt16, v))))
}

const (
	// wanted is the level of a voice while it speaks, in dBFS, as the mean of its frames' levels: its power is some 7 dB
	// higher, what telephones send.
	wanted = -26.0
	// loudest and softest are the bounds of the gain, in dB: more would raise the street.
	loudest, softest = 12.0, -12.0
	// rise and fall are how fast the gain changes while somebody speaks, in dB a frame: 4 and 12 dB/s.
	rise, fall = 0.08, 0.24
)

// limit is what no sample exceeds: 1 dB below full scale; release is how much of what is missing the limiter lets go each
// sample: most within 100 ms.
const (
	limit   = 29204
	release = 0.0005
)

// autoGain brings voices to one level, and limits what is then too loud, at once. It moves only while somebody speaks:
// well over the noise, which it follows.
type autoGain struct {
	gain    float64 // dB
	last    float64 // as a factor, at the end of the frame before
	limiter float64 // as a factor
	noise   float64 // dBFS
	voice   float64 // dBFS, while speaking
}

func newAutoGain() *autoGain {
	return &autoGain{last: 1, limiter: 1, noise: -60, voice: wanted}
}

func (a *autoGain) process(f *audio.Frame) {
	sum := 0.0
	for _, v := range f {
		sum += float64(v) * float64(v)
	}
	a.follow(10 * math.Log10(sum/audio.FrameSamples/(math.MaxInt16*math.MaxInt16)+1e-10))
	next := math.Pow(10, a.gain/20)
	step := (next - a.last) / audio.FrameSamples
	for i, v := range f {
		x := float64(v) * (a.last + step*float64(i))
		a.limiter += release * (1 - a.limiter)
		if loud := math.Abs(x); loud*a.limiter > limit {
			a.limiter = limit / loud
		}
		f[i] = rounded(x * a.limiter)
	}
	a.last = next
}

// follow moves the gain by a frame of that level, in dBFS.
func (a *autoGain) follow(level float64) {
	if level < a.noise {
		a.noise = max(-80, level)
	} else {
		a.noise = min(-35, a.noise+0.02) // 1 dB/s
	}
	if level < -50 || level < a.noise+12 {
		return
	}
	a.voice += 0.05 * (level - a.voice)
	if level > a.voice-10 { // not the tail of a word
		to := max(softest, min(loudest, wanted-a.voice))
		a.gain += max(-fall, min(rise, to-a.gain))
	}
}
