// Package fir designs the filters that resampling needs.
package fir

import "math"

// Tap gives the impulse response of a low-pass at x samples from its middle, out of proportion: a sinc under Kaiser's
// window, which ends at half samples. The cutoff is a share of half the sample rate; beta is the window's shape: 5.65 for
// 60 dB, 8 for 80. To be divided by the sum of all taps.
func Tap(x, half, cutoff, beta float64) float64 {
	r := x / half
	return sinc(cutoff*x) * bessel(beta*math.Sqrt(max(0, 1-r*r)))
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// bessel is I0, the modified Bessel function of the first kind.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > 1e-12*sum; k++ {
		term *= x * x / (4 * k * k)
		sum += term
	}
	return sum
}
