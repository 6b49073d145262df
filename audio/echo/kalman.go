package echo

import "gonum.org/v1/gonum/dsp/fourier"

const (
	size  = 2 * hop    // of a transform: overlap-save
	bins  = size/2 + 1 // of a spectrum
	parts = 25         // of the filter, one hop each: 250 ms
	// transition is how much of the path is thought to be the same 10 ms later.
	transition = 0.9995
	// errorMemory smooths the spectrum of what is left, over 10 ms.
	errorMemory = 0.6
	// coherenceMemory smooths what tells an echo from a near end, over 10 ms.
	coherenceMemory = 0.9
	// doubt is how alike what is left and the estimate may be by chance, smoothed by alikeMemory over 10 ms.
	doubt, alikeMemory = 0.12, 0.93
	// spread is how much of a part's change is thought to come 10 ms later, too.
	spread = 0.5
	// constrained is how many parts a hop confines to their 10 ms, in turn.
	constrained = 2
)

type spectrum [bins]complex128

// kalman is the linear stage: a frequency-domain adaptive filter in parts, whose step in each bin and part is that of a
// Kalman filter with a diagonal covariance (Enzner and Vary, 2006; Kuech, Mabande and Enzner, 2014). It knows how
// unsure it is of the path, so that near-end speech slows it down where it is loud, without a detector.
type kalman struct {
	fft *fourier.FFT
	x   [parts]spectrum // of what was played, a ring
	now int             // the newest in x
	// missing is how many hops the newest is late.
	missing int
	stopped bool            // playback is
	w       [parts]spectrum // the path
	p       [parts][bins]float64
	last    [hop]float64 // of what was played

	left      [bins]float64 // smoothed |E|^2
	estimated [bins]float64 // smoothed |Y|^2
	cross     spectrum      // smoothed E Y*
	crossLeft [bins]float64 // smoothed |E|^2, as long as cross
	unsure    [bins]float64 // sum of P |X|^2: the echo that may be left
	y         spectrum      // the echo as estimated, not yet confined to the block
	e         spectrum      // what is left, after half a transform of nothing

	after, before float64 // smoothed energies of what is left and of what was heard
	harmful       int     // hops
	alike         float64 // how much what is left looks like the estimate, smoothed

	turn  int // whose turn it is to be confined
	block [size]float64
}

func newKalman() *kalman {
	k := &kalman{fft: fourier.NewFFT(size)}
	k.forget()
	return k
}

// prior is how large each part of a path may be before anything is known: 6 dB over what is played in all, falling
// after the first 80 ms.
var prior = func() (v [parts]float64) {
	sum, level := 0.0, 1.0
	for p := range v {
		if p >= 8 {
			level *= 0.75
		}
		v[p] = level
		sum += level
	}
	for p := range v {
		v[p] *= 4 / sum
	}
	return v
}()

func (k *kalman) forget() {
	k.w, k.harmful = [parts]spectrum{}, 0
	for p := range k.p {
		for i := range k.p[p] {
			k.p[p][i] = prior[p]
		}
	}
}

// maxMissing is for how many hops playback may be late. Then it has stopped, and plays silence.
const maxMissing = 8

// miss tells that there is nothing yet to be played in this hop.
func (k *kalman) miss() {
	if k.stopped {
		k.push(&[hop]float64{})
		k.stopped = true
		return
	}
	if k.missing++; k.missing <= maxMissing {
		return
	}
	late := k.missing
	k.missing = 0
	for range late {
		k.push(&[hop]float64{})
	}
	k.stopped = true
}

// push takes the next 10 ms of what is played. Where it is late, it was so for good: the path is shorter by as much.
func (k *kalman) push(far *[hop]float64) {
	for ; k.missing > 0; k.missing-- {
		k.earlier()
	}
	k.stopped = false
	k.now = (k.now + 1) % parts
	copy(k.block[:hop], k.last[:])
	copy(k.block[hop:], far[:])
	k.last = *far
	k.fft.Coefficients(k.x[k.now][:], k.block[:])
}

// later moves the path by a part: what was played came a hop earlier than was thought.
func (k *kalman) later() {
	copy(k.w[1:], k.w[:parts-1])
	copy(k.p[1:], k.p[:parts-1])
	k.w[0] = spectrum{}
}

// earlier is the other way.
func (k *kalman) earlier() {
	copy(k.w[:], k.w[1:])
	copy(k.p[:], k.p[1:])
	k.w[parts-1] = spectrum{}
}

