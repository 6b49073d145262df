package audio

import "math"

// Clipping is how much of a sound stands at the ends of the range, 0 to 1, and its longest such stretch, in samples.
func Clipping(pcm []int16) (share float64, longest int) {
	clipped, now := 0, 0
	for _, s := range pcm {
		if s > math.MinInt16 && s < math.MaxInt16 {
			now = 0
			continue
		}
		clipped++
		now++
		longest = max(longest, now)
	}
	if len(pcm) == 0 {
		return 0, 0
	}
	return float64(clipped) / float64(len(pcm)), longest
}
