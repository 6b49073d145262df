package voice

import (
	"math"
	"math/rand/v2"
	"testing"

	"sidetone/audio"
)

// hiss is a frame of noise with that mean square, roughly.
func hiss(rng *rand.Rand, square float64) *audio.Frame {
	f := new(audio.Frame)
	for i := range f {
		f[i] = int16(rng.NormFloat64() * math.Sqrt(square))
	}
	return f
}

func meanSquare(pcm []int16) float64 {
	return energy(pcm) * math.MaxInt16 * math.MaxInt16 / float64(len(pcm))
}

// What is lost for long becomes noise as loud as the pauses were, not as the speech was, and silence in the end.
func TestLongLossBecomesComfortNoise(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	c := concealer{decoder: new(pcmCodec)}
	const pause = 10_000
	for i := range 100 {
		square := 4e6
		if i%25 >= 20 {
			square = pause
		}
		c.resume(hiss(rng, square)[:])
	}
	lost := func(frames int) (pcm []int16, silent int) {
		for range frames {
			var f audio.Frame
			if c.lost(f[:]) {
				silent++
			}
			pcm = append(pcm, f[:]...)
		}
		return pcm, silent
	}
	if _, silent := lost(6); silent != 0 {
		t.Errorf("%d of the first six frames were no guess", silent)
	}
	noise, silent := lost(40)
	if silent != 40 {
		t.Errorf("%d of 40 frames count as comfort noise", silent)
	}
	if got := meanSquare(noise); got < pause/2 || got > pause*2 {
		t.Errorf("the noise has %.0f, the pauses %d", got, pause)
	}
	if lost(60); c.run != noiseTo {
		t.Errorf("%d samples into the gap", c.run)
	}
	if end, _ := lost(10); meanSquare(end) != 0 {
		t.Error("a dead line is not silent")
	}
}

func TestComfortNoiseComesOfPausesOnly(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var n noise
	for range 100 {
		n.listen(hiss(rng, 4e6)[:])
	}
	if n.next() != 0 {
		t.Error("speech was taken for a pause")
	}
	n.listen(hiss(rng, 100)[:])
	for range 500 { // 10 s: 17 dB
		n.listen(hiss(rng, 3000)[:])
	}
	if got := meanSquare(n.pause[:]); got < 2000 {
		t.Errorf("a pause of %.0f is remembered where there are 3000", got)
	}
}

func TestComfortNoiseAllocatesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	c := concealer{decoder: new(pcmCodec)}
	f := hiss(rng, 1000)
	var out audio.Frame
	if got := testing.AllocsPerRun(100, func() { c.lost(out[:]); c.resume(f[:]) }); got != 0 {
		t.Errorf("%.1f allocations", got)
	}
}
