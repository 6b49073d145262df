package verto

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestRegister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{}, nil)
		defer stop()
		synctest.Wait()

		if got, want := b.lineStates(), []LineState{Connecting, Registering, Registered}; !slices.Equal(got, want) {
			t.Errorf("line states %v, want %v", got, want)
		}
		if got := b.Status(); got.State != Registered || got.GatewayState != "REGED" || got.Code != 0 {
			t.Errorf("status %+v", got)
		}
		want := Session{Registered: true, SessID: "sess-1", VoiceSDKID: "VSDK-1", CallReportID: "report-1"}
		if got := b.Session(); got != want {
			t.Errorf("session %+v, want %+v", got, want)
		}
		if u := b.url(0); u.RawQuery != "" {
			t.Errorf("first connection to %s: has a query", u)
		}
		login := b.received(Login)
		if len(login) != 1 {
			t.Fatalf("%d logins", len(login))
		}
		p := params[LoginParams](t, login[0])
		if p.Token != secretToken || p.Reconnection || p.SessID != "" {
			t.Errorf("login %+v", p)
		}
		var agent struct{ SDKVersion, Data string }
		if err := json.Unmarshal(p.UserAgent, &agent); err != nil || agent.SDKVersion != "1.2.3" {
			t.Errorf("User-Agent %s: %v", p.UserAgent, err)
		}
		poll := b.received("telnyx_rtc.gatewayState")
		if len(poll) != 1 || poll[0].VoiceSDKID != "VSDK-1" || string(poll[0].Params) != "{}" {
			t.Errorf("gatewayState polls: %+v", poll)
		}
		var id string
		if err := json.Unmarshal(poll[0].ID, &id); err != nil || len(id) != 36 {
			t.Errorf("id %s is no UUID string", poll[0].ID)
		}
	})
}

func TestRegisterWithoutClientReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{noReady: true}, nil)
		defer stop()
		time.Sleep(readyTimeout + time.Millisecond)
		synctest.Wait()
		if got := b.Status().State; got != Registered {
			t.Errorf("line is %s", got)
		}
	})
}

func TestFreeSWITCHIsReadyAtLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{dialect: FreeSWITCH}, func(c *Config) {
			c.Credentials = func(context.Context) (Credentials, error) {
				return Credentials{User: "1001@pbx", Password: secretPassword}, nil
			}
		})
		defer stop()
		synctest.Wait()
		if got := b.Status().State; got != Registered {
			t.Errorf("line is %s", got)
		}
		if polls := b.received("verto.gatewayState"); len(polls) != 0 {
			t.Errorf("%d polls in a dialect that has none", len(polls))
		}
		if p := params[LoginParams](t, b.received(Login)[0]); p.User != "1001@pbx" || p.Password != secretPassword || p.Token != "" {
			t.Errorf("login %+v", p)
		}
		if err := b.UploadReport(t.Context(), Upload{CallID: "c1"}); !errors.Is(err, ErrNoReportID) {
			t.Errorf("upload without a report id: %v", err)
		}
	})
}

// A day without a call: the platform pings each 15 s, and one connection lasts.
func TestDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{pingEvery: 15 * time.Second}, nil)
		defer stop()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := len(b.dialed()); n != 1 {
			t.Errorf("%d connections in a quiet day", n)
		}
		if got := len(b.received("telnyx_rtc.ping")); got != 24*60*4 {
			t.Errorf("%d pings of ours for %d of the platform's", got, 24*60*4)
		}
	})
}

// A platform that never pings is asked each 21 s, and stays connected as it answers.
func TestQuietPlatformIsProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{}, nil)
		defer stop()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(b.dialed()); n != 1 {
			t.Errorf("%d connections", n)
		}
		if n := len(b.received("telnyx_rtc.ping")); n < 120 || n > 180 {
			t.Errorf("%d probes in an hour, want one each 20 to 23 s", n)
		}
	})
}

func TestSilentPlatformIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{noPong: true}, nil)
		defer stop()
		time.Sleep(24 * time.Second)
		synctest.Wait()
		if b.Status().State != Registered || len(b.received("telnyx_rtc.ping")) != 1 {
			t.Errorf("after 24 s: %+v, %d probes", b.Status(), len(b.received("telnyx_rtc.ping")))
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if n := len(b.dialed()); n != 2 && b.Status().State != Down {
			t.Errorf("after 28 s: %+v", b.Status())
		}
	})
}

