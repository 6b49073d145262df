package dsp

import (
	"fmt"
	"math"
	"testing"
	"time"

	"sidetone/audio/audiotest"

	"gonum.org/v1/gonum/dsp/fourier"
)

func sine(hz float64, rate, n int) []int16 {
	out := make([]int16, n)
	for i := range out {
		out[i] = int16(math.Round(16000 * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
	}
	return out
}

// TestToneStays resamples a tone and compares it with the same tone made at the other rate: same pitch, same time.
func TestToneStays(t *testing.T) {
	for _, rate := range []int{8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000, 192000} {
		out, err := Resample(sine(1000, rate, rate), rate, 48000)
		if err != nil {
			t.Fatal(err)
		}
		if len(out) != 48000 {
			t.Errorf("a second at %d Hz became %d samples", rate, len(out))
			continue
		}
		want := sine(1000, 48000, 48000)
		var noise, signal float64
		for i := 480; i < 48000-480; i++ { // the tone's own edges ring
			d := float64(out[i]) - float64(want[i])
			noise += d * d
			signal += float64(want[i]) * float64(want[i])
		}
		if snr := 10 * math.Log10(signal/noise); snr < 50 {
			t.Errorf("from %d Hz: %.1f dB between the tone and the error, want 50", rate, snr)
		}
	}
}

// TestNothingFoldsBack goes down: what the lower rate cannot hold must vanish, not appear elsewhere.
func TestNothingFoldsBack(t *testing.T) {
	out, err := Resample(sine(6000, 48000, 48000), 48000, 8000)
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float64, 7000)
	for i := range x {
		x[i] = float64(out[i+500])
	}
	for i, c := range fourier.NewFFT(len(x)).Coefficients(nil, x) {
		if level := math.Hypot(real(c), imag(c)) / float64(len(x)/2); level > 16 { // 60 dB below
			t.Fatalf("%.0f at %d Hz", level, i*8000/len(x))
		}
	}
}

// TestSpeechComesBack goes down and up again: all is there, nothing moved, to the last sample.
func TestSpeechComesBack(t *testing.T) {
	in := audiotest.Speech(4, 3*time.Second+7*time.Millisecond)
	down, err := Resample(in, 48000, 22050)
	if err != nil {
		t.Fatal(err)
	}
	up, err := Resample(down, 22050, 48000)
	if err != nil {
		t.Fatal(err)
	}
	if d := len(up) - len(in); d < -2 || d > 2 {
		t.Errorf("%d samples became %d", len(in), len(up))
	}
	if lag := audiotest.Align(in, up); lag != 0 {
		t.Errorf("speech moved by %v", lag)
	}
	if err := audiotest.CompareSpeech(in, up).Err(); err != nil {
		t.Error(err)
	}
}

func TestEndIsWhole(t *testing.T) {
	in := make([]int16, 1600)
	in[1590] = 20000 // a click at the very end
	out, err := Resample(in, 16000, 48000)
	if err != nil {
		t.Fatal(err)
	}
	peak, at := int16(0), 0
	for i, v := range out {
		if v > peak {
			peak, at = v, i
		}
	}
	if at < 4769 || at > 4771 || peak < 10000 {
		t.Errorf("the click at 4770 of %d came at %d, %d high", len(out), at, peak)
	}
}

func TestStream(t *testing.T) {
	r, err := NewResampler(48000, 16000)
	if err != nil {
		t.Fatal(err)
	}
	in, out := sine(440, 48000, 960), make([]int16, 400)
	var consumed, written int
	for range 50 {
		c, w := r.Process(in, out)
		consumed, written = consumed+c, written+w
	}
	if consumed != 48000 || written < 15900 || written > 16000 {
		t.Errorf("%d in, %d out", consumed, written)
	}
	if r.Delay() <= 0 {
		t.Errorf("delay %d", r.Delay())
	}
	if allocs := testing.AllocsPerRun(100, func() { r.Process(in, out) }); allocs != 0 {
		t.Errorf("%v allocations a call", allocs)
	}
	r.Close()
	r.Close()
	if c, w := r.Process(in, out); c != 0 || w != 0 {
		t.Errorf("a closed resampler gave %d, %d", c, w)
	}
}

func TestRefusesNonsense(t *testing.T) {
	for _, rates := range [][2]int{{0, 48000}, {-8000, 48000}, {48000, 0}, {1 << 30, 48000}} {
		if _, err := NewResampler(rates[0], rates[1]); err == nil {
			t.Errorf("%v Hz is taken", rates)
		}
	}
	for _, rate := range []int{8000, 48000} {
		if out, err := Resample(nil, rate, 48000); err != nil || len(out) != 0 {
			t.Errorf("nothing at %d Hz became %d samples, %v", rate, len(out), err)
		}
	}
}

func BenchmarkProcess(b *testing.B) {
	for _, rate := range []int{8000, 16000, 44100} {
		b.Run(fmt.Sprint(rate), func(b *testing.B) {
			r, err := NewResampler(48000, rate)
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			in, out := sine(440, 48000, 960), make([]int16, 960)
			b.ReportAllocs()
			for b.Loop() {
				r.Process(in, out)
			}
		})
	}
}
