package fir

import (
	"math"
	"testing"
)

// Filters let through what is below the cutoff, and lower what is above it by what the window's shape promises.
func TestTapsMakeALowPass(t *testing.T) {
	for _, tt := range []struct{ beta, decibels float64 }{{5.65, 58}, {8, 78}} {
		const taps, cutoff = 127, 0.5
		var h [taps]float64
		sum := 0.0
		for i := range h {
			h[i] = Tap(float64(i)-(taps-1)/2, taps/2.0, cutoff, tt.beta)
			sum += h[i]
		}
		for share := 0.0; share <= 1; share += 0.005 { // of half the sample rate
			var re, im float64
			for i, v := range h {
				re += v / sum * math.Cos(math.Pi*share*float64(i))
				im += v / sum * math.Sin(math.Pi*share*float64(i))
			}
			switch level := 20 * math.Log10(math.Hypot(re, im)); {
			case share < cutoff-0.05 && math.Abs(level) > 0.05:
				t.Errorf("beta %v: %.2f dB at %.2f, want all", tt.beta, level, share)
			case share > cutoff+0.05 && level > -tt.decibels:
				t.Errorf("beta %v: %.1f dB at %.2f, want -%v", tt.beta, level, share, tt.decibels)
			}
		}
	}
}
