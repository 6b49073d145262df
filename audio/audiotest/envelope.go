package audiotest

import (
	"math"
	"math/cmplx"

	"sidetone/audio"

	"gonum.org/v1/gonum/dsp/fourier"
	"gonum.org/v1/gonum/stat"
)

const (
	// Bands is the number of bands that speech is compared in.
	Bands = 8
	// EnvelopeRate is the number of points a second in an envelope.
	EnvelopeRate = 1000

	bandsFrom, bandsTo = 100.0, 7000.0 // Hz
	smoothing          = 25            // points: about a syllable's attack, and more than Opus moves sound in time
)

// BandEdges gives the borders of the bands in Hz: Bands+1 of them, from 100 to 7000, evenly spaced in pitch.
func BandEdges() [Bands + 1]float64 {
	var e [Bands + 1]float64
	for i := range e {
		e[i] = bandsFrom * math.Pow(bandsTo/bandsFrom, float64(i)/Bands)
	}
	return e
}

// BandEnvelopes gives the loudness over time in each band: EnvelopeRate points a second, smoothed over 25 ms, in units of
// a sample. Bands are cut out of the spectrum of the whole, so that they do not overlap.
func BandEnvelopes(pcm []int16) [Bands][]float64 {
	spectrum, seconds := analyse(pcm)
	edges := BandEdges()
	var out [Bands][]float64
	for b := range out {
		out[b] = spectrum.envelope(seconds, edges[b], edges[b+1])[:len(pcm)*EnvelopeRate/audio.SampleRate]
	}
	return out
}

// envelope is BandEnvelopes for all bands as one.
func envelope(pcm []int16) []float64 {
	spectrum, seconds := analyse(pcm)
	return spectrum.envelope(seconds, bandsFrom, bandsTo)[:len(pcm)*EnvelopeRate/audio.SampleRate]
}

// halfSpectrum is one side of a spectrum; bin i is of i/seconds Hz.
type halfSpectrum []complex128

// analyse transforms pcm, made a whole number of seconds long by silence.
func analyse(pcm []int16) (halfSpectrum, int) {
	seconds := len(pcm)/audio.SampleRate + 1
	x := make([]float64, seconds*audio.SampleRate)
	for i, v := range pcm {
		x[i] = float64(v)
	}
	return fourier.NewFFT(len(x)).Coefficients(nil, x), seconds
}

// envelope is the length of the analytic signal of what lies between two frequencies.
func (h halfSpectrum) envelope(seconds int, from, to float64) []float64 {
	// Moved down to zero the band has the same envelope, and its width is all the rate that it needs.
	step := int(math.Ceil((to - from) / EnvelopeRate))
	band := make([]complex128, seconds*EnvelopeRate*step)
	copy(band, h[int(from*float64(seconds)):int(to*float64(seconds))])
	band = fourier.NewCmplxFFT(len(band)).Sequence(band, band)
	env := make([]float64, len(band)/step)
	scale := 2 / float64((len(h)-1)*2) / float64(step)
	for i := range env {
		for _, v := range band[i*step : (i+1)*step] {
			env[i] += cmplx.Abs(v) * scale
		}
	}
	return smooth(env, smoothing)
}

// smooth is a moving mean over n points, twice, so that it has no corners; centred, so that it moves nothing.
func smooth(x []float64, n int) []float64 {
	for range 2 {
		y := make([]float64, len(x))
		sum, half := 0.0, n/2
		for i := -half; i < len(x); i++ {
			if j := i + half; j < len(x) {
				sum += x[j]
			}
			if j := i - half - 1; j >= 0 {
				sum -= x[j]
			}
			if i >= 0 {
				y[i] = max(sum, 0) / float64(2*half+1)
			}
		}
		x = y
	}
	return x
}

// Correlation is Pearson's, of two envelopes that are aligned: 1 is the same shape, 0 nothing in common. What one has
// and the other lacks at the end is left out.
func Correlation(a, b []float64) float64 {
	n := min(len(a), len(b))
	if n < 2 {
		return 0
	}
	if r := stat.Correlation(a[:n], b[:n], nil); !math.IsNaN(r) {
		return r
	}
	return 0 // one of them is constant: silence
}

// lag finds by how many points b must be moved to the left to lie best on a: the peak of their cross-correlation.
func lag(a, b []float64) int {
	n := 1
	for n < len(a)+len(b) {
		n *= 2
	}
	fft := fourier.NewFFT(n)
	transform := func(x []float64) []complex128 {
		p := make([]float64, n)
		mean := stat.Mean(x, nil)
		for i, v := range x {
			p[i] = v - mean
		}
		return fft.Coefficients(nil, p)
	}
	fa, fb := transform(a), transform(b)
	for i := range fb {
		fb[i] *= cmplx.Conj(fa[i])
	}
	best, at := math.Inf(-1), 0
	for i, v := range fft.Sequence(nil, fb) {
		if v > best {
			best, at = v, i
		}
	}
	if at >= len(b) {
		at -= n // b comes earlier than a
	}
	return at
}
