package verto

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Every state of a gateway, pushed while the line is registered: in a frame of any name, or inside an error.
func TestStatesPushed(t *testing.T) {
	tests := []struct {
		state string
		want  LineState // at once
		code  int
		after LineState // once the platform says REGED again
		dials int
	}{
		{"REGED", Registered, 0, Registered, 1},
		{"REGISTER", Registered, 0, Registered, 1},
		{"UNREGED", Registering, 0, Registered, 1},
		{"NOREG", Registering, 0, Registered, 1},
		{"EXPIRED", Registering, 0, Registered, 1},
		{"UNREGISTER", Registering, 0, Registered, 1},
		{"DOWN", Registering, 0, Registered, 1},
		{"TRYING", Registered, 0, Registered, 1},
		{"ATTACHED", Registered, 0, Registered, 1},
		{"FAILED", Down, CodeGatewayFailed, Registered, 2},
		{"FAIL_WAIT", Down, CodeGatewayFailed, Registered, 2},
		{"TIMEOUT", Down, CodeGatewayFailed, Registered, 2},
	}
	for _, tt := range tests {
		for _, frame := range []string{
			`{"jsonrpc":"2.0","id":9,"method":"telnyx_rtc.whatever","params":{"state":"%s"}}`,
			`{"jsonrpc":"2.0","id":9,"method":"another","params":{"state":"%s"}}`,
			`{"jsonrpc":"2.0","id":"x","result":{"params":{"state":"%s"}}}`,
			`{"jsonrpc":"2.0","id":"x","error":{"code":-32099,"message":"m","params":{"state":"%s"}}}`,
			`[{"jsonrpc":"2.0","id":"x","error":{"code":-32099,"message":"m","params":{"state":"%s"}}}]`,
		} {
			t.Run(tt.state, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b, stop := start(t, &platform{}, nil)
					defer stop()
					synctest.Wait()
					b.say(fmt.Sprintf(frame, tt.state))
					synctest.Wait()
					if s := b.Status(); s.State != tt.want || s.Code != tt.code {
						t.Errorf("at once: %+v", s)
					}
					time.Sleep(10 * time.Second)
					synctest.Wait()
					if s := b.Status(); s.State != tt.after || s.Code != 0 || len(b.Conditions()) != 0 {
						t.Errorf("later: %+v, %+v", s, b.Conditions())
					}
					dials := b.dialed()
					if len(dials) != tt.dials {
						t.Errorf("%d connections", len(dials))
					}
					if tt.dials == 2 {
						if b.url(1).Query().Get("skip_last_voice_sdk_id") != "true" {
							t.Errorf("came back to %s", b.url(1))
						}
						if got, want := b.warnings(), []int{CodeGatewayFailed, -CodeGatewayFailed}; !slices.Equal(got, want) {
							t.Errorf("conditions %v, want %v", got, want)
						}
					}
				})
			})
		}
	}
}

// The fifth failure of the gateway in a row would end a browser's tries. We say so, and go on.
func TestExhausted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{states: []string{"FAILED", "FAILED", "FAILED", "FAILED", "FAILED", "FAILED", "REGED"}}, nil)
		defer stop()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got, want := b.warnings(), []int{CodeGatewayFailed, CodeExhausted, -CodeGatewayFailed, -CodeExhausted}; !slices.Equal(got, want) {
			t.Errorf("conditions %v, want %v", got, want)
		}
		if s := b.Status(); s.State != Registered || len(b.Conditions()) != 0 {
			t.Errorf("%+v, %+v", s, b.Conditions())
		}
		// The first connection of a registered line goes to the same backend again.
		b.drop()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if q := b.url(len(b.dialed()) - 1).Query(); q.Has("skip_last_voice_sdk_id") || !q.Has("voice_sdk_id") {
			t.Errorf("came back with %v", q)
		}
	})
}

// While the registration is away, no call can be made; those that live are spoken of as ever.
func TestCallsWhileUnregistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{}, nil)
		defer stop()
		synctest.Wait()
		b.say(b.request(9, GatewayState, map[string]any{"state": "EXPIRED"}))
		synctest.Wait()
		if _, err := b.Call(t.Context(), Invite, ClientCallParams{Dialog: DialogParams{CallID: "c2"}}); err == nil {
			t.Error("an invite without a registration")
		}
		for _, method := range []string{Answer, Attach, Modify, Info, Bye} {
			if _, err := b.Call(t.Context(), method, ClientCallParams{Dialog: DialogParams{CallID: "c1"}}); err != nil {
				t.Errorf("%s: %v", method, err)
			}
		}
	})
}

// Answers that come late, or never, do no harm and are never taken for others.
func TestLateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{delay: func(f *Frame) time.Duration {
			switch f.Method {
			case Login:
				return 15 * time.Second
			case "telnyx_rtc.gatewayState":
				return 12 * time.Second
			case "telnyx_rtc.modify":
				return 11 * time.Second
			}
			return 0
		}}
		b, stop := start(t, p, nil)
		defer stop()
		time.Sleep(58 * time.Second)
		synctest.Wait()
		if s := b.Status(); s.State != Registered || len(b.dialed()) != 1 {
			t.Errorf("after slow answers: %+v over %d connections", s, len(b.dialed()))
		}
		if _, err := b.Call(t.Context(), Modify, ClientCallParams{Action: "hold"}); err == nil {
			t.Error("modify was answered in time")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := b.Status(); s.State != Registered || len(b.dialed()) != 1 {
			t.Errorf("after a late answer: %+v over %d connections", s, len(b.dialed()))
		}
	})
}

// Where the platform serves us from, and what is wrong, are shown.
func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{}, nil)
		defer stop()
		synctest.Wait()
		b.say(`{"jsonrpc":"2.0","id":"x","result":{"params":{"state":"REGED","call_report_id":"r2","region":"eu","dc":"ams"}}}`)
		synctest.Wait()
		if s := b.Session(); s.Region != "eu" || s.DC != "ams" || s.CallReportID != "r2" {
			t.Errorf("session %+v", s)
		}
		if c := b.Conditions(); len(c) != 0 {
			t.Errorf("conditions %+v", c)
		}
		b.drop()
		synctest.Wait()
		c := b.Conditions()
		if len(c) != 1 || c[0].Name != "WEBSOCKET_ERROR" || c[0].Message == "" || c[0].Action == "" || !c[0].Since.Equal(time.Now()) {
			t.Fatalf("conditions %+v", c)
		}
		text, err := json.Marshal(c[0])
		if err != nil || !strings.Contains(string(text), `"code":45002,"name":"WEBSOCKET_ERROR"`) || !strings.Contains(string(text), `"detail":`) {
			t.Errorf("%s, %v", text, err)
		}
	})
}
