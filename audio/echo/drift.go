package echo

import "math"

const (
	// follow is how fast a lag is made up for, per second, and settle how fast the clocks' ratio is believed to be the reason,
	// per second squared.
	follow, settle = 4.0, 4.0
	lowRate        = 100 * hop // Hz
)

// drift finds by how much the clock of playback is faster than that of capture: where it is, the echo comes ever
// earlier than the filter has it, and what is left of it stands across the estimate, the more so the higher the tone.
type drift struct {
	lag    float64 // of the echo behind the filter, in samples
	faster float64 // the share found
}

// update learns from the filter and gives the ratio at which the reference is to be read, less 1.
func (d *drift) update(k *kalman) float64 {
	var across, along, left, estimated float64
	for i := 4; i < bins*3/4; i++ {
		omega := 2 * math.Pi * float64(i) / size
		weight := 1 / (k.crossLeft[i] + 1)
		across -= omega * imag(k.cross[i]) * weight
		along += omega * omega * k.estimated[i] * weight
		left += k.crossLeft[i]
		estimated += k.estimated[i]
	}
	d.lag = 0
	if estimated > left && estimated > 1e4 && along > 0 {
		d.lag = max(-1, min(1, across/along))
	}
	const second = 1.0 / 100
	d.faster -= settle * d.lag * second / lowRate
	d.faster = max(-MaxDrift*1e-6, min(MaxDrift*1e-6, d.faster))
	return max(-2*MaxDrift*1e-6, min(2*MaxDrift*1e-6, d.faster-follow*d.lag/lowRate))
}
