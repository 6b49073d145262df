package door

import (
	"slices"
	"time"
)

// State is what the door knows. The zero value knows of no trouble; New gives one that remembers.
type State struct {
	calls        []entry
	keypad       entry
	dtmf, keys   tries
	waiting, on  []pulse
	tampered     bool
	blocked      bool // tampered, or not long ago
	blockedUntil time.Time
	kept         time.Time // when what is left of the block was last kept
	open, late   bool      // the door; and for too long
	opened       time.Time
	expected     time.Time // the door may open until then
	knocks       int
	knocked      time.Time
}

// entry is what one call, or the keypad, has typed.
type entry struct {
	call   string
	digits string
	last   time.Time
	wrong  int
	told   Reason // the refusal that was told last
}

// tries are the wrong codes of one way, over calls.
type tries struct {
	wrong int
	until time.Time
}

// pulse is a relay that opens at a time, or is open since.
type pulse struct {
	relay     string
	at, until time.Time
}

const (
	typing      = 10 * time.Second // a longer pause between digits begins anew
	grace       = 5 * time.Second  // an unlocked door may be opened so long after the pulse
	lockoutMost = time.Hour
	keepEvery   = time.Minute
	knockPause  = time.Second     // after it the presses were a digit
	knockEnd    = 3 * time.Second // after it the digits were a code
)

// New is a door after a restart. Nothing that is left of a block is lost; more than the config has is not taken.
func New(c *Config, k Kept, now time.Time) State {
	s := State{kept: now}
	left := min(k.TamperLeft, c.TamperBlock)
	s.blocked, s.blockedUntil = left > 0, now.Add(left)
	again := func(k KeptTries) tries { return tries{max(0, k.Wrong), now.Add(min(k.Left, lockoutMost))} }
	s.dtmf, s.keys = again(k.DTMF), again(k.Keypad)
	return s
}

// Distrust is what to begin with when something was kept and cannot be read: whoever destroyed it gains nothing.
func (c *Config) Distrust() Kept {
	return Kept{TamperLeft: c.TamperBlock, DTMF: KeptTries{Left: c.Lockout}, Keypad: KeptTries{Left: c.Lockout}}
}

// Kept is what must outlive a restart at now.
func (s State) Kept(c *Config, now time.Time) Kept {
	left := func(until time.Time) time.Duration { return max(0, until.Sub(now)) }
	k := Kept{
		DTMF:   KeptTries{s.dtmf.wrong, left(s.dtmf.until)},
		Keypad: KeptTries{s.keys.wrong, left(s.keys.until)},
	}
	switch {
	case s.tampered:
		k.TamperLeft = c.TamperBlock
	case s.blocked:
		k.TamperLeft = left(s.blockedUntil)
	}
	return k
}

// Open tells whether the door stands open, or a relay unlocks it or is about to.
func (s State) Open() bool { return s.open || len(s.on) > 0 || len(s.waiting) > 0 }

// Blocked tells whether tampering keeps everything shut.
func (s State) Blocked() bool { return s.blocked }

// Step is what comes of one input. Neither s nor what it holds is changed.
func (s State) Step(c *Config, in Input, now time.Time) (State, []Action) {
	s.calls, s.waiting, s.on = slices.Clone(s.calls), slices.Clone(s.waiting), slices.Clone(s.on)
	actions := s.pass(c, now, in.ClockGood)
	switch in.Kind {
	case Digit:
		return s, append(actions, s.digit(c, in, now)...)
	case Over:
		s.calls = slices.DeleteFunc(s.calls, func(e entry) bool { return e.call == in.Call.ID })
	case Key:
		return s, append(actions, s.key(c, in.Text, now, in.ClockGood)...)
	case Knock:
		s.knocks++
		s.knocked = now
	case Exit:
		return s, append(actions, s.ask(c, Record{How: ByExit, Relay: c.ExitRelay}, 0, now)...)
	case Command:
		return s, append(actions, s.command(c, in, now)...)
	case Contact:
		return s, append(actions, s.contact(in.On, now)...)
	case Tamper:
		return s, append(actions, s.tamper(c, in.On, now)...)
	}
	return s, actions
}

