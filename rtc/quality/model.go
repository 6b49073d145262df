package quality

import "math"

// Model and ModelVersion name how r_factor and mos are computed, in every report.
//
// It is the E-model of ITU-T G.107 with its defaults (R0 - Is = 93.2, A = 0), of which the delay term Idd (section 7.4)
// and the loss term Ie,eff (section 7.5) are fed with what was measured at the ear: loss is what had to be concealed after
// FEC, late packets among it. Opus from 24 kbit/s up has Ie 0. Change the version with any change of a formula or input.
const (
	Model        = "G.107"
	ModelVersion = "1"
)

const (
	defaultR    = 93.2
	packetDelay = 20.0 // ms, one Opus frame
	codecDelay  = 6.5  // ms, Opus' look-ahead (RFC 6716, section 2)
	bplPlain    = 10.0 // robustness against loss
	bplFEC      = 20.0 // the same, where FEC was seen at work
)

// delayImpairment is Idd of G.107, from the mouth-to-ear delay in ms.
func delayImpairment(ta float64) float64 {
	if !(ta > 100) {
		return 0
	}
	x := math.Log2(ta / 100)
	return 25 * (math.Pow(1+math.Pow(x, 6), 1.0/6) - 3*math.Pow(1+math.Pow(x/3, 6), 1.0/6) + 2)
}

// lossImpairment is Ie,eff of G.107: ie of the codec, loss in percent, the burst ratio, and the codec's robustness.
func lossImpairment(ie, ppl, burstR, bpl float64) float64 {
	if ppl <= 0 {
		return ie
	}
	return ie + (95-ie)*ppl/(ppl/burstR+bpl)
}

// mosOf maps R to a mean opinion score, 1 to 4.5 (G.107, annex B).
func mosOf(r float64) float64 {
	switch {
	case r <= 0:
		return 1
	case r >= 100:
		return 4.5
	}
	// Just above 0 the polynomial dips below 1.
	return max(1, polynomial(r))
}

func polynomial(r float64) float64 { return 1 + 0.035*r + 7e-6*r*(r-60)*(100-r) }

// telnyxMOS is the score that Telnyx's SDKs and portal show (their stats frame): jitter and round trip in ms, loss in
// percent since the start.
func telnyxMOS(jitter, rtt, loss float64) float64 {
	latency := jitter + rtt/2
	id := 0.024 * latency
	if latency > 177.3 {
		id += 0.11 * (latency - 177.3)
	}
	r := 93.2 - id - 20*math.Log(1+loss)
	return min(max(polynomial(r), 1), 5)
}

// warningMOS is what the warning LOW_MOS goes by: the same, but loss in percent of the last interval.
func warningMOS(jitter, rtt, loss float64) float64 {
	r := 93.2 - 0.11*jitter - 2.5*loss - 0.01*rtt
	return min(max(polynomial(r), 1), 4.5)
}
