package voice

import "time"

const (
	// lossMemory is the time over which reports of loss are smoothed.
	lossMemory = 10 * time.Second
	// lossLimit is the share from which on FEC is worth what it costs.
	lossLimit = 0.005
	// lossAssumed is the share that a way is taken to have of which nothing was heard: FEC that waited for a report would
	// come after the first losses. A first report of none within 5 s, or some closer ones, are enough to end it.
	lossAssumed = 0.007
)

// LossHint turns the receiver reports of the far side into the loss that the Opus encoder is told, which decides how much
// in-band FEC it sends. The zero value has heard nothing and asks for FEC. It is for one goroutine.
type LossHint struct {
	change float64 // of the smoothed share, since nothing was known
	last   time.Duration
}

// loss is the smoothed share.
func (h *LossHint) loss() float64 { return lossAssumed + h.change }

// Report takes the fraction lost of a receiver report (RFC 3550, section 6.4.1: of 256, since the report before), that
// came at the given time since the stream began.
func (h *LossHint) Report(fractionLost uint8, at time.Duration) {
	passed := max(at-h.last, 0)
	h.last = max(at, h.last)
	weight := float64(passed) / float64(passed+lossMemory)
	h.change += weight * (float64(fractionLost)/256 - h.loss())
}

// heavyLoss is the smoothed share from which on loss is taken for a way that is too narrow, and not for a bad one: less is
// sent, as every packet that fits counts more than its sound. leastBitrate, in bit/s, carries a voice still.
const (
	heavyLoss    = 0.3
	leastBitrate = 12000
)

// Bitrate is what to send at, in bit/s, where full is wanted.
func (h *LossHint) Bitrate(full int) int {
	if h.loss() < heavyLoss {
		return full
	}
	return min(full, max(leastBitrate, int(float64(full)*(1-h.loss()))))
}

// Percent is what the encoder is to be told at that bitrate (bit/s); 0 asks for no FEC.
func (h *LossHint) Percent(bitrate int) int {
	if h.loss() < lossLimit {
		return 0
	}
	return FECPercent(bitrate, h.loss())
}

// FECPercent is the hint that serves best against loss (a share) at a bitrate. What FEC needs is taken from the rest of
// the sound, so the smallest hint that turns it on is right where there is room: at 32 kbit/s it costs 0.1 points of
// PESQ on a link that loses nothing, and gains 1.0 where 5 % is lost; a hint of 5 costs 0.3 and gains less. At 24 kbit/s
// the encoder needs a greater one to do any.
func FECPercent(bitrate int, loss float64) int {
	switch {
	case bitrate >= 32000:
		return 1
	case loss < 0.03:
		return 5
	default:
		return 10
	}
}
