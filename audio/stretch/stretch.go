// Package stretch makes sound last longer or shorter at the same pitch: waveform similarity overlap-add (WSOLA; Verhelst and
// Roelands, 1993), by whole periods of the voice. It uses integers only, so that every machine gives the same samples, and
// allocates nothing.
package stretch

const (
	// shortest and longest are the periods that are looked for, at 48 kHz: 2.5 to 15 ms, voices of 67 to 400 Hz.
	shortest, longest = 120, 720
	// overlap is how long one waveform becomes the other: 5 ms.
	overlap = 240
	// coarse is by how much the rate is lowered for the search: to 8 kHz.
	coarse = 6

	// full is a similarity of 1, in its square.
	full = 1 << 10
	// similar is what is needed to change sound that nobody must hear to be changed: a correlation of 0.9.
	similar = full * 81 / 100
	// passable is what is needed when there is no choice: 0.6.
	passable = full * 36 / 100
	// faint is the mean square of -50 dBFS: below that any change goes unheard.
	faint = 5000

	maxFrame = 5760 + 2*longest
)

// Stretcher changes frames. The zero value is ready. It is not safe for concurrent use.
type Stretcher struct {
	low [maxFrame / coarse]int32
}

// Lengthen makes the first n samples of pcm longer by at most so many samples, and returns how many they are then. pcm
// has room for them. In a hurry more is changed than goes unheard.
func (s *Stretcher) Lengthen(pcm []int16, n, most int, hurry bool) int {
	most = min(most, len(pcm)-n, maxFrame-n)
	for again := false; n >= 2*overlap; again = true {
		// The end of the frame is told again, from one period before.
		at := n - overlap
		lag := s.lag(pcm[:n], at, -1, min(most, at), hurry && !again)
		if lag == 0 {
			break
		}
		copy(pcm[n:n+lag], pcm[n-lag:n])
		for i := range overlap {
			pcm[at+i] = mix(pcm[at+i], pcm[at-lag+i], i)
		}
		n += lag
		most -= lag
		if !hurry {
			break
		}
	}
	return n
}

// Shorten makes the first n samples of pcm shorter by at most so many samples, and returns how many they are then.
func (s *Stretcher) Shorten(pcm []int16, n, most int, hurry bool) int {
	if n < 2*overlap || n > maxFrame {
		return n
	}
	lag := s.lag(pcm[:n], 0, 1, min(most, n-overlap), hurry)
	if lag == 0 {
		return n
	}
	for i := range overlap {
		pcm[i] = mix(pcm[i], pcm[i+lag], i)
	}
	copy(pcm[overlap:], pcm[overlap+lag:n])
	return n - lag
}

// mix is the way from one waveform to another, i samples after it began.
func mix(from, to int16, i int) int16 {
	return int16((int32(from)*int32(overlap-i) + int32(to)*int32(i)) / overlap)
}

// lag finds how far from at, in the given direction and by at most so many samples, the waveform is like that at at. It
// returns 0 when no place is like it enough.
func (s *Stretcher) lag(pcm []int16, at, direction, most int, hurry bool) int {
	most = min(most, longest)
	if most < shortest {
		return 0
	}
	low := s.low[:len(pcm)/coarse]
	for i := range low {
		var sum int32
		for _, v := range pcm[i*coarse : (i+1)*coarse] {
			sum += int32(v)
		}
		low[i] = sum / coarse
	}
	const n = overlap / coarse
	x := low[at/coarse:][:n]
	ex := product(x, x)
	if ex < faint*n {
		return most // it cannot be heard where it is cut
	}
	best, most8 := 0, most/coarse
	var score int64
	for l := (shortest + coarse - 1) / coarse; l <= most8; l++ {
		y := low[at/coarse+direction*l:][:n]
		if q := likeness(product(x, y), ex, product(y, y)); q > score {
			best, score = l, q
		}
	}
	if least := int64(similar); score < least && !(hurry && score >= passable) {
		return 0
	}
	return refine(pcm, at, direction, best*coarse, most)
}

// refine finds the exact lag near a coarse one.
func refine(pcm []int16, at, direction, near, most int) int {
	x := pcm[at:][:overlap]
	best := near
	var score int64
	for l := max(near-coarse, shortest); l <= min(near+coarse, most); l++ {
		y := pcm[at+direction*l:][:overlap]
		var xx, xy, yy int64
		for i := range x {
			a, b := int64(x[i]), int64(y[i])
			xx, xy, yy = xx+a*a, xy+a*b, yy+b*b
		}
		if q := likeness(xy, xx, yy); q > score {
			best, score = l, q
		}
	}
	return best
}

func product(x, y []int32) (sum int64) {
	for i := range x {
		sum += int64(x[i]) * int64(y[i])
	}
	return sum
}

// likeness is the square of the correlation of two waveforms, of full; 0 when they are opposed.
func likeness(xy, xx, yy int64) int64 {
	if xy <= 0 || xx == 0 || yy == 0 {
		return 0
	}
	// Sums of 240 squares of 16 bits have 38 bits; with 15 of them the squares of the sums fit.
	for max(xx, yy) >= 1<<26 {
		xx, xy, yy = xx>>1, xy>>1, yy>>1
	}
	return xy * xy / max(xx*yy/full, 1)
}
