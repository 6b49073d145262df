package dsp

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"
)

// room is what a loudspeaker's sound is at the microphone: 30 ms later, half as strong, with a tail of 100 ms.
type room struct {
	taps []tap
	past []float64
}

type tap struct {
	delay int // samples
	gain  float64
}

func newRoom() *room {
	const direct, end = 30 * audio.SampleRate / 1000, 130 * audio.SampleRate / 1000
	rng := rand.New(rand.NewPCG(7, 7))
	r := &room{taps: []tap{{direct, 0.5}}, past: make([]float64, end)}
	for i := direct + 1; i < end; i += 1 + rng.IntN(60) {
		r.taps = append(r.taps, tap{i, 0.2 * rng.NormFloat64() * math.Exp(-float64(i-direct)/(0.02*audio.SampleRate))})
	}
	return r
}

// echo gives what the microphone hears of a frame.
func (r *room) echo(f *audio.Frame) (out audio.Frame) {
	for _, v := range f {
		r.past = append(r.past, float64(v))
	}
	from := len(r.past) - len(f)
	for i := range out {
		v := 0.0
		for _, t := range r.taps {
			v += t.gain * r.past[from+i-t.delay]
		}
		out[i] = int16(v)
	}
	r.past = append(r.past[:0], r.past[len(f):]...)
	return out
}

