package door

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// rig is a door under test, in virtual time.
type rig struct {
	t   *testing.T
	c   Config
	s   State
	now time.Time
}

func newRig(t *testing.T, change func(*Config)) *rig {
	c := Config{
		Relays: []Relay{
			{Name: "door", Pulse: 3 * time.Second, MaxOn: 10 * time.Second},
			{Name: "gate", Pulse: 20 * time.Second, Delay: 2 * time.Second, MaxOn: 20 * time.Second},
		},
		Codes: []Code{
			{Name: "concierge", Secret: secret(t, "123"), DTMF: true},
			{Name: "gate", Relay: "gate", Secret: secret(t, "456"), DTMF: true, Keypad: true},
		},
		AllowFrom: []string{"+1555*"}, Tries: 3, Lockout: time.Minute,
		TamperBlock: 10 * time.Minute, OpenTooLong: time.Minute, FromAfar: true,
	}
	if change != nil {
		change(&c)
	}
	return &rig{t: t, c: c, s: New(&c, Kept{}, noon), now: noon}
}

// do steps, and gives what is to be done in one line.
func (r *rig) do(in Input) string {
	r.t.Helper()
	var actions []Action
	before := fmt.Sprintf("%+v", r.s)
	old := r.s
	r.s, actions = r.s.Step(&r.c, in, r.now)
	if after := fmt.Sprintf("%+v", old); after != before {
		r.t.Errorf("the state before was changed:\n%s\n%s", before, after)
	}
	return show(actions)
}

func show(actions []Action) string {
	var words []string
	for _, a := range actions {
		w := string(a.Kind)
		switch a.Kind {
		case Pulse:
			w = fmt.Sprintf("pulse %s %s", a.Relay, a.For)
		case Tell:
			w = string(a.Record.Event)
			if a.Record.Event == Unlock {
				w = fmt.Sprintf("%s by %s", map[bool]string{true: "granted", false: "refused: " + string(a.Record.Reason)}[a.Record.Granted], a.Record.How)
			}
		}
		words = append(words, w)
	}
	return strings.Join(words, ", ")
}

func (r *rig) after(d time.Duration) *rig {
	r.now = r.now.Add(d)
	return r
}

func (r *rig) want(got, want string) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("at %s: %q, want %q", r.now.Sub(noon), got, want)
	}
}

func (r *rig) tick() string { r.t.Helper(); return r.do(Input{Kind: Tick, ClockGood: true}) }

// types presses digits in a call that was placed, a second after one another.
func (r *rig) types(call, digits string) string {
	r.t.Helper()
	var got []string
	for _, d := range digits {
		if g := r.do(Input{Kind: Digit, Text: string(d), Call: Call{ID: call, Active: true, Placed: true, Remote: "concierge"}, ClockGood: true}); g != "" {
			got = append(got, g)
		}
		r.after(time.Second)
	}
	return strings.Join(got, ", ")
}

func (r *rig) keys(digits string) string {
	r.t.Helper()
	var got []string
	for _, d := range digits {
		if g := r.do(Input{Kind: Key, Text: string(d), ClockGood: true}); g != "" {
			got = append(got, g)
		}
		r.after(time.Second)
	}
	return strings.Join(got, ", ")
}

func (r *rig) due() time.Duration {
	d := r.s.Due(&r.c)
	if d.IsZero() {
		return -1
	}
	return d.Sub(noon)
}

const granted = "granted by dtmf, pulse door 3s"

func TestARightCodeOpensAndSaysWho(t *testing.T) {
	r := newRig(t, nil)
	r.want(r.types("a", "12"), "")
	s, actions := r.s.Step(&r.c, Input{Kind: Digit, Text: "3", Call: Call{ID: "a", Active: true, Placed: true, Remote: "concierge"}}, r.now)
	r.s = s
	if actions != nil {
		t.Errorf("it opens before the code is complete: %+v", actions)
	}
	_, actions = r.s.Step(&r.c, Input{Kind: Digit, Text: "#", Call: Call{ID: "a", Active: true, Placed: true, Remote: "concierge"}}, r.now)
	want := []Action{
		{Kind: Tell, Record: Record{Event: Unlock, Granted: true, Relay: "door", How: ByDTMF, Who: "concierge", Code: "concierge", CallID: "a"}},
		{Kind: Pulse, Relay: "door", For: 3 * time.Second},
	}
	if !reflect.DeepEqual(actions, want) {
		t.Errorf("got %+v, want %+v", actions, want)
	}
}

