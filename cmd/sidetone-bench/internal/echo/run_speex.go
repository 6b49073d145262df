//go:build cgo

package echo

import (
	"sidetone/audio"
	"sidetone/audio/dsp"
)

type speexdsp struct{ *dsp.Chain }

func (s speexdsp) Process(mic, far *audio.Frame) {
	s.Played(far)
	s.Chain.Process(mic)
}

// Latency is of the preprocessor, whose blocks overlap by a frame.
func (speexdsp) Latency() int { return audio.FrameSamples }

func init() {
	cancellers["speexdsp"] = func() (canceller, error) {
		c, err := dsp.NewChain()
		return speexdsp{c}, err
	}
}