// digit is one that the far side of a call pressed.
func (s *State) digit(c *Config, in Input, now time.Time) []Action {
	if !in.Call.Active {
		return nil
	}
	i := slices.IndexFunc(s.calls, func(e entry) bool { return e.call == in.Call.ID })
	if i < 0 {
		i = len(s.calls)
		s.calls = append(s.calls, entry{call: in.Call.ID})
	}
	e := &s.calls[i]
	code, complete := e.typed(in.Text, now)
	if !complete {
		return nil
	}
	barred := Reason("")
	switch {
	case !in.Call.Placed && !c.allows(in.Call.Remote):
		barred = NotAllowed
	case e.wrong >= c.Tries:
		barred = TooMany
	}
	r := Record{How: ByDTMF, Who: in.Call.Remote, CallID: in.Call.ID}
	return s.try(c, e, &s.dtmf, code, barred, r, now, in.ClockGood)
}

// key is one pressed at the keypad.
func (s *State) key(c *Config, key string, now time.Time, clockGood bool) []Action {
	code, complete := s.keypad.typed(key, now)
	if !complete {
		return nil
	}
	return s.try(c, &s.keypad, &s.keys, code, "", Record{How: ByKeypad}, now, clockGood)
}

// typed takes a digit in. # ends a code, * begins anew, and so does a pause.
func (e *entry) typed(digit string, now time.Time) (code string, complete bool) {
	if now.Sub(e.last) > typing {
		e.digits = ""
	}
	e.last = now
	switch {
	case digit == "#":
		code, e.digits = e.digits, ""
		return code, code != ""
	case digit == "*":
		e.digits = ""
	case len(e.digits) <= MaxDigits: // one more than any code has: such a code is wrong
		e.digits += digit
	}
	return "", false
}

// try judges a code that is complete. What has nothing to do with the code is told once; wrong codes each time.
func (s *State) try(c *Config, e *entry, t *tries, digits string, barred Reason, r Record, now time.Time, clockGood bool) []Action {
	switch {
	case barred != "":
	case s.blocked:
		barred = Blocked
	case now.Before(t.until):
		barred = Locked
	}
	if barred != "" {
		told := e.told == barred
		e.told = barred
		if told {
			return nil
		}
		return refuse(r, barred)
	}
	e.told = ""
	code, ok := c.find(r.How, digits)
	r.Code, r.Relay = code.Name, code.Relay
	reason := Wrong
	if ok {
		reason = code.Hours.refuse(now, clockGood)
	}
	if reason == "" {
		actions := s.ask(c, r, 0, now)
		if e.wrong = 0; t.wrong > 0 {
			*t = tries{}
			actions = append(actions, Action{Kind: Keep})
		}
		return actions
	}
	actions := refuse(r, reason)
	e.wrong++
	t.wrong++
	if t.wrong%c.Tries == 0 {
		t.until = now.Add(lockout(c.Lockout, t.wrong/c.Tries))
		actions = append(actions, Action{Kind: Tell, Record: Record{Event: LockedOut, How: r.How, Who: r.Who, CallID: r.CallID}})
	}
	return append(actions, Action{Kind: Keep})
}

// lockout is how long the nth one lasts, from 1.
func lockout(first time.Duration, n int) time.Duration {
	for range min(n-1, 12) { // from a second to more than an hour
		first *= 2
	}
	return min(first, lockoutMost)
}

// command is what somebody wants who is not at the door. A device that does not know the time cannot tell an old command
// that comes over a network from a new one.
func (s *State) command(c *Config, in Input, now time.Time) []Action {
	r := Record{How: in.Way, Who: in.Who, Relay: in.Relay}
	switch {
	case in.Way == FromAfar && !c.FromAfar:
		return refuse(r, Disabled)
	case in.Way == FromAfar && !in.ClockGood:
		return refuse(r, NoClock)
	}
	return s.ask(c, r, in.For, now)
}

// ask opens a relay for somebody who may, unless nothing opens at all.
func (s *State) ask(c *Config, r Record, length time.Duration, now time.Time) []Action {
	relay, ok := c.relay(r.Relay)
	switch {
	case !ok:
		return refuse(r, NoRelay)
	case s.blocked:
		return refuse(r, Blocked)
	}
	r.Event, r.Granted, r.Relay = Unlock, true, relay.Name
	if length <= 0 {
		length = relay.Pulse
	}
	at := now.Add(relay.Delay)
	s.waiting = append(s.waiting, pulse{relay.Name, at, at.Add(min(length, relay.MaxOn))})
	return append([]Action{{Kind: Tell, Record: r}}, s.fire(c, now)...)
}

func refuse(r Record, why Reason) []Action {
	r.Event, r.Reason = Unlock, why
	return []Action{{Kind: Tell, Record: r}}
}

