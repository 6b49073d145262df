package verto

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A kiosk without credentials talks to an assistant, over reconnects too.
func TestAnonymousLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{}, func(c *Config) {
			c.Credentials = nil
			c.Variables = map[string]any{"kiosk": "7"}
			c.Anonymous = &Target{
				Type: "ai_assistant", ID: "assistant-1", Version: "v2", ConversationID: "conv-3",
				Params: map[string]any{"language": "de"},
			}
		})
		defer stop()
		synctest.Wait()
		if b.Status().State != Registered || len(b.received(Login)) != 0 {
			t.Fatalf("line %+v", b.Status())
		}
		logins := b.received(AnonymousLogin)
		var p map[string]any
		if err := json.Unmarshal(logins[0].Params, &p); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]any{
			"target_type": "ai_assistant", "target_id": "assistant-1", "target_version_id": "v2", "reconnection": false,
		} {
			if p[name] != want {
				t.Errorf("%s is %v, want %v", name, p[name], want)
			}
		}
		target, _ := p["target_params"].(map[string]any)
		if target["conversation_id"] != "conv-3" || target["language"] != "de" {
			t.Errorf("target_params %v", target)
		}
		if _, has := p["sessid"]; has || p["User-Agent"] == nil || p["userVariables"].(map[string]any)["kiosk"] != "7" {
			t.Errorf("params %v", p)
		}
		b.drop()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		again := params[AnonymousLoginParams](t, b.received(AnonymousLogin)[1])
		if !again.Reconnection || again.SessID != "sess-1" {
			t.Errorf("second login %+v", again)
		}
	})
}

func TestAnonymousTargetAlone(t *testing.T) {
	p := (&Target{Type: "ai_assistant", ID: "a"}).params(sessionParams{})
	b, _ := json.Marshal(p)
	if want := `{"target_type":"ai_assistant","target_id":"a","reconnection":false}`; string(b) != want {
		t.Errorf("%s, want %s", b, want)
	}
}

func TestConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		b, stop := start(t, p, nil)
		defer stop()
		synctest.Wait()
		if err := b.Say(t.Context(), "who is at the door?", "data:image/png;base64,AA=="); err != nil {
			t.Error(err)
		}
		if err := b.ToolResult(t.Context(), "tool-1", `{"open":true}`); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		sent := b.received(AIConversation)
		if len(sent) != 2 || sent[0].ID == nil || sent[1].ID != nil {
			t.Fatalf("sent %+v: the first has an id, the second is a notification", sent)
		}
		said := params[struct {
			Type     string
			Previous any `json:"previous_item_id"`
			Item     aiText
		}](t, sent[0])
		if said.Type != "conversation.item.create" || said.Item.Role != "user" || said.Item.Type != "message" || said.Item.ID == "" ||
			len(said.Item.Content) != 2 || said.Item.Content[0].Text != "who is at the door?" || said.Item.Content[1].Image.URL == "" {
			t.Errorf("said %+v", said)
		}
		tool := params[struct{ Item aiToolOutput }](t, sent[1])
		if tool.Item != (aiToolOutput{Type: "function_call_output", CallID: "tool-1", Output: `{"open":true}`}) {
			t.Errorf("tool result %+v", tool)
		}

		b.say(`{"jsonrpc":"2.0","method":"ai_conversation","params":{"type":"conversation.item.created","item":{"role":"assistant"},"x":1}}`)
		b.say(`{"jsonrpc":"2.0","id":4,"method":"ai_conversation","params":["of another shape"]}`)
		synctest.Wait()
		events := b.heard()[1:]
		if len(events) != 2 || events[0].Method != AIConversation || events[0].AI.Type != "conversation.item.created" ||
			string(events[0].AI.Item) != `{"role":"assistant"}` || string(events[1].AI.Params) != `["of another shape"]` {
			t.Errorf("events %+v", events)
		}

		p.script(func() { p.answer = func(f *Frame) *Frame { return Refuse(f, CodeSessionError, "no assistant") } })
		var refused *Error
		if err := b.Say(t.Context(), "hello"); !errors.As(err, &refused) {
			t.Errorf("refused: %v", err)
		}
		b.drop()
		synctest.Wait()
		if err := b.Say(t.Context(), "hello"); !errors.Is(err, ErrNotRegistered) {
			t.Errorf("no line: %v", err)
		}
		if err := b.ToolResult(t.Context(), "x", "y"); !errors.Is(err, ErrNotRegistered) {
			t.Errorf("no line: %v", err)
		}
	})
}

// Debug frames have a type and no method; each is answered by its id.
func TestDebugReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		b, stop := start(t, p, nil)
		defer stop()
		synctest.Wait()
		for _, kind := range []string{DebugStart, DebugData, DebugStop} {
			var data any
			if kind == DebugData {
				data = map[string]int{"rtt": 7}
			}
			if err := b.Debug(t.Context(), kind, "r1", "c1", data); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
		got := b.received("")
		if len(got) != 3 {
			t.Fatalf("%d frames", len(got))
		}
		for i, kind := range []string{DebugStart, DebugData, DebugStop} {
			if f := got[i]; f.Type != kind || f.DebugReportID != "r1" || f.DebugReportVersion != 1 || f.CallID != "c1" || len(f.ID) < 36 ||
				(kind == DebugData) != (string(f.DebugReportData) == `{"rtt":7}`) {
				t.Errorf("frame %+v", f)
			}
		}
		p.script(func() { p.answer = func(f *Frame) *Frame { return Refuse(f, CodeMethodNotFound, "no debug here") } })
		var refused *Error
		if err := b.Debug(t.Context(), DebugStart, "r2", "c1", nil); !errors.As(err, &refused) {
			t.Errorf("refused: %v", err)
		}
		p.script(func() { p.answer = func(*Frame) *Frame { return nil } })
		if err := b.Debug(t.Context(), DebugStart, "r2", "c1", nil); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("no answer: %v", err)
		}
		if err := b.Debug(t.Context(), DebugData, "r2", "c1", make([]byte, MaxFrame)); err == nil {
			t.Error("a frame that is too large was sent")
		}
		if b.Status().State != Registered {
			t.Errorf("line %+v", b.Status())
		}
		b.drop()
		synctest.Wait()
		if err := b.Debug(t.Context(), DebugStop, "r2", "c1", nil); !errors.Is(err, ErrNotRegistered) {
			t.Errorf("no line: %v", err)
		}
	})
}
