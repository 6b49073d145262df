package echo

import (
	"math"

	"gonum.org/v1/gonum/dsp/fourier"
)

const (
	bands     = 8                  // in which a near end is looked for
	bandWidth = (bins - 1) / bands // bins: 1 kHz
	highFrom  = 5 * (bins - 1) / 8 // from where on the bins speak for the band above 8 kHz

	// ring is what is left of an echo 10 ms later, where the filter does not reach.
	ring = 0.75
	// share of the echo that is left: how fast a smaller one is believed, and a larger one.
	shareFalls, shareRises = 0.2, 1.005
	// over is how much more than the estimate is taken off.
	over = 3.0
	// floor is the least gain in a bin while somebody speaks nearby, quiet while nobody does.
	floor, quiet = 0.1, 0.02
)

// suppressor lowers what the linear stage has left of an echo, and noise, by a gain in each bin.
type suppressor struct {
	fft    *fourier.FFT
	window [size]float64

	past, pastEcho [hop]float64
	tail           [hop]float64 // of the last block, to be added to the next
	e, y           spectrum
	block          [size]float64

	echo    [bins]float64 // |Y|^2, ringing
	smoothE [bins]float64
	smoothY [bins]float64
	share   [bins]float64 // of the echo that is left
	before  [bins]float64 // the gain of 10 ms before, squared, times what was in: what was near
	near    [bands]float64
	unsure  [bins]float64 // of 10 ms before

	gain         [bins]float64
	high         float64 // the gain above 8 kHz
	highE, highY float64
}

func newSuppressor() *suppressor {
	s := &suppressor{fft: fourier.NewFFT(size), high: 1}
	for i := range s.window {
		s.window[i] = math.Sin(math.Pi * (float64(i) + 0.5) / size) // the root of Hann's
	}
	for i := range s.share {
		s.share[i] = 0.1
	}
	return s
}

// process gives what was left 10 ms before, with what is left of the echo lowered.
func (s *suppressor) process(out, left, echo *[hop]float64, unsure *[bins]float64) {
	s.analyse(&s.e, &s.past, left)
	s.analyse(&s.y, &s.pastEcho, echo)
	s.weigh(unsure)
	for i := range s.e {
		s.e[i] *= complex(s.gain[i], 0)
	}
	s.fft.Sequence(s.block[:], s.e[:])
	for i := range hop {
		out[i] = s.tail[i] + s.block[i]*s.window[i]/size
		s.tail[i] = s.block[hop+i] * s.window[hop+i] / size
	}
}

func (s *suppressor) analyse(to *spectrum, past, in *[hop]float64) {
	for i := range hop {
		s.block[i] = past[i] * s.window[i]
		s.block[hop+i] = in[i] * s.window[hop+i]
	}
	*past = *in
	s.fft.Coefficients(to[:], s.block[:])
}

// weigh finds the gains.
func (s *suppressor) weigh(unsure *[bins]float64) {
	const tiny = 1.0
	var e2, rest [bins]float64
	for i, e := range s.e {
		y2 := power(s.y[i])
		e2[i] = power(e)
		s.echo[i] = max(y2, ring*s.echo[i])
		s.smoothE[i] += 0.3 * (e2[i] - s.smoothE[i])
		s.smoothY[i] += 0.3 * (s.echo[i] - s.smoothY[i])
		if s.smoothY[i] > 1000*tiny {
			if now := s.smoothE[i] / s.smoothY[i]; now < s.share[i] {
				s.share[i] += shareFalls * (now - s.share[i])
			} else {
				s.share[i] = min(1, s.share[i]*shareRises)
			}
		}
		rest[i] = s.share[i]*s.echo[i] + 0.25*(unsure[i]+s.unsure[i])
	}
	s.unsure = *unsure
	for b := range bands {
		var e, r float64
		for i := b * bandWidth; i < (b+1)*bandWidth; i++ {
			e += s.smoothE[i]
			r += rest[i]
		}
		p := max(0, min(1, (10*math.Log10((e+tiny)/(r+tiny))-4)/8))
		s.near[b] = max(p, s.near[b]*0.9)
	}
	for i := range s.gain {
		r := over*rest[i] + tiny
		prior := 0.9*s.before[i]/r + 0.1*max(0, e2[i]/r-1)
		g := prior / (1 + prior)
		s.before[i] = g * g * e2[i]
		p := s.near[min(bands-1, i/bandWidth)]
		s.gain[i] = max(floor, g) * (p + (1-p)*quiet)
		if 4*rest[i] < tiny {
			s.gain[i] = 1
		}
	}
	var d, y float64
	for i := highFrom; i < bins; i++ {
		d += power(s.e[i] + s.y[i])
		y += s.echo[i] + rest[i]
	}
	s.highE += 0.4 * (d - s.highE)
	s.highY = max(y, 0.8*s.highY)
	p := max(s.near[bands-1], s.near[bands-2], s.near[bands-3])
	g := max(0, 1-2*s.highY/(s.highE+tiny))
	s.high = g * (p + (1-p)*quiet)
	if y < tiny*bins {
		s.high = 1
	}
}
