package config

import (
	"slices"
	"strings"
	"time"
)

// Door says what the device unlocks, and for whom. Without Relays it has no door.
type Door struct {
	AllowFrom   []string    `toml:"allow_from"`    // numbers whose digits count in calls that they placed
	Tries       int         `toml:"tries"`         // wrong codes until no more are heard
	Lockout     Duration    `toml:"lockout"`       // the first
	TamperBlock Duration    `toml:"tamper_block"`  // after the housing was closed again
	OpenTooLong Duration    `toml:"open_too_long"` // 0: never
	FleetOpens  bool        `toml:"fleet_opens"`   // commands by MQTT do
	ExitLine    string      `toml:"exit_line"`     // inputs: addresses of package gpio; "!" before: active when low
	ExitRelay   string      `toml:"exit_relay"`    // "": the first
	ContactLine string      `toml:"contact_line"`
	TamperLine  string      `toml:"tamper_line"`
	CodeLine    string      `toml:"code_line"`
	Relays      []DoorRelay `toml:"relays"`
	Codes       []DoorCode  `toml:"codes"`
}

// DoorRelay is one lock.
type DoorRelay struct {
	Name      string   `toml:"name"`
	Line      string   `toml:"line" path:"line"` // an address of package gpio, or file:PATH
	ActiveLow bool     `toml:"active_low"`       // a low level energises it
	Lock      string   `toml:"lock"`             // LockSecure | LockSafe; "" is LockSecure
	Pulse     Duration `toml:"pulse"`            // 0: 3 s
	Delay     Duration `toml:"delay"`
	MaxOn     Duration `toml:"max_on"` // 0: 30 s, or Pulse where that is longer
}

// Kinds of locks.
const (
	LockSecure = "fail-secure" // opens when energised
	LockSafe   = "fail-safe"   // holds while energised
)

// Times are a relay's, with every default filled in.
func (r DoorRelay) Times() (pulse, delay, maxOn time.Duration) {
	pulse, delay, maxOn = time.Duration(r.Pulse), time.Duration(r.Delay), time.Duration(r.MaxOn)
	if pulse == 0 {
		pulse = 3 * time.Second
	}
	if maxOn == 0 {
		maxOn = max(30*time.Second, pulse)
	}
	return pulse, delay, maxOn
}

// DoorCode opens one relay.
type DoorCode struct {
	Name     string   `toml:"name"`
	Relay    string   `toml:"relay"`                 // "": the first
	CodeFile string   `toml:"code_file" path:"file"` // the digits, or their hash
	Ways     []string `toml:"ways"`                  // WayDTMF, WayKeypad; empty: both
	From     string   `toml:"from"`                  // RFC 3339, or a day
	Until    string   `toml:"until"`
	Days     []string `toml:"days"`  // mon … sun; empty: each
	Begin    string   `toml:"begin"` // 15:04
	End      string   `toml:"end"`
}

// Ways of a code.
const (
	WayDTMF   = "dtmf"
	WayKeypad = "keypad"
)

// DoorHours are when a code counts; zero values are no limits.
type DoorHours struct {
	From, Until time.Time
	Days        []time.Weekday
	Begin, End  time.Duration // of the day
}

// Hours are when the code counts. A day is one of the device's local time, and Until a day is until its end.
func (c DoorCode) Hours() DoorHours {
	var h DoorHours
	h.From, _, _ = moment(c.From)
	until, day, _ := moment(c.Until)
	if day {
		until = until.AddDate(0, 0, 1)
	}
	h.Until = until
	for _, d := range c.Days {
		h.Days = append(h.Days, time.Weekday(slices.Index(weekdays, d)))
	}
	if begin, err := time.Parse(clock, c.Begin); err == nil {
		h.Begin = time.Duration(minutes(begin)) * time.Minute
	}
	if end, err := time.Parse(clock, c.End); err == nil {
		h.End = time.Duration(minutes(end)) * time.Minute
	}
	return h
}

// moment reads a moment or a day; "" is zero.
func moment(text string) (at time.Time, day bool, err error) {
	if text == "" {
		return time.Time{}, false, nil
	}
	if at, err = time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return at, true, nil
	}
	at, err = time.Parse(time.RFC3339, text)
	return at, false, err
}

// Bounds of a door.
const (
	maxPulse = 10 * time.Minute
	maxOn    = time.Hour
	minPulse = 50 * time.Millisecond
	maxTries = 10
)