// A platform that pings, but answers nothing, is left 10 s after our first unanswered ping.
func TestUnansweredPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{noPong: true, pingEvery: 15 * time.Second}, nil)
		defer stop()
		time.Sleep(24 * time.Second)
		synctest.Wait()
		if got := b.Status().State; got != Registered {
			t.Errorf("at 24 s the line is %s", got)
		}
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if got := b.Status(); got.State != Down || got.Code != CodeWebSocket || got.RetryAt.IsZero() {
			t.Errorf("at 25.1 s: %+v", got)
		}
	})
}

func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{}, nil)
		defer stop()
		synctest.Wait()

		lost := time.Now()
		b.drop()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		dials := b.dialed()
		if len(dials) != 2 {
			t.Fatalf("%d connections", len(dials))
		}
		if d := dials[1].Sub(lost); d < 750*time.Millisecond || d > 1250*time.Millisecond {
			t.Errorf("came back after %s, want 1 s ± 25 %%", d)
		}
		if q := b.url(1).Query(); q.Get("voice_sdk_id") != "VSDK-1" || q.Has("skip_last_voice_sdk_id") {
			t.Errorf("came back with query %v", q)
		}
		p := params[LoginParams](t, b.received(Login)[1])
		if !p.Reconnection || p.SessID != "sess-1" {
			t.Errorf("second login: reconnection %v, sessid %q", p.Reconnection, p.SessID)
		}
		if b.Status().State != Registered {
			t.Errorf("line is %s", b.Status().State)
		}
	})
}

// A sessid older than 90 s is not sent: the platform has let its calls go.
func TestReconnectLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down bool
		var mu sync.Mutex
		b, stop := start(t, &platform{refuseDial: func(int) error {
			mu.Lock()
			defer mu.Unlock()
			if down {
				return errNoRoute
			}
			return nil
		}}, nil)
		defer stop()
		synctest.Wait()
		mu.Lock()
		down = true
		mu.Unlock()
		b.drop()
		time.Sleep(3 * time.Minute)
		mu.Lock()
		down = false
		mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		logins := b.received(Login)
		p := params[LoginParams](t, logins[len(logins)-1])
		if !p.Reconnection || p.SessID != "" {
			t.Errorf("login after three minutes: %+v", p)
		}
	})
}

func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{refuseDial: func(int) error { return errNoRoute }}, nil)
		defer stop()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		dials := b.dialed()
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
			want *= time.Second
			if got := dials[i+1].Sub(dials[i]); got < want*3/4 || got > want*5/4 {
				t.Errorf("pause %d was %s, want %s ± 25 %%", i+1, got, want)
			}
		}
		if n, most := len(dials), int(24*time.Hour/(backoffMax*3/4))+8; n > most || n < 2000 {
			t.Errorf("%d tries in a day, want at most %d, and no end", n, most)
		}
		if s := b.Status(); s.Code != CodeConnectFailed || !strings.Contains(s.Message, "no route to host") {
			t.Errorf("status %+v", s)
		}
	})
}

// A platform that takes the connection and then says nothing at all is given up, and tried for ever.
func TestMutePlatform(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{mute: true}, nil)
		defer stop()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(b.dialed()); n < 60 || n > 150 {
			t.Errorf("%d connections in an hour", n)
		}
	})
}

func TestPunt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{}, nil)
		defer stop()
		synctest.Wait()
		b.say(b.request(5, Punt, struct{}{}))
		synctest.Wait()
		events := b.heard()
		if len(events) == 0 || events[len(events)-1].Method != Punt {
			t.Fatalf("events %+v", events)
		}
		if s := b.Status(); s.State != Down || time.Until(s.RetryAt) < 30*time.Second {
			t.Errorf("status %+v", s)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if q := b.url(1).RawQuery; q != "" {
			t.Errorf("came back to the session it was put off from: %s", q)
		}
	})
}

func TestCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		p.answer = func(f *Frame) *Frame {
			switch f.Method {
			case "telnyx_rtc.invite":
				return p.reply(f, CallResult{CallID: "c1", Message: "CALL CREATED", SessID: "sess-1"})
			case "telnyx_rtc.answer":
				return Refuse(f, CodeSessionError, "CALL DOES NOT EXIST")
			case "telnyx_rtc.info":
				return p.reply(f, map[string]any{"code": "200", "result": map[string]any{"message": "SENT"}})
			case "telnyx_rtc.candidate":
				return p.reply(f, map[string]any{"code": "404", "message": "gone", "result": map[string]any{}})
			}
			return nil // modify, bye: unanswered
		}
		b, stop := start(t, p, nil)
		defer stop()
		synctest.Wait()

		r, err := b.Call(t.Context(), Invite, ClientCallParams{SDP: "v=0", Dialog: DialogParams{CallID: "c1", Audio: true}})
		if err != nil || r.Message != "CALL CREATED" {
			t.Errorf("invite: %+v, %v", r, err)
		}
		sent := params[ClientCallParams](t, b.received("telnyx_rtc.invite")[0])
		if sent.SessID != "sess-1" || sent.UserAgent != "Sidetone/1.2.3" || sent.Dialog.CallID != "c1" {
			t.Errorf("invite went out as %+v", sent)
		}
		var refused *Error
		if _, err = b.Call(t.Context(), Answer, ClientCallParams{}); !errors.As(err, &refused) || refused.Code != CodeSessionError {
			t.Errorf("answer: %v", err)
		}
		if r, err = b.Call(t.Context(), Info, ClientCallParams{DTMF: "5"}); err != nil || r.Message != "SENT" {
			t.Errorf("info: %+v, %v", r, err)
		}
		if _, err = b.Call(t.Context(), Candidate, ClientCallParams{}); !errors.As(err, &refused) {
			t.Errorf("candidate: %v", err)
		}

		// An unanswered bye is an error after 10 s; the line asks whether anybody is there, and stays.
		began := time.Now()
		if _, err = b.Call(t.Context(), Bye, ClientCallParams{}); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("bye: %v", err)
		}
		if took := time.Since(began); took != requestTimeout {
			t.Errorf("bye gave up after %s", took)
		}
		time.Sleep(probeTimeout)
		synctest.Wait()
		if b.Status().State != Registered {
			t.Errorf("line is %s", b.Status().State)
		}

		// The caller's own patience counts.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err = b.Call(ctx, Modify, ClientCallParams{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("modify: %v", err)
		}

		// A call in flight when the line drops gets a clear error.
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := b.Call(context.Background(), Bye, ClientCallParams{}); !errors.Is(err, ErrLineLost) {
				t.Errorf("bye on a line that dropped: %v", err)
			}
		})
		synctest.Wait()
		b.drop()
		wg.Wait()
		if _, err = b.Call(t.Context(), Bye, ClientCallParams{}); !errors.Is(err, ErrNotRegistered) {
			t.Errorf("bye on a line that is down: %v", err)
		}
	})
}

func TestCallAfterRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{}, nil)
		synctest.Wait()
		stop()
		if _, err := b.Call(context.Background(), Bye, ClientCallParams{}); !errors.Is(err, ErrNotRegistered) {
			t.Errorf("call after the end: %v", err)
		}
		if err := b.Run(context.Background()); err == nil {
			t.Error("Run ran twice")
		}
	})
}

func TestServerMessages(t *testing.T) {
	tests := []struct {
		method string
		params any
		event  bool
		ack    bool
	}{
		{Invite, ServerCallParams{CallID: "c1", SDP: "v=0", CallerIDNumber: "100"}, true, true},
		{Ringing, ServerCallParams{CallID: "c1"}, true, true},
		{Media, ServerCallParams{CallID: "c1", SDP: "v=0"}, true, true},
		{Answer, ServerCallParams{CallID: "c1"}, true, true},
		{Display, ServerCallParams{CallID: "c1", DisplayName: "n"}, true, true},
		{Candidate, ServerCallParams{CallID: "c1", Candidate: "candidate:1"}, true, true},
		{Attach, ServerCallParams{CallID: "c1", SDP: "v=0"}, true, true},
		{Bye, ServerCallParams{CallID: "c1", Cause: "NORMAL_CLEARING", CauseCode: 16}, true, true},
		{Bye, map[string]any{"callID": "c1", "causeCode": "16"}, true, true}, // a number as a string
		{Bye, map[string]any{"dialogParams": map[string]any{"callId": "c1"}}, true, true},
		{EndOfCandidates, ServerCallParams{CallID: "c1"}, true, false},
		{Modify, ServerCallParams{CallID: "c1"}, true, false},
		{Info, ServerCallParams{CallID: "c1", DTMF: "5"}, true, false},
		{Bye, map[string]any{}, false, false},
		{Bye, []int{1}, false, false},
		{"event", map[string]any{"eventChannel": "x"}, false, false},
		{"unheardof", map[string]any{"callID": "c1"}, false, false},
		{Info, map[string]any{"msg": map[string]any{"from": "a", "body": "b"}}, false, false},
		{GatewayState, map[string]any{}, false, false},
		{Modify, map[string]any{"callID": "c1", "action": "updateMedia", "sdp": "v=0"}, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, stop := start(t, &platform{}, nil)
				defer stop()
				synctest.Wait()
				before := len(b.heard())
				b.say(b.request(42, tt.method, tt.params))
				synctest.Wait()
				events := b.heard()[before:]
				if tt.event != (len(events) == 1) {
					t.Fatalf("events %+v", events)
				}
				if tt.event && (events[0].Method != tt.method || events[0].Call.CallID != "c1") {
					t.Errorf("event %+v", events[0])
				}
				acks := b.received("")
				if tt.ack != (len(acks) == 1) {
					t.Fatalf("%d acks", len(acks))
				}
				if tt.ack {
					if want := `{"method":"telnyx_rtc.` + tt.method + `"}`; string(acks[0].ID) != "42" || string(acks[0].Result) != want {
						t.Errorf("ack %s %s", acks[0].ID, acks[0].Result)
					}
				}
			})
		})
	}
}

