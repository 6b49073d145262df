package quality

import (
	"math"
	"time"
)

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// round gives x to 4 decimals; nil for what is no number, so that none reaches a report.
func round(x float64) *float64 {
	r := x
	if math.Abs(x) < 1e11 { // beyond, a float64 has no 4 decimals to round to
		r = math.Round(x*1e4) / 1e4
	}
	if !finite(r) {
		return nil
	}
	return &r
}

func orZero(x float64) float64 {
	if r := round(x); r != nil {
		return *r
	}
	return 0
}

func times(x *float64, by float64) *float64 {
	if x == nil {
		return nil
	}
	return round(*x * by)
}

func mean(sum, n float64) *float64 {
	if n == 0 {
		return nil
	}
	return round(sum / n)
}

// share is part of whole in percent.
func share(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return min(100, max(0, 100*part/whole))
}

// clean copies s without anything that is no number, or negative where that makes no sense.
func clean(s Sample) Sample {
	s.Time = s.Time.UTC() // keeps the monotonic reading, so that a clock set in mid-call does no harm
	if y := s.Time.Year(); y < 1 || y > 9999 {
		s.Time = time.Time{} // JSON knows no such years
	}
	if s.Outbound != nil {
		o := *s.Outbound
		tidy(&o.TotalAudioEnergy, &o.TotalSamplesDuration, &o.TotalPacketSendDelay, &o.TargetBitrate)
		o.Codec = copyOf(o.Codec)
		s.Outbound = &o
	}
	if s.Inbound != nil {
		i := *s.Inbound
		tidy(&i.JitterBufferDelay, &i.JitterBufferTargetDelay, &i.JitterBufferMinimumDelay, &i.TotalProcessingDelay,
			&i.TotalAudioEnergy, &i.TotalSamplesDuration, &i.BurstRatio)
		i.Jitter = known(i.Jitter)
		i.Codec = copyOf(i.Codec)
		s.Inbound = &i
	}
	if s.Remote != nil {
		r := *s.Remote
		tidy(&r.FractionLost, &r.TotalRoundTripTime)
		r.Jitter, r.RoundTripTime = known(r.Jitter), known(r.RoundTripTime)
		s.Remote = &r
	}
	if s.Path != nil {
		p := *s.Path
		p.RoundTripTime = known(p.RoundTripTime)
		s.Path = &p
	}
	s.RemoteOutbound, s.Pair, s.Traffic = copyOf(s.RemoteOutbound), copyOf(s.Pair), copyOf(s.Traffic)
	return s
}

func tidy(all ...*float64) {
	for _, x := range all {
		if !finite(*x) || *x < 0 {
			*x = 0
		}
	}
}

// known copies x; nil when it is no measurement.
func known(x *float64) *float64 {
	if x == nil || !finite(*x) || *x < 0 {
		return nil
	}
	return copyOf(x)
}

func copyOf[T any](x *T) *T {
	if x == nil {
		return nil
	}
	y := *x
	return &y
}
