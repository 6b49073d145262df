package audiotest

import (
	"math"
	"math/rand/v2"
	"time"

	"sidetone/audio"

	"gonum.org/v1/gonum/dsp/fourier"
)

// RoomResponse makes the impulse response, at 48 kHz, from a loudspeaker to a microphone 12 cm away, both on a wall of a
// furnished room that sounds for rt60 (the time in which sound falls by 60 dB), by the image source method (Allen and
// Berkley, 1979) with a spread of the images, as real walls have it. The same seed gives the same room.
func RoomResponse(seed uint64, rt60 time.Duration) []float64 {
	const speed, apart, spread = 343.0, 0.12, 0.08 // m/s, m, m
	rng := rand.New(rand.NewPCG(seed, 1))
	uniform := func(from, to float64) float64 { return from + (to-from)*rng.Float64() }
	size := [3]float64{uniform(3, 6), uniform(2.5, 5), uniform(2.4, 3)}
	from := [3]float64{uniform(1, size[0]-1), 0.05, uniform(1.2, 1.6)}
	to := from
	angle := uniform(0, 2*math.Pi)
	to[0] += apart * math.Cos(angle)
	to[2] += apart * math.Sin(angle)

	// Eyring's formula gives what the walls take for this rt60. A reflection turns the phase.
	volume := size[0] * size[1] * size[2]
	surface := 2 * (size[0]*size[1] + size[1]*size[2] + size[0]*size[2])
	reflected := -math.Exp(-0.161 * volume / (surface * rt60.Seconds()) / 2)

	h := make([]float64, int((rt60+10*time.Millisecond).Seconds()*audio.SampleRate))
	reach := speed * rt60.Seconds()
	var most [3]int
	for i := range most {
		most[i] = int(reach/(2*size[i])) + 1
	}
	for nx := -most[0]; nx <= most[0]; nx++ {
		for ny := -most[1]; ny <= most[1]; ny++ {
			for nz := -most[2]; nz <= most[2]; nz++ {
				for mirror := range 8 {
					n, d2, walls := [3]int{nx, ny, nz}, 0.0, 0
					for i := range 3 {
						flip := mirror >> i & 1
						at := from[i]
						if flip == 1 {
							at = -at
						}
						d := at + 2*float64(n[i])*size[i] - to[i]
						walls += abs(n[i]-flip) + abs(n[i])
						d2 += d * d
					}
					d := math.Sqrt(d2)
					if d > reach {
						continue
					}
					if walls > 0 {
						d = max(apart, d+spread*rng.NormFloat64())
					}
					impulse(h, d/speed*audio.SampleRate, math.Pow(reflected, float64(walls))/d)
				}
			}
		}
	}
	return h
}

func abs(n int) int { return max(n, -n) }

// impulse adds an impulse between samples, by a windowed sinc.
func impulse(h []float64, at, gain float64) {
	const half = 12
	centre := int(math.Floor(at))
	sine := math.Sin(math.Pi * (at - float64(centre)))
	for i := max(0, centre-half+1); i <= min(len(h)-1, centre+half); i++ {
		x := float64(i) - at
		v := 1.0
		if math.Abs(x) > 1e-9 {
			// sin(pi x) is that of the fraction, with the sign of the whole part.
			v = -sine / (math.Pi * x)
			if (i-centre)&1 == 1 {
				v = -v
			}
		}
		h[i] += gain * v * (0.5 + 0.5*math.Cos(math.Pi*x/(half+1)))
	}
}

// EchoScene is what stands between a loudspeaker and a microphone.
type EchoScene struct {
	Seed   uint64        // of the room
	RT60   time.Duration // how long the room sounds
	Delay  time.Duration // of the sound card's buffers
	Return float64       // level of the echo over what was played, in dB
	Clip   float64       // where an overdriven loudspeaker stops, as a share of the loudest sample; 0: nowhere
	Change time.Duration // when the path becomes another one; 0: never
	Drift  float64       // by how many parts in a million the playback clock is slower than the one of capture
	Noise  float64       // of the microphone, in dB below full scale; 0: none
}

// Microphone gives what the microphone hears of far, which is played, and near, which is spoken to it.
func (s EchoScene) Microphone(far, near []int16) []int16 {
	played := make([]float64, len(far))
	loudest := 0.0
	for i, v := range far {
		played[i] = float64(v)
		loudest = max(loudest, math.Abs(played[i]))
	}
	if s.Clip > 0 {
		for i, v := range played {
			played[i] = max(-s.Clip*loudest, min(s.Clip*loudest, v))
		}
	}
	echo := convolve(played, RoomResponse(s.Seed, s.RT60))
	if s.Change > 0 {
		// Another place in another room: nothing of the path stays but its delay. The sound moves over in 5 ms.
		other := convolve(played, RoomResponse(s.Seed+1000, s.RT60))
		at, over := int(s.Change.Seconds()*audio.SampleRate), audio.SampleRate/200
		gain := math.Sqrt(power(echo) / power(other))
		for i := at; i < len(echo); i++ {
			share := min(1, float64(i-at)/float64(over))
			echo[i] = (1-share)*echo[i] + share*gain*other[i]
		}
	}
	gain := math.Pow(10, s.Return/20) * math.Sqrt(power(played)/(power(echo)+1e-9))
	rng := rand.New(rand.NewPCG(s.Seed, 2))
	noise := 0.0
	if s.Noise != 0 {
		noise = math.MaxInt16 * math.Pow(10, -math.Abs(s.Noise)/20)
	}
	out := make([]int16, len(far))
	for i := range out {
		// A slow playback clock makes what it plays longer.
		v := gain * between(echo, float64(i)*(1-s.Drift*1e-6)-s.Delay.Seconds()*audio.SampleRate)
		if i < len(near) {
			v += float64(near[i])
		}
		v += noise * rng.NormFloat64()
		out[i] = int16(math.Round(max(math.MinInt16, min(math.MaxInt16, v))))
	}
	return out
}

func power(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	return sum / float64(max(1, len(x)))
}

// between gives x between its samples, by a windowed sinc.
func between(x []float64, at float64) float64 {
	const half = 32
	whole := math.Floor(at)
	centre, frac := int(whole), at-whole
	if centre < 0 || centre >= len(x) {
		return 0
	}
	if frac < 1e-9 {
		return x[centre]
	}
	sum, sine := 0.0, math.Sin(math.Pi*frac)
	for i := max(0, centre-half+1); i <= min(len(x)-1, centre+half); i++ {
		d := float64(i) - at
		v := -sine / (math.Pi * d) * (0.5 + 0.5*math.Cos(math.Pi*d/(half+1)))
		if (i-centre)&1 == 1 {
			v = -v
		}
		sum += v * x[i]
	}
	return sum
}

// convolve gives as much of x through h as x is long.
func convolve(x, h []float64) []float64 {
	n := 1
	for n < 4*len(h) {
		n *= 2
	}
	step := n - len(h)
	fft := fourier.NewFFT(n)
	block := make([]float64, n)
	copy(block, h)
	spectrum := fft.Coefficients(nil, block)
	out := make([]float64, len(x))
	var c []complex128
	for at := 0; at < len(x); at += step {
		clear(block)
		copy(block, x[at:min(len(x), at+step)])
		if c == nil {
			c = make([]complex128, len(spectrum))
		}
		fft.Coefficients(c, block)
		for i := range c {
			c[i] *= spectrum[i]
		}
		fft.Sequence(block, c)
		for i := range min(n, len(x)-at) {
			out[at+i] += block[i] / float64(n)
		}
	}
	return out
}
