package audiotest

import (
	"math"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sidetone/audio"

	"gonum.org/v1/gonum/dsp/fourier"
)

const second = audio.SampleRate

// delayed is what a good path does: pcm later and quieter.
func delayed(pcm []int16, samples int, gain float64) []int16 {
	out := make([]int16, samples, samples+len(pcm))
	for _, v := range pcm {
		out = append(out, int16(float64(v)*gain))
	}
	return out
}

// without takes a band out of pcm.
func without(pcm []int16, from, to float64) []int16 {
	x := make([]float64, len(pcm))
	for i, v := range pcm {
		x[i] = float64(v)
	}
	fft := fourier.NewFFT(len(x))
	c := fft.Coefficients(nil, x)
	for i := range c {
		if hz := float64(i) * second / float64(len(x)); hz > from && hz < to {
			c[i] = 0
		}
	}
	out := make([]int16, len(pcm))
	for i, v := range fft.Sequence(nil, c) {
		out[i] = int16(v / float64(len(x)))
	}
	return out
}

func TestSameSpeechPasses(t *testing.T) {
	in := Speech(1, 5*time.Second)
	for name, out := range map[string][]int16{
		"itself":       in,
		"delayed":      delayed(in, 137*second/1000, 0.7),
		"long after":   delayed(in, 3*second, 1.5),
		"cut at front": in[80*second/1000:],
		"cut at end":   in[:4*second],
	} {
		r := CompareSpeech(in, out)
		if err := r.Err(); err != nil {
			t.Errorf("%s: %v\n%v", name, err, r)
		}
	}
	if lag := Align(in, delayed(in, 137*second/1000, 1)); lag != 137*time.Millisecond {
		t.Errorf("lag is %v, want 137ms", lag)
	}
	if lag := Align(in, in[80*second/1000:]); lag != -80*time.Millisecond {
		t.Errorf("lag is %v, want -80ms", lag)
	}
}

func TestOtherSoundFails(t *testing.T) {
	in := Speech(1, 5*time.Second)
	good := delayed(in, second/10, 1)
	edges := BandEdges()

	hole := slices.Clone(good)
	at := loudest(hole)
	clear(hole[at : at+40*second/1000])

	tests := map[string][]int16{
		"a hole of 40 ms": hole,
		"nothing":         {},
		"silence":         make([]int16, len(in)),
		"another speech":  Speech(2, 5*time.Second),
		"10 dB down":      delayed(in, second/10, 0.3),
	}
	for b := range Bands {
		tests[time.Duration(b).String()[:1]+" band missing"] = without(good, edges[b], edges[b+1])
	}
	for name, out := range tests {
		if r := CompareSpeech(in, out); r.Err() == nil {
			t.Errorf("%s passes: %v", name, r)
		}
		if r := CompareMoved(in, out); r.Err() == nil {
			t.Errorf("%s passes where sound may move: %v", name, r)
		}
	}
	if r := CompareSpeech(in, hole); len(r.Gaps) != 1 || r.Gaps[0].Duration < 37*time.Millisecond || r.Gaps[0].Duration > 50*time.Millisecond {
		t.Errorf("the hole of 40 ms is reported as %v", r.Gaps)
	}
}

// What a playout buffer moves is the same speech, but for CompareSpeech. What it leaves out is not.
func TestMovedSpeechPasses(t *testing.T) {
	in := Speech(1, 10*time.Second)
	const ms = second / 1000
	insert := func(pcm []int16, at, n int) []int16 { return slices.Insert(slices.Clone(pcm), at, make([]int16, n)...) }
	quiet := func(from int) int { // where nobody notices
		best, at := math.Inf(1), from
		for i := from; i < from+second; i += second / 100 {
			if l := Level(in[i : i+second/20]); l < best {
				best, at = l, i
			}
		}
		return at
	}
	later := insert(delayed(in, 47*ms, 0.7), quiet(4*second)+47*ms, 40*ms)
	earlier := slices.Delete(slices.Clone(in), quiet(6*second), quiet(6*second)+30*ms)
	slower := stretched(in, 3*second, 80*ms)
	for name, out := range map[string][]int16{"later": later, "earlier": earlier, "later by and by": slower, "not moved": delayed(in, 47*ms, 1)} {
		r := CompareMoved(in, out)
		if err := r.Err(); err != nil || (r.Moved < 20*time.Millisecond) != (name == "not moved") {
			t.Errorf("%s: %v\n%v", name, err, r)
		}
		if r := CompareSpeech(in, out); (r.Err() == nil) != (name == "not moved") {
			t.Errorf("%s: CompareSpeech says %v", name, r)
		}
	}
	for name, n := range map[string]int{"an eighth of a second": 125 * ms, "half a second": second / 2} {
		if r := CompareMoved(in, slices.Delete(slices.Clone(in), 5*second, 5*second+n)); r.Err() == nil {
			t.Errorf("%s is missing: %v", name, r)
		}
	}
}