func TestDigits(t *testing.T) {
	r := newRig(t, nil)
	r.want(r.types("a", "99*123#"), granted)
	r.want(r.types("a", "#"), "") // nothing is no code
	r.want(r.types("a", "12")+r.types("b", "3#"), "refused: wrong_code by dtmf, keep")
	r.want(r.types("a", "3#"), granted+", keep")
	// A pause begins anew.
	r.types("a", "1")
	r.after(9 * time.Second) // and the second after the digit: just in time
	r.want(r.types("a", "23#"), granted)
	r.types("a", "1")
	r.after(9*time.Second + 1)
	r.want(r.types("a", "23#"), "refused: wrong_code by dtmf, keep")
	// A call that ended takes its digits along.
	r.types("a", "12")
	r.do(Input{Kind: Over, Call: Call{ID: "b"}})
	r.want(r.types("a", "3#"), granted+", keep")
	r.types("a", "12")
	r.do(Input{Kind: Over, Call: Call{ID: "a"}})
	r.want(r.types("a", "3#"), "refused: wrong_code by dtmf, keep")
	if len(r.s.calls) != 1 {
		t.Errorf("%d calls are remembered", len(r.s.calls))
	}
	// A very long one is wrong, and not cut to a right one.
	long := newRig(t, func(c *Config) { c.Codes[0].Secret = secret(t, strings.Repeat("1", MaxDigits)) })
	long.want(long.types("a", strings.Repeat("1", MaxDigits+1)+"#"), "refused: wrong_code by dtmf, keep")
	long.want(long.types("a", strings.Repeat("1", MaxDigits)+"#"), granted+", keep")
	long.types("a", strings.Repeat("1", 10*MaxDigits))
	if n := len(long.s.calls[0].digits); n > MaxDigits+1 {
		t.Errorf("%d digits are kept", n)
	}
	// Nobody is listened to before there is a talk.
	r.want(r.do(Input{Kind: Digit, Text: "1", Call: Call{ID: "x", Placed: true}}), "")
	if len(r.s.calls) != 1 {
		t.Error("a call that is not active is remembered")
	}
}

func TestStrangersAreToldOfOnce(t *testing.T) {
	r := newRig(t, nil)
	stranger := func(call, digits string) (got string) {
		for _, d := range digits {
			got += r.do(Input{Kind: Digit, Text: string(d), Call: Call{ID: call, Active: true, Remote: "+16660100"}})
		}
		return got
	}
	r.want(stranger("s", "123#"), "refused: caller_not_allowed by dtmf")
	r.want(stranger("s", "123#"), "")
	r.want(stranger("s2", "1#1#1#1#1#"), "refused: caller_not_allowed by dtmf")
	// They lock nobody out.
	r.want(r.types("a", "123#"), granted)
}

func TestWrongCodesEndTheHearingAndLockOut(t *testing.T) {
	r := newRig(t, nil)
	wrong := "refused: wrong_code by dtmf, keep"
	r.want(r.types("a", "1#"), wrong)
	r.want(r.types("a", "1#"), wrong)
	r.want(r.types("a", "1#"), "refused: wrong_code by dtmf, locked_out, keep")
	locked := r.now.Add(-time.Second)
	r.want(r.types("a", "123#"), "refused: too_many_tries by dtmf")
	r.want(r.types("a", "123#"), "")
	r.want(r.types("b", "123#"), "refused: locked_out by dtmf")
	r.want(r.types("b", "123#"), "") // told once
	// The keypad is another way.
	r.want(r.keys("456#"), "granted by keypad")
	r.now = locked.Add(time.Minute - 1)
	r.want(r.do(Input{Kind: Digit, Text: "9", Call: Call{ID: "c", Active: true, Placed: true}}), "pulse gate 20s") // the keypad's, which waited
	r.want(r.do(Input{Kind: Digit, Text: "#", Call: Call{ID: "c", Active: true, Placed: true}}), "refused: locked_out by dtmf")
	r.after(1)
	// The same call is not heard again, another one is.
	r.want(r.types("a", "123#"), "")
	r.want(r.types("b", "1#"), wrong)
	// After a refusal of another kind the same one is told again.
	r.want(r.types("b", "1#"), wrong)
	r.want(r.types("b", "1#"), "refused: wrong_code by dtmf, locked_out, keep")
	locked = r.now.Add(-time.Second)
	r.want(r.types("d", "1#"), "refused: locked_out by dtmf")
	r.now = locked.Add(2*time.Minute - 1)
	r.want(r.types("e", "#"), "")
	if left := r.s.Kept(&r.c, locked.Add(2*time.Minute-1)).DTMF; left != (KeptTries{6, 1}) {
		t.Errorf("kept %+v", left)
	}
	r.want(r.types("e", "1#"), wrong)
	r.want(r.types("e", "123#"), granted+", keep") // and all is forgiven
	if k := r.s.Kept(&r.c, r.now); k != (Kept{}) {
		t.Errorf("kept %+v", k)
	}
	r.want(r.types("e", "1#1#"), wrong+", "+wrong)
	r.want(r.types("e", "123#"), granted+", keep")
	r.want(r.types("e", "1#1#"), wrong+", "+wrong)
}

