// Package indicator decides what the light shows, and drives it. What it shows is a pure function of the appliance's
// state: nothing in call or network code ever switches a light.
package indicator

import (
	"fmt"
	"time"
)

// State is what the appliance knows of itself. The zero value is a device that is well and idle.
type State struct {
	Provisioning  bool // not set up yet, or being set up
	NoNetwork     bool // no network at all
	Refused       bool // the platform refuses our credentials
	NotRegistered bool // the line is down or still registering
	Updating      bool // firmware is being written
	Ringing       bool // a call rings, here or there
	Talking       bool // a call is active
	Muted         bool // the microphone is off
	Reset         Reset
}

// Reset is a button that is held to reset the device.
type Reset struct {
	Held bool
	Left time.Duration // in whole seconds; at 0 it is time to let go
}

// Colour of the light.
type Colour string

// Colours, far enough apart for the colour-blind when their blinking is counted in.
const (
	Blue   Colour = "blue"
	Red    Colour = "red"
	Yellow Colour = "yellow"
	Purple Colour = "purple"
	Green  Colour = "green"
	White  Colour = "white"
)

// Pattern is what the light shows. It is lit for Duty percent of each Period; a Period of 0 means steadily lit.
type Pattern struct {
	Name    string        `json:"name"`
	Colour  Colour        `json:"colour"`
	Period  time.Duration `json:"period"`
	Duty    int           `json:"duty"` // percent
	Meaning string        `json:"meaning"`
}

// String describes the pattern for a person: "green, steady: a call is active: speak".
func (p Pattern) String() string {
	if p.Period == 0 {
		return fmt.Sprintf("%s, steady: %s", p.Colour, p.Meaning)
	}
	return fmt.Sprintf("%s, blinking each %s: %s", p.Colour, p.Period, p.Meaning)
}

// Lit tells whether the light is on at the given time since the pattern began.
func (p Pattern) Lit(since time.Duration) bool {
	if p.Period <= 0 {
		return p.Duty > 0
	}
	return since%p.Period < p.Period*time.Duration(p.Duty)/100
}

// rules in order of importance: the first whose condition holds is shown. A single-colour light tells them apart by
// period and duty alone, so no two are alike in both.
var rules = []struct {
	when func(State) bool
	Pattern
}{
	{func(s State) bool { return s.Provisioning }, Pattern{"provisioning", Blue, 2 * time.Second, 50, "waits to be set up"}},
	{func(s State) bool { return s.NoNetwork }, Pattern{"no-network", Red, 2 * time.Second, 10, "no network: check the cable or the Wi-Fi"}},
	{func(s State) bool { return s.Refused }, Pattern{"refused", Red, 500 * time.Millisecond, 50, "the platform refuses the credentials: give the device a new token"}},
	{func(s State) bool { return s.NotRegistered }, Pattern{"not-registered", Yellow, time.Second, 50, "the line is not registered yet"}},
	{func(s State) bool { return s.Updating }, Pattern{"updating", Purple, time.Second, 80, "firmware is being updated: do not cut the power"}},
	{func(s State) bool { return s.Ringing }, Pattern{"ringing", Green, 400 * time.Millisecond, 50, "a call is ringing"}},
	{func(s State) bool { return s.Talking }, Pattern{"talking", Green, 0, 100, "a call is active: speak"}},
	{func(s State) bool { return s.Muted }, Pattern{"muted", Yellow, 4 * time.Second, 90, "the microphone is off"}},
	{func(State) bool { return true }, Pattern{"idle", White, 5 * time.Second, 2, "ready"}},
}

// countDown is shown on top of all else: it blinks faster from second to second.
func countDown(left time.Duration) Pattern {
	if left <= 0 {
		return Pattern{"reset", White, 100 * time.Millisecond, 50, "let the button go now, and the device is reset; hold it, and all stays"}
	}
	return Pattern{"reset-" + left.String(), Red, 150*time.Millisecond + left/10, 30, "reset in " + left.String() + ": let the button go, and all stays"}
}

// For gives the pattern that s calls for.
func For(s State) Pattern {
	if s.Reset.Held {
		return countDown(s.Reset.Left)
	}
	for _, r := range rules {
		if r.when(s) {
			return r.Pattern
		}
	}
	panic("unreachable: the last rule always holds")
}
