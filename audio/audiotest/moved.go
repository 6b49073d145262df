package audiotest

import (
	"math"
	"time"

	"sidetone/audio"
)

const (
	// reach is how far sound may lie from where the whole lies best, in ms, earlier and later.
	reach = 120
	// frame is the time, in ms, for which the lag stays.
	frame = 10
	// moveCost is what a change of the lag by one ms costs: a tenth of a frame that is nothing like the input. A hole is never
	// made good by moving what stands around it: that would cost more than the hole, twice.
	moveCost = 0.1
)

// CompareMoved is CompareSpeech for what went through a playout buffer, which plays some pieces later or earlier than others.
// It follows the lag, and reports by how much that changed. Sound that is not there is not there: what was lost or made up
// does not become better by it.
func CompareMoved(in, out []int16) Report {
	base := Align(in, out)
	lags := follow(in, out, int(base/time.Millisecond))
	const ms = audio.SampleRate / 1000
	from, to := 0, 0 // what of in has a counterpart
	moved := make([]int16, 0, len(in))
	sum := 0
	for i, lag := range lags {
		at := (i*frame + lag) * ms
		switch {
		case at < 0:
			from = (i + 1) * frame * ms
			continue
		case at+frame*ms > len(out):
			continue
		}
		if to = (i + 1) * frame * ms; i > 0 {
			sum += max(lag-lags[i-1], lags[i-1]-lag)
		}
		moved = append(moved, out[at:at+frame*ms]...)
	}
	r := CompareSpeech(in[min(from, to):to], moved)
	if r.Lag = r.Lag + base; r.Lag > 0 {
		for i := range r.Gaps {
			r.Gaps[i].Start += base
		}
	}
	r.Moved = time.Duration(sum) * time.Millisecond
	return r
}

// follow finds the lag of each frame of in, in ms, by the least difference of the envelopes, band by band.
func follow(in, out []int16, base int) []int {
	a, b := BandEnvelopes(in), BandEnvelopes(out)
	frames := len(a[0]) / frame
	if frames == 0 {
		return nil
	}
	const states = 2*reach + 1
	var gain, mean [Bands]float64
	for k := range mean {
		mean[k] = total(a[k]) / float64(len(a[k]))
		gain[k] = total(a[k]) / max(total(b[k]), 1)
	}
	from := make([][states]int16, frames) // the best state before
	var cost, next [states]float64
	for i := range frames {
		for s := range states {
			cost[s] += unlike(a, b, i*frame, base+s-reach, mean, gain)
		}
		// To go on from another state costs by its distance: two passes find the best for all.
		next = cost
		for s := range states {
			from[i][s] = int16(s)
		}
		for s := 1; s < states; s++ {
			if c := next[s-1] + moveCost; c < next[s] {
				next[s], from[i][s] = c, from[i][s-1]
			}
		}
		for s := states - 2; s >= 0; s-- {
			if c := next[s+1] + moveCost; c < next[s] {
				next[s], from[i][s] = c, from[i][s+1]
			}
		}
		cost = next
	}
	best := 0
	for s := range states {
		if cost[s] < cost[best] {
			best = s
		}
	}
	lags := make([]int, frames)
	for i, s := frames-1, best; i >= 0; i-- {
		s = int(from[i][s])
		lags[i] = base + s - reach
	}
	return lags
}

// unlike of a frame of a at ms at and of b at that lag: 0 is the same, 1 nothing alike.
func unlike(a, b [Bands][]float64, at, lag int, mean, gain [Bands]float64) float64 {
	sum := 0.0
	for k := range a {
		for t := at; t < at+frame; t += frame / 2 {
			v := 0.0
			if u := t + lag; u >= 0 && u < len(b[k]) {
				v = b[k][u] * gain[k]
			}
			sum += min(math.Abs(a[k][t]-v)/max(mean[k], 1), 1)
		}
	}
	return sum / (Bands * 2)
}

func total(x []float64) (sum float64) {
	for _, v := range x {
		sum += v
	}
	return sum
}