func TestLockoutsGrow(t *testing.T) {
	for n, want := range map[int]time.Duration{1: time.Minute, 2: 2 * time.Minute, 6: 32 * time.Minute, 7: time.Hour, 8: time.Hour, math.MaxInt: time.Hour} {
		if got := lockout(time.Minute, n); got != want {
			t.Errorf("lock-out %d lasts %s, want %s", n, got, want)
		}
	}
	if got := lockout(2*time.Hour, 1); got != time.Hour {
		t.Error(got)
	}
}

func TestLockoutOutlivesARestart(t *testing.T) {
	r := newRig(t, nil)
	r.keys("1#1#1#")
	k := r.s.Kept(&r.c, r.now)
	r.s = New(&r.c, k, r.now)
	r.want(r.keys("456#"), "refused: locked_out by keypad")
	r.want(r.types("a", "123#"), granted)
	r.after(time.Minute)
	r.want(r.keys("1#1#1#"), "refused: wrong_code by keypad, keep, refused: wrong_code by keypad, keep, refused: wrong_code by keypad, locked_out, keep")
	if got := r.s.Kept(&r.c, r.now).Keypad; got.Wrong != 6 || got.Left != 2*time.Minute-time.Second {
		t.Errorf("%+v", got)
	}
	// Nonsense in the file is neither a lock-out for ever nor a way around one.
	s := New(&r.c, Kept{TamperLeft: time.Hour, DTMF: KeptTries{-5, 1000 * time.Hour}}, noon)
	if k := s.Kept(&r.c, noon); k != (Kept{TamperLeft: 10 * time.Minute, DTMF: KeptTries{0, time.Hour}}) {
		t.Errorf("%+v", k)
	}
	s = New(&r.c, Kept{TamperLeft: -time.Hour}, noon)
	if s.Blocked() || !s.Due(&r.c).IsZero() {
		t.Errorf("%+v", s)
	}
	if s := New(&r.c, r.c.Distrust(), noon); !s.Blocked() || s.Kept(&r.c, noon) != (Kept{10 * time.Minute, KeptTries{0, time.Minute}, KeptTries{0, time.Minute}}) {
		t.Errorf("a file that was destroyed: %+v", s.Kept(&r.c, noon))
	}
}

func TestPulses(t *testing.T) {
	r := newRig(t, nil)
	command := func(relay string, d time.Duration) string {
		return r.do(Input{Kind: Command, Way: ByCommand, Relay: relay, For: d})
	}
	r.want(command("", 0), "granted by command, pulse door 3s")
	r.after(2 * time.Second)
	r.want(command("door", 0), "granted by command, pulse door 3s") // until 5 s
	r.want(command("door", 1), "granted by command, pulse door 3s") // never shorter
	r.want(command("door", time.Hour), "granted by command, pulse door 8s")
	r.after(6 * time.Second)
	r.want(command("door", time.Hour), "granted by command, pulse door 2s")
	r.after(2*time.Second - 1)
	r.want(command("door", time.Hour), "granted by command, pulse door 1ns")
	r.after(1)
	r.want(command("door", -1), "granted by command, pulse door 3s") // it was shut
	r.want(command("gate", time.Hour), "granted by command")
	if d := r.due(); d != 12*time.Second {
		t.Errorf("due %s", d)
	}
	r.after(2*time.Second - 1)
	r.want(r.tick(), "")
	r.after(1)
	r.want(r.tick(), "pulse gate 20s")
	r.want(r.tick(), "")
	if d := r.due(); d != -1 {
		t.Errorf("due %s", d)
	}
	r.want(command("cellar", 0), "refused: no_such_relay by command")
}

