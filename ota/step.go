package ota

import (
	"fmt"
	"maps"
	"time"
)

// InputKind says what happened.
type InputKind string

// Inputs, and the fields of Input that each uses.
const (
	OnBoot      InputKind = "boot"      // Running, Other, BootID, Trial: our program has started
	OnCheck     InputKind = "check"     // it is time to ask for news, or a person asks
	OnFound     InputKind = "found"     // Release: verified metadata offers it, instead of what is ready, if anything is
	OnNothing   InputKind = "nothing"   // Reason if any: no news, or nobody could be asked; what is ready was withdrawn
	OnProgress  InputKind = "progress"  // Offset: so much is in the slot, and synced
	OnDone      InputKind = "done"      // what the phase stands for has been done
	OnTrouble   InputKind = "trouble"   // Reason: it could not be done now; it may be another time
	OnBad       InputKind = "bad"       // Reason: it can never be done with this release
	OnQuiet     InputKind = "quiet"     // nobody would be disturbed
	OnBusy      InputKind = "busy"      // Reason: somebody would
	OnHealthy   InputKind = "healthy"   // health has held for the whole probation
	OnUnhealthy InputKind = "unhealthy" // Reason: it has not, and will not be waited for any longer
	OnDefer     InputKind = "defer"     // Until
	OnCancel    InputKind = "cancel"    // Reason: by whom
	OnForce     InputKind = "force"     // by a person: now
)

// Input is one thing that happened.
type Input struct {
	Kind    InputKind
	Time    time.Time
	Running string // slot that runs
	Other   string // the slot beside it
	BootID  string // changes with each boot of the kernel
	Trial   bool   // this boot is a trial: the next one is of the other slot, unless it is committed
	Release Release
	Offset  int64
	Reason  string
	Until   time.Time
}

// Action is what has to be done once the new state is on disk.
type Action string

// Actions, and what tells of their end.
const (
	Check     Action = "check"      // fetch and verify metadata: OnFound or OnNothing
	Fetch     Action = "fetch"      // from State.Offset: OnProgress, then OnDone; OnTrouble, OnBad
	ReadBack  Action = "read back"  // compare the slot with the release: OnDone; OnBad
	WriteHead Action = "write head" // OnDone; OnTrouble, OnBad
	Ask       Action = "ask"        // may it be booted? OnQuiet or OnBusy, again and again until it was; OnFound, OnNothing
	Try       Action = "try"        // arm the slot for one boot, and boot: OnBoot, or OnTrouble
	Watch     Action = "watch"      // watch the health: OnHealthy or OnUnhealthy
	Commit    Action = "commit"     // the running slot stays: OnDone; OnTrouble
	Revert    Action = "revert"     // the other slot is the system again; boot it: OnBoot
	Stop      Action = "stop"       // end what runs of check, fetch, read back, write head
)

// Limits keep a machine from going round for ever.
type Limits struct {
	Tries       int // trial boots of one release: a power cut may eat one
	Starts      int // starts of our program in one trial boot: more is a crash loop
	Transitions int // changes of phase in one update
}

// DefaultLimits serve where nothing else is said.
var DefaultLimits = Limits{Tries: 3, Starts: 3, Transitions: 100}

// NotAgain stands in State.Reason between a version that was offered once more and why it failed, Withdrawn behind one that
// was ready when it was no longer offered.
const (
	NotAgain  = " is not tried again: "
	Withdrawn = " was withdrawn"
)

// Step gives the state after in, and what to do once that is on disk. An input that has no place in a phase changes
// nothing: it tells of something that was overtaken.
func (l Limits) Step(s State, in Input) (State, []Action) {
	if s.Phase == "" {
		s.Phase = Idle
	}
	next, actions := l.step(s, in)
	if next.Phase != s.Phase && next.Phase.busy() {
		if next.Transitions++; next.Transitions > l.Transitions && next.Phase != Probation {
			return l.give(next, Failed, fmt.Sprintf("went round %d times", s.Transitions)), []Action{Stop}
		}
	}
	return next, actions
}

