//go:build cgo

package cli

import "sidetone/audio/dsp"

// resample changes the rate of a whole recording.
var resample = dsp.Resample