func TestOpen(t *testing.T) {
	r := newRig(t, nil)
	is := func(what string, want bool) {
		t.Helper()
		if got := r.s.Open(); got != want {
			t.Errorf("open with %s: %t", what, got)
		}
	}
	is("nothing", false)
	r.do(Input{Kind: Contact, On: true})
	is("the contact open", true)
	r.do(Input{Kind: Contact})
	is("the contact shut again", false)
	r.do(Input{Kind: Command, Way: ByCommand, Relay: "gate"})
	is("a relay that waits", true)
	r.after(2 * time.Second).tick()
	is("a relay that is on", true)
	r.after(time.Minute).tick()
	is("the pulse over", false)
}

func TestCommandsFromAfar(t *testing.T) {
	for _, may := range []bool{true, false} {
		r := newRig(t, func(c *Config) { c.FromAfar = may })
		in := Input{Kind: Command, Way: FromAfar, Who: "op", ClockGood: true}
		want := map[bool]string{true: "granted by fleet, pulse door 3s", false: "refused: disabled by fleet"}[may]
		r.want(r.do(in), want)
		in.ClockGood = false
		r.want(r.do(in), map[bool]string{true: "refused: clock_not_set by fleet", false: "refused: disabled by fleet"}[may])
		in.Way = ByCommand
		r.want(r.do(in), "granted by command, pulse door 3s")
	}
}

func TestExitButton(t *testing.T) {
	r := newRig(t, func(c *Config) { c.ExitRelay = "gate" })
	r.want(r.do(Input{Kind: Exit}), "granted by exit")
	r.after(2 * time.Second)
	r.want(r.tick(), "pulse gate 20s")
	r.do(Input{Kind: Tamper, On: true})
	r.want(r.do(Input{Kind: Exit}), "refused: tamper by exit")
}

func TestTamperShutsAndBlocks(t *testing.T) {
	r := newRig(t, nil)
	command := Input{Kind: Command, Way: ByCommand}
	r.do(command)
	r.do(Input{Kind: Command, Way: ByCommand, Relay: "gate"})
	r.want(r.do(Input{Kind: Tamper}), "") // it was shut anyway
	r.want(r.do(Input{Kind: Tamper, On: true}), "safe, keep, tamper")
	r.want(r.do(Input{Kind: Tamper, On: true}), "")
	r.after(2 * time.Second)
	r.want(r.tick(), "") // what waited is gone
	r.want(r.do(Input{Kind: Contact, On: true}), "forced_open")
	r.want(r.do(Input{Kind: Contact}), "closed")
	r.want(r.do(command), "refused: tamper by command")
	r.want(r.types("a", "123#")+r.types("a", "123#"), "refused: tamper by dtmf")
	if d := r.due(); d != -1 {
		t.Errorf("due %s: the housing is open for as long as it likes", d)
	}
	r.after(time.Hour)
	r.want(r.do(command), "refused: tamper by command")
	if k := r.s.Kept(&r.c, r.now); k.TamperLeft != 10*time.Minute {
		t.Errorf("%+v", k)
	}
	r.now = noon.Add(2 * time.Hour)
	r.want(r.do(Input{Kind: Tamper}), "keep")
	if d := r.due() - 2*time.Hour; d != time.Minute {
		t.Errorf("due %s", d)
	}
	r.after(time.Minute - 1)
	r.want(r.tick(), "")
	r.after(1)
	r.want(r.tick(), "keep") // so that a restart does not begin from the start
	r.want(r.tick(), "")
	if k := r.s.Kept(&r.c, r.now); k.TamperLeft != 9*time.Minute {
		t.Errorf("%+v", k)
	}
	// A restart, at any time of the clock, goes on where it was kept.
	for _, clock := range []time.Time{time.Unix(0, 0), noon, noon.Add(1e6 * time.Hour)} {
		q := &rig{t: t, c: r.c, now: clock, s: New(&r.c, r.s.Kept(&r.c, r.now), clock)}
		if !q.s.Blocked() {
			t.Error("not blocked")
		}
		if d := q.s.Due(&q.c).Sub(clock); d != time.Minute {
			t.Errorf("due %s", d)
		}
		q.after(9*time.Minute - 1)
		q.want(q.do(command), "keep, refused: tamper by command")
		q.after(1)
		q.want(q.do(command), "keep, tamper_over, granted by command, pulse door 3s")
		q.want(q.tick(), "")
	}
	r.after(8*time.Minute + 30*time.Second)
	r.want(r.tick(), "keep")
	if d := r.due() - 2*time.Hour; d != 10*time.Minute {
		t.Errorf("due %s", d)
	}
	r.after(30 * time.Second)
	r.want(r.tick(), "keep, tamper_over")
	if k := r.s.Kept(&r.c, r.now); k != (Kept{}) {
		t.Errorf("%+v", k)
	}
	if d := r.due(); d != -1 {
		t.Errorf("due %s", d)
	}
	r.want(r.do(command), "granted by command, pulse door 3s")
}

