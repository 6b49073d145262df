package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/rtc/call"
	"sidetone/rtc/verto"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// device notes what it is told to do.
type device struct {
	told   []any
	err    error
	events []Event
}

func (d *device) note(what ...any) error {
	d.told = append(d.told, what...)
	return d.err
}

func (d *device) Status(context.Context) Status           { return Status{Device: "door1"} }
func (d *device) Press(_ context.Context, b string) error { return d.note("press", b) }
func (d *device) OpenDoor(_ context.Context, r OpenDoorRequest) error {
	return d.note("door-open", r)
}
func (d *device) DoorOpened(context.Context) error                { return d.note("door-opened") }
func (d *device) Do(_ context.Context, a Act, id string) error    { return d.note(string(a), id) }
func (d *device) DTMF(_ context.Context, id, digits string) error { return d.note("dtmf", id, digits) }
func (d *device) Answer(_ context.Context, id string, headers []call.Header) error {
	return d.note("answer", id, headers)
}
func (d *device) Transfer(_ context.Context, id, to string) error {
	return d.note("transfer", id, to)
}
func (d *device) Dial(_ context.Context, r DialRequest) (string, error) {
	return "call-1", d.note("dial", r)
}
func (d *device) Volume(_ context.Context, role string, percent *int) (Volumes, error) {
	return Volumes{}, d.note("volume", role, *percent)
}
func (d *device) UseSound(_ context.Context, capture, playback string) error {
	return d.note("device", capture, playback)
}
func (d *device) Say(_ context.Context, text string, images []string) error {
	return d.note("say", text, images)
}
func (d *device) ToolResult(_ context.Context, id, output string) error {
	return d.note("tool-result", id, output)
}

func (d *device) Update(_ context.Context, act UpdateAct, until time.Time) error {
	if act != UpdateDefer {
		return d.note("update", act)
	}
	return d.note("update", act, time.Until(until).Round(time.Minute))
}

func (d *device) Watch(ctx context.Context, each func(Event) error) error {
	for _, e := range d.events {
		if err := each(e); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

func (d *device) Call(_ context.Context, r CallRequest, each func(Event)) error {
	d.note("call", r)
	for _, e := range d.events {
		each(e)
	}
	return d.err
}

// serve gives a client of d; the socket's path is longer than a socket address may be.
func serve(t *testing.T, d Device) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), strings.Repeat("long", 30), "control.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, path, d, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another sidetone is running") {
		t.Errorf("a second daemon: %v", err)
	}
	return NewClient(path)
}

// requests is one of each command, and what the device is told then.
var requests = map[string]struct {
	request string
	told    []any
}{
	"press":       {`{"button":"call"}`, []any{"press", "call"}},
	"door-open":   {`{"relay":"gate","seconds":2.5}`, []any{"door-open", OpenDoorRequest{Relay: "gate", Seconds: 2.5}}},
	"door-opened": {`{}`, []any{"door-opened"}},
	"dial": {`{"destination":"+15550100","relay":true,"caller_name":"Lobby","caller_number":"+15550199",
		"headers":[{"name":"X-Site","value":"a"}],"client_state":"s","muted":true,"codecs":["pcmu","opus"]}`,
		[]any{"dial", DialRequest{
			Destination: "+15550100", Relay: true, CallerName: "Lobby", CallerNumber: "+15550199",
			Headers: []call.Header{{Name: "X-Site", Value: "a"}}, ClientState: "s", Muted: true, Codecs: []string{"pcmu", "opus"},
		}}},
	"dtmf":          {`{"call_id":"c","digits":"1w2"}`, []any{"dtmf", "c", "1w2"}},
	"transfer":      {`{"call_id":"c","destination":"door2"}`, []any{"transfer", "c", "door2"}},
	"device":        {`{"capture":"null","playback":"auto"}`, []any{"device", "null", "auto"}},
	"volume":        {`{"role":"ring","percent":40}`, []any{"volume", "ring", 40}},
	"say":           {`{"text":"hello","images":["data:,"]}`, []any{"say", "hello", []string{"data:,"}}},
	"tool-result":   {`{"tool_call_id":"t","output":"{}"}`, []any{"tool-result", "t", "{}"}},
	"update-check":  {`{}`, []any{"update", UpdateCheck}},
	"update-force":  {``, []any{"update", UpdateForce}},
	"update-cancel": {`{}`, []any{"update", UpdateCancel}},
	"update-defer":  {`{"seconds":7200}`, []any{"update", UpdateDefer, 2 * time.Hour}},
	"answer": {`{"call_id":"c","headers":[{"name":"X-Door","value":"yard"}]}`,
		[]any{"answer", "c", []call.Header{{Name: "X-Door", Value: "yard"}}}},
	"reject":      {`{"call_id":"c"}`, []any{"reject", "c"}},
	"hangup":      {`{"call_id":"c"}`, []any{"hangup", "c"}},
	"hold":        {`{"call_id":"c"}`, []any{"hold", "c"}},
	"unhold":      {`{"call_id":"c"}`, []any{"unhold", "c"}},
	"toggle-hold": {``, []any{"toggle-hold", ""}},
	"mute":        {`{"call_id":"c"}`, []any{"mute", "c"}},
	"unmute":      {`{"call_id":"c"}`, []any{"unmute", "c"}},
	"toggle-mute": {`{"call_id":"c"}`, []any{"toggle-mute", "c"}},
	"deaf":        {`{"call_id":"c"}`, []any{"deaf", "c"}},
	"undeaf":      {`{"call_id":"c"}`, []any{"undeaf", "c"}},
}

