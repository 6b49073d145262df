// Package board says what the hardware around us has, as data: a profile per board, and the events that it makes.
package board

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// LED is the kind of light a board has.
type LED string

// Kinds of light.
const (
	LEDNone     LED = "none"
	LEDTerminal LED = "terminal" // a line of words where the daemon runs
	LEDSingle   LED = "single"   // one colour: only the blinking tells states apart
	LEDRGB      LED = "rgb"
)

// Button is one button of a board: a key in the terminal or an input pin, whichever is set.
type Button struct {
	Name string // as in [[buttons]] of the config
	Key  rune   // the terminal's key
	Pin  string // the pin's name, as the kernel's gpio line names have it
}

// Profile is what a board has.
type Profile struct {
	Name     string
	Title    string   // in words
	Terminal bool     // buttons are keys of the terminal that the daemon runs in
	Buttons  []Button // those that the board has whatever the config says
	LED      LED
	Card     string // the sound card's name; "" lets the config or the system choose
	NoEcho   bool   // the sound card takes echoes away itself
	// Complexity is how hard Opus works, 0 to 10, where the config leaves it to the board. What browsers use on ARM is 5:
	// above it the ear hears little and a small board sweats.
	Complexity int
}

// Press is a button that was pressed.
type Press struct {
	Button string
	Time   time.Time
}

// profiles are all boards known.
var profiles = []Profile{
	{
		Name:     "sim",
		Title:    "simulated: keys of the terminal are the buttons",
		Terminal: true,
		Buttons:  []Button{{Name: "call", Key: 'c'}},
		LED:      LEDTerminal,

		Complexity: 5,
	},
}

// Lookup gives the profile of that name, or an error that names those there are.
func Lookup(name string) (Profile, error) {
	for _, p := range profiles {
		if p.Name == name {
			p.Buttons = slices.Clone(p.Buttons)
			return p, nil
		}
	}
	return Profile{}, fmt.Errorf("no board profile %q; there is %s", name, strings.Join(Names(), ", "))
}

// Names lists the profiles.
func Names() []string {
	names := make([]string, len(profiles))
	for i, p := range profiles {
		names[i] = p.Name
	}
	return names
}
