package tone

import (
	"math"
	"testing"
	"time"

	"sidetone/audio"
)

// pull plays d of s.
func pull(s audio.Source, d time.Duration) []int16 {
	var out []int16
	var f audio.Frame
	for t := time.Duration(0); t < d; t += audio.FrameDuration {
		s.PullFrame(&f)
		out = append(out, f[:]...)
	}
	return out
}

// amplitude of hz in pcm, 1 being full scale (Goertzel).
func amplitude(pcm []int16, hz float64) float64 {
	c := 2 * math.Cos(2*math.Pi*hz/audio.SampleRate)
	var s1, s2 float64
	for _, v := range pcm {
		s1, s2 = float64(v)+c*s1-s2, s1
	}
	return 2 * math.Sqrt(s1*s1+s2*s2-c*s1*s2) / float64(len(pcm)) / math.MaxInt16
}

func dB(ratio float64) float64 { return 20 * math.Log10(ratio) }

func TestSineHasItsLevelAndKeepsIt(t *testing.T) {
	g := Sine(1000, -12)
	pull(g, time.Second)
	for _, after := range []time.Duration{time.Second, time.Minute} {
		if got := dB(amplitude(pull(g, time.Second), 1000)); math.Abs(got+12) > 0.05 {
			t.Errorf("level is %.2f dBFS, want -12", got)
		}
		pull(g, after)
	}
}

func TestNoClicks(t *testing.T) {
	digits, err := DTMF("147*0D", 60*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]*Generator{"ring": Ring(), "error": Error(), "dtmf": digits, "sine": Sine(440, Level)}
	for _, c := range Countries() {
		sources["ringback "+c], sources["busy "+c], sources["congestion "+c] = Ringback(c), Busy(c), Congestion(c)
	}
	// The steepest thing in any of them is a sine of 1800 Hz, or two in sum.
	limit := int(2 * math.Pi * 1800 / audio.SampleRate * math.MaxInt16 * math.Pow(10, (Level+6)/20) * 1.1)
	for name, g := range sources {
		last := int16(0)
		for i, v := range pull(g, 7*time.Second) {
			if step := int(v) - int(last); step > limit || step < -limit {
				t.Fatalf("%s: a step of %d at %.3f s, at most %d is sound", name, step, float64(i)/audio.SampleRate, limit)
			}
			last = v
		}
	}
}

func TestRingbackCadence(t *testing.T) {
	tests := map[string]struct {
		on    []float64 // seconds, from and to
		off   []float64
		freqs []float64
	}{
		"us": {[]float64{0, 2}, []float64{2, 6}, []float64{440, 480}},
		"uk": {[]float64{0.6, 1}, []float64{1, 3}, []float64{400, 450}},
		"de": {[]float64{0, 1}, []float64{1, 5}, []float64{425}},
		"fr": {[]float64{0, 1.5}, []float64{1.5, 5}, []float64{440}},
		"it": {[]float64{0, 1}, []float64{1, 5}, []float64{425}},
		"es": {[]float64{0, 1.5}, []float64{1.5, 4.5}, []float64{425}},
		"au": {[]float64{0.6, 1}, []float64{1, 3}, []float64{400, 450}},
		"xx": {[]float64{0, 2}, []float64{2, 6}, []float64{440, 480}},
	}
	for country, want := range tests {
		pcm := pull(Ringback(country), 7*time.Second)
		at := func(s []float64) []int16 { return pcm[int(s[0]*audio.SampleRate):int(s[1]*audio.SampleRate)] }
		for _, hz := range want.freqs {
			if got := dB(amplitude(at(want.on), hz)); got < Level-7 {
				t.Errorf("%s: %g Hz is at %.1f dBFS", country, hz, got)
			}
		}
		for i, v := range at(want.off) {
			if v != 0 {
				t.Errorf("%s: sound %.3f s into the pause", country, float64(i)/audio.SampleRate)
				break
			}
		}
	}
}

func TestDTMF(t *testing.T) {
	const each = 100 * time.Millisecond
	for _, digit := range keypad {
		g, err := DTMF(string(digit), each)
		if err != nil {
			t.Fatal(err)
		}
		pcm := pull(g, each)
		row, column, _ := DTMFFrequencies(digit)
		for _, hz := range append(dtmfRows[:], dtmfColumns[:]...) {
			level := dB(amplitude(pcm, hz))
			if wanted := hz == row || hz == column; wanted != (level > -25) {
				t.Errorf("digit %c: %g Hz at %.1f dBFS", digit, hz, level)
			}
		}
		pull(g, each)
		if !g.Done() {
			t.Errorf("digit %c does not end", digit)
		}
		for _, v := range pull(g, each) {
			if v != 0 {
				t.Fatalf("digit %c: sound after the end", digit)
			}
		}
	}
	if _, err := DTMF("12x", each); err == nil {
		t.Error("x passed for a digit")
	}
}

func TestNoAllocation(t *testing.T) {
	g := Ring()
	var f audio.Frame
	if n := testing.AllocsPerRun(1000, func() { g.PullFrame(&f) }); n != 0 {
		t.Errorf("%g allocations for a frame", n)
	}
}

func BenchmarkRingback(b *testing.B) {
	b.ReportAllocs()
	g := Ringback("us")
	var f audio.Frame
	for b.Loop() {
		g.PullFrame(&f)
	}
}