func (l Limits) step(s State, in Input) (State, []Action) {
	switch in.Kind {
	case OnBoot:
		return l.boot(s, in)
	case OnCancel:
		return l.cancel(s, in)
	case OnForce:
		return l.force(s)
	case OnDefer:
		s.Until, s.Forced = in.Until, false
		if s.Phase == Ready || s.Phase == Waiting {
			return s, []Action{Ask}
		}
		return s, nil
	}
	switch s.Phase {
	case Idle, Committed, RolledBack, Failed:
		switch {
		case s.Doubt: // a check waits for its end
			return l.judge(s, in)
		case in.Kind == OnCheck:
			s.Phase, s.Forced = Checking, false
			return s, []Action{Check}
		}
	case Checking:
		return l.checking(s, in)
	case Downloading:
		if in.Kind == OnProgress {
			s.Offset = max(s.Offset, min(in.Offset, s.Release.Size))
			return s, nil
		}
		return l.working(s, in, Verifying, ReadBack)
	case Verifying:
		return l.working(s, in, Writing, WriteHead)
	case Writing:
		return l.working(s, in, Ready, Ask)
	case Ready, Waiting:
		return l.ready(s, in)
	case Trying:
		if in.Kind == OnTrouble { // it could not be armed: no trial, and the next check goes on from here
			s.Phase, s.Reason, s.Tries = Idle, in.Reason, max(0, s.Tries-1)
		}
	case Probation:
		return l.probation(s, in)
	}
	return s, nil
}

// boot finds out what became of the boot that the state expects.
func (l Limits) boot(s State, in Input) (State, []Action) {
	trial := s.Phase == Trying || s.Phase == Probation
	switch {
	case s.Phase == Checking: // asked before; the interval asks again
		s.Phase = Idle
	case trial && in.Running == s.Target && !in.Trial: // the commit was done, its note was not
		return committed(s), nil
	case trial && in.Running == s.Target && s.Phase == Probation && s.BootID == in.BootID:
		if s.Starts++; s.Starts > l.Starts {
			return l.unhealthy(s, fmt.Sprintf("crash loop: started %d times in one boot", s.Starts))
		}
		return s, []Action{Watch}
	case trial && in.Running == s.Target:
		s.Phase, s.Starts, s.BootID = Probation, 1, in.BootID
		return s, []Action{Watch}
	case s.Phase == Trying && s.BootID == in.BootID: // our program ended, and no boot came: it may be what ended it
		return l.again(s, "the boot that was asked for did not come")
	case trial:
		return l.again(s, "the trial boot ended before it was healthy")
	case s.Phase == RolledBack && in.Running == s.Target && in.Trial: // the way back was not taken
		if s.Starts >= l.Starts {
			s.Reason = "slot " + in.Other + " does not boot any more; " + in.Running + " stays, though: " + s.Condemned[s.Release.Version].Reason
			return s, nil
		}
		s.Starts++
		return s, []Action{Revert}
	case s.Phase == RolledBack && s.Doubt && in.Running == s.From && in.Other == s.Target:
		return s, []Action{Watch}
	case s.Phase.busy() && (in.Running != s.From || in.Other != s.Target):
		return l.give(s, Failed, "slot "+in.Running+" runs, which the update did not expect"), nil
	case s.Phase == Downloading || s.Phase == Verifying || s.Phase == Writing:
		// The metadata may have expired meanwhile. If it still offers this release, its download goes on where it was.
		s.Phase = Checking
		return s, []Action{Check}
	case s.Phase == Ready || s.Phase == Waiting:
		return s, []Action{Ask}
	}
	if in.Trial { // somebody booted it by hand, or what was known of it is lost
		s.Reason = "slot " + in.Running + " is on trial, and no update knows of it: the next boot is of slot " + in.Other
	}
	if s.From != in.Running || s.Target != in.Other { // between updates these say where the next one goes
		s.From, s.Target, s.Offset, s.Doubt = in.Running, in.Other, 0, false
	}
	return s, nil
}

func (l Limits) checking(s State, in Input) (State, []Action) {
	switch in.Kind {
	case OnFound:
		if v, is := s.Condemned[in.Release.Version]; is && in.Release.Serial <= v.Serial && !s.Forced {
			s.Phase, s.Reason = Idle, in.Release.Version+NotAgain+v.Reason
			return s, nil
		}
		other := in.Release.SHA256 != s.Release.SHA256 || s.Forced
		if other {
			s.Offset = 0
		}
		if other || in.Release.Serial != s.Release.Serial { // the same image, offered once more
			s.Tries, s.Transitions = 0, 0
		}
		s.Phase, s.Release, s.Reason = Downloading, in.Release, ""
		return s, []Action{Fetch}
	case OnNothing:
		s.Phase, s.Reason = Idle, in.Reason
	}
	return s, nil
}

// working is a phase that ends with OnDone and goes on to next.
func (l Limits) working(s State, in Input, next Phase, action Action) (State, []Action) {
	switch in.Kind {
	case OnDone:
		s.Phase = next
		if next == Verifying {
			s.Offset = s.Release.Size
		}
		return s, []Action{action}
	case OnTrouble: // what is in the slot stays: the next check goes on from there
		s.Phase, s.Reason = Idle, in.Reason
		if next != Verifying {
			s.Offset = 0 // the slot itself did not take it
		}
	case OnBad:
		return l.give(s, Failed, in.Reason), nil
	}
	return s, nil
}

