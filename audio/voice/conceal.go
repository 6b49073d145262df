package voice

import "sidetone/audio"

const (
	// A guess is played in full for fadeFrom, and is silent after fadeTo: beyond that it is no longer speech but a buzz.
	fadeFrom, fadeTo = 2 * audio.FrameSamples, 5 * audio.FrameSamples
	// fadeSamples is how long one sound takes to become another: 5 ms.
	fadeSamples = audio.SampleRate / 200
	// piece is what a decoder conceals at a time.
	piece = audio.FrameSamples
)

// concealer plays what was lost, and fades it out when that lasts.
type concealer struct {
	decoder Decoder
	run     int // samples concealed since the last that were received
}

// lost fills out with a guess, and reports whether nothing can be heard of it.
func (c *concealer) lost(out []int16) (silent bool) {
	if c.run >= fadeTo {
		clear(out)
		return true
	}
	c.guess(out)
	for i := range out {
		out[i] = int16(int(out[i]) * c.gain(i) / full)
	}
	c.run += len(out)
	return false
}

// extend fills out with more of the same: nothing was lost.
func (c *concealer) extend(out []int16) {
	if c.run >= fadeTo {
		clear(out)
		return
	}
	c.guess(out)
}

// resume lets sound that was received come back to its full level, if it had faded.
func (c *concealer) resume(out []int16) (faded bool) {
	from := c.gain(0)
	c.run = 0
	if from == full {
		return false
	}
	for i := range min(fadeSamples, len(out)) {
		out[i] = int16(int(out[i]) * (from + (full-from)*i/fadeSamples) / full)
	}
	return true
}

// end fades the sound out, for good: another decoder takes over, which knows nothing of it. It returns how many samples
// that took.
func (c *concealer) end(out []int16) int {
	from, n := c.gain(0), min(fadeSamples, len(out))
	c.run = fadeTo
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
