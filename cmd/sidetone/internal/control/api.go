// Package control is the device's local control: HTTP over a unix socket, JSON both ways. The daemon serves it, the
// sub-commands call it, so that the hardware is never opened twice.
package control

import (
	"context"
	"time"

	"sidetone/board/indicator"
	"sidetone/rtc/call"
	"sidetone/rtc/quality"
	"sidetone/rtc/verto"
)

// Event is one thing that happened, as it goes to `sidetone call --json` and to every other watcher.
type Event struct {
	// Event is "state", "warning", "dtmf", "report", "line", "error", or "media", whose Name says what happened first:
	// connected, first_packet_sent, first_packet_received, first_sound_played. When the sound of a call moves to another
	// session, as at a re-attach, the first three come again, and first_packet_received has GapMs.
	Event string `json:"event"`
	// TMs is the time since the call was asked for, in milliseconds.
	TMs       int64           `json:"t_ms"`
	CallID    string          `json:"call_id,omitempty"`
	State     string          `json:"state,omitempty"`
	PrevState string          `json:"prevState,omitempty"`
	Code      int             `json:"code,omitempty"`
	Name      string          `json:"name,omitempty"`
	Message   string          `json:"message,omitempty"`
	Digit     string          `json:"digit,omitempty"`
	GapMs     int64           `json:"gap_ms,omitempty"` // from the last packet of sound the old way to the first the new way
	Call      *call.Info      `json:"call,omitempty"`
	Line      *verto.Status   `json:"line,omitempty"`
	Report    *quality.Report `json:"report,omitempty"`
}

// RefusedError says that no call is possible because the platform refuses the login.
type RefusedError struct{ Status verto.Status }

func (e *RefusedError) Error() string { return e.Status.Message }

// Status is the whole state of the device at one moment.
type Status struct {
	Device    string            `json:"device"`
	Fleet     string            `json:"fleet"`
	Version   string            `json:"version"`
	Started   time.Time         `json:"started"`
	Line      verto.Status      `json:"line"`
	Calls     []call.Info       `json:"calls"`
	Indicator indicator.Pattern `json:"indicator"`
	MQTT      string            `json:"mqtt"`  // "none", "connected" or "offline"
	Sound     string            `json:"sound"` // what captures and plays
}

// PressRequest presses a button as a finger would.
type PressRequest struct {
	Button string `json:"button"` // empty: the first one
}

// CallRequest places a call and follows it to its end.
type CallRequest struct {
	Destination string        `json:"destination"`
	For         time.Duration `json:"for,omitempty"`   // hang up this long after active; 0 never
	Relay       bool          `json:"relay,omitempty"` // media through TURN only
}

// DTMFRequest sends digits in a call.
type DTMFRequest struct {
	CallID string `json:"call_id"` // empty: the only call
	Digits string `json:"digits"`
}

// CallIDRequest names a call; an empty id means the only one there is.
type CallIDRequest struct {
	CallID string `json:"call_id"`
}

// TransferRequest hands a call on.
type TransferRequest struct {
	CallID      string `json:"call_id"`
	Destination string `json:"destination"`
}

// Act is something that can be done to a call and needs no more than its id.
type Act string

// Acts; each is a path of the control socket, a sub-command and an MQTT command.
const (
	Answer     Act = "answer"
	Reject     Act = "reject"
	Hangup     Act = "hangup"
	Hold       Act = "hold"
	Unhold     Act = "unhold"
	ToggleHold Act = "toggle-hold"
	Mute       Act = "mute"
	Unmute     Act = "unmute"
	ToggleMute Act = "toggle-mute"
	Deaf       Act = "deaf"
	Undeaf     Act = "undeaf"
)

// Acts lists them with what they do.
var Acts = []struct {
	Act   Act
	About string
}{
	{Answer, "answer the ringing call"},
	{Reject, "send the ringing call away: busy"},
	{Hangup, "end the call"},
	{Hold, "put the call on hold"},
	{Unhold, "take the call off hold"},
	{ToggleHold, "hold or take back"},
	{Mute, "switch the microphone off"},
	{Unmute, "switch the microphone on"},
	{ToggleMute, "switch the microphone over"},
	{Deaf, "switch the loudspeaker off"},
	{Undeaf, "switch the loudspeaker on"},
}

// Device is what the control socket drives.
type Device interface {
	Status(ctx context.Context) Status
	Press(ctx context.Context, button string) error
	// Call places a call and hands each of its events to each, the report last, until the call has ended or ctx has,
	// which hangs up.
	Call(ctx context.Context, r CallRequest, each func(Event)) error
	// Do does one of Acts to a call.
	Do(ctx context.Context, act Act, callID string) error
	DTMF(ctx context.Context, callID, digits string) error
	Transfer(ctx context.Context, callID, destination string) error
}
