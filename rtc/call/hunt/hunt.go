// Package hunt calls the targets of a button: one after the other, or all at once, until somebody answers. It is pure:
// it is told what happens, with the time, and says what is to be done; it places no call itself.
package hunt

import (
	"slices"
	"time"
)

// Mode says in which order targets are called.
type Mode string

// Modes.
const (
	Sequence Mode = "sequence" // one after the other; so does an empty mode
	First    Mode = "first"    // all at once: the first that answers has the call
)

// Plan is what a button does. A duration of 0 is no limit, and Rounds of 0 is one.
type Plan struct {
	Targets   []string
	Mode      Mode
	PerTarget time.Duration // how long one target is called, or all of them in mode First
	Rounds    int           // how often the whole list is called
	NoAnswer  time.Duration // ends the hunt when nobody has answered for so long
	MaxCall   time.Duration // ends an answered call
	AfterDoor time.Duration // ends an answered call so long after the door was opened
}

// Outcome says how a hunt went.
type Outcome string

// Outcomes.
const (
	Open     Outcome = ""          // it is still under way
	Talked   Outcome = "talked"    // somebody answered, and the call ended by either side
	Limited  Outcome = "limit"     // somebody answered, and MaxCall or AfterDoor ended the call
	NoAnswer Outcome = "no answer" // nobody did
	Canceled Outcome = "canceled"  // the button was pressed again before somebody did
)

// Kind says what happened.
type Kind string

// Inputs, and the fields of Input that each uses besides Time.
const (
	Dialled    Kind = "dialled"     // Leg, CallID: the call was placed
	NotDialled Kind = "not dialled" // Leg: it could not be
	Answered   Kind = "answered"    // CallID: it became active
	Ended      Kind = "ended"       // CallID: it is in state hangup or beyond
	Pressed    Kind = "pressed"     // the button, once more
	DoorOpened Kind = "door opened"
	Tick       Kind = "tick" // Due has come
)

// Input is one thing that happened.
type Input struct {
	Kind   Kind
	Time   time.Time
	Leg    int
	CallID string
}

// Action is one thing to be done: Target is to be dialled as Leg, or CallID to be hung up.
type Action struct {
	Dial   bool
	Leg    int
	Target string
	CallID string
}

// leg is one call, from its dialling to its end.
type leg struct {
	number  int
	callID  string // empty until it was placed
	dropped bool   // it is to be hung up, or is
}

// Hunt is one press of the button. The zero value is over.
type Hunt struct {
	plan    Plan
	next    int // index of the target to call next
	round   int
	numbers int // of legs so far
	legs    []leg
	talk    string // the call that was answered
	started bool
	outcome Outcome

	legUntil, until time.Time // of PerTarget, and of NoAnswer, MaxCall or AfterDoor; zero: none
}

// Start begins to hunt. A plan without targets is over at once: NoAnswer.
func Start(p Plan, now time.Time) (Hunt, []Action) {
	p.Targets = slices.Clone(p.Targets)
	h := Hunt{plan: p, started: true, until: after(now, p.NoAnswer)}
	actions := h.call(now)
	return h, actions
}

// Outcome is Open while the hunt is under way.
func (h Hunt) Outcome() Outcome { return h.outcome }

// Over tells that there is nothing more to hunt or to talk about. Inputs are still taken: a call that is only now placed
// is hung up.
func (h Hunt) Over() bool { return !h.started || h.outcome != Open }

// Talking is the call that was answered; empty before that.
func (h Hunt) Talking() string { return h.talk }

// Due is when the hunt wants a Tick; zero when it does not.
func (h Hunt) Due() time.Time {
	switch {
	case h.Over():
		return time.Time{}
	case h.legUntil.IsZero() || !h.until.IsZero() && h.until.Before(h.legUntil):
		return h.until
	}
	return h.legUntil
}

// Step takes what happened. It leaves the hunt that it is called on as it is.
func (h Hunt) Step(in Input) (Hunt, []Action) {
	h.legs = slices.Clone(h.legs)
	actions := h.step(in)
	return h, actions
}

