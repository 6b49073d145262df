package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"sidetone/rtc/verto"

	"github.com/pion/webrtc/v4"
)

// Assistants: who has no credential talks to the one named, by sound and by text.
func TestAnonymousLogin(t *testing.T) {
	l := startLab(t, func(c *Config) { c.Assistants = map[string]string{"assistant": "tone"} })
	for what, params := range map[string]map[string]any{
		"an unknown target":     {"target_type": "ai_assistant", "target_id": "nobody"},
		"another kind":          {"target_type": "widget", "target_id": "assistant"},
		"params of other types": {"target_type": 7, "target_id": true},
	} {
		w := l.connect(t)
		if f := w.answer(w.named(verto.AnonymousLogin, params)); f.Error == nil || f.Error.Code != -32001 {
			t.Errorf("%s: %s", what, dump(f))
		}
	}
	w := l.connect(t)
	f := w.answer(w.named("anonymous_login", map[string]any{
		"target_type": "ai_assistant", "target_id": "assistant", "target_version_id": "v1", "reconnection": false,
		"target_params": map[string]any{"conversation_id": "conv"}, "User-Agent": map[string]string{"sdkVersion": "2"},
	}))
	var r verto.LoginResult
	if f.Error != nil || json.Unmarshal(f.Result, &r) != nil || r.Message != "logged in" || r.SessID == "" {
		t.Fatalf("anonymous login: %s", dump(f))
	}
	w.name, w.sess = anonymousName("assistant"), r.SessID
	w.expect(verto.ClientReady)

	p := newPhone(t)
	id := w.dial("whoever", p.offer())
	p.remote(webrtc.SDPTypeAnswer, w.expect(verto.Media).SDP)
	p.wait()
	w.up(id)
	p.hearsHz(20, sineHz)

	// With an id there is a result; without, only the answer.
	say := `"params":{"type":"conversation.item.create","item":{"type":"message","role":"user","content":[{"type":"input_text","text":"open sesame"}]}}`
	w.raw(`{"jsonrpc":"2.0","id":"x","method":"ai_conversation",` + say + `}`)
	if f := w.answer(`"x"`); f.Error != nil {
		t.Errorf("ai_conversation: %s", dump(f))
	}
	w.raw(`{"jsonrpc":"2.0","method":"ai_conversation",` + say + `}`)
	for range 2 {
		f := w.next("ai_conversation", func(f *verto.Frame) bool { return f.Method == "ai_conversation" })
		if text := string(f.Params); !strings.Contains(text, "open sesame") || !strings.Contains(text, `"role":"assistant"`) {
			t.Errorf("ai_conversation says %s", text)
		}
	}
	w.raw(`{"jsonrpc":"2.0","method":"ai_conversation","params":{"type":"conversation.item.create","item":{"type":"function_call_output"}}}`)
	w.none("ai_conversation")
	w.hangUp(id, "NORMAL_CLEARING", 16)
}

func TestGatewayStates(t *testing.T) {
	l := startLab(t)
	before := l.login(t, "door1")
	before.poll(verto.StateRegistered)
	for _, state := range States {
		l.SetState(state)
		w := l.login(t, "door2")
		w.poll(state)
		f := w.answer(w.request(verto.Invite, verto.ClientCallParams{SDP: newPhone(t).offer(), Dialog: dialog("c-"+state, "echo")}))
		good := state == verto.StateRegistered || state == verto.StateRegister
		if good == (f.Error != nil) {
			t.Errorf("a call in state %s: %s", state, dump(f))
		}
	}
	before.call("echo", newPhone(t)) // what is registered stays so
	l.SetState("")
	before.poll(verto.StateRegistered)
}

func (w *wire) poll(want string) {
	w.t.Helper()
	var state verto.GatewayStateResult
	w.ask(verto.GatewayState, struct{}{}, &state)
	if state.Params.State != want {
		w.t.Errorf("gatewayState is %q, want %q", state.Params.State, want)
	}
}

// named sends a request under exactly that name.
func (w *wire) named(method string, params any) string {
	w.t.Helper()
	f, err := verto.Request("named-"+method, method, params)
	if err != nil {
		w.t.Fatal(err)
	}
	b, _ := json.Marshal(f)
	w.raw(string(b))
	return string(f.ID)
}

