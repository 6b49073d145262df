package audiotest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sidetone/audio"
)

// What CompareSpeech's Report calls the same speech.
const (
	MinCorrelation = 0.9                    // of each band's envelopes
	MaxLevel       = 6.0                    // dB, up or down
	MaxGap         = 20 * time.Millisecond  // of silence that the input lacks
	MaxMoved       = 100 * time.Millisecond // of the lag on the way, in sum
)

// Report says how far out is the speech in.
type Report struct {
	// Lag is how much later than in out has the same sound, to the millisecond.
	Lag time.Duration
	// Overlap is how much of the two could be compared.
	Overlap time.Duration
	// Correlation of the envelopes, band by band from 100 to 7000 Hz; see BandEdges.
	Correlation [Bands]float64
	// Level is how much louder out is, in dB.
	Level float64
	// Gaps are silences of more than MaxGap in out where in has sound, in out's time.
	Gaps []Gap
	// Moved is by how much the lag changed on the way, in sum; see CompareMoved.
	Moved time.Duration
}

// Gap is a hole in what was heard.
type Gap struct{ Start, Duration time.Duration }

// Err is nil when out holds the speech, else it says what does not.
func (r Report) Err() error {
	var errs []error
	if r.Overlap < time.Second {
		errs = append(errs, fmt.Errorf("only %v of sound lies on the input's", r.Overlap))
	}
	edges := BandEdges()
	for b, c := range r.Correlation {
		if c <= MinCorrelation {
			errs = append(errs, fmt.Errorf("envelopes correlate %.3f between %.0f and %.0f Hz, want above %g", c, edges[b], edges[b+1], MinCorrelation))
		}
	}
	if !(math.Abs(r.Level) <= MaxLevel) {
		errs = append(errs, fmt.Errorf("level changed by %.1f dB, want at most %g", r.Level, MaxLevel))
	}
	if r.Moved > MaxMoved {
		errs = append(errs, fmt.Errorf("the sound moved by %v in sum, want at most %v", r.Moved, MaxMoved))
	}
	for _, g := range r.Gaps {
		errs = append(errs, fmt.Errorf("a gap of %v at %v that the input lacks", g.Duration, g.Start))
	}
	return errors.Join(errs...)
}

// String is the report in a few words.
func (r Report) String() string {
	var c strings.Builder
	for _, v := range r.Correlation {
		fmt.Fprintf(&c, " %.3f", v)
	}
	return fmt.Sprintf("lag %v, moved %v, overlap %v, bands%s, level %+.1f dB, gaps %v", r.Lag, r.Moved, r.Overlap, c.String(), r.Level, r.Gaps)
}

// CompareSpeech finds in within out, whatever the delay, and measures how much of it is there.
func CompareSpeech(in, out []int16) Report {
	var r Report
	r.Lag = Align(in, out)
	in, out = Shift(in, out, r.Lag)
	r.Overlap = duration(len(in))
	if len(in) == 0 {
		return r
	}
	a, b := BandEnvelopes(in), BandEnvelopes(out)
	for i := range a {
		r.Correlation[i] = Correlation(a[i], b[i])
	}
	r.Level = LevelDifference(in, out)
	r.Gaps = Gaps(in, out)
	if r.Lag > 0 {
		for i := range r.Gaps {
			r.Gaps[i].Start += r.Lag
		}
	}
	return r
}

// Align finds how much later than in out has the same sound, to the millisecond, by their envelopes, which no codec
// moves. It is negative when out began later than in and its head is missing.
func Align(in, out []int16) time.Duration {
	if len(in) < audio.FrameSamples || len(out) < audio.FrameSamples {
		return 0
	}
	return time.Duration(lag(envelope(in), envelope(out))) * time.Second / EnvelopeRate
}

// Shift cuts in and out, which is later by lag, to what both have.
func Shift(in, out []int16, lag time.Duration) (a, b []int16) {
	n := int(lag * audio.SampleRate / time.Second)
	if n > 0 {
		out = out[min(n, len(out)):]
	} else {
		in = in[min(-n, len(in)):]
	}
	both := min(len(in), len(out))
	return in[:both], out[:both]
}

// LevelDifference is how much louder than in out is, in dB; infinite when one is silent.
func LevelDifference(in, out []int16) float64 { return Level(out) - Level(in) }

// Level is the root mean square of pcm in dB under a full-scale sine's (dBFS); -Inf for silence.
func Level(pcm []int16) float64 {
	var sum float64
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	return 10 * math.Log10(2*sum/float64(max(len(pcm), 1))/(math.MaxInt16*math.MaxInt16))
}

// Gaps lists where out is silent for more than MaxGap while in, which is aligned with it, has sound. Silent is 40 dB
// below the loud parts of the same recording, sound is no more than 25 dB below them.
func Gaps(in, out []int16) []Gap {
	a, b := blockLevels(in), blockLevels(out)
	silent, sound := loud(b)-40, loud(a)-25
	var gaps []Gap
	for i := 0; i < len(b); i++ {
		start, lacks := i, 0
		for i < len(b) && b[i] < silent {
			if i < len(a) && a[i] > sound {
				lacks++
			}
			i++
		}
		if d := time.Duration(lacks) * time.Millisecond; d > MaxGap {
			gaps = append(gaps, Gap{Start: time.Duration(start) * time.Millisecond, Duration: time.Duration(i-start) * time.Millisecond})
		}
	}
	return gaps
}

// blockLevels gives the level of each millisecond in dBFS, taken over 2 ms, so that a hole looks 2 ms shorter at most.
func blockLevels(pcm []int16) []float64 {
	const step = audio.SampleRate / 1000
	out := make([]float64, len(pcm)/step)
	for i := range out {
		out[i] = Level(pcm[i*step : min((i+2)*step, len(pcm))])
	}
	return out
}

// loud is the level that one block in twenty exceeds.
func loud(levels []float64) float64 {
	if len(levels) == 0 {
		return math.Inf(-1)
	}
	s := slices.Clone(levels)
	slices.Sort(s)
	if v := s[len(s)*19/20]; !math.IsInf(v, -1) {
		return v
	}
	return 0 // nothing but silence: all of it counts as silent
}

func duration(samples int) time.Duration {
	return time.Duration(samples) * time.Second / audio.SampleRate
}
