package dsp

import (
	"math"
	"testing"
)

// TestAsyncKeepsSound moves tones by as much as two cards may differ, with a change on the way: what comes out is the tone
// of the new rate, and nothing else.
func TestAsyncKeepsSound(t *testing.T) {
	for _, ppm := range []float64{-500, -100, 0, 100, 500} {
		for _, hz := range []float64{300, 3400, 12000} {
			var async Async
			async.SetRate(ppm)
			in, out := make([]int16, 960), make([]int16, 970)
			var all []float64
			for frame := range 200 {
				for i := range in {
					in[i] = int16(math.Round(16000 * math.Sin(2*math.Pi*hz*float64(frame*len(in)+i)/48000)))
				}
				for _, v := range out[:async.Process(in, out)] {
					all = append(all, float64(v))
				}
			}
			if got, want := float64(len(all)), 200*960*(1+ppm/1e6); math.Abs(got-want) > 1.5 {
				t.Errorf("%v ppm: %v samples, want %v", ppm, got, want)
			}
			all = all[4800:]
			w := 2 * math.Pi * hz / 48000 / (1 + ppm/1e6)
			var ss, sc, cc, vs, vc, rest float64 // the tone that fits best, by least squares
			for i, v := range all {
				s, c := math.Sincos(w * float64(i))
				ss, sc, cc, vs, vc = ss+s*s, sc+s*c, cc+c*c, vs+v*s, vc+v*c
			}
			d := ss*cc - sc*sc
			a, b := (vs*cc-vc*sc)/d, (vc*ss-vs*sc)/d
			for i, v := range all {
				s, c := math.Sincos(w * float64(i))
				rest += (v - a*s - b*c) * (v - a*s - b*c)
			}
			rest /= float64(len(all))
			if snr := 10 * math.Log10((a*a+b*b)/2/rest); snr < 60 {
				t.Errorf("%v ppm, %v Hz: the tone is %.1f dB above the rest", ppm, hz, snr)
			}
			if level := 20 * math.Log10(math.Hypot(a, b)/16000); math.Abs(level) > 0.1 {
				t.Errorf("%v ppm, %v Hz: %.2f dB", ppm, hz, level)
			}
		}
	}
}

// TestAsyncChangesWithoutAClick lets the rate move at its fastest.
func TestAsyncChangesWithoutAClick(t *testing.T) {
	var a Async
	in, out := make([]int16, 960), make([]int16, 970)
	last, slope := 0.0, 0.0
	for frame := range 500 {
		for i := range in {
			in[i] = int16(math.Round(16000 * math.Sin(2*math.Pi*300*float64(frame*len(in)+i)/48000)))
		}
		a.SetRate(500 * math.Sin(float64(frame)))
		for i, v := range out[:a.Process(in, out)] {
			now := float64(v) - last
			if bend := math.Abs(now - slope); frame > 0 && bend > 30 { // the sine itself bends by 25
				t.Fatalf("a click of %.0f in frame %d at %d", bend, frame, i)
			}
			last, slope = float64(v), now
		}
	}
}

func BenchmarkAsync(b *testing.B) {
	b.ReportAllocs()
	var a Async
	a.SetRate(123)
	in, out := make([]int16, 960), make([]int16, 970)
	for b.Loop() {
		a.Process(in, out)
	}
}
