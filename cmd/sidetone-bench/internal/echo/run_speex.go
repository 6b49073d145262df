//go:build cgo

package echo

import (
	"sidetone/audio"
	"sidetone/audio/dsp"
)

// chain is the device's.
type chain struct{ *dsp.Chain }

func (c chain) Play(f *audio.Frame)    { c.Played(f) }
func (c chain) Capture(f *audio.Frame) { c.Process(f) }

func init() {
	cancellers[dsp.CancellerSpeex] = func() (canceller, error) {
		c, err := dsp.NewChain(dsp.Config{Canceller: dsp.CancellerSpeex})
		return chain{c}, err
	}
}
