package stretch

import (
	"math"
	"testing"

	"sidetone/audio/audiotest"
)

func tone(n int, hz float64) []int16 {
	pcm := make([]int16, n, n+2*960)
	for i := range pcm {
		pcm[i] = int16(8000 * math.Sin(2*math.Pi*hz*float64(i)/48000))
	}
	return pcm
}

// worst is the largest step between two samples.
func worst(pcm []int16) (step int) {
	for i := range pcm[1:] {
		step = max(step, int(pcm[i+1])-int(pcm[i]), int(pcm[i])-int(pcm[i+1]))
	}
	return step
}

// A voice keeps its pitch and has no click, whatever is done to it.
func TestPeriodsOfATone(t *testing.T) {
	var s Stretcher
	for _, hz := range []float64{80, 120, 233, 390} {
		in := tone(960, hz)
		limit := worst(in) + 10
		period := 48000 / hz
		for _, hurry := range []bool{false, true} {
			long := append([]int16(nil), in...)
			long = append(long, make([]int16, 960)...)
			n := s.Lengthen(long, 960, 960, hurry)
			if by := float64(n - 960); by == 0 || math.Abs(by/period-math.Round(by/period)) > 0.05 {
				t.Errorf("%v Hz: longer by %v samples, %.2f periods", hz, by, by/period)
			}
			if w := worst(long[:n]); w > limit {
				t.Errorf("%v Hz, longer: a step of %d, want %d at most", hz, w, limit)
			}
			short := append([]int16(nil), in...)
			n = s.Shorten(short, 960, 960, hurry)
			if by := float64(960 - n); by == 0 || math.Abs(by/period-math.Round(by/period)) > 0.05 {
				t.Errorf("%v Hz: shorter by %v samples, %.2f periods", hz, by, by/period)
			}
			if w := worst(short[:n]); w > limit {
				t.Errorf("%v Hz, shorter: a step of %d, want %d at most", hz, w, limit)
			}
		}
	}
}

func TestBounds(t *testing.T) {
	var s Stretcher
	pcm := append(tone(960, 200), make([]int16, 5000)...)
	for _, most := range []int{-1, 0, 1, 119, 120, 200, 719, 960, 5000} {
		for _, n := range []int{0, 1, 240, 479, 480, 481, 960} {
			p := append([]int16(nil), pcm...)
			if m := s.Lengthen(p, n, most, true); m < n || m > n+max(most, 0) {
				t.Errorf("%d samples, at most %d longer: %d", n, most, m)
			}
			if m := s.Shorten(p, n, most, true); m > n || m < n-max(most, 0) {
				t.Errorf("%d samples, at most %d shorter: %d", n, most, m)
			}
		}
	}
}

// In speech most frames can be changed, and noise is left alone unless it must be.
func TestShareOfSpeech(t *testing.T) {
	speech, _, err := audiotest.ReadWAV("../audiotest/testdata/speech.wav")
	if err != nil {
		t.Fatal(err)
	}
	var s Stretcher
	buf := make([]int16, 2000)
	for _, hurry := range []bool{false, true} {
		frames, longer, shorter, added, removed := 0, 0, 0, 0, 0
		for in := speech; len(in) >= 960; in = in[960:] {
			frames++
			copy(buf, in[:960])
			if n := s.Lengthen(buf, 960, 960, hurry); n > 960 {
				longer++
				added += n - 960
			}
			copy(buf, in[:960])
			if n := s.Shorten(buf, 960, 960, hurry); n < 960 {
				shorter++
				removed += 960 - n
			}
		}
		t.Logf("hurry %v: %d frames, %d longer by %d on average, %d shorter by %d", hurry, frames,
			longer, added/max(longer, 1), shorter, removed/max(shorter, 1))
		if longer*2 < frames || shorter*2 < frames {
			t.Errorf("hurry %v: of %d frames only %d can be longer and %d shorter", hurry, frames, longer, shorter)
		}
	}
}

func BenchmarkLengthen(b *testing.B) {
	b.ReportAllocs()
	var s Stretcher
	in := tone(960, 150)
	buf := make([]int16, 2000)
	for b.Loop() {
		copy(buf, in)
		s.Lengthen(buf, 960, 960, true)
	}
}
