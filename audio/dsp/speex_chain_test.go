package dsp

import (
	"math"
	"math/rand/v2"
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

func newChain(t testing.TB) *Chain {
	c, err := NewChain()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// through runs far, played, and near, spoken, through a chain in a room; it gives what the microphone heard and what is left.
func through(c *Chain, far, near []int16) (heard, left []int16) {
	r := newRoom()
	for i := 0; i+audio.FrameSamples <= len(far); i += audio.FrameSamples {
		played := (*audio.Frame)(far[i:])
		f := r.echo(played)
		for j := range f {
			f[j] += near[i+j]
		}
		heard = append(heard, f[:]...)
		c.Played(played)
		c.Process(&f)
		left = append(left, f[:]...)
	}
	return heard, left
}

func last(pcm []int16, d time.Duration) []int16 {
	return pcm[len(pcm)-int(d*audio.SampleRate/time.Second):]
}

func TestEchoGoesAway(t *testing.T) {
	far := audiotest.Speech(1, 12*time.Second)
	heard, left := through(newChain(t), far, make([]int16, len(far)))
	early := audiotest.LevelDifference(heard[2*audio.SampleRate:4*audio.SampleRate], left[2*audio.SampleRate:4*audio.SampleRate])
	late := audiotest.LevelDifference(last(heard, 4*time.Second), last(left, 4*time.Second))
	t.Logf("echo changed by %.1f dB after 2 s, %.1f dB after 8 s", early, late)
	if early > -10 || late > -20 {
		t.Error("the echo is still there")
	}
}

func TestNearEndPasses(t *testing.T) {
	near := audiotest.Speech(2, 8*time.Second)
	silence := make([]int16, len(near))
	_, left := through(newChain(t), silence, near)
	r := audiotest.CompareSpeech(last(near, 6*time.Second), last(left, 6*time.Second))
	t.Log(r)
	if math.Abs(r.Level) > 3 || len(r.Gaps) > 0 || r.Correlation[3] < 0.95 {
		t.Errorf("near-end speech alone: %v", r)
	}
}

func TestNearEndSurvivesDoubleTalk(t *testing.T) {
	far, near := audiotest.Speech(1, 16*time.Second), audiotest.Speech(2, 16*time.Second)
	clear(near[:8*audio.SampleRate]) // the canceller learns first
	_, left := through(newChain(t), far, near)
	r := audiotest.CompareSpeech(last(near, 7*time.Second), last(left, 7*time.Second))
	t.Log(r)
	if math.Abs(r.Level) > 6 {
		t.Errorf("near-end speech in double talk: %v", r)
	}
}

// Playback that runs ahead, or stops, neither blocks nor grows.
func TestPlaybackOutOfStep(t *testing.T) {
	c := newChain(t)
	var f audio.Frame
	for range 100 {
		c.Played(&f)
	}
	if c.n != maxAhead {
		t.Errorf("%d frames are kept", c.n)
	}
	for range 100 {
		c.Process(&f)
	}
	if c.n != 0 {
		t.Errorf("%d frames are left", c.n)
	}
	c.Close()
	c.Process(&f)
}

func TestChainDoesNotAllocate(t *testing.T) {
	c := newChain(t)
	if n := testing.AllocsPerRun(50, func() {
		var f audio.Frame
		c.Played(&f)
		c.Process(&f)
	}); n != 0 {
		t.Errorf("%g allocations for a frame", n)
	}
}

func BenchmarkChain(b *testing.B) {
	b.ReportAllocs()
	c := newChain(b)
	far, near := audiotest.Speech(1, 10*time.Second), audiotest.Speech(2, 10*time.Second)
	for i := 0; b.Loop(); i = (i + audio.FrameSamples) % (len(far) - audio.FrameSamples) / audio.FrameSamples * audio.FrameSamples {
		f := *(*audio.Frame)(near[i:])
		c.Played((*audio.Frame)(far[i:]))
		c.Process(&f)
	}
}
