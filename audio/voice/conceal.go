package voice

import (
	"math"

	"sidetone/audio"
)

const (
	// A guess is played in full for fadeFrom, and has become comfort noise after fadeTo: beyond that it is no longer speech
	// but a buzz.
	fadeFrom, fadeTo = 3 * audio.FrameSamples, 6 * audio.FrameSamples
	// The noise falls from noiseFrom on, and is silent after noiseTo: a line that is dead is to be heard as dead.
	noiseFrom, noiseTo = 50 * audio.FrameSamples, 100 * audio.FrameSamples
	// fadeSamples is how long one sound takes to become another: 5 ms.
	fadeSamples = audio.SampleRate / 200
	// piece is what a decoder conceals at a time.
	piece = audio.FrameSamples
)

// concealer plays what was lost, and fades it into comfort noise when that lasts.
type concealer struct {
	decoder Decoder
	noise   noise
	run     int // samples concealed since the last that were received, up to noiseTo
}

// lost fills out with a guess, and reports whether nothing but comfort noise, or silence, is in it.
func (c *concealer) lost(out []int16) (silent bool) {
	silent = c.run >= fadeTo
	if silent {
		clear(out)
	} else {
		c.guess(out)
	}
	for i := range out {
		out[i] = c.mix(out[i], i)
	}
	c.run = min(c.run+len(out), noiseTo)
	return silent
}

// extend fills out with more of the same: nothing was lost.
func (c *concealer) extend(out []int16) {
	if c.run >= fadeTo {
		c.lost(out)
		return
	}
	c.guess(out)
}

// resume lets sound that was received take the place of the noise, if it had faded.
func (c *concealer) resume(out []int16) (faded bool) {
	faded = c.run > fadeFrom
	c.noise.listen(out)
	if faded {
		from := c.gain(0)
		for i := range min(fadeSamples, len(out)) {
			gain := from + (full-from)*i/fadeSamples
			out[i] = clip((int(out[i])*gain + c.noise.next()*(full-gain)/full*c.noiseGain()) / full)
		}
	}
	c.run = 0
	return faded
}

// mix is a sample of the guess, the i-th from now, faded into the noise as far as the time says.
func (c *concealer) mix(guess int16, i int) int16 {
	gain := c.gain(i)
	if gain == full {
		return guess
	}
	return clip((int(guess)*gain + c.noise.next()*(full-gain)/full*c.noiseGain()) / full)
}

// noiseGain is the gain of the noise, of full.
func (c *concealer) noiseGain() int {
	return full * min(noiseTo-c.run, noiseTo-noiseFrom) / (noiseTo - noiseFrom)
}

func clip(v int) int16 { return int16(max(math.MinInt16, min(v, math.MaxInt16))) }

// end fades the sound out, for good: another decoder takes over, which knows nothing of it. It returns how many samples
// that took.
func (c *concealer) end(out []int16) int {
	from, n := c.gain(0), min(fadeSamples, len(out))
	c.run = noiseTo
	if from == 0 {
		return 0
	}
	c.guess(out[:n])
	for i := range n {
		out[i] = int16(int(out[i]) * from / full * (n - i) / n)
	}
	return n
}

const full = 1 << 12 // gain of 1

// gain of the i-th sample from now.
func (c *concealer) gain(i int) int {
	at := c.run + i
	switch {
	case at <= fadeFrom:
		return full
	case at >= fadeTo:
		return 0
	default:
		return full * (fadeTo - at) / (fadeTo - fadeFrom)
	}
}

func (c *concealer) guess(out []int16) {
	for len(out) > 0 {
		n := min(piece, len(out))
		if c.decoder.DecodePLC(out[:n]) != nil {
			clear(out[:n]) // nothing was decoded before
		}
		out = out[n:]
	}
}

// fadeIn lets pcm begin without a click.
func fadeIn(pcm []int16) {
	for i := range min(fadeSamples, len(pcm)) {
		pcm[i] = int16(int(pcm[i]) * i / fadeSamples)
	}
}
