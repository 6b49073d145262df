// Package echo measures echo cancellers: how much of an echo they take away, how soon, and what they do to who speaks.
package echo

import (
	"math"
	"time"

	"sidetone/audio"
)

// block is how finely a recording is looked at: 10 ms.
const block = audio.SampleRate / 100

const (
	speaks    = -55.0                  // dBFS from which on a block has somebody speaking in it
	around    = 20                     // blocks by which near-end speech may ring on
	recovered = 25.0                   // dB of reduction at which a canceller has learnt a path
	window    = 500 * time.Millisecond // in which that is judged
	late      = 5 * time.Second        // before the end, or the change: what is called steady
)

// Result says what a canceller made of a recording. What the recording has no case of is null.
type Result struct {
	Canceller string `json:"canceller"`
	// ERLE is by how much an echo is lowered while nobody speaks nearby, in dB: in the second that begins 1 s and 5 s after the
	// start, and in the last 5 s (before the path changes).
	ERLE struct {
		At1s   *float64 `json:"at_1s"`
		At5s   *float64 `json:"at_5s"`
		Steady *float64 `json:"steady"`
	} `json:"erle_db"`
	// DoubleTalk is how the near end comes out, from its first word to its last while the far end speaks: the level of its own
	// sound over all else, and over what it was, in dB.
	DoubleTalk struct {
		SDR  *float64 `json:"sdr"`
		Gain *float64 `json:"gain"`
	} `json:"double_talk_db"`
	// Recovery is how long after a change of the path the echo is lowered by 25 dB again, in seconds.
	Recovery *float64 `json:"recovery_s"`
	// Delay is by how much the canceller makes sound later, in ms. What it wrote is moved back by it.
	Delay float64 `json:"delay_ms"`
	// CPU is the time that a frame of 20 ms takes, in us, and Allocations how many it makes.
	CPU         float64 `json:"cpu_us_per_frame"`
	Allocations float64 `json:"allocations_per_frame"`

	Out []int16 `json:"-"`
}

// measure fills in what out says, which stands in time with mic; change is when the path changes, if ever.
func (r *Result) measure(far, near, mic, out []int16, change time.Duration) {
	n := min(len(mic), len(out)) / block
	nearby := make([]bool, n+around)
	first, last := -1, -1
	for b := range n {
		if level(near, b) > speaks {
			for i := max(0, b-2); i <= b+around; i++ {
				nearby[min(i, len(nearby)-1)] = true
			}
			if first < 0 {
				first = b
			}
			last = b
		}
	}
	erle := func(from, to int) *float64 {
		var before, after float64
		for b := max(0, from); b < min(n, to); b++ {
			if !nearby[b] {
				before += energy(mic, b)
				after += energy(out, b)
			}
		}
		if before/float64(max(1, to-from)) < block*math.Pow(10, -4.5)*math.MaxInt16*math.MaxInt16 {
			return nil
		}
		return decibels(before / (after + 1))
	}
	blocks := func(d time.Duration) int { return int(d.Seconds() * audio.SampleRate / block) }
	second := blocks(time.Second)
	r.ERLE.At1s = erle(second, 2*second)
	r.ERLE.At5s = erle(5*second, 6*second)
	end := n
	if change > 0 {
		end = min(n, blocks(change))
	}
	alone, from := 0, end
	for from > 0 && alone < blocks(late) {
		if from--; !nearby[from] {
			alone++
		}
	}
	r.ERLE.Steady = erle(from, end)
	if change > 0 {
		for b := end; b+blocks(window) <= n; b++ {
			if v := erle(b, b+blocks(window)); v != nil && *v >= recovered {
				s := float64(b-end)*block/audio.SampleRate + window.Seconds()
				r.Recovery = &s
				break
			}
		}
	}
	if first < 0 {
		return
	}
	var oo, on, nn, played float64
	for i := first * block; i < (last+1)*block && i < len(out) && i < len(near); i++ {
		o, v := float64(out[i]), float64(near[i])
		oo, on, nn = oo+o*o, on+o*v, nn+v*v
		if i < len(far) {
			played += float64(far[i]) * float64(far[i])
		}
	}
	if played == 0 || nn == 0 || on <= 0 {
		return
	}
	gain := on / nn
	r.DoubleTalk.SDR = decibels(gain * gain * nn / max(1, oo-gain*gain*nn))
	r.DoubleTalk.Gain = decibels(gain * gain)
}

func energy(pcm []int16, b int) float64 {
	sum := 0.0
	for i := b * block; i < min(len(pcm), (b+1)*block); i++ {
		sum += float64(pcm[i]) * float64(pcm[i])
	}
	return sum
}

func level(pcm []int16, b int) float64 {
	return 10 * math.Log10(energy(pcm, b)/block/(math.MaxInt16*math.MaxInt16)+1e-12)
}

func decibels(x float64) *float64 {
	v := 10 * math.Log10(x)
	return &v
}
