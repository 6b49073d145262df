package gateway

import (
	"encoding/json"
	"log/slog"
	"net"
	"testing"

	"sidetone/rtc/verto"
)

// FuzzSession gives a session, logged in or not, any frame: it is answered by frames, or by nothing, and the session
// goes on. There is no network: the session has a call, which works here, and the gateway takes no other.
func FuzzSession(f *testing.F) {
	for _, frame := range []string{
		`{"jsonrpc":"2.0","id":"1","method":"login","params":{"login":"a","passwd":"b","User-Agent":{"data":"x"}}}`,
		`{"jsonrpc":"2.0","id":"1","method":"login","params":{"login_token":"good","sessid":"s"}}`,
		`{"jsonrpc":"2.0","id":"1","method":"telnyx_rtc.gatewayState","voice_sdk_id":"v","params":{}}`,
		`{"jsonrpc":"2.0","id":"1","method":"telnyx_rtc.invite","params":{"sdp":"v=0\r\n","dialogParams":{"callID":"d","destination_number":"echo"}}}`,
		`[{"jsonrpc":"2.0","id":"1","method":"verto.modify","params":{"action":"updateMedia","sdp":"v=0","callID":"c"}},` +
			`{"jsonrpc":"2.0","id":"2","method":"verto.candidate","params":{"candidate":"candidate:1 1 udp 1 127.0.0.1 9 typ relay","dialogParams":{"callID":"c"}}},` +
			`{"jsonrpc":"2.0","id":"3","method":"verto.modify","params":{"action":"toggleHold","dialogParams":{"callID":"c"}}},` +
			`{"jsonrpc":"2.0","id":"4","method":"verto.info","params":{"dtmf":"12#","dialogParams":{"callID":"c"}}},` +
			`{"jsonrpc":"2.0","id":"5","method":"verto.bye","params":{"cause":"USER_BUSY","sipCode":null,"dialogParams":{"callId":"c"}}}]`,
		`{"jsonrpc":"2.0","id":"1","method":"telnyx_rtc.answer","params":{"sdp":"v=0","dialogParams":{"callID":"c"}}}`,
		`{"jsonrpc":"2.0","id":"1","type":"debug_report_data"}`,
		`{"jsonrpc":"2.0","id":3,"error":{"code":-32000,"message":"m"}}`,
		`{"jsonrpc":"2.0","id":"1","method":"anonymous_login","params":{"target_type":"ai_assistant","target_id":"assistant"}}`,
		`{"jsonrpc":"2.0","method":"ai_conversation","params":{"type":"conversation.item.create","item":{"type":"message","content":[{"text":"x"}]}}}`,
		`{"jsonrpc":"2.0","id":"1","method":"verto.modify","params":{"action":"transfer","destination":"echo","dialogParams":{"callID":"c"}}}`,
		`#SPU 10`, `null`, `[]`, `{`, ``,
	} {
		f.Add(true, false, []byte(frame))
		f.Add(false, false, []byte(frame))
		f.Add(true, true, []byte(frame))
		f.Add(false, true, []byte(frame))
	}
	g, err := New(Config{
		IP: net.IPv4(127, 0, 0, 1), Logger: slog.New(slog.DiscardHandler),
		Authenticate: func(p verto.LoginParams) (Identity, error) {
			if p.Token == "good" {
				return Identity{Name: "fuzz"}, nil
			}
			return Identity{}, ErrNotRegistered
		},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, loggedIn, fs bool, data []byte) {
		if len(data) > verto.MaxFrame {
			return // the socket does not let it in
		}
		g.registry = newRegistry()
		s := g.newSession("fuzz", fs)
		if _, err := g.register(s, Identity{Name: "fuzz"}, ""); err != nil {
			t.Fatal(err)
		}
		c := g.newCall()
		var err error
		if c.ringing, err = g.legsTo("fuzz", c); err != nil {
			t.Fatal(err)
		}
		l := c.ringing[0]
		delete(g.clients["fuzz"].legs, l.id)
		l.id = "c"
		g.clients["fuzz"].legs["c"] = l
		g.closed = true
		if !loggedIn {
			s.name = ""
		}

		s.handle(data)
		for len(c.in) > 0 {
			(<-c.in)()
		}
		select {
		case <-s.closing:
			t.Errorf("the session was closed: %s", s.closeText)
		default:
		}
		for len(s.out) > 0 {
			text := <-s.out
			var all []*verto.Frame
			if err := json.Unmarshal(text, &all); err != nil || !fs { // no batch
				all = []*verto.Frame{{}}
				if err := json.Unmarshal(text, all[0]); err != nil {
					t.Fatalf("an answer is not JSON: %v", err)
				}
			}
			for _, out := range all {
				if fs == (out.VoiceSDKID != "") || !fs && out.Error != nil && out.Error.Code == -32000 {
					t.Errorf("answered %s", dump(out))
				}
			}
		}
	})
}
