package voice

import "sidetone/audio"

// losses measures how bursty loss is, after all recovery.
type losses struct {
	good, bad, runs uint64 // samples, samples, and how often loss began
	losing          bool
}

func (l *losses) received(n int) {
	l.good += uint64(n)
	l.losing = false
}

func (l *losses) lost(n int) {
	l.bad += uint64(n)
	if !l.losing {
		l.runs++
	}
	l.losing = true
}

// burstRatio is BurstR of ITU-T G.107: the mean length of a run of lost frames over 1/(1-p), which it would be if frames
// were lost at random with the same probability p.
func (l *losses) burstRatio() float64 {
	if l.runs == 0 {
		return 1
	}
	mean := float64(l.bad) / float64(l.runs) / audio.FrameSamples
	p := float64(l.bad) / float64(l.bad+l.good)
	return max(mean*(1-p), 1)
}
