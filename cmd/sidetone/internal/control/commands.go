package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"sidetone/ota"
	"sidetone/rtc/call"
)

// Act is something that can be done to a call and needs no more than its id.
type Act string

// Acts.
const (
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

// CallIDRequest names a call.
type CallIDRequest struct {
	CallID string `json:"call_id,omitempty"`
}

// AnswerRequest answers a call.
type AnswerRequest struct {
	CallID  string        `json:"call_id,omitempty"`
	Headers []call.Header `json:"headers,omitempty"`
}

// PressRequest presses a button as a finger would.
type PressRequest struct {
	Button string `json:"button,omitempty"` // empty: the first one
}

// OpenDoorRequest unlocks.
type OpenDoorRequest struct {
	Relay   string  `json:"relay,omitempty"`   // empty: the first one
	Seconds float64 `json:"seconds,omitempty"` // 0: as the config has it; never more than its max_on
}

// DialRequest says whom to call, and how; what is empty is as the config has it.
type DialRequest struct {
	Destination  string        `json:"destination"`
	Relay        bool          `json:"relay,omitempty"` // media through TURN only
	CallerName   string        `json:"caller_name,omitempty"`
	CallerNumber string        `json:"caller_number,omitempty"`
	Headers      []call.Header `json:"headers,omitempty"`      // besides those of the config
	ClientState  string        `json:"client_state,omitempty"` // any text
	Muted        bool          `json:"muted,omitempty"`        // begin with the microphone off
	Codecs       []string      `json:"codecs,omitempty"`       // opus, pcmu, pcma: best first
}

// CallRequest places a call and follows it to its end.
type CallRequest struct {
	DialRequest
	For time.Duration `json:"for,omitempty"` // hang up this long after active; 0 never
}

// DTMFRequest sends digits in a call.
type DTMFRequest struct {
	CallID string `json:"call_id,omitempty"`
	Digits string `json:"digits"`
}

// TransferRequest hands a call on.
type TransferRequest struct {
	CallID      string `json:"call_id,omitempty"`
	Destination string `json:"destination"`
}

// DeviceRequest names sound devices, as the config does.
type DeviceRequest struct {
	Capture  string `json:"capture,omitempty"`
	Playback string `json:"playback,omitempty"`
}

// VolumeRequest sets how loud sounds of a role are; without percent it asks.
type VolumeRequest struct {
	Role    string `json:"role,omitempty"` // ring, talk or prompt
	Percent *int   `json:"percent,omitempty"`
}

// Volumes are how loud sounds of each role are, in percent.
type Volumes struct {
	Ring   int `json:"ring"`
	Talk   int `json:"talk"`
	Prompt int `json:"prompt"`
}

// DeferRequest puts off the restart that an update needs.
type DeferRequest struct {
	Seconds float64 `json:"seconds"` // from now on; 0: not any longer
}

// SayRequest writes to the assistant, with pictures if any: URLs, also data: URLs.
type SayRequest struct {
	Text   string   `json:"text"`
	Images []string `json:"images,omitempty"`
}

// ToolResultRequest gives the assistant what a tool that it asked for gave.
type ToolResultRequest struct {
	ToolCallID string `json:"tool_call_id"`
	Output     string `json:"output"`
}

// Commands lists all that a device can be told to do, by name: each is a POST to /v1/NAME on the control socket with its
// request as JSON, and MQTT's down/cmd/NAME with the same request as args.
func Commands() []string {
	var names []string
	for _, c := range commands {
		names = append(names, c.name)
	}
	return names
}

// ErrRequest is wrapped by the error of Run for what is not a request of that command.
var ErrRequest = errors.New("bad request")

// Run does what command name with its request as JSON means. The result, if any, is for JSON.
func Run(ctx context.Context, d Device, name string, request []byte) (result any, err error) {
	i := slices.IndexFunc(commands, func(c command) bool { return c.name == name })
	if i < 0 {
		return nil, fmt.Errorf("%w: this firmware has no command %q", ErrRequest, name)
	}
	return commands[i].run(ctx, d, request)
}

type command struct {
	name string
	run  func(ctx context.Context, d Device, request []byte) (any, error)
}

var commands = slices.Concat(acts(), []command{
	does("press", func(ctx context.Context, d Device, q PressRequest) error { return d.Press(ctx, q.Button) }),
	does("door-open", func(ctx context.Context, d Device, q OpenDoorRequest) error { return d.OpenDoor(ctx, q) }),
	does("door-opened", func(ctx context.Context, d Device, _ struct{}) error { return d.DoorOpened(ctx) }),
	gives("dial", func(ctx context.Context, d Device, q DialRequest) (any, error) {
		id, err := d.Dial(ctx, q)
		return CallIDRequest{CallID: id}, err
	}),
	does("answer", func(ctx context.Context, d Device, q AnswerRequest) error { return d.Answer(ctx, q.CallID, q.Headers) }),
	does("dtmf", func(ctx context.Context, d Device, q DTMFRequest) error { return d.DTMF(ctx, q.CallID, q.Digits) }),
	does("transfer", func(ctx context.Context, d Device, q TransferRequest) error {
		return d.Transfer(ctx, q.CallID, q.Destination)
	}),
	does("device", func(ctx context.Context, d Device, q DeviceRequest) error {
		return d.UseSound(ctx, q.Capture, q.Playback)
	}),
	gives("volume", func(ctx context.Context, d Device, q VolumeRequest) (any, error) {
		return d.Volume(ctx, q.Role, q.Percent)
	}),
	update(UpdateCheck), update(UpdateForce), update(UpdateCancel),
	does("update-defer", func(ctx context.Context, d Device, q DeferRequest) error {
		if q.Seconds < 0 || q.Seconds > ota.MaxDefer.Seconds() {
			return fmt.Errorf("%w: seconds must be from 0 to %.0f", ErrRequest, ota.MaxDefer.Seconds())
		}
		return d.Update(ctx, UpdateDefer, time.Now().Add(time.Duration(q.Seconds*float64(time.Second))))
	}),
	does("say", func(ctx context.Context, d Device, q SayRequest) error { return d.Say(ctx, q.Text, q.Images) }),
	does("tool-result", func(ctx context.Context, d Device, q ToolResultRequest) error {
		return d.ToolResult(ctx, q.ToolCallID, q.Output)
	}),
})

func update(act UpdateAct) command {
	return does("update-"+string(act), func(ctx context.Context, d Device, _ struct{}) error { return d.Update(ctx, act, time.Time{}) })
}

func acts() []command {
	var all []command
	for _, a := range Acts {
		all = append(all, does(string(a.Act), func(ctx context.Context, d Device, q CallIDRequest) error {
			return d.Do(ctx, a.Act, q.CallID)
		}))
	}
	return all
}

func gives[Q any](name string, do func(context.Context, Device, Q) (any, error)) command {
	return command{name, func(ctx context.Context, d Device, request []byte) (any, error) {
		var q Q
		if err := decode(bytes.NewReader(request), &q); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrRequest, name, err)
		}
		return do(ctx, d, q)
	}}
}

func does[Q any](name string, do func(context.Context, Device, Q) error) command {
	return gives(name, func(ctx context.Context, d Device, q Q) (any, error) { return nil, do(ctx, d, q) })
}

// decode reads a request; nothing at all is an empty one.
func decode(r io.Reader, q any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(q); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