func newChain(t testing.TB, name string) *Chain {
	c, err := NewChain(Config{Canceller: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

var cancellers = []string{CancellerKalman, CancellerSpeex}

// inRoom gives what the microphone hears of far, played in a room, and near, spoken there: whole frames. It is most of the
// work of a test, so each asks once.
func inRoom(far, near []int16) (heard []int16) {
	r := newRoom()
	for i := 0; i+audio.FrameSamples <= len(far); i += audio.FrameSamples {
		f := r.echo((*audio.Frame)(far[i:]))
		for j := range f {
			f[j] += near[i+j]
		}
		heard = append(heard, f[:]...)
	}
	return heard
}

// through runs far, played, and what the microphone heard meanwhile through a chain; it gives what is left.
func through(c *Chain, far, heard []int16) []int16 {
	left := slices.Clone(heard)
	for i := 0; i < len(left); i += audio.FrameSamples {
		c.Played((*audio.Frame)(far[i:]))
		c.Process((*audio.Frame)(left[i:]))
	}
	return left
}

func last(pcm []int16, d time.Duration) []int16 {
	return pcm[len(pcm)-int(d*audio.SampleRate/time.Second):]
}

func TestEchoGoesAway(t *testing.T) {
	far := audiotest.Speech(1, 12*time.Second)
	heard := inRoom(far, make([]int16, len(far)))
	for _, name := range cancellers {
		left := through(newChain(t, name), far, heard)
		early := audiotest.LevelDifference(heard[2*audio.SampleRate:4*audio.SampleRate], left[2*audio.SampleRate:4*audio.SampleRate])
		late := audiotest.LevelDifference(last(heard, 4*time.Second), last(left, 4*time.Second))
		t.Logf("%s: echo changed by %.1f dB after 2 s, %.1f dB after 8 s", name, early, late)
		if early > -10 || late > -20 {
			t.Errorf("%s: the echo is still there", name)
		}
	}
}

func TestNearEndPasses(t *testing.T) {
	near := audiotest.Speech(2, 8*time.Second)
	silence := make([]int16, len(near))
	for _, name := range append(cancellers, CancellerNone) {
		left := through(newChain(t, name), silence, near) // what is not played is not heard
		r := audiotest.CompareSpeech(last(near, 6*time.Second), last(left, 6*time.Second))
		t.Log(name, r)
		if math.Abs(r.Level) > 3 || len(r.Gaps) > 0 || r.Correlation[3] < 0.95 {
			t.Errorf("%s: near-end speech alone: %v", name, r)
		}
	}
}

func TestNearEndSurvivesDoubleTalk(t *testing.T) {
	far, near := audiotest.Speech(1, 16*time.Second), audiotest.Speech(2, 16*time.Second)
	clear(near[:8*audio.SampleRate]) // the canceller learns first
	heard := inRoom(far, near)
	for _, name := range cancellers {
		left := through(newChain(t, name), far, heard)
		r := audiotest.CompareSpeech(last(near, 7*time.Second), last(left, 7*time.Second))
		t.Log(name, r)
		if math.Abs(r.Level) > 6 {
			t.Errorf("%s: near-end speech in double talk: %v", name, r)
		}
	}
}

// Playback that runs ahead, or stops, neither blocks nor grows.
func TestPlaybackOutOfStep(t *testing.T) {
	for _, name := range append(cancellers, CancellerNone) {
		c := newChain(t, name)
		var f audio.Frame
		for range 100 {
			c.Played(&f)
		}
		if c.n != maxAhead {
			t.Errorf("%s: %d frames are kept", name, c.n)
		}
		for range 100 {
			c.Process(&f)
		}
		if name != CancellerNone && c.n != 0 {
			t.Errorf("%s: %d frames are left", name, c.n)
		}
		c.Close()
		c.Process(&f)
	}
}

// A frame that playback takes too many or too few does not bring the echo back: the path moves with it.
func TestFrameTooManyOrTooFew(t *testing.T) {
	const at = 400 // frames
	far := audiotest.Speech(1, 14*time.Second)
	whole := inRoom(far, make([]int16, len(far)))
	for _, step := range []int{1, -1} {
		c := newChain(t, CancellerKalman)
		c.Played((*audio.Frame)(far[0:])) // playback is a frame ahead
		given := 1
		var heard, left []int16
		for i := 0; (i+3)*audio.FrameSamples <= len(far); i++ {
			f := audio.Frame(whole[i*audio.FrameSamples:])
			ahead := i + 2
			if i >= at {
				ahead += step
			}
			for ; given < ahead; given++ {
				c.Played((*audio.Frame)(far[given*audio.FrameSamples:]))
			}
			heard = append(heard, f[:]...)
			c.Process(&f)
			left = append(left, f[:]...)
		}
		from := at * audio.FrameSamples
		by := audiotest.LevelDifference(heard[from:], left[from:])
		t.Logf("%+d frame: from then on the echo is changed by %.1f dB", step, by)
		if by > -20 {
			t.Errorf("%+d frame: from then on the echo is changed by %.1f dB, want -20", step, by)
		}
	}
}

func TestRumbleGoes(t *testing.T) {
	for hz, want := range map[float64]float64{20: -22, 80: -3, 300: 0} {
		h := newHighPass(80)
		in := sine(hz, audio.SampleRate, audio.SampleRate)
		out := append([]int16(nil), in...)
		for i := 0; i < len(out); i += audio.FrameSamples {
			h.process((*audio.Frame)(out[i:]))
		}
		if d := audiotest.LevelDifference(last(in, 500*time.Millisecond), last(out, 500*time.Millisecond)); math.Abs(d-want) > 2.5 {
			t.Errorf("%.0f Hz is changed by %.1f dB, want %.0f", hz, d, want)
		}
	}
}

// Voices come to one level, whatever theirs is, pauses are not raised, and what shouts is not clipped.
func TestVoicesComeToOneLevel(t *testing.T) {
	said := audiotest.Speech(3, 20*time.Second)
	for _, db := range []float64{-12, 0, 12} {
		in := make([]int16, len(said))
		for i, v := range said {
			in[i] = rounded(float64(v) * math.Pow(10, (db-6)/20))
		}
		a := newAutoGain()
		out := append([]int16(nil), in...)
		for i := 0; i < len(out); i += audio.FrameSamples {
			a.process((*audio.Frame)(out[i:]))
		}
		spoken := audiotest.LevelDifference(audiotest.Speech(3, 20*time.Second)[15*audio.SampleRate:], last(out, 5*time.Second))
		t.Logf("%+.0f dB: now %+.1f dB, gain %.1f", db-6, spoken, a.gain)
		if math.Abs(spoken+3) > 3.5 {
			t.Errorf("speech %+.0f dB over the usual comes out at %+.1f dB", db-6, spoken)
		}
		for _, v := range out {
			if v > limit+1 || v < -limit-1 {
				t.Fatalf("a sample of %d", v)
			}
		}
	}
	a := newAutoGain()
	var hum audio.Frame
	copy(hum[:], sine(300, audio.SampleRate, audio.FrameSamples))
	for i := range hum {
		hum[i] /= 500 // -60 dBFS
	}
	for range 1000 {
		f := hum
		a.process(&f)
	}
	if a.gain != 0 {
		t.Errorf("20 s of hum move the gain to %.1f dB", a.gain)
	}
}

func TestRefusesAnUnknownCanceller(t *testing.T) {
	if _, err := NewChain(Config{Canceller: "magic"}); err == nil {
		t.Error("taken")
	}
}

func TestChainDoesNotAllocate(t *testing.T) {
	for _, name := range cancellers {
		c, err := NewChain(Config{Canceller: name, Gain: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var f audio.Frame
		if n := testing.AllocsPerRun(50, func() {
			c.Played(&f)
			c.Process(&f)
		}); n != 0 {
			t.Errorf("%s: %g allocations for a frame", name, n)
		}
	}
}

func BenchmarkChain(b *testing.B) {
	far, near := audiotest.Speech(1, 10*time.Second), audiotest.Speech(2, 10*time.Second)
	for _, name := range append(cancellers, CancellerNone) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			c, err := NewChain(Config{Canceller: name, Gain: true})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			var f audio.Frame
			for i := 0; b.Loop(); i = (i + 1) % (len(far) / audio.FrameSamples) {
				f = *(*audio.Frame)(near[i*audio.FrameSamples:])
				c.Played((*audio.Frame)(far[i*audio.FrameSamples:]))
				c.Process(&f)
			}
		})
	}
}
