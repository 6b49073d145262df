package audiotest

import (
	"math"
	"math/rand/v2"
	"time"

	"sidetone/audio"
)

// Speech makes d of something that is to a codec and a buffer what speech is: voiced sounds with moving pitch and
// formants, hisses, words of a few syllables and pauses between them. The same seed gives the same sound.
func Speech(seed uint64, d time.Duration) []int16 {
	t := talker{rng: rand.New(rand.NewPCG(seed, 0)), pitch: 90 + 20*float64(seed%5)}
	n := int(d * audio.SampleRate / time.Second)
	x := make([]float64, 0, n+audio.SampleRate)
	for len(x) < n {
		for range 2 + t.rng.IntN(6) { // a word
			x = t.syllable(x)
		}
		pause := 0.05 + 0.1*t.rng.Float64()
		if t.rng.IntN(4) == 0 {
			pause += 0.4 // the end of a phrase
		}
		x = append(x, make([]float64, int(pause*audio.SampleRate))...)
	}
	x = x[:n]
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	gain := 0.08 / math.Sqrt(sum/float64(n)+1e-12) // -19 dBFS in the mean, as telephones speak
	pcm := make([]int16, n)
	for i, v := range x {
		pcm[i] = int16(math.MaxInt16 * math.Tanh(v*gain))
	}
	return pcm
}

// talker is a source and a filter.
type talker struct {
	rng      *rand.Rand
	pitch    float64 // Hz
	phase    float64
	formants [4]resonator
}

// vowels by their first four formants in Hz.
var vowels = [][4]float64{
	{730, 1090, 2440, 3400}, {270, 2290, 3010, 3700}, {300, 870, 2240, 3300},
	{530, 1840, 2480, 3500}, {570, 840, 2410, 3300}, {660, 1720, 2410, 3600},
}

// syllable adds a hiss or a closure, and a vowel that glides to another.
func (t *talker) syllable(x []float64) []float64 {
	if t.rng.IntN(2) == 0 {
		n := (30 + t.rng.IntN(70)) * audio.SampleRate / 1000
		hiss := newResonator(2500+4000*t.rng.Float64(), 2000)
		loud := 0.3 + 0.5*t.rng.Float64()
		for i := range n {
			shape := math.Sin(math.Pi * float64(i) / float64(n))
			x = append(x, loud*shape*hiss.next(t.rng.NormFloat64()))
		}
	} else {
		x = append(x, make([]float64, (15+t.rng.IntN(30))*audio.SampleRate/1000)...)
	}
	n := (70 + t.rng.IntN(160)) * audio.SampleRate / 1000
	from, to := vowels[t.rng.IntN(len(vowels))], vowels[t.rng.IntN(len(vowels))]
	start, end := t.pitch*(0.9+0.4*t.rng.Float64()), t.pitch*(0.8+0.4*t.rng.Float64())
	for i := range n {
		at := float64(i) / float64(n)
		if i%96 == 0 {
			for j := range t.formants {
				hz := from[j] + (to[j]-from[j])*at
				t.formants[j].tune(hz, 60+hz/20)
			}
		}
		t.phase += (start + (end-start)*at) / audio.SampleRate
		pulse := 0.02 * t.rng.NormFloat64() // breath
		if t.phase >= 1 {
			t.phase--
			pulse++
		}
		v := 0.0
		for j := range t.formants {
			v += t.formants[j].next(pulse) / float64(1+j)
		}
		shape := min(1, 12*at, 6*(1-at))
		x = append(x, 8*shape*v)
	}
	return x
}

// resonator is a filter of two poles with a gain of about 1 in the middle of its noise band.
type resonator struct{ gain, a1, a2, y1, y2 float64 }

func newResonator(hz, width float64) *resonator {
	r := new(resonator)
	r.tune(hz, width)
	return r
}

func (r *resonator) tune(hz, width float64) {
	radius := math.Exp(-math.Pi * width / audio.SampleRate)
	r.a1, r.a2 = 2*radius*math.Cos(2*math.Pi*hz/audio.SampleRate), -radius*radius
	r.gain = math.Sqrt(1 - radius)
}

func (r *resonator) next(x float64) float64 {
	y := r.gain*x + r.a1*r.y1 + r.a2*r.y2
	r.y1, r.y2 = y, r.y1
	return y
}
