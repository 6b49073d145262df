package audiotest

import (
	"math"
	"slices"

	"sidetone/audio"

	"gonum.org/v1/gonum/dsp/fourier"
	"gonum.org/v1/gonum/dsp/window"
)

// Tone is a peak of a spectrum.
type Tone struct {
	Hz    float64
	Level float64 // dBFS: 0 is a full-scale sine
}

// Tones finds the tones in pcm, the loudest first, at most eight, none weaker than 40 dB below the first or than
// -60 dBFS. The spectrum is a mean over windows of 170 ms: two tones need 20 Hz between them, and a tone that sounds half
// of the time is 3 dB lower. The frequency is good to about 1 Hz.
func Tones(pcm []int16) []Tone {
	const size = 8192
	const hop = size / 2
	if len(pcm) < size {
		pcm = append(slices.Clone(pcm), make([]int16, size-len(pcm))...)
	}
	fft := fourier.NewFFT(size)
	power := make([]float64, size/2+1)
	x, windows := make([]float64, size), 0
	var spectrum []complex128
	for at := 0; at+size <= len(pcm); at += hop {
		for i := range x {
			x[i] = float64(pcm[at+i]) / math.MaxInt16
		}
		spectrum = fft.Coefficients(spectrum, window.Hann(x))
		for i, c := range spectrum {
			power[i] += real(c)*real(c) + imag(c)*imag(c)
		}
		windows++
	}
	// A sine of amplitude 1 gives the three bins around it size^2/16 * 1.5 in sum under Hann's window.
	scale := 16 / (1.5 * size * size * float64(windows))

	var tones []Tone
	for i := 3; i < len(power)-3; i++ {
		p := power[i]
		if p <= power[i-1] || p < power[i+1] || p <= power[i-2] || p < power[i+2] {
			continue
		}
		sum := 0.0
		for _, v := range power[i-2 : i+3] {
			sum += v
		}
		l, m, r := math.Log(power[i-1]+1e-30), math.Log(p+1e-30), math.Log(power[i+1]+1e-30)
		offset := (l - r) / 2 / (l - 2*m + r)
		tones = append(tones, Tone{
			Hz:    (float64(i) + offset) * audio.SampleRate / size,
			Level: 10 * math.Log10(sum*scale),
		})
	}
	slices.SortFunc(tones, func(a, b Tone) int {
		if a.Level > b.Level {
			return -1
		}
		return 1
	})
	floor := -60.0
	if len(tones) > 0 {
		floor = max(floor, tones[0].Level-40)
	}
	for i, t := range tones {
		if t.Level < floor || i == 8 {
			return tones[:i]
		}
	}
	return tones
}

// HasTone reports whether a tone within 5 Hz of hz is among the strongest in pcm.
func HasTone(pcm []int16, hz float64) bool {
	for _, t := range Tones(pcm) {
		if math.Abs(t.Hz-hz) <= 5 {
			return true
		}
	}
	return false
}

// Digits finds the DTMF digits in pcm, in order (ITU-T Q.23; a digit lasts at least 40 ms, as does the rest after it).
func Digits(pcm []int16) string {
	const block = audio.SampleRate / 50
	const keypad = "123A456B789C*0#D"
	rows, columns := [4]float64{697, 770, 852, 941}, [4]float64{1209, 1336, 1477, 1633}
	var digits []byte
	var last, told byte
	for ; len(pcm) >= block; pcm = pcm[block:] {
		now := byte(0)
		r, row := strongest(pcm[:block], rows)
		c, column := strongest(pcm[:block], columns)
		total := 0.0
		for _, v := range pcm[:block] {
			total += float64(v) * float64(v)
		}
		// Both at about the same level, and nothing else besides.
		if both := (row + column) * block / 2; both > 0.7*total && both > block*1e4 && row < 8*column && column < 8*row {
			now = keypad[r*4+c]
		}
		if now == last && now != told {
			if now != 0 {
				digits = append(digits, now)
			}
			told = now
		}
		last = now
	}
	return string(digits)
}

// strongest finds which of four tones is the strongest in x, and the square of its amplitude (Goertzel).
func strongest(x []int16, hz [4]float64) (at int, power float64) {
	for i, f := range hz {
		c := 2 * math.Cos(2*math.Pi*f/audio.SampleRate)
		var s1, s2 float64
		for _, v := range x {
			s1, s2 = float64(v)+c*s1-s2, s1
		}
		n := float64(len(x))
		if p := 4 * (s1*s1 + s2*s2 - c*s1*s2) / (n * n); p > power {
			at, power = i, p
		}
	}
	return at, power
}
