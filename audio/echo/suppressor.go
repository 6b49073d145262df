package echo

import (
	"math"

	"gonum.org/v1/gonum/dsp/fourier"
)

const (
	bands     = 8                  // in which a near end is looked for
	bandWidth = (bins - 1) / bands // bins: 1 kHz
	highFrom  = 5 * (bins - 1) / 8 // from where on the bins speak for the band above 8 kHz

	// tiny is the power of a bin that is as good as silence.
	tiny = 1.0
	// ring is what is left of an echo 10 ms later, where the filter does not reach.
	ring = 0.75
	// A loudspeaker distorts the more the louder it is: the share of the echo that is left is learnt by its level,
	// in classes of so many dB below the loudest.
	classes, classWidth = 4, 4.0
	// shareFalls and shareRises are how fast a smaller share is believed, and a larger one, which may be a near end.
	shareFalls, shareRises = 0.02, 1.005
	// over is how much more than the estimate is taken off.
	over = 1.5
	// unsureShare is how much of what the filter says that it may have left is believed.
	unsureShare = 0.1
	// floor is the least gain in a bin while somebody speaks nearby, quiet while nobody does.
	floor, quiet = 0.15, 0.02
	// ducking is by how many dB more a near end must stand out while an echo is hardly taken out: the loudspeaker is
	// overdriven, or the path not known yet.
	ducking = 4.0
	// hold is how much of the belief in a near end is left 10 ms later.
	hold = 0.9
	// noiseRises is how fast more noise is believed, in 10 ms, noiseOver how much more there is than in its quietest moments, and noiseFloor is the gain of what is noise alone.
	noiseRises, noiseOver, noiseFloor = 1.005, 3.0, 0.18
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
	share   [classes][bins]float64 // of the echo that is left
	loudest float64                // |Y|^2 in all
	noise   [bins]float64          // |E|^2 while nobody speaks
	before  [bins]float64          // what was near 10 ms before
	near    [bands]float64         // how sure it is that somebody speaks nearby
	unsure  [bins]float64          // of 10 ms before
	dice    uint32

	gain  [bins]float64
	high  float64 // the gain above 8 kHz
	highE float64
	highY float64
}

func newSuppressor() *suppressor {
	s := &suppressor{fft: fourier.NewFFT(size), high: 1, dice: 1}
	for i := range s.window {
		s.window[i] = math.Sin(math.Pi * (float64(i) + 0.5) / size) // the root of Hann's
	}
	for c := range s.share {
		for i := range s.share[c] {
			s.share[c][i] = 0.1
		}
	}
	return s
}

// process gives what was left 10 ms before, with what is left of the echo lowered.
func (s *suppressor) process(out, left, echo *[hop]float64, unsure *[bins]float64) {
	s.analyse(&s.e, &s.past, left)
	s.analyse(&s.y, &s.pastEcho, echo)
	s.weigh(unsure)
	for i := range s.e {
		s.e[i] = complex(s.gain[i], 0)*s.e[i] + s.comfort(i)
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

// comfort is what bin i lacks of the noise that is there when nobody speaks: an echo that goes shall not take it along.
func (s *suppressor) comfort(i int) complex128 {
	lacks := noiseFloor*noiseFloor*s.noise[i] - s.gain[i]*s.gain[i]*power(s.e[i])
	if lacks <= 0 || i == 0 || i == bins-1 {
		return 0
	}
	s.dice = s.dice*1664525 + 1013904223 // Numerical Recipes' generator: any will do
	v := phasors[s.dice>>27]
	a := math.Sqrt(lacks)
	return complex(a*real(v), a*imag(v))
}

// phasors are 32 phases around the circle.
var phasors = func() (p [32]complex128) {
	for i := range p {
		sin, cos := math.Sincos(2 * math.Pi * (float64(i) + 0.5) / 32)
		p[i] = complex(cos, sin)
	}
	return p
}()

// weigh finds the gains.
func (s *suppressor) weigh(unsure *[bins]float64) {
	var e2, rest [bins]float64
	all := 0.0
	for i, y := range s.y {
		s.echo[i] = max(power(y), ring*s.echo[i])
		all += s.echo[i]
	}
	s.loudest = max(all, 0.9995*s.loudest) // 0.2 dB/s
	class := min(classes-1, int(10*math.Log10((s.loudest+tiny)/(all+tiny))/classWidth))
	share := &s.share[class]
	for i, e := range s.e {
		e2[i] = power(e)
		s.smoothE[i] += 0.3 * (e2[i] - s.smoothE[i])
		s.smoothY[i] += 0.3 * (s.echo[i] - s.smoothY[i])
		if s.smoothY[i] > 1000*tiny {
			if now := s.smoothE[i] / s.smoothY[i]; now < share[i] {
				share[i] = max(now, share[i]*(1-shareFalls))
			} else {
				share[i] = min(1, share[i]*shareRises)
			}
		}
		rest[i] = share[i]*s.echo[i] + unsureShare*(unsure[i]+s.unsure[i])
		if s.smoothE[i] < s.noise[i] {
			s.noise[i] = s.smoothE[i]
		} else {
			s.noise[i] = s.noise[i]*noiseRises + 1e-6
		}
	}
	s.unsure = *unsure
	more := s.duck(&rest, all)
	for b := range bands {
		var e, r float64
		for i := b * bandWidth; i < (b+1)*bandWidth; i++ {
			e += s.smoothE[i]
			r += rest[i]
		}
		p := max(0, min(1, (10*math.Log10((e+tiny)/(r+tiny))-3-more)/8))
		s.near[b] = max(p, s.near[b]*hold)
	}
	for i := range s.gain {
		p := s.near[min(bands-1, i/bandWidth)]
		s.gain[i] = 1
		if unwanted := over*rest[i] + noiseOver*s.noise[i]; unwanted > tiny/4 {
			prior := 0.8*s.before[i]/unwanted + 0.2*max(0, e2[i]/unwanted-1)
			g := prior / (1 + prior)
			s.before[i] = g * g * e2[i]
			if rest[i] < s.noise[i] {
				s.gain[i] = max(noiseFloor, g)
			} else {
				s.gain[i] = max(floor, g) * (p + (1-p)*quiet)
			}
		}
	}
	s.weighHigh(&rest)
}

// duck is by how many dB more a near end must stand out, from -25 dB on of what is left of an echo, all in full from -15 dB on.
func (s *suppressor) duck(rest *[bins]float64, echo float64) float64 {
	if echo < 1000*tiny*bins {
		return 0
	}
	left := 0.0
	for _, r := range rest {
		left += r
	}
	return ducking * max(0, min(1, (10*math.Log10(left/echo)+25)/10))
}

// weighHigh finds the gain above 8 kHz, where nothing was taken out, from what the echo's share was below.
func (s *suppressor) weighHigh(rest *[bins]float64) {
	var d, y float64
	for i := highFrom; i < bins; i++ {
		d += power(s.e[i] + s.y[i])
		y += s.echo[i] + rest[i]
	}
	s.highE += 0.4 * (d - s.highE)
	s.highY = max(y, 0.8*s.highY)
	s.high = 1
	if y > tiny*bins {
		p := max(s.near[bands-1], s.near[bands-2], s.near[bands-3])
		s.high = max(0, 1-2*s.highY/(s.highE+tiny)) * (p + (1-p)*quiet)
	}
}
