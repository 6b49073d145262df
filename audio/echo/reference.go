package echo

import "math"

const (
	// reach is how many samples on each side make one between two others.
	reach = 12
	// steps is how finely those places are tabled; between them the table is taken as straight.
	steps = 64
	// stored is how much of what is played may wait.
	stored = 16 * hop
	// MaxDrift is how far apart the clocks of playback and capture may be, in parts in a million.
	MaxDrift = 500
)

// reference is what was played, read at the clock of capture.
type reference struct {
	past   [stored + 2*reach]float64
	n      int     // of past in use
	at     float64 // the next to be read, counted in past
	faster float64 // than the clock of capture, as a share
}

// sincs are the weights of the samples around a place, by the place's fraction.
var sincs = func() (t [steps + 1][2 * reach]float64) {
	for s := range t {
		sum := 0.0
		for i := range t[s] {
			x := float64(i-reach+1) - float64(s)/steps
			v := 1.0
			if math.Abs(x) > 1e-9 {
				v = math.Sin(math.Pi*x) / (math.Pi * x)
			}
			v *= 0.5 + 0.5*math.Cos(math.Pi*x/(reach+1))
			t[s][i] = v
			sum += v
		}
		for i := range t[s] {
			t[s][i] /= sum
		}
	}
	return t
}()

func newReference() *reference {
	return &reference{n: 2*reach - 1, at: reach - 1}
}

// write takes the next 10 ms of what is played. What is more than can be stored takes the place of the oldest.
func (r *reference) write(far *[hop]float64) {
	if over := r.n + hop - len(r.past); over > 0 {
		copy(r.past[:], r.past[over:r.n])
		r.n -= over
		r.at = max(reach-1, r.at-float64(over))
	}
	copy(r.past[r.n:], far[:])
	r.n += hop
}

// ready is how many samples can be read.
func (r *reference) ready() int {
	return int((float64(r.n-reach) - r.at) / (1 + r.faster))
}

// read gives the next 10 ms, which must be ready.
func (r *reference) read(out *[hop]float64) {
	for i := range out {
		whole := int(r.at)
		place := (r.at - float64(whole)) * steps
		row := int(place)
		share := place - float64(row)
		x := r.past[whole-reach+1:][:2*reach]
		a, b := &sincs[row], &sincs[row+1]
		var low, high float64
		for j, v := range x {
			low += a[j] * v
			high += b[j] * v
		}
		out[i] = low + share*(high-low)
		r.at += 1 + r.faster
	}
	if used := int(r.at) - (reach - 1); used > 0 {
		copy(r.past[:], r.past[used:r.n])
		r.n -= used
		r.at -= float64(used)
	}
}