func TestContact(t *testing.T) {
	r := newRig(t, nil)
	opened, closed := Input{Kind: Contact, On: true}, Input{Kind: Contact}
	r.want(r.do(closed), "")
	r.want(r.do(opened), "forced_open")
	r.want(r.do(opened), "")
	if d := r.due(); d != time.Minute {
		t.Errorf("due %s", d)
	}
	r.after(time.Minute - 1)
	r.want(r.tick(), "")
	r.after(1)
	r.want(r.tick(), "open_too_long")
	r.want(r.tick(), "")
	if d := r.due(); d != -1 {
		t.Errorf("due %s", d)
	}
	r.want(r.do(closed), "closed")
	r.do(Input{Kind: Command, Way: ByCommand})
	r.after(8*time.Second - 1)
	r.want(r.do(opened), "opened")
	r.after(1)
	r.want(r.do(closed), "closed")
	r.want(r.do(opened), "forced_open")
	if d := r.due(); d != r.now.Add(time.Minute).Sub(noon) {
		t.Errorf("due %s: it begins anew", d)
	}
	never := newRig(t, func(c *Config) { c.OpenTooLong = 0 })
	never.do(opened)
	never.after(time.Hour)
	never.want(never.tick(), "")
	if d := never.due(); d != -1 {
		t.Errorf("due %s", d)
	}
}

// The code 456 by presses of a button: four, a pause, five, a pause, six, a longer pause.
func TestKnocks(t *testing.T) {
	r := newRig(t, nil)
	var got []string
	run := func(until time.Time) { // as its owner does: at each Due
		for d := r.s.Due(&r.c); !d.IsZero() && !d.After(until); d = r.s.Due(&r.c) {
			r.now = d
			if g := r.tick(); g != "" {
				got = append(got, g)
			}
		}
		r.now = until
	}
	knocks := func(counts ...int) {
		for _, n := range counts {
			for range n {
				run(r.now.Add(300 * time.Millisecond))
				r.do(Input{Kind: Knock})
			}
			run(r.now.Add(1500 * time.Millisecond))
		}
		run(r.now.Add(5 * time.Second))
	}
	knocks(4, 5, 6)
	r.want(strings.Join(got, "; "), "granted by keypad; pulse gate 20s")
	got = nil
	knocks(4, 5, 5)
	r.want(strings.Join(got, "; "), "refused: wrong_code by keypad, keep")
	if d := r.due(); d != -1 {
		t.Errorf("due %s", d)
	}
	ten := newRig(t, func(c *Config) { c.Codes[1].Secret = secret(t, "10") })
	r, got = ten, nil
	knocks(1, 10)
	r.want(strings.Join(got, "; "), "granted by keypad; pulse gate 20s")
	// The pauses, exactly.
	r = newRig(t, func(c *Config) { c.Codes[1].Secret = secret(t, "2") })
	r.do(Input{Kind: Knock})
	r.after(time.Second - 1)
	r.want(r.do(Input{Kind: Knock}), "")
	r.after(time.Second)
	r.want(r.tick(), "")
	r.after(2*time.Second - 1)
	r.want(r.tick(), "")
	r.after(1)
	r.want(r.tick(), "granted by keypad")
}