// stretched says in longer by n samples, from a sample on, 5 ms of 100 twice.
func stretched(in []int16, from, n int) (out []int16) {
	const ms = second / 1000
	out = slices.Clone(in[:from])
	for ; n > 0; n -= 5 * ms {
		out = append(out, in[from:from+100*ms]...)
		from += 95 * ms
	}
	return append(out, in[from+5*ms:]...)
}

// loudest finds a tenth of a second that is loud throughout.
func loudest(pcm []int16) int {
	best, at := math.Inf(-1), 0
	for i := second; i+second/10 < len(pcm); i += second / 100 {
		weakest := math.Inf(1)
		for j := i; j < i+second/10; j += second / 100 {
			weakest = min(weakest, Level(pcm[j:j+second/100]))
		}
		if weakest > best {
			best, at = weakest, i
		}
	}
	return at
}

func TestSmallGapsPass(t *testing.T) {
	in := Speech(3, 4*time.Second)
	out := slices.Clone(in)
	at := loudest(out)
	clear(out[at : at+15*second/1000])
	if gaps := Gaps(in, out); gaps != nil {
		t.Errorf("15 ms count as %v", gaps)
	}
	clear(out[at : at+25*second/1000])
	if gaps := Gaps(in, out); len(gaps) != 1 {
		t.Errorf("25 ms count as %v", gaps)
	}
}

func sine(hz, level float64, n int) []int16 {
	out := make([]int16, n)
	for i := range out {
		out[i] = int16(math.Round(math.MaxInt16 * math.Pow(10, level/20) * math.Sin(2*math.Pi*hz*float64(i)/second)))
	}
	return out
}

func mix(a, b []int16) []int16 {
	for i := range a {
		a[i] += b[i]
	}
	return a
}

func TestTones(t *testing.T) {
	got := Tones(mix(sine(697, -20, second), sine(1209, -14, second)))
	if len(got) != 2 {
		t.Fatalf("found %v", got)
	}
	for i, want := range []Tone{{1209, -14}, {697, -20}} {
		if math.Abs(got[i].Hz-want.Hz) > 1 || math.Abs(got[i].Level-want.Level) > 0.5 {
			t.Errorf("found %v, want %v", got[i], want)
		}
	}
	if got := Tones(make([]int16, second)); len(got) != 0 {
		t.Errorf("silence has the tones %v", got)
	}
	if !HasTone(sine(1000, -30, second/10), 1000) || HasTone(sine(1000, -30, second), 1050) {
		t.Error("HasTone does not tell 1000 Hz")
	}
}

func TestDigits(t *testing.T) {
	var pcm []int16
	rest := make([]int16, second/10)
	for _, hz := range [][2]float64{{697, 1209}, {697, 1209}, {941, 1477}, {852, 1633}} {
		pcm = append(pcm, rest...)
		pcm = append(pcm, mix(sine(hz[0], -18, second/10), sine(hz[1], -18, second/10))...)
	}
	if got := Digits(append(pcm, rest...)); got != "11#C" {
		t.Errorf("heard %q, want 11#C", got)
	}
	if got := Digits(Speech(1, 20*time.Second)); got != "" {
		t.Errorf("speech has the digits %q", got)
	}
}

func TestWAV(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.wav")
	in := Speech(1, time.Second)
	if err := WriteWAV(path, in, second); err != nil {
		t.Fatal(err)
	}
	out, rate, err := ReadWAV(path)
	if err != nil || rate != second || !slices.Equal(in, out) {
		t.Errorf("read %d samples at %d Hz, %v", len(out), rate, err)
	}
	if _, _, err := ReadWAV("audiotest_test.go"); err == nil {
		t.Error("a Go file passed for WAV")
	}
}
