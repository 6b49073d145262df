package verto

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

var seedFrames = []string{
	`{"jsonrpc":"2.0","id":1,"method":"telnyx_rtc.clientReady","params":{"reattached_sessions":["c1"]},"voice_sdk_id":"VSDK-1"}`,
	`{"jsonrpc":"2.0","id":2,"method":"telnyx_rtc.ping","params":{"serno":2}}`,
	`{"jsonrpc":"2.0","id":3,"method":"telnyx_rtc.invite","params":{"callID":"c1","sdp":"v=0\r\n","caller_id_number":"100","dialogParams":{"custom_headers":[{"name":"X-Site","value":"lobby"}]}}}`,
	`{"jsonrpc":"2.0","id":4,"method":"telnyx_rtc.media","params":{"callID":"c1","sdp":"v=0"}}`,
	`{"jsonrpc":"2.0","id":5,"method":"telnyx_rtc.bye","params":{"callID":"c1","cause":"USER_BUSY","causeCode":17,"sipCode":486}}`,
	`{"jsonrpc":"2.0","id":6,"method":"telnyx_rtc.bye","params":{"callID":"c1","causeCode":"17"}}`,
	`{"jsonrpc":"2.0","id":7,"method":"telnyx_rtc.candidate","params":{"callID":"c1","candidate":"candidate:1 1 udp 1 127.0.0.1 9 typ host","sdpMid":"0","sdpMLineIndex":0}}`,
	`{"jsonrpc":"2.0","id":8,"method":"telnyx_rtc.punt","params":{}}`,
	`{"jsonrpc":"2.0","id":9,"method":"x","params":{"state":"UNREGED"}}`,
	`{"jsonrpc":"2.0","id":10,"method":"telnyx_rtc.attach","params":{"callID":"c9","sdp":"v=0"}}`,
	`{"jsonrpc":"2.0","id":11,"method":"verto.invite","params":{"callID":"c1","sdp":"v=0","verto_h_X-A":"b","callee_id_number":"x","display_direction":"outbound"}}`,
	`{"jsonrpc":"2.0","id":12,"method":"verto.attach","params":{"callID":"owed","sdp":"v=0"}}`,
	`{"jsonrpc":"2.0","method":"ai_conversation","params":{"type":"conversation.item.created","item":{"role":"assistant"}}}`,
	`[{"jsonrpc":"2.0","id":1,"method":"telnyx_rtc.ping","params":{}},{"jsonrpc":"2.0","id":2,"method":"telnyx_rtc.punt"},7]`,
	`{"jsonrpc":"2.0","id":"refresh","result":{"message":"logged in","sessid":"s2"}}`,
	`{"jsonrpc":"2.0","id":"refresh","error":{"code":-32001,"message":"Authentication Failure"}}`,
	`{"jsonrpc":"2.0","id":"login","error":{"code":-32001,"message":"Session in use"}}`,
	`{"jsonrpc":"2.0","id":"login","result":{"message":"logged in","sessid":"s"},"voice_sdk_id":"v"}`,
	`{"jsonrpc":"2.0","id":"login","error":{"code":-32001,"message":"Authentication Failure"}}`,
	`{"jsonrpc":"2.0","id":"state","result":{"params":{"state":"REGED","call_report_id":"r"},"sessid":"s"}}`,
	`{"jsonrpc":"2.0","id":"state","error":{"code":-32099,"message":"x","params":{"state":"FAIL_WAIT"}}}`,
	`{"jsonrpc":"2.0","id":"call","result":{"code":"404","message":"m","result":{"callID":"c1"}}}`,
	`{"jsonrpc":"2.0","id":"call","error":{"code":-32000,"message":"Authentication Required"}}`,
	`{"jsonrpc":"2.0","id":"u","type":"debug_report_data"}`,
	`{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid Request"}}`,
	`{"jsonrpc":"2.0","id":13,"method":"webrtc.event","params":{"eventChannel":"x"}}`,
	`[{"jsonrpc":"2.0"}]`, `{}`, `null`, `"x"`, "#SPU 100", "", "\x00", `{"id":{}}`, `{"result":null,"id":[]}`,
}