// force does away with what would be waited for, from now on.
func (l Limits) force(s State) (State, []Action) {
	switch s.Phase {
	case Idle, Committed, RolledBack, Failed, Checking: // what is being asked does not know that it is forced
		s.Phase, s.Forced, s.Doubt = Checking, true, false
		return s, []Action{Check}
	case Downloading, Verifying, Writing:
		s.Forced = true
	case Ready, Waiting:
		s.Forced = true
		return s, []Action{Ask}
	}
	return s, nil
}

func (l Limits) ready(s State, in Input) (State, []Action) {
	switch {
	case in.Kind == OnBusy:
		s.Phase, s.Reason = Waiting, in.Reason
	case in.Kind == OnNothing: // the slot keeps it, in case that it is offered again
		s.Phase, s.Reason, s.Until = Idle, in.Reason, time.Time{}
	case in.Kind == OnFound && in.Release.SHA256 != s.Release.SHA256:
		return l.checking(s, in)
	case in.Kind == OnQuiet && s.deferred(in.Time):
		return s, []Action{Ask}
	case in.Kind == OnQuiet:
		s.Phase, s.Reason, s.BootID, s.Starts = Trying, "", in.BootID, 0
		s.Tries++
		return s, []Action{Try}
	}
	return s, nil
}

func (l Limits) probation(s State, in Input) (State, []Action) {
	switch in.Kind {
	case OnHealthy:
		return s, []Action{Commit}
	case OnDone:
		return committed(s), nil
	case OnUnhealthy:
		return l.unhealthy(s, in.Reason)
	case OnTrouble:
		return l.unhealthy(s, "commit: "+in.Reason)
	}
	return s, nil
}

// committed: what was the target is the slot that runs.
func committed(s State) State {
	s.Phase, s.Reason, s.Offset, s.Forced, s.Until = Committed, "", 0, false, time.Time{}
	s.From, s.Target = s.Target, s.From
	// Verdicts on metadata that is no newer have served: devices take no older one any more.
	s.Condemned = maps.Clone(s.Condemned)
	maps.DeleteFunc(s.Condemned, func(_ string, v Verdict) bool { return v.Serial <= s.Release.Serial })
	return s
}

// again waits for another trial boot, if there is one left: the power cut that ate one says nothing about the release.
func (l Limits) again(s State, reason string) (State, []Action) {
	if s.Tries >= l.Tries {
		return l.give(s, RolledBack, reason), nil
	}
	s.Phase, s.Reason = Waiting, reason
	return s, []Action{Ask}
}

// unhealthy goes back to the old system. The verdict waits for how that fares where the new one was not well.
func (l Limits) unhealthy(s State, reason string) (State, []Action) {
	s = l.give(s, RolledBack, reason)
	s.Doubt = true
	return s, []Action{Revert}
}

// judge hears of the old system's health. If it is not well either, as when the network is away for everybody, that was no
// fault of the release: it is in its slot still, and has another trial when the old system is well again.
func (l Limits) judge(s State, in Input) (State, []Action) {
	switch {
	case in.Kind == OnHealthy, in.Kind == OnUnhealthy && s.Tries >= l.Tries:
		s.Doubt = false
	case in.Kind == OnUnhealthy:
		s.Phase, s.Doubt, s.Reason = Waiting, false, s.Reason+"; no fault of it, the old system is not well either: "+in.Reason
		s.Condemned = maps.Clone(s.Condemned)
		delete(s.Condemned, s.Release.Version)
		return s, []Action{Ask}
	}
	return s, nil
}

func (l Limits) cancel(s State, in Input) (State, []Action) {
	switch s.Phase {
	case Checking, Downloading, Verifying, Writing, Ready, Waiting:
		s.Phase, s.Offset, s.Reason, s.Until = Idle, 0, "cancelled by "+in.Reason, time.Time{}
		return s, []Action{Stop}
	case Probation:
		return l.give(s, RolledBack, "cancelled by "+in.Reason), []Action{Revert}
	}
	return s, nil
}

// give ends an update, and remembers that its version is not to be tried again.
func (l Limits) give(s State, end Phase, reason string) State {
	s.Condemned = maps.Clone(s.Condemned)
	if s.Condemned == nil {
		s.Condemned = map[string]Verdict{}
	}
	s.Condemned[s.Release.Version] = Verdict{Serial: s.Release.Serial, Reason: reason}
	s.Phase, s.Reason, s.Offset, s.Starts, s.Forced, s.Until = end, reason, 0, 0, false, time.Time{}
	return s
}
