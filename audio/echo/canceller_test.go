package echo

import (
	"math"
	"testing"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"
)

// through gives what a canceller makes of mic while far is played, moved back by its latency.
func through(c *Canceller, far, mic []int16) []int16 {
	out := make([]int16, 0, len(mic))
	for i := 0; i+audio.FrameSamples <= len(mic); i += audio.FrameSamples {
		f := *(*audio.Frame)(mic[i:])
		c.Play((*audio.Frame)(far[i:]))
		c.Capture(&f)
		out = append(out, f[:]...)
	}
	return out[c.Latency():]
}

func between(pcm []int16, from, to time.Duration) []int16 {
	at := func(d time.Duration) int { return min(len(pcm), int(d.Seconds()*audio.SampleRate)) }
	return pcm[at(from):at(to)]
}

// sdr is the level of near in out over all else, and over what it was, in dB.
func sdr(near, out []int16) (ratio, gain float64) {
	var oo, on, nn float64
	for i := range min(len(near), len(out)) {
		o, n := float64(out[i]), float64(near[i])
		oo, on, nn = oo+o*o, on+o*n, nn+n*n
	}
	g := on / nn
	return 10 * math.Log10(g*g*nn/(oo-g*g*nn+1e-9)), 20 * math.Log10(math.Abs(g)+1e-9)
}

func usual(seed uint64) audiotest.EchoScene {
	return audiotest.EchoScene{Seed: seed, RT60: 300 * time.Millisecond, Delay: 30 * time.Millisecond, Noise: 75}
}

// Without an echo, what comes out is what went in, in its full band, to the sample.
func TestNearEndAloneIsUntouched(t *testing.T) {
	near := audiotest.Speech(2, 4*time.Second)
	out := through(New(), make([]int16, len(near)), near)
	if len(out) < 3*audio.SampleRate {
		t.Fatalf("%d samples", len(out))
	}
	for i, v := range out {
		if d := int(v) - int(near[i]); d < -1 || d > 1 {
			t.Fatalf("sample %d is %d, was %d", i, v, near[i])
		}
	}
}

func TestEchoGoesAway(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		far := audiotest.Speech(seed, 12*time.Second)
		mic := usual(seed).Microphone(far, nil)
		out := through(New(), far, mic)
		soon := -audiotest.LevelDifference(between(mic, time.Second, 2*time.Second), between(out, time.Second, 2*time.Second))
		steady := -audiotest.LevelDifference(between(mic, 8*time.Second, 11*time.Second), between(out, 8*time.Second, 11*time.Second))
		t.Logf("seed %d: lowered by %.1f dB in the second second, by %.1f dB after 8 s", seed, soon, steady)
		if soon < 30 || steady < 38 {
			t.Errorf("seed %d: lowered by %.1f dB in the second second, by %.1f dB after 8 s; want 30 and 38", seed, soon, steady)
		}
	}
}

func TestNearEndSurvivesDoubleTalk(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		far, near := audiotest.Speech(seed, 16*time.Second), audiotest.Speech(seed+100, 16*time.Second)
		clear(between(near, 0, 8*time.Second)) // the canceller learns first
		out := through(New(), far, usual(seed).Microphone(far, near))
		ratio, gain := sdr(between(near, 8*time.Second, 15*time.Second), between(out, 8*time.Second, 15*time.Second))
		t.Logf("seed %d: %.1f dB over all else, %+.1f dB louder", seed, ratio, gain)
		if ratio < 8 || math.Abs(gain) > 3 {
			t.Errorf("seed %d: the near end is %.1f dB over all else, %+.1f dB louder; want 8, and 3 at most", seed, ratio, gain)
		}
	}
}