// FuzzParse: whatever parses can be written and parsed again, and means the same.
func FuzzParse(f *testing.F) {
	for _, s := range seedFrames {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if frames, _ := ParseAll(b); len(frames) > MaxBatch {
			t.Fatalf("%d frames of one message", len(frames))
		}
		frame, err := Parse(b)
		if err != nil {
			return
		}
		out, err := json.Marshal(frame)
		if err != nil {
			t.Fatalf("a parsed frame cannot be written: %v", err)
		}
		again, err := Parse(out)
		if err != nil {
			t.Fatalf("%s: parsed once, but not again: %v", out, err)
		}
		if again.Method != frame.Method || again.IsRequest() != frame.IsRequest() || again.IsResponse() != frame.IsResponse() {
			t.Fatalf("%q became %q", b, out)
		}
	})
}

// FuzzServerParams: parameters of any shape are read or refused, never worse, and what was read can be written.
func FuzzServerParams(f *testing.F) {
	for _, s := range seedFrames {
		if frame, err := Parse([]byte(s)); err == nil && frame.Params != nil {
			f.Add([]byte(frame.Params))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p ServerCallParams
		_ = json.Unmarshal(b, &p)
		if p.Dialog != nil {
			_ = p.Dialog.ID()
		}
		for _, d := range []Dialect{Telnyx, FreeSWITCH} {
			q := p
			d.incoming(Invite, &q, b)
			for _, h := range headerParams(b) {
				if len(h.Name) < 2 {
					t.Fatalf("header %q", h.Name)
				}
			}
		}
		if json.Valid(b) {
			if _, err := json.Marshal(p); err != nil {
				t.Fatalf("%q read as %+v, which cannot be written: %v", b, p, err)
			}
		}
		var login LoginParams
		_ = json.Unmarshal(b, &login)
		var client ClientCallParams
		_ = json.Unmarshal(b, &client)
		_ = client.Dialog.ID()
	})
}

// FuzzDispatch: any frames at all, one a line, into a client that is registered and waits for answers.
func FuzzDispatch(f *testing.F) {
	for _, s := range seedFrames {
		f.Add([]byte(s))
	}
	f.Add([]byte(strings.Join(seedFrames, "\n")))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range []Dialect{Telnyx, FreeSWITCH} {
			dispatchAll(t, d, b)
		}
	})
}

func dispatchAll(t *testing.T, d Dialect, b []byte) {
	c := NewClient(Config{URL: "wss://rtc.example", Dialect: d, UserAgent: "Sidetone/fuzz", Rand: func() float64 { return 0.5 }})
	ctx, cancel := context.WithCancel(context.Background())
	l := newLine(ctx, c, &url.URL{Scheme: "wss", Host: "rtc.example"})
	defer cancel()
	// No goroutines: what a frame does must not depend on who runs first, or the fuzzer cannot tell what is new.
	conn := sink{}
	l.conn, l.stopReader, l.creds = conn, func() {}, Credentials{Token: secretToken}
	l.loggedIn = true
	l.registered(StateRegistered)
	answers := 0
	l.pending = map[string]pending{
		"login": {purpose: forLogin}, "state": {purpose: forState}, "ping": {purpose: forPing},
		"call":    {purpose: forCaller, answer: func(*Frame, error) { answers++ }},
		"refresh": {purpose: forRefresh, answer: l.refreshAnswered},
	}
	l.dialogs.owe("owed", ClientCallParams{})
	l.nextCreds = Credentials{Token: secretToken}
	for _, frame := range bytes.Split(b, []byte("\n")) {
		queued := len(l.queue)
		if l.conn == nil {
			break
		}
		l.receive(inbound{conn: conn, frame: frame})
		if len(l.queue) > queued+8*MaxBatch {
			t.Fatalf("%q made %d events", frame, len(l.queue)-queued)
		}
		if len(l.pending) > 8+MaxBatch {
			t.Fatalf("%q left %d requests waiting", frame, len(l.pending))
		}
		if strings.Contains(l.status.Message, secretToken) {
			t.Fatalf("%q brought the token into the status", frame)
		}
		if (l.conn == nil) == (l.status.State == Registered || l.status.State == Registering) {
			t.Fatalf("%q left the line %s with connection %v", frame, l.status.State, l.conn)
		}
		for _, e := range l.queue[queued:] {
			if _, err := json.Marshal(e); err != nil {
				t.Fatalf("%q made an event that cannot be written: %v", frame, err)
			}
		}
	}
	l.hangUp(errNoRoute)
	if answers != 1 {
		t.Fatalf("a caller was answered %d times", answers)
	}
	l.wg.Wait()
}

// sink is a connection that takes everything and says nothing.
type sink struct{}

func (sink) Read(ctx context.Context) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }

func (sink) Write(context.Context, []byte) error { return nil }

func (sink) Close(int, string) error { return nil }
