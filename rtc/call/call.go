// Package call is the call machine: a pure reducer that knows which call may do what, and a manager that owns all
// calls in one goroutine and makes the world follow.
package call

import (
	"context"
	"errors"
	"reflect"
	"time"

	"sidetone/rtc/quality"
)

// Direction of a call, seen from the device.
type Direction string

// Directions.
const (
	Inbound  Direction = "inbound"
	Outbound Direction = "outbound"
)

// Cause says why a call ended: Q.850 words and codes, extended by FreeSWITCH, and SIP's where the far side gave one.
type Cause struct {
	Cause     string `json:"cause,omitempty"`
	CauseCode int    `json:"causeCode,omitempty"`
	SIPCode   int    `json:"sipCode,omitempty"`
	SIPReason string `json:"sipReason,omitempty"`
}

// Info is what there is to know of one call: plain values, as they go to MQTT, the control socket and the page.
type Info struct {
	ID          string    `json:"call_id"`
	Direction   Direction `json:"direction"`
	State       State     `json:"state"`
	PrevState   State     `json:"prevState"`
	Destination string    `json:"destination,omitempty"`
	Relay       bool      `json:"relay,omitempty"` // media through TURN only: it was asked for, or other ways failed
	Group       string    `json:"group,omitempty"` // of DialRequest
	RemoteName  string    `json:"remote_name,omitempty"`
	RemoteID    string    `json:"remote_number,omitempty"`
	RemoteRings bool      `json:"remote_rings,omitempty"` // the far side said that it rings: play ringback
	// CallerName and CallerNumber are ours on an outbound call; empty means the device's.
	CallerName   string `json:"caller_name,omitempty"`
	CallerNumber string `json:"caller_number,omitempty"`
	// Headers are ours on an outbound call, the caller's on an inbound one. ClientState is base64.
	Headers         []Header `json:"headers,omitempty"`
	AnswerHeaders   []Header `json:"answer_headers,omitempty"` // ours on an inbound call
	ClientState     string   `json:"client_state,omitempty"`
	PreferredCodecs []string `json:"preferred_codecs,omitempty"` // opus, PCMU, PCMA: best first; empty: media's own order
	Muted           bool     `json:"muted,omitempty"`            // the far side does not hear us
	Deaf            bool     `json:"deaf,omitempty"`             // we do not hear the far side
	// RecoveredCallID is set once the platform has re-attached the call after its line was lost.
	RecoveredCallID string `json:"recoveredCallId,omitempty"`
	// Times that did not come yet are zero, and absent in JSON.
	Created time.Time `json:"created,omitzero"`
	Active  time.Time `json:"active,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Cause
	EndedBy EndedBy `json:"ended_by,omitempty"`
	Error   string  `json:"error,omitempty"` // what went wrong, in words, when something did
	// Media is "connected" or "disconnected" once media has said so.
	Media               string `json:"media,omitempty"`
	TelnyxCallControlID string `json:"telnyx_call_control_id,omitempty"`
	TelnyxSessionID     string `json:"telnyx_session_id,omitempty"`
	TelnyxLegID         string `json:"telnyx_leg_id,omitempty"`

	// What the machine has to remember besides.
	sent      bool   // our invite, answer or attach went out
	sdpTaken  bool   // the one SDP answer was applied
	mediaOpen bool   // there is media to close
	byeOpen   bool   // our bye waits for its answer
	asked     string // hold, unhold or toggleHold waits for its answer
	detached  bool   // the line was lost, and the platform did not speak of the call since
	holdAgain bool   // it was held when the platform gave it back
	mayRelay  bool   // media may move to TURN
	mend      mend   // where the mending of media is at
	try       int    // counts attempts at new media; results of an older one are not wanted
	tries     int    // attempts since media was last well
	fresh     bool   // a new media session is being prepared beside the call's own
	renewed   bool   // the line was, because the platform refused to mend media
	moved     bool   // a way into the network was lost after media had described itself, and before it could be mended
	silent    bool   // media is mended for silence alone: it says of itself that it is connected
}

// shown is what others see of a call: it without the machine's notes to itself.
func (c Info) shown() Info {
	c.sent, c.sdpTaken, c.mediaOpen, c.byeOpen = false, false, false, false
	c.asked, c.detached, c.holdAgain, c.mayRelay = "", false, false, false
	c.mend, c.try, c.tries, c.fresh, c.renewed, c.moved, c.silent = mendNone, 0, 0, false, false, false, false
	return c
}

// same tells whether two are equal in everything.
func (c Info) same(d Info) bool { return reflect.DeepEqual(c, d) }

// EndedBy says who or what ended a call.
type EndedBy string

// Who ends calls.
const (
	ByLocal   EndedBy = "local"
	ByRemote  EndedBy = "remote"
	ByLine    EndedBy = "line"    // the platform refused it, dropped it, or could not be reached
	ByMedia   EndedBy = "media"   // no sound was possible
	ByTimeout EndedBy = "timeout" // nobody answered, or nothing happened
)

// Causes that we give ourselves.
var (
	NormalClearing          = Cause{Cause: "NORMAL_CLEARING", CauseCode: 16}
	UserBusy                = Cause{Cause: "USER_BUSY", CauseCode: 17}
	NoAnswer                = Cause{Cause: "NO_ANSWER", CauseCode: 19}
	CallRejected            = Cause{Cause: "CALL_REJECTED", CauseCode: 21}
	TemporaryFailure        = Cause{Cause: "NORMAL_TEMPORARY_FAILURE", CauseCode: 41}
	IncompatibleDestination = Cause{Cause: "INCOMPATIBLE_DESTINATION", CauseCode: 88}
	RecoveryOnTimerExpire   = Cause{Cause: "RECOVERY_ON_TIMER_EXPIRE", CauseCode: 102}
)

// Refused is the error of a Line when the platform said no to an invite or answer, as opposed to not being reached.
// An empty Cause stands for CALL_REJECTED.
type Refused struct {
	Cause Cause
	Err   error
}

func (r *Refused) Error() string { return "the platform refused the call: " + r.Err.Error() }

// Unwrap gives the platform's own error.
func (r *Refused) Unwrap() error { return r.Err }

// ErrUnsent is what a Line's error wraps when the request never left: the platform cannot know of it.
var ErrUnsent = errors.New("the request was not sent")

// Header is a custom header of a call; its name begins with X-.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Actions of Line.Modify.
const (
	ModifyHold       = "hold"
	ModifyUnhold     = "unhold"
	ModifyToggleHold = "toggleHold"
	ModifyUpdate     = "updateMedia"
	ModifyTransfer   = "transfer"
)

// Modified is what the platform says to Modify.
type Modified struct {
	HoldState string // exactly "active" means not held
	SDP       string // its answer to the offer of updateMedia
}

// Line is the signalling that the manager needs; an adapter over rtc/verto gives it. Requests of one call come one at a
// time and in order; each has a context that ends when its answer is no longer wanted. DTMF sends the digits in order.
type Line interface {
	Invite(ctx context.Context, c Info, sdp string) error
	Answer(ctx context.Context, c Info, sdp string) error
	Bye(ctx context.Context, c Info) error
	DTMF(ctx context.Context, c Info, digits string) error
	// Attach carries our SDP answer to the platform's attach.
	Attach(ctx context.Context, c Info, sdp string) error
	// Modify changes a call. with is our SDP offer for updateMedia, the destination for transfer, and else empty.
	Modify(ctx context.Context, c Info, action, with string) (Modified, error)
	// Candidate and EndOfCandidates trickle ours, after the description that they belong to.
	Candidate(ctx context.Context, c Info, candidate, mid string, mline uint16) error
	EndOfCandidates(ctx context.Context, c Info) error
	// Healthy tells whether the platform is there: it was heard within 3 s, or answers a probe.
	Healthy(ctx context.Context) bool
	// Renew has the line take another connection, over which the platform gives the calls back.
	Renew(ctx context.Context, why string)
}

// Media is one call's media session; an adapter over rtc/media gives it. Its methods are called one at a time. One that
// has AddCandidate(candidate, mid string, mline uint16) error too is given the far side's trickled candidates, after its
// description.
type Media interface {
	// Offer and Answer gather candidates and return our SDP; both may take as long as ctx lets them. An error that wraps a
	// *quality.Error has its code told.
	Offer(ctx context.Context) (sdp string, err error)
	Answer(ctx context.Context, offer string) (sdp string, err error)
	// SetAnswer applies the far side's answer to our offer.
	SetAnswer(sdp string) error
	// Restart makes a new offer on new ways (ICE restart); its answer comes by SetAnswer.
	Restart(ctx context.Context) (offer string, err error)
	// Hold stops sound both ways, or lets it go on. Mute stops ours, Deaf theirs.
	Hold(bool)
	Mute(bool)
	Deaf(bool)
	// SendDTMF sends digits by RFC 4733, and returns at once; an error when the far side takes none.
	SendDTMF(digits string) error
	// Sample measures; called each second from active on, and once more before Close.
	Sample() quality.Sample
	// Close ends the session, within a second whatever the network does.
	Close() error
}