func TestRubbish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, &platform{}, nil)
		defer stop()
		synctest.Wait()
		for range 100 {
			for _, s := range []string{
				"", "hello", "#SPU 12", "[]", "null", `{"jsonrpc":"2.0"}`, `{"method":7}`, `{"id":1,"result":{}}`,
				`{"method":"telnyx_rtc.nonsense","id":1}`, `{"method":"telnyx_rtc.bye"}`, `{"method":"telnyx_rtc.bye","params":"x"}`,
				`{"error":{"code":-32000,"message":"x"},"id":"not ours"}`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}`,
				strings.Repeat("[", 10000), `{"method":"` + strings.Repeat("x", 5000) + `"}`,
			} {
				b.say(s)
			}
			synctest.Wait()
		}
		if b.Status().State != Registered || len(b.dialed()) != 1 {
			t.Errorf("status %+v", b.Status())
		}
		if n := strings.Count(b.logs.String(), "logged once"); n > 10 {
			t.Errorf("%d warnings for a handful of kinds:\n%s", n, b.logs)
		}
	})
}

// Nobody reads the events: Run goes on, keeps what it can, and leaves the rest to the network.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{t: t, dialect: Telnyx, members: map[*pipe]bool{}}
		c := NewClient(Config{
			URL: "ws://rtc.example", Dialect: Telnyx, Dial: p.dial,
			Credentials: func(context.Context) (Credentials, error) { return Credentials{Token: secretToken}, nil },
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = c.Run(ctx) })
		synctest.Wait()
		wg.Go(func() {
			for i := range 1000 {
				b, _ := json.Marshal(p.request(i, Info, ServerCallParams{CallID: "c1", DTMF: fmt.Sprint(i % 10)}))
				if p.conn.Write(ctx, b) != nil {
					return
				}
			}
		})
		time.Sleep(10 * time.Second)
		if _, err := c.Call(ctx, Bye, ClientCallParams{}); err != nil && !errors.Is(err, ErrNoAnswer) {
			t.Errorf("a call while nobody reads: %v", err)
		}
		// Now somebody does: everything is there, in order.
		next := 0
		for e := range c.Events() {
			if e.Call == nil || e.Method != Info {
				continue
			}
			if want := fmt.Sprint(next % 10); e.Call.DTMF != want {
				t.Fatalf("event %d is %q, want %q", next, e.Call.DTMF, want)
			}
			if next++; next == 1000 {
				break
			}
		}
		cancel()
		wg.Wait()
		p.conn.Close(0, "")
		p.wg.Wait()
	})
}

func TestBadURL(t *testing.T) {
	for _, u := range []string{"", "rtc.example", "https://rtc.example", "wss://", "wss://%zz"} {
		c := NewClient(Config{URL: u, Credentials: func(context.Context) (Credentials, error) { return Credentials{}, nil }})
		if err := c.Run(t.Context()); err == nil {
			t.Errorf("Run with URL %q gave no error", u)
		}
		if _, open := <-c.Events(); open {
			t.Error("events are open after Run")
		}
	}
}

func TestParseErrorOfAnotherShape(t *testing.T) {
	f, err := Parse([]byte(`{"id":"x","error":{"code":"-32002","message":"CALL ERROR","causeCode":"88","cause":"INCOMPATIBLE_DESTINATION"}}`))
	if err != nil || !f.IsResponse() || f.Error.Message != "CALL ERROR" {
		t.Errorf("%+v, %v", f, err)
	}
}
