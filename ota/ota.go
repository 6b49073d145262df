// Package ota is the update machine: it says what an appliance with two system slots does next, and remembers it over
// any power cut. Step is pure; whoever runs it writes the state to disk before it carries out an action, and tells what
// came of it. A slot is written while the other runs, is booted once on trial, and is kept when health has held.
package ota

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Phase is where an update stands.
type Phase string

// Phases, in the order of an update that goes well. Every one of them can be the last before the power goes.
const (
	Idle        Phase = "idle"
	Checking    Phase = "checking"    // metadata is fetched and verified
	Downloading Phase = "downloading" // verified chunks go into the other slot, all but its head
	Verifying   Phase = "verifying"   // the slot is read back and compared
	Writing     Phase = "writing"     // the head is written and read back: the slot could boot from now on
	Ready       Phase = "ready"       // it will be booted as soon as that disturbs nobody
	Waiting     Phase = "waiting"     // it would disturb: a call, or outside the maintenance window
	Trying      Phase = "trying"      // the slot is armed for one boot
	Probation   Phase = "probation"   // it runs, and has to stay healthy for a time
	Committed   Phase = "committed"   // it is the system now
	RolledBack  Phase = "rolled back" // it did not prove itself: the old system runs
	Failed      Phase = "failed"      // it was never booted: the old system runs
)

var phases = []Phase{Idle, Checking, Downloading, Verifying, Writing, Ready, Waiting, Trying, Probation, Committed, RolledBack, Failed}

// Release names one image for this board, as its verified metadata does.
type Release struct {
	Version string `json:"version"`
	Serial  int64  `json:"serial"`            // version of the metadata that told of it: it only ever grows
	SHA256  string `json:"sha256"`            // of the whole image, hex
	Size    int64  `json:"size"`              // bytes
	Summary string `json:"summary,omitempty"` // for people, a line
	URL     string `json:"url,omitempty"`     // where people read more
}

// Verdict is why a version is not tried again.
type Verdict struct {
	Serial int64  `json:"serial"` // of the metadata it came with: newer metadata may offer it once more
	Reason string `json:"reason"`
}

// State is all that is remembered. Its zero value is an appliance that never heard of an update.
type State struct {
	Phase       Phase              `json:"phase"`
	Release     Release            `json:"release,omitzero"`      // the update under way, or the last one
	Target      string             `json:"target,omitempty"`      // the slot that it goes to
	From        string             `json:"from,omitempty"`        // the slot that ran when it began
	Offset      int64              `json:"offset,omitempty"`      // bytes of the image known to be in the slot
	Tries       int                `json:"tries,omitempty"`       // trial boots asked for
	Starts      int                `json:"starts,omitempty"`      // starts of our program in this trial boot, then ways back that were not taken
	BootID      string             `json:"boot_id,omitempty"`     // of the boot that asked for the trial, then of the trial itself
	Forced      bool               `json:"forced,omitempty"`      // by a person: no window, no waiting, verdicts aside
	Until       time.Time          `json:"until,omitzero"`        // deferred: not booted before this time
	Reason      string             `json:"reason,omitempty"`      // why the last update ended, or waits
	Transitions int                `json:"transitions,omitempty"` // changes of phase since the update began
	Doubt       bool               `json:"doubt,omitempty"`       // rolled back: whether the old system is well decides if the release was at fault
	Condemned   map[string]Verdict `json:"condemned,omitempty"`   // by version
}

// ParseState reads what json.Marshal made of a State. A file that says what cannot be is an error that names the field;
// the appliance then starts from a State in which no slot is armed, with the verdicts that could be read: what failed under a
// version that writes other states is not to come again and again.
func ParseState(b []byte) (State, error) {
	var s State
	err := json.Unmarshal(b, &s)
	if err == nil {
		err = s.check()
	}
	if err != nil {
		return State{Condemned: s.Condemned}, fmt.Errorf("update state: %w", err)
	}
	return s, nil
}

func (s State) check() error {
	switch {
	case s.Phase != "" && !slices.Contains(phases, s.Phase):
		return fmt.Errorf("phase: %q is none", s.Phase)
	case s.Offset < 0 || s.Offset > s.Release.Size:
		return fmt.Errorf("offset: %d of %d bytes", s.Offset, s.Release.Size)
	case s.Tries < 0 || s.Starts < 0 || s.Transitions < 0:
		return fmt.Errorf("tries, starts, transitions: %d, %d, %d", s.Tries, s.Starts, s.Transitions)
	case s.Phase.busy() && s.Release.Version == "":
		return fmt.Errorf("release: none while %s", s.Phase)
	case s.Phase.busy() && (s.Target == "" || s.Target == s.From):
		return fmt.Errorf("target: slot %q while slot %q runs", s.Target, s.From)
	}
	return nil
}

// busy says whether the slot belongs to an update under way.
func (p Phase) busy() bool {
	switch p {
	case Downloading, Verifying, Writing, Ready, Waiting, Trying, Probation:
		return true
	}
	return false
}

// MaxDefer is how long a boot can be put off. A time beyond it was set by a clock that was wrong.
const MaxDefer = 30 * 24 * time.Hour

// deferred says whether somebody has put the boot off until later than now.
func (s State) deferred(now time.Time) bool {
	left := s.Until.Sub(now)
	return !s.Forced && left > 0 && left <= MaxDefer
}

// Percent of the image that is in the slot, 0 to 100.
func (s State) Percent() int {
	if s.Release.Size == 0 {
		return 0
	}
	return int(s.Offset * 100 / s.Release.Size)
}
