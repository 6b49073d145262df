// Package health says what is wrong with a device, by name: Step is pure, time is an argument. The readers of /proc and /sys
// take a file system.
package health

import (
	"slices"
	"time"
)

// Code names a condition.
type Code string

// Severity is how bad a condition is.
type Severity string

// Severities.
const (
	Warning Severity = "warning" // it works, and will not for ever
	Error   Severity = "error"   // it does not do what it is there for
)

// Condition is something that may be wrong.
type Condition struct {
	Code     Code
	Severity Severity
	Message  string
	Action   string        // what to do
	Needs    []Code        // while one of these is wrong, this one follows from it and is not told
	After    time.Duration // wrong for so long it is told
	Over     time.Duration // well for so long it is over
}

// The codes.
const (
	NoNetwork     Code = "no_network"
	NotRegistered Code = "not_registered"
	BrokerAway    Code = "broker_away"
	ClockNotSet   Code = "clock_not_set"
	NoCard        Code = "no_card"
	SoundStalls   Code = "sound_stalls"
	ButtonStuck   Code = "button_stuck"
	Tampered      Code = "tamper"
	Hot           Code = "hot"
	Throttled     Code = "throttled"
	UnderVoltage  Code = "under_voltage"
	DiskWorn      Code = "disk_worn"
	DiskFull      Code = "disk_full"
	ReadOnly      Code = "read_only"
	LowMemory     Code = "low_memory"
	WeakWiFi      Code = "weak_wifi"
	WiFiPowerSave Code = "wifi_power_save"
)

// Conditions are all there are, in the order in which they are told.
var Conditions = []Condition{
	{NoNetwork, Error, "The device has no address.", "Look at the cable or the Wi-Fi, and at the router.", nil, 10 * time.Second, 0},
	{NotRegistered, Error, "The line is not registered: nobody can call, and no call goes out.", "`sidetone status` says why; look at [line] in the config and at the account.", []Code{NoNetwork}, 30 * time.Second, 0},
	{BrokerAway, Warning, "The fleet's broker is not connected.", "Look at [mqtt] in the config, and whether the broker can be reached.", []Code{NoNetwork}, time.Minute, 0},
	{ClockNotSet, Warning, "The clock is not set.", "Let the device reach a time server (NTP), or give it a clock with a battery.", []Code{NoNetwork}, 5 * time.Minute, 0},
	{NoCard, Error, "There is no sound card.", "Plug it in; `sidetone sound` lists what there is. On a Raspberry Pi look at dtoverlay in config.txt.", nil, 10 * time.Second, 0},
	{SoundStalls, Warning, "The sound card stopped by itself.", "Look at its plug and its power; another USB port or a hub with its own supply helps.", []Code{NoCard, UnderVoltage}, 0, 10 * time.Minute},
	{ButtonStuck, Warning, "A button is stuck.", "Look whether something holds it down, and at its wiring.", nil, 0, 0},
	{Tampered, Error, "Somebody has opened the housing: codes open no door.", "Go and look. The block ends by itself once the contact is closed.", nil, 0, 0},
	{Hot, Warning, "The processor is hot.", "Give it air, or a shadow.", nil, time.Minute, 5 * time.Minute},
	{Throttled, Warning, "The processor is slowed down.", "Cool it, and look at its power supply.", []Code{UnderVoltage, Hot}, 30 * time.Second, 5 * time.Minute},
	{UnderVoltage, Error, "The power supply is too weak, now or since the start.", "Use the maker's power supply and a short, thick cable.", nil, 0, 5 * time.Minute},
	{DiskWorn, Warning, "The eMMC or SD card is near the end of its life.", "Replace it.", nil, 0, 0},
	{DiskFull, Error, "There is no room left for device.state_dir.", "Remove what fills it.", nil, time.Minute, time.Minute},
	{ReadOnly, Error, "device.state_dir cannot be written: its file system is read-only.", "After an error of the disk the kernel mounts so: look at `dmesg`, and replace the disk.", nil, 30 * time.Second, 0},
	{LowMemory, Warning, "Memory is nearly used up.", "Look what else runs on the device.", nil, time.Minute, 5 * time.Minute},
	{WeakWiFi, Warning, "The Wi-Fi is weak.", "Move the access point or the antenna nearer, or use a cable.", []Code{NoNetwork}, time.Minute, 5 * time.Minute},
	{WiFiPowerSave, Warning, "The Wi-Fi saves power, and delays packets by 100 ms.", "`iw dev wlan0 set power_save off`, at each start.", nil, 30 * time.Second, 0},
}

// Reading is what was found of one condition.
type Reading struct {
	Bad    bool
	Detail string
}

// Readings are what was found. A condition that is not among them stays as it was.
type Readings map[Code]Reading

// Note adds a reading.
func (r Readings) Note(c Code, bad bool, detail string) { r[c] = Reading{bad, detail} }

// Active is a condition that holds.
type Active struct {
	Code     Code      `json:"code"`
	Severity Severity  `json:"severity"`
	Message  string    `json:"message"`
	Detail   string    `json:"detail,omitempty"`
	Action   string    `json:"action"`
	Since    time.Time `json:"since"`
}

// State is what is known of a device. The zero one knows nothing.
type State struct{ known map[Code]known }

type known struct {
	Reading
	since time.Time // of the reading
	shown bool
	from  time.Time // when it began to be wrong
}

// Step takes readings, and gives what holds now, but for what follows from something else.
func (s State) Step(now time.Time, r Readings) (State, []Active) {
	next := State{map[Code]known{}}
	for _, c := range Conditions {
		k, had := s.known[c.Code]
		if got, ok := r[c.Code]; ok {
			if !had || got.Bad != k.Bad {
				k.since = now
				if got.Bad && !k.shown {
					k.from = now
				}
			}
			if k.Bad = got.Bad; got.Bad {
				k.Detail = got.Detail
			}
			had = true
		}
		if k.Bad {
			k.shown = k.shown || now.Sub(k.since) >= c.After
		} else if k.shown {
			k.shown = now.Sub(k.since) < c.Over
		}
		if had {
			next.known[c.Code] = k
		}
	}
	var all []Active
	for _, c := range Conditions {
		follows := slices.ContainsFunc(c.Needs, func(n Code) bool { return next.known[n].Bad || next.known[n].shown })
		if k := next.known[c.Code]; k.shown && !follows {
			all = append(all, Active{c.Code, c.Severity, c.Message, k.Detail, c.Action, k.from})
		}
	}
	return next, all
}

// Now gives what is wrong by one look, without waiting.
func Now(now time.Time, r Readings) []Active {
	s, _ := State{}.Step(now, r)
	_, all := s.Step(now.Add(time.Hour), nil)
	return all
}
