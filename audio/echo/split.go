package echo

import "sidetone/audio/fir"

const (
	ratio = 3           // between the sample rates of the device and of the canceller
	hop   = 160         // samples at 16 kHz: 10 ms
	wide  = ratio * hop // the same time at 48 kHz
	taps  = 91          // of the filter that parts the bands: 60 dB from 6.3 to 8.3 kHz
)

// prototype is a low-pass of unit gain in the middle of the two bands, windowed by Kaiser's window.
var prototype = func() (h [taps]float64) {
	const middle, beta = 7300.0 / 48000, 5.65
	sum := 0.0
	for i := range h {
		h[i] = fir.Tap(float64(i)-(taps-1)/2, (taps-1)/2, 2*middle, beta)
		sum += h[i]
	}
	for i := range h {
		h[i] /= sum
	}
	return h
}()

// lower takes the band below 8 kHz out of a stream, at a third of its rate.
type lower struct{ past [taps - 1 + wide]float64 }

func (l *lower) process(out *[hop]float64, in *[wide]float64) {
	copy(l.past[:], l.past[wide:])
	copy(l.past[taps-1:], in[:])
	for i := range out {
		x := l.past[ratio*i+ratio-1:][:taps]
		// The filter is symmetric.
		sum := prototype[(taps-1)/2] * x[(taps-1)/2]
		for j := range (taps - 1) / 2 {
			sum += prototype[j] * (x[j] + x[taps-1-j])
		}
		out[i] = sum
	}
}

// higher brings a stream back to three times its rate.
type higher struct{ past [raiseTaps - 1 + hop]float64 }

const raiseTaps = (taps + ratio - 1) / ratio

// phases is the prototype in its three phases, last tap first, so that each is a sum over a stretch of input.
var phases = func() (h [ratio][raiseTaps]float64) {
	for i, v := range prototype {
		h[i%ratio][raiseTaps-1-i/ratio] = ratio * v
	}
	return h
}()

func (u *higher) process(out *[wide]float64, in *[hop]float64) {
	copy(u.past[:], u.past[hop:])
	copy(u.past[raiseTaps-1:], in[:])
	for i := range hop {
		x := u.past[i:][:raiseTaps]
		var a, b, c float64
		for j, v := range x {
			a += phases[0][j] * v
			b += phases[1][j] * v
			c += phases[2][j] * v
		}
		out[ratio*i], out[ratio*i+1], out[ratio*i+2] = a, b, c
	}
}