func TestHours(t *testing.T) {
	at := func(day, hour int) time.Time { return time.Date(2026, 11, day, hour, 0, 0, 0, time.UTC) } // the 18th is a Wednesday
	week := Hours{Days: []time.Weekday{time.Wednesday}, Begin: 22 * time.Hour, End: 6 * time.Hour}
	for i, test := range []struct {
		h     Hours
		now   time.Time
		clock bool
		want  Reason
	}{
		{Hours{}, at(18, 12), false, ""},
		{Hours{From: at(18, 12)}, at(18, 12), false, NoClock},
		{Hours{Until: at(19, 12)}, at(18, 12), false, NoClock},
		{Hours{Days: week.Days}, at(18, 12), false, NoClock},
		{Hours{Begin: 11 * time.Hour, End: 13 * time.Hour}, at(18, 12), false, NoClock},
		{Hours{From: at(18, 12)}, at(18, 12), true, ""},
		{Hours{From: at(18, 12)}, at(18, 12).Add(-1), true, NotYet},
		{Hours{Until: at(18, 12)}, at(18, 12), true, Expired},
		{Hours{Until: at(18, 12)}, at(18, 12).Add(-1), true, ""},
		{Hours{Days: week.Days}, at(18, 0), true, ""},
		{Hours{Days: week.Days}, at(19, 0), true, OffHours},
		{Hours{Begin: 12 * time.Hour, End: 13 * time.Hour}, at(18, 12), true, ""},
		{Hours{Begin: 12 * time.Hour, End: 13 * time.Hour}, at(18, 12).Add(-time.Second), true, OffHours},
		{Hours{Begin: 12 * time.Hour, End: 13 * time.Hour}, at(18, 13).Add(-time.Second), true, ""},
		{Hours{Begin: 12 * time.Hour, End: 13 * time.Hour}, at(18, 13).Add(-time.Minute), true, ""},
		{Hours{Begin: 12 * time.Hour, End: 13 * time.Hour}, at(18, 13), true, OffHours},
		{Hours{Begin: 12 * time.Hour, End: 13 * time.Hour, Days: week.Days}, at(19, 12), true, OffHours},
		{week, at(18, 22).Add(-1), true, OffHours},
		{week, at(18, 22), true, ""},
		{week, at(19, 6).Add(-1), true, ""},
		{week, at(19, 6), true, OffHours},
		{week, at(18, 5), true, OffHours}, // that is Tuesday's night
		{week, at(19, 22), true, OffHours},
	} {
		if got := test.h.refuse(test.now, test.clock); got != test.want {
			t.Errorf("%d: %+v at %s: %q, want %q", i, test.h, test.now, got, test.want)
		}
	}
	// An expired code is a wrong try like others, and the audit says why.
	r := newRig(t, func(c *Config) { c.Codes[0].Hours.Until = noon })
	r.want(r.types("a", "123#"), "refused: expired by dtmf, keep")
	if r.s.Kept(&r.c, r.now).DTMF.Wrong != 1 {
		t.Error("not counted")
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	s := secret(t, "24680")
	c := Config{Codes: []Code{{Name: "a", Secret: s}}}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%+v %#v %s", c, s, s), s.Text()} {
		if strings.Contains(text, "24680") {
			t.Errorf("%s", text)
		}
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", s, c, s), s.Text()[len(hashed)+33:]) {
		t.Error("the hash is shown")
	}
	if b, err := json.Marshal([]Secret{s}); err != nil || string(b) != "[{}]" {
		t.Errorf("%s, %v", b, err)
	}
}

func TestSecretTexts(t *testing.T) {
	s := secret(t, "24680")
	again, err := ParseSecret(s.Text() + "\n")
	if err != nil || again.is("24680") != 1 || again.is("24681") != 0 || again.is("2468") != 0 {
		t.Errorf("%v, %v", again, err)
	}
	if other := secret(t, "24680"); other.Text() == s.Text() {
		t.Error("no salt")
	}
	if plain, err := ParseSecret(" 12AB\n"); err != nil || plain.is("12AB") != 1 {
		t.Errorf("%v, %v", plain, err)
	}
	for _, bad := range []string{"", "12#", "12 34", "a", strings.Repeat("1", MaxDigits+1), "sha256:", "sha256:zz:" + strings.Repeat("00", 32), "sha256:00:zz", "sha256:00:00", "sha256:00:" + strings.Repeat("00", 33)} {
		if _, err := ParseSecret(bad); err == nil || bad != "" && strings.Contains(err.Error(), bad) && !slices.Contains([]string{"a", "sha256:"}, bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := NewSecret(strings.Repeat("1", MaxDigits)); err != nil {
		t.Error(err)
	}
	if (Secret{}).is("") != 0 {
		t.Error("no secret is matched by nothing")
	}
}