func (h *Hunt) step(in Input) []Action {
	switch in.Kind {
	case Dialled:
		return h.dialled(in)
	case NotDialled:
		if h.remove(func(l leg) bool { return l.number == in.Leg }) && h.idle() {
			return h.call(in.Time)
		}
	case Answered:
		return h.answered(in)
	case Ended:
		if in.CallID == "" || !h.remove(func(l leg) bool { return l.callID == in.CallID }) {
			return nil
		}
		switch {
		case h.Over():
		case in.CallID == h.talk:
			h.outcome = Talked
		case h.idle():
			return h.call(in.Time)
		}
	case Pressed:
		switch {
		case h.Over():
		case h.talk == "":
			return h.finish(Canceled)
		default:
			return h.finish(Talked)
		}
	case DoorOpened:
		if end := after(in.Time, h.plan.AfterDoor); h.talk != "" && !end.IsZero() && (h.until.IsZero() || end.Before(h.until)) {
			h.until = end
		}
	case Tick:
		return h.tick(in.Time)
	}
	return nil
}

func (h *Hunt) tick(now time.Time) []Action {
	switch {
	case h.Over():
	case !h.until.IsZero() && !now.Before(h.until):
		if h.talk != "" {
			return h.finish(Limited)
		}
		return h.finish(NoAnswer)
	case !h.legUntil.IsZero() && !now.Before(h.legUntil):
		return append(h.drop(""), h.call(now)...)
	}
	return nil
}

func (h *Hunt) dialled(in Input) []Action {
	for i, l := range h.legs {
		if l.number == in.Leg && l.callID == "" {
			h.legs[i].callID = in.CallID
			if l.dropped {
				return []Action{{CallID: in.CallID}}
			}
		}
	}
	return nil
}

func (h *Hunt) answered(in Input) []Action {
	i := slices.IndexFunc(h.legs, func(l leg) bool { return l.callID == in.CallID && in.CallID != "" && !l.dropped })
	if i < 0 || h.Over() || h.talk != "" {
		return nil // of a call that is on its way out
	}
	h.talk, h.legUntil, h.until = in.CallID, time.Time{}, after(in.Time, h.plan.MaxCall)
	return h.drop(h.talk)
}

// call calls the next target, or all of them; with none left the hunt is over.
func (h *Hunt) call(now time.Time) []Action {
	if h.next >= len(h.plan.Targets) && len(h.plan.Targets) > 0 && h.round+1 < h.plan.Rounds {
		h.next, h.round = 0, h.round+1
	}
	if h.next >= len(h.plan.Targets) {
		return h.finish(NoAnswer)
	}
	h.legUntil = after(now, h.plan.PerTarget)
	last := h.next + 1
	if h.plan.Mode == First {
		last = len(h.plan.Targets)
	}
	var actions []Action
	for ; h.next < last; h.next++ {
		h.numbers++
		h.legs = append(h.legs, leg{number: h.numbers})
		actions = append(actions, Action{Dial: true, Leg: h.numbers, Target: h.plan.Targets[h.next]})
	}
	return actions
}

// idle tells that nobody is being called, and somebody could be.
func (h *Hunt) idle() bool {
	return !h.Over() && h.talk == "" && !slices.ContainsFunc(h.legs, func(l leg) bool { return !l.dropped })
}

func (h *Hunt) finish(o Outcome) []Action {
	h.outcome = o
	return h.drop("")
}

// drop hangs up all legs but one. Those that are not yet placed are hung up when they are.
func (h *Hunt) drop(but string) []Action {
	var actions []Action
	for i, l := range h.legs {
		if l.dropped || but != "" && l.callID == but {
			continue
		}
		h.legs[i].dropped = true
		if l.callID != "" {
			actions = append(actions, Action{CallID: l.callID})
		}
	}
	return actions
}

func (h *Hunt) remove(which func(leg) bool) bool {
	before := len(h.legs)
	h.legs = slices.DeleteFunc(h.legs, which)
	return len(h.legs) < before
}

// after is when a limit ends; zero for none.
func after(now time.Time, d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return now.Add(d)
}