func TestCut(t *testing.T) {
	l := startLab(t)
	c := talking(t, l)
	l.Cut()
	c.caller.closed()
	c.callee.closed()
	l.stats(t, "door1", "that it is gone", func(s ClientStats) bool { return !s.Registered })
	goesOn(t, c.callerP, c.calleeP)
	l.back(t, "door1", c.caller.sess, c.callerID)
}

func TestHalfDead(t *testing.T) {
	l := startLab(t, func(c *Config) { c.PingInterval = 500 * time.Millisecond })
	w := l.login(t, "door1")
	w.expect(verto.Ping)
	l.HalfDead(true)
	w.request(verto.Ping, nil)
	limit := time.After(quiet)
	for open := true; open; {
		select {
		case f, ok := <-w.in:
			if !ok {
				t.Fatal("the socket was closed at once")
			}
			if f.Method == "" {
				t.Errorf("answered %s", dump(f))
			}
		case <-limit:
			open = false
		}
	}
	l.login(t, "door1") // new ones are good
	l.HalfDead(false)
}

func TestTransfer(t *testing.T) {
	l := startLab(t)
	ctx := context.Background()
	c := talking(t, l)
	if err := l.Transfer(ctx, c.callerID, "nobody"); !errors.Is(err, ErrNotRegistered) {
		t.Errorf("to nobody: %v", err)
	}
	if err := l.Transfer(ctx, "no such call", "echo"); !errors.Is(err, ErrNoCall) {
		t.Errorf("of nothing: %v", err)
	}
	goesOn(t, c.callerP, c.calleeP)

	// The callee goes to another client: the caller gets its bye, the callee hears it ring.
	other := l.login(t, "kiosk1")
	if err := l.Transfer(ctx, c.calleeID, "kiosk1"); err != nil {
		t.Fatal(err)
	}
	c.caller.bye(c.callerID, "NORMAL_CLEARING", 16, 0)
	c.calleeP.hearsHz(20, 440) // of ringback, 440 and 480 Hz
	in := other.expect(verto.Invite)
	if in.CallerIDName != "door2" || in.CalleeIDName != "kiosk1" {
		t.Errorf("invite is %s", dump(in))
	}
	p := newPhone(t)
	other.ask(verto.Answer, verto.ClientCallParams{SDP: p.accept(in.SDP), Dialog: dialog(in.CallID, "")}, nil)
	p.wait()
	other.up(in.CallID)
	goesOn(t, c.calleeP, p)
	goesOn(t, p, c.calleeP)
	c.callee.none(verto.Answer)

	// And then to a destination.
	if err := l.Transfer(ctx, c.calleeID, "tone"); err != nil {
		t.Fatal(err)
	}
	other.bye(in.CallID, "NORMAL_CLEARING", 16, 0)
	c.calleeP.hearsHz(20, sineHz)
	c.callee.hangUp(c.calleeID, "NORMAL_CLEARING", 16)
}

// Nobody takes the transferred call: it ends, as any that nobody takes.
func TestTransferRefused(t *testing.T) {
	l := startLab(t)
	w, other := l.login(t, "door1"), l.login(t, "door2")
	p := newPhone(t)
	id := w.call("tone", p)
	if err := l.Transfer(context.Background(), id, "door2"); err != nil {
		t.Fatal(err)
	}
	other.hangUp(other.expect(verto.Invite).CallID, "USER_BUSY", 17)
	w.bye(id, "USER_BUSY", 17, 486)
}

func TestDebugReports(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	for _, kind := range []string{"start", "data", "stop"} {
		w.raw(`{"jsonrpc":"2.0","id":"` + kind + `","type":"debug_report_` + kind + `","debug_report_id":"d","debug_report_data":{}}`)
		if f := w.answer(`"` + kind + `"`); f.Error != nil || string(f.Result) != "{}" {
			t.Errorf("%s: %s", kind, dump(f))
		}
	}
	if n := l.Stats().Clients["door1"].DebugReports; n != 3 {
		t.Errorf("%d debug reports, want 3", n)
	}
}
