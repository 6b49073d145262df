package audiotest

import (
	"math"
	"time"
)

const (
	// qualityHop is between frames of the reference, qualityFine of what was heard, so that it can be moved by less.
	qualityHop  = melRate / 100
	qualityFine = melRate / 1000
	fine        = qualityHop / qualityFine

	// patch is how many frames are compared as one: 200 ms.
	patch = 20
	// A patch is looked for this much earlier and later than the whole lies best, first in coarse steps.
	earliest, latest = -24 * fine, 24 * fine
	coarse           = fine / 2
	// movedCost is what a step of moving a patch costs, in dB of difference, so that a steady sound stays where it is.
	movedCost = 0.0002

	// Levels count down to 60 dB below the loud parts of the reference; a patch counts when three of its frames are at
	// most 30 dB below.
	range60, active30, activeFrames = 60.0, 30.0, 3
)

// Quality is what a listener might say of speech that he heard, knowing how it was spoken.
type Quality struct {
	// Score is like a mean opinion score: 1 to 4.5.
	Score float64
	// Delay is the mean of how much later what was heard is, over the patches with speech.
	Delay time.Duration
}

// CompareQuality scores heard against the speech spoken, whatever the delay, and even where that changes. It is a
// spectro-temporal similarity: levels in 32 mel bands from 80 to 7500 Hz over 25 ms each 10 ms, in patches of 200 ms, each
// of which is moved to where it lies best, up to 240 ms from where the whole does: as far as a playout buffer moves sound.
// Similarity is that of images (mean and structure of each 3 by 3 neighbourhood, as SSIM has it). The worst patches weigh
// most, as they do for a listener, but none without bound. The scale is set so that speech through Opus at 32 kbit/s has
// about 4.1, with 5 % of its packets lost and concealed by the decoder 2.8, and with 14 % lost in bursts 1.9.
//
// It ranks what this project does to sound: loss, concealment, stretching, bitrate. It knows neither noise nor echo.
func CompareQuality(spoken, heard []int16) Quality {
	ref, out := melSpectrogram(spoken, qualityHop), melSpectrogram(heard, qualityFine)
	levels := make([]float64, len(ref))
	for i := range ref {
		levels[i] = ref[i].level()
	}
	loud := loud(levels)
	floor := loud - range60
	for _, frames := range [][]melFrame{ref, out} {
		for i := range frames {
			for b, v := range frames[i] {
				frames[i][b] = max(v, floor) - floor
			}
		}
	}
	whole := lag(loudness(ref, fine), loudness(out, 1))

	var differences, moved, n float64
	for at := 0; at+patch <= len(ref); at += patch {
		active := 0
		for _, l := range levels[at : at+patch] {
			if l > loud-active30 {
				active++
			}
		}
		if active < activeFrames {
			continue
		}
		there := find(ref[at:at+patch], out, at*fine+whole)
		// What the comment above says of the worst.
		d := 1 - similarity(ref[at:at+patch], out, there)
		differences += math.Pow(d/(1+d/0.12), 3)
		moved += float64(there - at*fine)
		n++
	}
	if n == 0 {
		return Quality{Score: 1}
	}
	mean := math.Cbrt(differences / n)
	return Quality{
		Score: 1 + 3.5/(1+math.Pow(mean/0.039, 3)),
		Delay: time.Duration(moved / n * qualityFine / melRate * float64(time.Second)),
	}
}

// level of all bands together, in dB.
func (f *melFrame) level() float64 {
	sum := 0.0
	for _, v := range f {
		sum += math.Pow(10, v/10)
	}
	return 10 * math.Log10(sum)
}

// loudness is the mean over the bands, each frame repeated.
func loudness(frames []melFrame, repeat int) []float64 {
	out := make([]float64, 0, len(frames)*repeat)
	for _, f := range frames {
		sum := 0.0
		for _, v := range f {
			sum += v
		}
		for range repeat {
			out = append(out, sum/melBands)
		}
	}
	return out
}

// silentFrame stands before the first frame and after the last.
var silentFrame melFrame

func frameAt(frames []melFrame, i int) *melFrame {
	if i < 0 || i >= len(frames) {
		return &silentFrame
	}
	return &frames[i]
}

// find looks near where for the frame of out at which it is least different from ref.
func find(ref, out []melFrame, where int) int {
	best, at := math.Inf(1), where
	try := func(from, to, step int) {
		for offset := from; offset <= to; offset += step {
			if d := difference(ref, out, where+offset) + math.Abs(float64(offset))*movedCost; d < best {
				best, at = d, where+offset
			}
		}
	}
	try(earliest, latest, coarse)
	around := at - where
	try(around-coarse+1, around+coarse-1, 1)
	return at
}

// difference of a patch and what stands at a frame of out: the mean, in dB.
func difference(ref, out []melFrame, at int) float64 {
	sum := 0.0
	for i := range ref {
		f := frameAt(out, at+i*fine)
		for b, v := range ref[i] {
			sum += math.Abs(v - f[b])
		}
	}
	return sum / float64(len(ref)*melBands)
}

// similarity of a patch and what stands at a frame of out: 1 is the same, 0 nothing in common.
func similarity(ref, out []melFrame, at int) float64 {
	// What counts as equal, in dB squared: of levels, and of structure.
	const sameLevel, sameStructure = 4.0, 20.0
	sum := 0.0
	for i := 1; i < patch-1; i++ {
		for b := 1; b < melBands-1; b++ {
			var x, y, xx, yy, xy float64
			for di := -1; di <= 1; di++ {
				f := frameAt(out, at+(i+di)*fine)
				for db := -1; db <= 1; db++ {
					r, o := ref[i+di][b+db], f[b+db]
					x, y, xx, yy, xy = x+r/9, y+o/9, xx+r*r/9, yy+o*o/9, xy+r*o/9
				}
			}
			level := (2*x*y + sameLevel) / (x*x + y*y + sameLevel)
			structure := (xy - x*y + sameStructure) / (math.Sqrt(max(xx-x*x, 0)*max(yy-y*y, 0)) + sameStructure)
			sum += level * structure
		}
	}
	return sum / ((patch - 2) * (melBands - 2))
}
