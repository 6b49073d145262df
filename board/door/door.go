// Package door decides who may open the door: Step(state, input, now) -> state, actions. It is pure, and counts by the
// monotonic part of now; the wall clock is asked for the hours of codes alone, and only where it is known to be right.
package door

import (
	"slices"
	"strings"
	"time"
)

// Config says what there is to open, and for whom.
type Config struct {
	Relays    []Relay
	Codes     []Code
	AllowFrom []string // numbers, exactly or by their beginning ("+1555*"), whose digits count in calls that they placed
	ExitRelay string   // what the exit button opens
	FromAfar  bool     // whether commands that come over a network open anything
	// Tries is how many wrong codes are heard in one call; as many, over calls or at the keypad, lock all codes of that way
	// out for Lockout, which doubles each time, up to an hour. A right code begins anew.
	Tries       int
	Lockout     time.Duration
	TamperBlock time.Duration // how long nothing opens after the housing was closed again
	OpenTooLong time.Duration // 0: never
}

// Relay is one lock.
type Relay struct {
	Name  string
	Pulse time.Duration // how long it is open
	Delay time.Duration // until it opens
	MaxOn time.Duration // how long it is open at the most, however often it is asked for
}

// Way is how the door was asked to open.
type Way string

// Ways.
const (
	ByDTMF    Way = "dtmf"    // a code, in a call
	ByKeypad  Way = "keypad"  // a code, at the door
	ByExit    Way = "exit"    // the button inside
	ByCommand Way = "command" // from the device's own socket
	FromAfar  Way = "fleet"   // a command over a network
)

// Call is one in which a digit came.
type Call struct {
	ID     string
	Active bool
	Placed bool   // by this device
	Remote string // the caller's number as it was when the call came, or whom we called
}

// Kind of an Input.
type Kind string

// Inputs, and the fields of Input that each uses.
const (
	Digit   Kind = "digit"     // Call, Text: the far side pressed it
	Over    Kind = "call over" // Call.ID
	Key     Kind = "key"       // Text: pressed at the keypad
	Knock   Kind = "knock"     // the code button was pressed: so many presses are a digit
	Exit    Kind = "exit"      // the exit button was pressed
	Command Kind = "command"   // Way, Who, Relay, For
	Contact Kind = "contact"   // On: the door is open
	Tamper  Kind = "tamper"    // On: the housing is open
	Tick    Kind = "tick"      // it is Due
)

// Input is one thing that happened.
type Input struct {
	Kind      Kind
	Call      Call
	Text      string
	On        bool
	Way       Way
	Who       string        // who gave the command
	Relay     string        // empty: the first
	For       time.Duration // 0: the relay's own
	ClockGood bool          // the wall clock may be believed
}

// ActionKind says what is to be done.
type ActionKind string

// Actions.
const (
	Pulse ActionKind = "pulse" // Relay, For: open for so long from now
	Safe  ActionKind = "safe"  // every relay: shut now
	Tell  ActionKind = "tell"  // Record
	Keep  ActionKind = "keep"  // State.Kept has changed: it must outlive us
)

// Action is one thing to be done.
type Action struct {
	Kind   ActionKind
	Relay  string
	For    time.Duration
	Record Record
}

// Event is what a Record is about.
type Event string

// Events.
const (
	Unlock      Event = "unlock"        // somebody asked; see Granted
	LockedOut   Event = "locked_out"    // too many wrong codes
	Opened      Event = "opened"        // the door, after it was unlocked
	ForcedOpen  Event = "forced_open"   // the door, without
	OpenTooLong Event = "open_too_long" // the door still is
	Closed      Event = "closed"        // the door
	Tampered    Event = "tamper"        // the housing was opened; nothing unlocks
	TamperOver  Event = "tamper_over"   // the block has ended
)

// Reason is why somebody was refused.
type Reason string

// Reasons.
const (
	NotAllowed Reason = "caller_not_allowed"
	TooMany    Reason = "too_many_tries"
	Locked     Reason = "locked_out"
	Wrong      Reason = "wrong_code"
	NotYet     Reason = "not_yet_valid"
	Expired    Reason = "expired"
	OffHours   Reason = "outside_hours"
	NoClock    Reason = "clock_not_set"
	Blocked    Reason = "tamper"
	NoRelay    Reason = "no_such_relay"
	Disabled   Reason = "disabled"
)

// Record is what the audit tells. It never holds a digit.
type Record struct {
	Event   Event  `json:"event"`
	Granted bool   `json:"granted"`
	Reason  Reason `json:"reason,omitempty"`
	Relay   string `json:"relay,omitempty"`
	How     Way    `json:"how,omitempty"`
	Who     string `json:"who,omitempty"`  // the far side of the call, or who gave the command
	Code    string `json:"code,omitempty"` // the name of the code
	CallID  string `json:"call_id,omitempty"`
}

// Kept is what outlives a restart. It tells how much is left of a block and not when it ends: a clock can be wrong, or be
// set wrong, and time without power does not count. So a restart never shortens a block.
type Kept struct {
	TamperLeft time.Duration `json:"tamper_left,omitempty"`
	DTMF       KeptTries     `json:"dtmf,omitzero"`
	Keypad     KeptTries     `json:"keypad,omitzero"`
}

// KeptTries are the wrong codes of one way.
type KeptTries struct {
	Wrong int           `json:"wrong,omitempty"`
	Left  time.Duration `json:"left,omitempty"`
}

// relay finds a relay; no name is the first one's.
func (c *Config) relay(name string) (Relay, bool) {
	i := slices.IndexFunc(c.Relays, func(r Relay) bool { return name == "" || r.Name == name })
	if i < 0 {
		return Relay{}, false
	}
	return c.Relays[i], true
}

// allows tells whether digits of a caller count.
func (c *Config) allows(number string) bool {
	return slices.ContainsFunc(c.AllowFrom, func(entry string) bool {
		if beginning, ok := strings.CutSuffix(entry, "*"); ok {
			return beginning != "" && strings.HasPrefix(number, beginning)
		}
		return entry == number && number != ""
	})
}
