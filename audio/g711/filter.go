package g711

import (
	"math"
	"sync"

	"sidetone/audio/fir"
)

const (
	// ratio of 48 kHz to 8 kHz.
	ratio = 6
	// branch is how many samples of 8 kHz one sample of the result is made of: enough for 60 dB from 4.3 kHz on, while
	// 3.4 kHz, a telephone's upper edge, is left as it is. The delay is half of it: 2 ms each way.
	branch = 32
	taps   = ratio * branch
	cutoff = 3850.0 // Hz, at half the amplitude
	kaiser = 5.65   // the window's shape, for 60 dB
	unity  = 1 << 14
)

// lowPass is a linear-phase low-pass at 48 kHz of gain 1, the same filter for both directions; branches are its taps as
// the six filters at 8 kHz that interpolate, each with gain 1.
type lowPass struct {
	whole    [taps]int32
	branches [ratio][branch]int32
}

var filter = sync.OnceValue(func() *lowPass {
	var h [taps]float64
	for i := range h {
		h[i] = fir.Tap(float64(i)-(taps-1)/2.0, taps/2, 2*cutoff/48000, kaiser)
	}
	f := &lowPass{}
	total := 0.0
	for _, v := range h {
		total += v
	}
	for i, v := range h {
		f.whole[i] = int32(math.Round(v / total * unity))
	}
	for p := range f.branches {
		sum := 0.0
		for k := range branch {
			sum += h[k*ratio+p]
		}
		for k := range branch {
			f.branches[p][k] = int32(math.Round(h[k*ratio+p] / sum * unity))
		}
	}
	return f
})

// up makes 48 kHz of 8 kHz.
type up struct {
	past [2 * branch]int32 // twice the same, so that a window of it is always in one piece
	at   int
}

// put takes one sample and gives six.
func (u *up) put(f *lowPass, s int16, out []int16) {
	u.past[u.at], u.past[u.at+branch] = int32(s), int32(s)
	u.at = (u.at + 1) % branch
	window := u.past[u.at : u.at+branch] // oldest first
	for p := range ratio {
		var sum int32
		for k, h := range &f.branches[p] {
			sum += h * window[branch-1-k]
		}
		out[p] = clip(sum)
	}
}

// down makes 8 kHz of 48 kHz.
type down struct{ past [taps]int32 }

// frame takes 48 kHz and gives one sample for each six.
func (d *down) frame(f *lowPass, in []int16, each func(i int, s int16)) {
	for i := 0; i+ratio <= len(in); i += ratio {
		copy(d.past[:], d.past[ratio:])
		for k, s := range in[i : i+ratio] {
			d.past[taps-ratio+k] = int32(s)
		}
		var sum int32
		for k, h := range &f.whole { // symmetric, so the order is the same both ways
			sum += h * d.past[k]
		}
		each(i/ratio, clip(sum))
	}
}

func clip(sum int32) int16 {
	return int16(max(math.MinInt16, min(math.MaxInt16, (sum+unity/2)/unity)))
}
