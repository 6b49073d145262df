package call

import (
	"fmt"
	"strconv"
)

// State of a call. Order matters: "before active" means less than Active. Numbers are those of Telnyx's SDKs.
//
//	outbound:
//
//	new ──dial──► requesting ──taken──► trying ──media──► early ──answer──► active
//	                  │                    │                                  ▲
//	                  │                    └──────────── answer ──────────────┤
//	                  └── media, answer may overtake what the invite is answered by
//
//	inbound:
//
//	new ──invite──► ringing ──our answer──► answering ──taken──► active
//
//	both:
//
//	active ◄──hold, unhold: as the platform says──► held
//
//	active, held ──attach──► recovering ──our answer taken──► active
//	new ──attach of a call that an earlier run left, while there is no other──► recovering
//
//	each of them ──bye, hang-up, refusal, failure, time-out──► hangup ──bye answered, media closed, or neither in time──► destroy
//
// A line that is lost ends a call that is not yet answered, and leaves the others alone: their media may go on, and the
// platform gives them back by attach, once the line is there again; or does not, and they end. A call that was held is
// put on hold again when it is given back. Media that is bad on a good line is mended without a change of state.
// Purge is named, and not entered by anything: a call is forgotten with its report.
type State uint8

// States.
const (
	New State = iota
	Requesting
	Trying
	Recovering
	Ringing
	Answering
	Early
	Active
	Held
	Hangup
	Destroy
	Purge
)

const stateNames = "newrequestingtryingrecoveringringingansweringearlyactiveheldhangupdestroypurge"

var stateIndex = [...]uint8{0, 3, 13, 19, 29, 36, 45, 50, 56, 60, 66, 73, 78}

// String is the state's name, as in Telnyx's SDKs.
func (s State) String() string {
	if int(s) >= len(stateIndex)-1 {
		return "State(" + strconv.Itoa(int(s)) + ")"
	}
	return stateNames[stateIndex[s]:stateIndex[s+1]]
}

// MarshalText makes JSON carry the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name.
func (s *State) UnmarshalText(b []byte) error {
	for i := New; i <= Purge; i++ {
		if i.String() == string(b) {
			*s = i
			return nil
		}
	}
	return fmt.Errorf("%q is no call state", b)
}