// Every command reaches the device, by the socket and by name alike; there is a request of each in the table.
func TestCommands(t *testing.T) {
	d := &device{}
	c := serve(t, d)
	for _, name := range Commands() {
		q, ok := requests[name]
		if !ok {
			t.Errorf("there is no request of %s here", name)
			continue
		}
		var raw any
		if q.request != "" {
			raw = json.RawMessage(q.request)
		}
		for way, do := range map[string]func() error{
			"socket": func() error { return c.Do(t.Context(), name, raw, nil) },
			"run": func() error {
				_, err := Run(t.Context(), d, name, []byte(q.request))
				return err
			},
		} {
			d.told, d.err = nil, nil
			want := q.told
			if name == "toggle-hold" && way == "socket" {
				raw = nil // null is no request too
			}
			if err := do(); err != nil || !reflect.DeepEqual(d.told, want) {
				t.Errorf("%s by %s: told %v, want %v; %v", name, way, d.told, want, err)
			}
			d.err = errors.New("it cannot be now")
			if err := do(); err == nil || err.Error() != "it cannot be now" {
				t.Errorf("%s by %s refused: %v", name, way, err)
			}
		}
	}
	d.told, d.err = nil, nil
	var made CallIDRequest
	if err := c.Do(t.Context(), "dial", DialRequest{Destination: "x"}, &made); err != nil || made.CallID != "call-1" {
		t.Errorf("dial gave %+v, %v", made, err)
	}
	if err := c.Do(t.Context(), "press", PressRequest{}, &made); err != nil {
		t.Errorf("a result where there is none: %v", err)
	}
	d.told = nil
	for name, request := range map[string]string{"press": `{"buton":"x"}`, "dtmf": `[]`, "hold": `{"call_id":7}`, "dance": `{}`} {
		if _, err := Run(t.Context(), d, name, []byte(request)); !errors.Is(err, ErrRequest) {
			t.Errorf("%s %s: %v", name, request, err)
		}
		if err := c.Do(t.Context(), name, json.RawMessage(request), nil); err == nil {
			t.Errorf("%s %s was taken by the socket", name, request)
		}
	}
	if d.told != nil {
		t.Errorf("the device was told %v", d.told)
	}
}

func TestWatch(t *testing.T) {
	d := &device{events: []Event{{Event: "assistant", Assistant: json.RawMessage(`{"type":"x"}`)}, {Event: "dtmf", Digit: "5"}}}
	c := serve(t, d)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []Event
	err := c.Watch(ctx, func(e Event) {
		if got = append(got, e); len(got) == 2 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || !reflect.DeepEqual(got, d.events) {
		t.Errorf("watched %+v, %v", got, err)
	}
}

func TestCall(t *testing.T) {
	d := &device{events: []Event{{Event: "state", State: "active", CallID: "call-1"}}}
	c := serve(t, d)
	var got []Event
	each := func(e Event) { got = append(got, e) }
	r := CallRequest{DialRequest: DialRequest{Destination: "echo", Relay: true}, For: time.Second}
	if err := c.Call(t.Context(), r, each); err != nil || !reflect.DeepEqual(got, d.events) || !reflect.DeepEqual(d.told, []any{"call", r}) {
		t.Errorf("%v, %v, %v", err, got, d.told)
	}
	d.err = &RefusedError{Status: verto.Status{Message: "no"}}
	var refused *RefusedError
	if err := c.Call(t.Context(), r, each); !errors.As(err, &refused) || refused.Status.Message != "no" {
		t.Errorf("refused: %v", err)
	}
	if s, err := c.Status(t.Context()); err != nil || s.Device != "door1" {
		t.Errorf("status %+v, %v", s, err)
	}
}

func TestNobodyThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.sock")
	if err := NewClient(path).Do(t.Context(), "hold", nil, nil); err == nil || !strings.Contains(err.Error(), "no sidetone answers on "+path) {
		t.Error(err)
	}
	// A file that a crash left is taken over.
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if !slices.Contains(Commands(), "say") || slices.Contains(Commands(), "call") {
		t.Errorf("commands %v", Commands())
	}
}
