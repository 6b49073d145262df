package door

import (
	"fmt"
	"testing"
	"time"
)

// noon is a Wednesday.
var noon = time.Date(2026, 11, 18, 12, 0, 0, 0, time.UTC)

func secret(t testing.TB, digits string) Secret {
	t.Helper()
	s, err := NewSecret(digits)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// attempt is one row of the table: who does what, and how things stand.
type attempt struct {
	way      string // placed, inbound, keypad, exit, socket, fleet
	caller   string
	active   bool
	code     string
	tamper   string // none, open, recent, restarted, over
	hours    string // of the code that is typed
	clock    bool
	tries    string // none, call, way, over
	fleetMay bool
	relay    string
}

// mayOpen is the rule, in the words of whoever owns the door. It knows nothing of the code.
func (a attempt) mayOpen() (relay string, ok bool) {
	sealed := a.tamper != "none" && a.tamper != "over"
	if sealed {
		return "", false
	}
	switch a.way {
	case "exit":
		return "gate", true
	case "socket":
		return a.relay, a.relay != "cellar"
	case "fleet":
		return a.relay, a.fleetMay && a.clock && a.relay != "cellar"
	}
	trusted := a.way == "placed" && a.active ||
		a.way == "inbound" && a.active && (a.caller == "+15550100" || a.caller == "+15551234567") ||
		a.way == "keypad"
	patient := a.tries == "none" || a.tries == "over"
	known := a.code == "1111" && a.way != "keypad" || a.code == "2222" || a.code == "3333" && a.way == "keypad"
	inTime := a.hours == "always" || a.clock && a.hours == "now"
	opens := map[string]string{"1111": "door", "2222": "gate", "3333": "door"}
	return opens[a.code], trusted && patient && known && inTime
}

func hoursOf(name string) Hours {
	switch name {
	case "always":
		return Hours{}
	case "now":
		return Hours{From: noon.Add(-time.Hour), Until: noon.Add(72 * time.Hour), Days: []time.Weekday{time.Wednesday}, Begin: 8 * time.Hour, End: 18 * time.Hour}
	case "expired":
		return Hours{Until: noon.Add(-time.Second)}
	case "not yet":
		return Hours{From: noon.Add(24 * time.Hour)}
	case "another day":
		return Hours{Days: []time.Weekday{time.Thursday}}
	case "another hour":
		return Hours{Begin: 18 * time.Hour, End: 8 * time.Hour}
	}
	panic(name)
}

// play does what the row says, and gives the relays that opened by it.
func (a attempt) play(c *Config) (opened []Action) {
	s := New(c, Kept{}, noon.Add(-48*time.Hour))
	now := noon.Add(-48 * time.Hour)
	do := func(in Input) []Action {
		var actions []Action
		in.ClockGood = a.clock
		s, actions = s.Step(c, in, now)
		return actions
	}
	call := Call{ID: "c", Active: a.active, Placed: a.way == "placed", Remote: a.caller}
	// What happened before.
	before := noon
	switch a.tries {
	case "over", "way":
		if a.tries == "over" {
			before = noon.Add(-2 * time.Hour)
		}
		now = before.Add(-time.Minute)
		for i := range 3 {
			now = now.Add(5 * time.Second)
			other := Call{ID: fmt.Sprint("before", i), Active: true, Placed: true, Remote: "concierge"}
			for _, d := range "999#" {
				do(Input{Kind: Digit, Call: other, Text: string(d)})
				do(Input{Kind: Key, Text: string(d)})
			}
		}
	case "call": // and the way is not locked out any more
		now = noon.Add(-3 * time.Hour)
		for range 3 {
			for _, d := range "999#" {
				do(Input{Kind: Digit, Call: Call{ID: "c", Active: true, Placed: true}, Text: string(d)})
				do(Input{Kind: Key, Text: string(d)})
			}
		}
	}
	switch a.tamper {
	case "open":
		now = noon.Add(-time.Hour)
		do(Input{Kind: Tamper, On: true})
	case "recent", "restarted":
		now = noon.Add(-time.Hour)
		do(Input{Kind: Tamper, On: true})
		now = noon.Add(-9 * time.Minute)
		do(Input{Kind: Tamper})
		if a.tamper == "restarted" { // for as long as the block lasts, if it went by the clock
			k := s.Kept(c, now)
			now = noon
			s = New(c, k, now)
		}
	case "over":
		now = noon.Add(-time.Hour)
		do(Input{Kind: Tamper, On: true})
		now = noon.Add(-10*time.Minute - time.Second)
		do(Input{Kind: Tamper})
	}
	now = noon
	do(Input{Kind: Tick})
	var actions []Action
	switch a.way {
	case "placed", "inbound":
		for _, d := range a.code + "#" {
			actions = append(actions, do(Input{Kind: Digit, Call: call, Text: string(d)})...)
		}
	case "keypad":
		for _, d := range a.code + "#" {
			actions = append(actions, do(Input{Kind: Key, Text: string(d)})...)
		}
	case "exit":
		actions = do(Input{Kind: Exit})
	case "socket":
		actions = do(Input{Kind: Command, Way: ByCommand, Who: "me", Relay: a.relay})
	case "fleet":
		actions = do(Input{Kind: Command, Way: FromAfar, Who: "me", Relay: a.relay})
	}
	for _, x := range actions {
		if x.Kind == Pulse {
			opened = append(opened, x)
		}
	}
	return opened
}

// TestEveryWayToTheDoor tries every combination against the rule. A lock-out of the keypad or of calls has no say in what
// the buttons and commands do.
func TestEveryWayToTheDoor(t *testing.T) {
	count, open := 0, 0
	for _, hours := range []string{"always", "now", "expired", "not yet", "another day", "another hour"} {
		h := hoursOf(hours)
		base := Config{
			Relays:    []Relay{{Name: "door", Pulse: 3 * time.Second, MaxOn: 30 * time.Second}, {Name: "gate", Pulse: 3 * time.Second, MaxOn: 30 * time.Second}},
			AllowFrom: []string{"+15550100", "+1555123*", "*", ""},
			ExitRelay: "gate", Tries: 3, Lockout: time.Hour, TamperBlock: 10 * time.Minute,
			Codes: []Code{
				{Name: "concierge", Secret: secret(t, "1111"), DTMF: true, Hours: h},
				{Name: "both", Relay: "gate", Secret: secret(t, "2222"), DTMF: true, Keypad: true, Hours: h},
				{Name: "post", Relay: "door", Secret: secret(t, "3333"), Keypad: true, Hours: h},
				{Name: "nowhere", Secret: secret(t, "4444"), Hours: h},
				{Name: "empty", DTMF: true, Keypad: true},
			},
		}
		for _, way := range []string{"placed", "inbound", "keypad", "exit", "socket", "fleet"} {
			for _, caller := range []string{"+15550100", "+15551234567", "+155512", "+155501001", ""} {
				for _, code := range []string{"1111", "2222", "3333", "4444", "11111", "1112", "", "11*11"} {
					for _, tamper := range []string{"none", "open", "recent", "restarted", "over"} {
						for _, tries := range []string{"none", "call", "way", "over"} {
							for bits := range 16 {
								a := attempt{
									way: way, caller: caller, code: code, hours: hours, tamper: tamper, tries: tries,
									active: bits&1 > 0, clock: bits&2 > 0, fleetMay: bits&4 > 0, relay: [2]string{"gate", "cellar"}[bits>>3],
								}
								if skip(a) {
									continue
								}
								c := base
								c.FromAfar = a.fleetMay
								got := a.play(&c)
								relay, ok := a.mayOpen()
								count++
								if ok {
									open++
								}
								if ok != (len(got) == 1) || ok && got[0].Relay != relay {
									t.Fatalf("%+v: opened %+v; the rule says %v %q", a, got, ok, relay)
								}
							}
						}
					}
				}
			}
		}
	}
	t.Logf("%d combinations, of which %d open", count, open)
	if open == 0 || open*10 > count*9 {
		t.Error("the table proves nothing")
	}
}

// skip leaves out rows that differ from another in what has no meaning for their way; and a call that was tried before a
// restart is another one after it.
func skip(a attempt) bool {
	calls := a.way == "placed" || a.way == "inbound"
	command := a.way == "socket" || a.way == "fleet"
	return !calls && (a.caller != "" || a.active) || !calls && a.way != "keypad" && (a.code != "" || a.hours != "always") ||
		a.way != "fleet" && a.fleetMay || !command && a.relay != "gate" ||
		!calls && a.tries == "call" || a.tries == "call" && a.tamper == "restarted"
}
