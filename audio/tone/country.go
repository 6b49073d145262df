package tone

import (
	"slices"
	"strings"
	"time"
)

// plan is how one country's exchanges sound (ITU-T E.180 and its list of national tones).
type plan struct{ ringback, busy, congestion []step }

const ms = time.Millisecond

// on is a tone of one or two frequencies, off a pause.
func on(d time.Duration, hz ...float64) step {
	s := step{duration: d}
	copy(s.freqs[:], hz)
	return s
}

func off(d time.Duration) step { return step{duration: d} }

// plans by ISO 3166 country code, in lower case.
var plans = map[string]plan{
	"us": {
		ringback:   []step{on(2000*ms, 440, 480), off(4000 * ms)},
		busy:       []step{on(500*ms, 480, 620), off(500 * ms)},
		congestion: []step{on(250*ms, 480, 620), off(250 * ms)},
	},
	"gb": {
		ringback:   []step{on(400*ms, 400, 450), off(200 * ms), on(400*ms, 400, 450), off(2000 * ms)},
		busy:       []step{on(375*ms, 400), off(375 * ms)},
		congestion: []step{on(400*ms, 400), off(350 * ms), on(225*ms, 400), off(525 * ms)},
	},
	"de": {
		ringback:   []step{on(1000*ms, 425), off(4000 * ms)},
		busy:       []step{on(480*ms, 425), off(480 * ms)},
		congestion: []step{on(240*ms, 425), off(240 * ms)},
	},
	"fr": {
		ringback:   []step{on(1500*ms, 440), off(3500 * ms)},
		busy:       []step{on(500*ms, 440), off(500 * ms)},
		congestion: []step{on(250*ms, 440), off(250 * ms)},
	},
	"it": {
		ringback:   []step{on(1000*ms, 425), off(4000 * ms)},
		busy:       []step{on(500*ms, 425), off(500 * ms)},
		congestion: []step{on(200*ms, 425), off(200 * ms)},
	},
	"es": {
		ringback:   []step{on(1500*ms, 425), off(3000 * ms)},
		busy:       []step{on(200*ms, 425), off(200 * ms)},
		congestion: []step{on(200*ms, 425), off(200 * ms), on(200*ms, 425), off(200 * ms), on(200*ms, 425), off(600 * ms)},
	},
	"au": {
		ringback:   []step{on(400*ms, 400, 450), off(200 * ms), on(400*ms, 400, 450), off(2000 * ms)},
		busy:       []step{on(375*ms, 425), off(375 * ms)},
		congestion: []step{on(375*ms, 425), off(375 * ms)},
	},
}

// planOf finds a country's plan; uk is taken for gb, and a country that the table lacks sounds like us.
func planOf(country string) plan {
	country = strings.ToLower(country)
	if country == "uk" {
		country = "gb"
	}
	if p, ok := plans[country]; ok {
		return p
	}
	return plans["us"]
}

// Countries lists the codes (ISO 3166, lower case) that Ringback, Busy and Congestion know; uk is understood as well.
func Countries() []string {
	var codes []string
	for c := range plans {
		codes = append(codes, c)
	}
	slices.Sort(codes)
	return codes
}

// Ringback is what a caller hears while the far side rings, as exchanges of that country sound (ITU-T E.180).
// A country that is not known sounds like us.
func Ringback(country string) *Generator {
	return newGenerator(Level, true, planOf(country).ringback...)
}

// Busy is what a caller hears when the far side is in another call.
func Busy(country string) *Generator { return newGenerator(Level, true, planOf(country).busy...) }

// Congestion is what a caller hears when the call found no way.
func Congestion(country string) *Generator {
	return newGenerator(Level, true, planOf(country).congestion...)
}

// Error is the special information tone, three rising notes and a pause (ITU-T E.180, section 7): the call failed.
func Error() *Generator {
	return newGenerator(Level, true, on(330*ms, 950), on(330*ms, 1400), on(330*ms, 1800), off(1000*ms))
}

// ErrorLength is how long Error takes once, without its pause, and ChimeLength how long Chime takes.
const (
	ErrorLength = 3 * 330 * time.Millisecond
	ChimeLength = 1200 * time.Millisecond
)

// Chime is two falling notes, once: the door is open.
func Chime() *Generator {
	return newGenerator(Level, false, on(400*ms, 659.26), on(800*ms, 523.25))
}

// Beep is one note, once: a count-down goes on.
func Beep(d time.Duration) *Generator { return newGenerator(Level, false, on(d, 880)) }

// Ring is the device's own bell: a warble of a second, then two seconds of rest.
func Ring() *Generator {
	var steps []step
	for range 10 {
		steps = append(steps, on(50*ms, 880), on(50*ms, 1109))
	}
	return newGenerator(Level, true, append(steps, off(2000*ms))...)
}