// fire opens what is due. A relay that is open stays so for longer, but never for longer than it may since it opened.
func (s *State) fire(c *Config, now time.Time) (actions []Action) {
	later := s.waiting[:0:0]
	for _, p := range s.waiting {
		if now.Before(p.at) {
			later = append(later, p)
			continue
		}
		relay, _ := c.relay(p.relay)
		end := now.Add(p.until.Sub(p.at))
		i := slices.IndexFunc(s.on, func(o pulse) bool { return o.relay == p.relay })
		if i < 0 {
			i = len(s.on)
			s.on = append(s.on, pulse{relay: p.relay, at: now, until: end})
		}
		o := &s.on[i]
		o.until = earlier(o.at.Add(relay.MaxOn), latest(o.until, end))
		s.expected = latest(s.expected, o.until.Add(grace))
		actions = append(actions, Action{Kind: Pulse, Relay: p.relay, For: o.until.Sub(now)})
	}
	s.waiting = later
	return actions
}

// contact is the door itself.
func (s *State) contact(open bool, now time.Time) []Action {
	if open == s.open {
		return nil
	}
	s.open, s.late, s.opened = open, false, now
	event := Closed
	if open {
		event = ForcedOpen
		if now.Before(s.expected) {
			event = Opened
		}
	}
	return []Action{{Kind: Tell, Record: Record{Event: event}}}
}

// tamper is the housing. While it is open, and for a time after it, nothing unlocks, and what is open shuts.
func (s *State) tamper(c *Config, on bool, now time.Time) []Action {
	if on == s.tampered {
		return nil
	}
	s.tampered, s.blocked, s.blockedUntil, s.kept = on, true, now.Add(c.TamperBlock), now
	if !on {
		return []Action{{Kind: Keep}}
	}
	s.waiting, s.on, s.expected = nil, nil, time.Time{}
	return []Action{{Kind: Safe}, {Kind: Keep}, {Kind: Tell, Record: Record{Event: Tampered}}}
}

// pass is what comes with time alone.
func (s *State) pass(c *Config, now time.Time, clockGood bool) (actions []Action) {
	s.on = slices.DeleteFunc(s.on, func(p pulse) bool { return !now.Before(p.until) })
	actions = s.fire(c, now)
	if s.blocked && !s.tampered {
		switch {
		case !now.Before(s.blockedUntil):
			s.blocked = false
			actions = append(actions, Action{Kind: Keep}, Action{Kind: Tell, Record: Record{Event: TamperOver}})
		case !now.Before(s.kept.Add(keepEvery)):
			s.kept = now
			actions = append(actions, Action{Kind: Keep})
		}
	}
	if at := s.tooLong(c); !at.IsZero() && !now.Before(at) {
		s.late = true
		actions = append(actions, Action{Kind: Tell, Record: Record{Event: OpenTooLong}})
	}
	if s.knocks > 0 && !now.Before(s.knocked.Add(knockPause)) {
		digit := string("1234567890"[min(s.knocks, 10)-1])
		s.knocks = 0
		actions = append(actions, s.key(c, digit, now, clockGood)...)
	}
	if !s.knocked.IsZero() && !now.Before(s.knocked.Add(knockEnd)) {
		s.knocked = time.Time{}
		actions = append(actions, s.key(c, "#", now, clockGood)...)
	}
	return actions
}

// tooLong is when the door is open for too long; zero when it is not on its way there.
func (s *State) tooLong(c *Config) time.Time {
	if !s.open || s.late || c.OpenTooLong == 0 {
		return time.Time{}
	}
	return s.opened.Add(c.OpenTooLong)
}

// Due is when Tick is wanted; zero: not.
func (s State) Due(c *Config) time.Time {
	due := []time.Time{s.tooLong(c)}
	for _, p := range s.waiting {
		due = append(due, p.at)
	}
	if s.blocked && !s.tampered {
		due = append(due, earlier(s.blockedUntil, s.kept.Add(keepEvery)))
	}
	switch {
	case s.knocks > 0:
		due = append(due, s.knocked.Add(knockPause))
	case !s.knocked.IsZero():
		due = append(due, s.knocked.Add(knockEnd))
	}
	due = slices.DeleteFunc(due, time.Time.IsZero)
	if len(due) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(due, time.Time.Compare)
}

func earlier(a, b time.Time) time.Time { return slices.MinFunc([]time.Time{a, b}, time.Time.Compare) }

func latest(a, b time.Time) time.Time { return slices.MaxFunc([]time.Time{a, b}, time.Time.Compare) }