func (k *checker) door(d Door) {
	for i, from := range d.AllowFrom {
		if strings.Trim(from, "*") == "" {
			k.add(index("door.allow_from", i), `must be a number, or the beginning of one, as "+1555*"; %q would be everybody`, from)
		}
	}
	k.between("door.tries", d.Tries, 1, maxTries, "")
	k.timeout("door.lockout", d.Lockout)
	k.span("door.tamper_block", d.TamperBlock, time.Second, maxCall)
	if d.OpenTooLong != 0 {
		k.timeout("door.open_too_long", d.OpenTooLong)
	}
	relays, lines := map[string]bool{}, map[string]bool{}
	for i, r := range d.Relays {
		k.relay(index("door.relays", i), r, relays, lines)
	}
	known := func(path, relay string) {
		if relay != "" && !relays[relay] {
			k.add(path, "must be the name of one of door.relays, not %q", relay)
		}
	}
	known("door.exit_relay", d.ExitRelay)
	for _, in := range []struct{ path, line string }{
		{"door.exit_line", d.ExitLine}, {"door.contact_line", d.ContactLine}, {"door.tamper_line", d.TamperLine}, {"door.code_line", d.CodeLine},
	} {
		if line := strings.TrimPrefix(in.line, "!"); in.line != "" {
			k.ownLine(in.path, line, lines)
			if len(d.Relays) == 0 {
				k.add(in.path, "needs a relay: add one under [[door.relays]]")
			}
		}
	}
	names := map[string]bool{}
	for i, c := range d.Codes {
		at := index("door.codes", i)
		k.name(at+".name", c.Name)
		if names[c.Name] {
			k.add(at+".name", "%q is taken by another code", c.Name)
		}
		names[c.Name] = true
		known(at+".relay", c.Relay)
		if len(d.Relays) == 0 {
			k.add(at+".relay", "is missing: add one under [[door.relays]]")
		}
		k.code(at, c)
	}
}

func (k *checker) relay(at string, r DoorRelay, names, lines map[string]bool) {
	k.name(at+".name", r.Name)
	if names[r.Name] {
		k.add(at+".name", "%q is taken by another relay", r.Name)
	}
	names[r.Name] = true
	k.ownLine(at+".line", r.Line, lines)
	if r.Lock != "" {
		k.oneOf(at+".lock", r.Lock, LockSecure, LockSafe)
	}
	pulse, _, on := r.Times()
	k.span(at+".pulse", Duration(pulse), minPulse, maxPulse)
	k.span(at+".delay", r.Delay, 0, maxDelay)
	k.span(at+".max_on", Duration(on), minPulse, maxOn)
	if on < pulse {
		k.add(at+".max_on", "must not be shorter than pulse, %s", Duration(pulse))
	}
}

// ownLine wants a line that nothing else has.
func (k *checker) ownLine(path, line string, taken map[string]bool) {
	k.required(path, line)
	if line != "" && taken[line] {
		k.add(path, "%q is taken already", line)
	}
	taken[line] = true
}

func (k *checker) code(at string, c DoorCode) {
	k.required(at+".code_file", c.CodeFile)
	k.each(at+".ways", c.Ways, []string{WayDTMF, WayKeypad})
	from, _, err := moment(c.From)
	if err != nil {
		k.add(at+".from", `must be a day, as "2026-11-22", or a moment, as "2026-11-22T08:00:00Z", not %q`, c.From)
	}
	if _, _, err := moment(c.Until); err != nil {
		k.add(at+".until", `must be a day, as "2026-11-22", or a moment, as "2026-11-22T08:00:00Z", not %q`, c.Until)
	} else if until := c.Hours().Until; !until.IsZero() && !from.Before(until) {
		k.add(at+".until", "must come after from")
	}
	k.each(at+".days", c.Days, weekdays)
	for _, of := range []struct{ path, value, other string }{{at + ".begin", c.Begin, c.End}, {at + ".end", c.End, c.Begin}} {
		if _, err := time.Parse(clock, of.value); err != nil && (of.value != "" || of.other != "") {
			k.add(of.path, `must be a time of day, as "22:30", not %q`, of.value)
		}
	}
	if c.Begin != "" && c.Begin == c.End {
		k.add(at+".end", "must not be the same as begin; leave both out for the whole day")
	}
}
