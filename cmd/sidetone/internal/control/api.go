// Package control is the device's local control: HTTP over a unix socket, JSON both ways. The daemon serves it, the
// sub-commands call it, so that the hardware is never opened twice.
package control

import (
	"context"
	"encoding/json"
	"time"

	"sidetone/board/door"
	"sidetone/board/health"
	"sidetone/board/indicator"
	"sidetone/rtc/call"
	"sidetone/rtc/quality"
	"sidetone/rtc/verto"
)

// Event is one thing that happened, as it goes to `sidetone call --json` and to every other watcher.
type Event struct {
	// Event is "update", whose Update says how far new firmware has come, "health", whose Name is the code of what is wrong, "door", whose Door says what, "state", "warning" (of a call, the line or the sound device), "call_error" (the call may go on),
	// "device_error" (the sound device does not open, and is tried again), "stats", "dtmf", "report", "line", "error" (no call was placed), "assistant", "button", or "media", whose Name says what happened first:
	// connected, first_packet_sent, first_packet_received, first_sound_played. When the sound of a call
	// moves to another session, as at a re-attach, the first three come again, and first_packet_received has GapMs.
	Event string `json:"event"`
	// TMs is the time since the call was asked for, in milliseconds.
	TMs       int64           `json:"t_ms"`
	CallID    string          `json:"call_id,omitempty"`
	State     string          `json:"state,omitempty"`
	PrevState string          `json:"prevState,omitempty"`
	Code      int             `json:"code,omitempty"`
	Name      string          `json:"name,omitempty"`
	Message   string          `json:"message,omitempty"`
	Cause     string          `json:"cause,omitempty"`  // of a Code: the likely reason
	Action    string          `json:"action,omitempty"` // of a Code: what to do
	Digit     string          `json:"digit,omitempty"`
	Button    string          `json:"button,omitempty"`
	Gesture   string          `json:"gesture,omitempty"` // of Button: press, double, long, hold, kept, stuck, released
	GapMs     int64           `json:"gap_ms,omitempty"`  // from the last packet of sound the old way to the first the new way
	Call      *call.Info      `json:"call,omitempty"`
	Line      *verto.Status   `json:"line,omitempty"`
	Stats     *quality.Frame  `json:"stats,omitempty"`
	Report    *quality.Report `json:"report,omitempty"`
	Door      *door.Record    `json:"door,omitempty"`
	Update    *Update         `json:"update,omitempty"`
	// Assistant is what the AI assistant says in writing, and the tools that it asks for: the params of ai_conversation.
	Assistant json.RawMessage `json:"assistant,omitempty"`
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
	MQTT      string            `json:"mqtt"`                 // "none", "connected" or "offline"
	Sound     string            `json:"sound"`                // what captures and plays
	Health    []health.Active   `json:"health,omitempty"`     // what is wrong
	LastReset string            `json:"last_reset,omitempty"` // why the board was reset, as its watchdog's driver knows
	Update    *Update           `json:"update,omitempty"`     // nil: there are none

	SoundDevice quality.SoundDevice `json:"sound_device"` // what went wrong with it since the start
}

// Device is what is driven: by the control socket and by the fleet alike. In all that is done to a call an empty id means
// the one that fits: the one that is talked on, rings or is held.
type Device interface {
	Status(ctx context.Context) Status
	// Watch hands each event of line and calls to each, until ctx ends or each fails.
	Watch(ctx context.Context, each func(Event) error) error
	Press(ctx context.Context, button string) error
	// OpenDoor unlocks; its error says why not.
	OpenDoor(ctx context.Context, r OpenDoorRequest) error
	// DoorOpened says that the door is open now: a button's after_door begins.
	DoorOpened(ctx context.Context) error
	// Dial places a call and leaves it to itself.
	Dial(ctx context.Context, r DialRequest) (callID string, err error)
	// Call places a call and hands each of its events to each, the report last, until the call has ended or ctx has,
	// which hangs up.
	Call(ctx context.Context, r CallRequest, each func(Event)) error
	// Answer answers the call that rings, with headers of ours.
	Answer(ctx context.Context, callID string, headers []call.Header) error
	// Do does one of Acts to a call.
	Do(ctx context.Context, act Act, callID string) error
	DTMF(ctx context.Context, callID, digits string) error
	Transfer(ctx context.Context, callID, destination string) error
	// UseSound changes the sound device until the next start, in mid-call too; an empty name leaves that side as it is.
	// When the other one does not open, the old one stays.
	UseSound(ctx context.Context, capture, playback string) error
	// Volume sets how loud sounds of a role are (ring, talk or prompt), over restarts, too, and gives all volumes; without
	// percent it changes nothing.
	Volume(ctx context.Context, role string, percent *int) (Volumes, error)
	// Update looks for new firmware, has it installed now, defers its restart until a time, or gives it up.
	Update(ctx context.Context, act UpdateAct, until time.Time) error
	// Say and ToolResult write to the AI assistant to which the line is logged in.
	Say(ctx context.Context, text string, images []string) error
	ToolResult(ctx context.Context, toolCallID, output string) error
}