// A playback clock of its own is found, to the sign, and the echo goes all the same.
func TestDriftIsFound(t *testing.T) {
	for _, ppm := range []float64{-100, 50, 100, 300} {
		far := audiotest.Speech(3, 20*time.Second)
		scene := usual(3)
		scene.Drift = ppm
		mic := scene.Microphone(far, nil)
		c := New()
		out := through(c, far, mic)
		left := -audiotest.LevelDifference(between(mic, 14*time.Second, 19*time.Second), between(out, 14*time.Second, 19*time.Second))
		t.Logf("%+.0f ppm: found %+.1f, lowered by %.1f dB", ppm, c.Drift(), left)
		// A slow playback clock reads as a negative drift.
		if math.Abs(c.Drift()+ppm) > 10 || left < 28 {
			t.Errorf("%+.0f ppm: found %+.1f, lowered by %.1f dB; want 28", ppm, c.Drift(), left)
		}
	}
}

// Any samples at all leave the canceller finite, and what it learns from them is forgotten when there is an echo again.
func TestNothingBreaksIt(t *testing.T) {
	far, near := audiotest.Speech(1, 2*time.Second), make([]int16, 2*audio.SampleRate)
	for i := range near {
		near[i] = []int16{math.MaxInt16, math.MinInt16}[i/97%2]
	}
	c := New()
	through(c, near, far)
	through(c, near, near)
	through(c, make([]int16, len(near)), near)
	far = audiotest.Speech(2, 12*time.Second)
	mic := usual(2).Microphone(far, nil)
	out := through(c, far, mic)
	left := -audiotest.LevelDifference(between(mic, 8*time.Second, 11*time.Second), between(out, 8*time.Second, 11*time.Second))
	if !(left > 30) {
		t.Errorf("after nonsense an echo is lowered by %.1f dB only", left)
	}
}

// Playback that stops for a while, without a word, costs the canceller no more than it must learn anew; nobody's voice is
// lost meanwhile.
func TestPlaybackStops(t *testing.T) {
	far, near := audiotest.Speech(1, 16*time.Second), audiotest.Speech(2, 16*time.Second)
	from, to := 5*audio.SampleRate, 8*audio.SampleRate
	clear(far[from:to])
	clear(near[:from+audio.SampleRate])
	clear(near[to:])
	mic := usual(1).Microphone(far, near)
	c := New()
	out := make([]int16, 0, len(mic))
	for i := 0; i+audio.FrameSamples <= len(mic); i += audio.FrameSamples {
		if i < from || i >= to {
			c.Play((*audio.Frame)(far[i:]))
		}
		f := *(*audio.Frame)(mic[i:])
		c.Capture(&f)
		out = append(out, f[:]...)
	}
	out = out[c.Latency():]
	if ratio, gain := sdr(between(near, 6500*time.Millisecond, 8*time.Second), between(out, 6500*time.Millisecond, 8*time.Second)); ratio < 15 || math.Abs(gain) > 2 {
		t.Errorf("a voice while nothing is played: %.1f dB over all else, %+.1f dB louder", ratio, gain)
	}
	if left := -audiotest.LevelDifference(between(mic, 11*time.Second, 15*time.Second), between(out, 11*time.Second, 15*time.Second)); left < 30 {
		t.Errorf("3 s after playback goes on the echo is lowered by %.1f dB", left)
	}
}

func TestNoAllocations(t *testing.T) {
	c := New()
	far := audiotest.Speech(1, time.Second)
	at := 0
	if n := testing.AllocsPerRun(45, func() {
		f := *(*audio.Frame)(far[at:])
		c.Play((*audio.Frame)(far[at:]))
		c.Capture(&f)
		at += audio.FrameSamples
	}); n != 0 {
		t.Errorf("%g allocations for a frame", n)
	}
}

func BenchmarkCanceller(b *testing.B) {
	far := audiotest.Speech(1, 10*time.Second)
	mic := usual(1).Microphone(far, nil)
	c := New()
	b.ReportAllocs()
	for i := 0; b.Loop(); i = (i + 1) % (len(far) / audio.FrameSamples) {
		f := *(*audio.Frame)(mic[i*audio.FrameSamples:])
		c.Play((*audio.Frame)(far[i*audio.FrameSamples:]))
		c.Capture(&f)
	}
}
