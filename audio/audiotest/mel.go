package audiotest

import (
	"math"

	"sidetone/audio"

	"gonum.org/v1/gonum/dsp/fourier"
	"gonum.org/v1/gonum/dsp/window"
)

const (
	melBands       = 32
	melFrom, melTo = 80.0, 7500.0 // Hz
	melRate        = audio.SampleRate / melStep
	melStep        = 3
	melWindow      = melRate / 40
	// melNarrowest is half the width, in Hz, that a band has at least, so that the lowest hold a bin of the spectrum.
	melNarrowest = 45
)

// melFrame is the level in each band, in dB over one unit of a sample squared.
type melFrame [melBands]float64

// melSpectrogram gives the levels over 25 ms, every hop samples of melRate.
func melSpectrogram(pcm []int16, hop int) []melFrame {
	const bin = float64(melRate) / melWindow // Hz
	mel := func(hz float64) float64 { return 2595 * math.Log10(1+hz/700) }
	edge := func(i int) float64 {
		m := mel(melFrom) + (mel(melTo)-mel(melFrom))*float64(i)/(melBands+1)
		return 700 * (math.Pow(10, m/2595) - 1)
	}
	var bands [melBands]struct {
		first   int
		weights []float64
	}
	for b := range bands {
		middle := edge(b + 1)
		low, high := min(edge(b), middle-melNarrowest), max(edge(b+2), middle+melNarrowest)
		first := int(low/bin) + 1
		bands[b].first = first
		for i := first; float64(i)*bin < high; i++ {
			hz := float64(i) * bin
			bands[b].weights = append(bands[b].weights, min((hz-low)/(middle-low), (high-hz)/(high-middle)))
		}
	}

	fft := fourier.NewFFT(melWindow)
	hann := window.NewValues(window.Hann, melWindow)
	x := make([]float64, melWindow)
	var spectrum []complex128
	low := decimate(pcm)
	frames := make([]melFrame, 0, len(low)/hop+1)
	for at := 0; at+melWindow <= len(low); at += hop {
		copy(x, low[at:])
		spectrum = fft.Coefficients(spectrum, hann.Transform(x))
		var f melFrame
		for b, band := range bands {
			power := 1.0
			for i, w := range band.weights {
				c := spectrum[band.first+i]
				power += w * (real(c)*real(c) + imag(c)*imag(c))
			}
			f[b] = 10 * math.Log10(power)
		}
		frames = append(frames, f)
	}
	return frames
}

// decimate gives pcm at melRate: a windowed sinc, flat to melTo and centred, so that it moves nothing.
func decimate(pcm []int16) []float64 {
	const half = 72
	taps := make([]float64, 2*half+1)
	for i := range taps {
		taps[i] = 1.0 / melStep
		if t := float64(i-half) / melStep; t != 0 {
			taps[i] *= math.Sin(math.Pi*t) / (math.Pi * t)
		}
	}
	window.Hann(taps)
	out := make([]float64, len(pcm)/melStep)
	for i := range out {
		at := i*melStep - half
		for j := max(0, -at); j < len(taps) && at+j < len(pcm); j++ {
			out[i] += taps[j] * float64(pcm[at+j])
		}
	}
	return out
}
