package dsp

import (
	"math"

	"sidetone/audio/fir"
)

const (
	asyncTaps   = 32  // of the filter: flat to 18 kHz
	asyncPhases = 256 // of the filter's table; between two of them it is a straight line
	asyncCutoff = 0.92
	asyncBeta   = 8.0 // of the Kaiser window: what it lets through elsewhere is 80 dB below
)

// asyncTable holds the filter at each phase, and at one more.
var asyncTable = func() (table [asyncPhases + 1][asyncTaps]float32) {
	for phase := range table {
		sum := 0.0
		var row [asyncTaps]float64
		for i := range row {
			x := float64(i-asyncTaps/2+1) - float64(phase)/asyncPhases
			row[i] = fir.Tap(x, asyncTaps/2, asyncCutoff, asyncBeta)
			sum += row[i]
		}
		for i := range row {
			table[phase][i] = float32(row[i] / sum)
		}
	}
	return table
}()

// Async changes the rate of a mono stream by a little, and by another little at any moment, without a click: it joins two
// clocks that mean to be the same. Its output comes asyncTaps/2 samples later than its input. The zero value is ready, and
// is for one goroutine.
type Async struct {
	ppm  float64
	at   float64 // of the next sample out, in samples after history's middle
	past [asyncTaps]float32
}

// SetRate makes more samples of as many, from the next one on: by so many parts in a million.
func (a *Async) SetRate(ppm float64) { a.ppm = ppm }

// Process turns all of in into samples of out, which must have room for a few more than in has, and gives how many those
// are. It does not allocate.
func (a *Async) Process(in, out []int16) (written int) {
	step := 1 / (1 + a.ppm/1e6)
	for _, v := range in {
		copy(a.past[:], a.past[1:])
		a.past[asyncTaps-1] = float32(v)
		for a.at < 1 && written < len(out) {
			out[written] = a.sample()
			written++
			a.at += step
		}
		a.at--
	}
	return written
}

// sample is what there is at that place between two samples.
func (a *Async) sample() int16 {
	phase, part := math.Modf(a.at * asyncPhases)
	one, two := &asyncTable[int(phase)], &asyncTable[int(phase)+1]
	var sum, next float32
	for i, v := range a.past {
		sum += v * one[i]
		next += v * two[i]
	}
	v := float64(sum) + part*float64(next-sum)
	return int16(math.Round(max(math.MinInt16, min(math.MaxInt16, v))))
}