// cancel takes the echo out of mic, and learns. echo is what it took out.
func (k *kalman) cancel(out, echo, mic *[hop]float64) {
	k.y, k.unsure = spectrum{}, [bins]float64{}
	for p := k.missing; p < parts; p++ {
		x, w, cov := &k.x[(k.now+k.missing-p+parts)%parts], &k.w[p], &k.p[p]
		for i, v := range x {
			k.y[i] += w[i] * v
			k.unsure[i] += cov[i] * power(v)
		}
	}
	k.fft.Sequence(k.block[:], k.y[:])
	clear(k.block[:hop])
	for i := range hop {
		v := k.block[hop+i] / size
		echo[i] = v
		out[i] = mic[i] - v
		k.block[hop+i] = out[i]
	}
	k.fft.Coefficients(k.e[:], k.block[:])
	k.harm(out, mic)
	k.learn()
}

func power(v complex128) float64 { return real(v)*real(v) + imag(v)*imag(v) }

// learn moves the path by what is left of the echo.
func (k *kalman) learn() {
	var step spectrum // E over what it is made of
	var part, wrong, around [bins]float64
	for i, e := range k.e {
		k.left[i] = errorMemory*k.left[i] + (1-errorMemory)*power(e)
		y := k.y[i]
		k.estimated[i] = coherenceMemory*k.estimated[i] + (1-coherenceMemory)*power(y)/2
		k.cross[i] = complex(coherenceMemory, 0)*k.cross[i] + complex((1-coherenceMemory), 0)*e*conj(y)
		k.crossLeft[i] = coherenceMemory*k.crossLeft[i] + (1-coherenceMemory)*power(e)
		near := 2 * max(k.left[i], power(e))
		part[i] = 1 / (k.unsure[i] + near + tiny)
		step[i] = e * complex(part[i], 0)
	}
	// What is left and looks like the estimate all over is no near end: the path has changed, by as much.
	var alike, loud float64
	for i := range k.cross {
		if k.estimated[i] > 100*size {
			alike += power(k.cross[i]) / (k.estimated[i]*k.crossLeft[i] + tiny)
			loud++
		}
	}
	if loud > bins/8 {
		k.alike = alikeMemory*k.alike + (1-alikeMemory)*alike/loud
	}
	if sure := min(1, 1.5*(k.alike-doubt)/doubt); sure > 0 && loud > bins/8 {
		for i := range wrong {
			wrong[i] = sure * min(1, power(k.cross[i])/(k.estimated[i]*k.estimated[i]+tiny))
		}
	}
	for p := k.missing; p < parts; p++ {
		x, w, cov := &k.x[(k.now+k.missing-p+parts)%parts], &k.w[p], &k.p[p]
		for i, v := range x {
			c := cov[i]
			w[i] += complex(c, 0) * conj(v) * step[i]
			size := power(w[i])
			c *= 1 - 0.5*c*power(v)*part[i]
			c = transition*transition*c + (1-transition*transition)*size
			// Not by the built-in max, which minds NaN and takes its time.
			near := spread * around[i]
			if size > near {
				near = size
			}
			around[i] = near
			if change := wrong[i] * near; change > c {
				c = change
			}
			cov[i] = c
		}
	}
	if k.harmful > patience {
		k.forget()
		return
	}
	for range constrained {
		k.confine(k.turn)
		k.turn = (k.turn + 1) % parts
	}
}

// patience is for how many hops the filter may make things worse, in all, until it begins anew.
const patience = 20

// harm counts the hops in which more is left than was heard.
func (k *kalman) harm(left, heard *[hop]float64) {
	const memory = 0.8
	var after, before float64
	for i := range left {
		after += left[i] * left[i]
		before += heard[i] * heard[i]
	}
	k.after = memory*k.after + (1-memory)*after
	k.before = memory*k.before + (1-memory)*before
	switch {
	case k.after > 1.5*k.before && k.after > 100*hop:
		k.harmful++
	case k.harmful > 0:
		k.harmful--
	}
}

func conj(v complex128) complex128 { return complex(real(v), -imag(v)) }

// confine makes part p as long as a hop: what stands after it came around the circle of the transform.
func (k *kalman) confine(p int) {
	k.fft.Sequence(k.block[:], k.w[p][:])
	for i := range hop {
		k.block[i] /= size
	}
	clear(k.block[hop:])
	k.fft.Coefficients(k.w[p][:], k.block[:])
}
