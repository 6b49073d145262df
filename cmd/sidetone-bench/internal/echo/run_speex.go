//go:build cgo

package echo

import "sidetone/audio/dsp"

func init() {
	cancellers[dsp.CancellerSpeex] = func() (canceller, error) { return dsp.NewSpeex() }
}
