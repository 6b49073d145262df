package verto

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func startFreeSWITCH(t *testing.T, p *platform) (*bench, func()) {
	p.dialect, p.noReady = FreeSWITCH, true
	return start(t, p, func(c *Config) { c.Credentials = userLogin })
}

// The client makes up the session, and names it in every message over all reconnects.
func TestFreeSWITCHSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{pingEvery: 30 * time.Second}
		b, stop := startFreeSWITCH(t, p)
		defer stop()
		synctest.Wait()
		own := params[LoginParams](t, b.received(Login)[0]).SessID
		if len(own) != 36 {
			t.Fatalf("sessid %q", own)
		}
		time.Sleep(31 * time.Second)
		// This platform answers a login by an id of its own making only in the lab; the newest holds.
		current := b.Session().SessID
		for _, method := range []string{Invite, Answer, Attach, Modify, Info, Bye} {
			_, _ = b.Call(t.Context(), method, ClientCallParams{Dialog: DialogParams{CallID: "c1"}})
		}
		_ = b.Refresh(t.Context())
		synctest.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		seen := map[string]bool{}
		for _, f := range p.frames[1:] {
			if f.Method == "" {
				continue
			}
			seen[f.Method] = true
			if got := params[bareParams](t, f).SessID; got != current {
				t.Errorf("%s has sessid %q, want %q", f.Method, got, current)
			}
			if f.Method != Login && !strings.HasPrefix(f.Method, "verto.") {
				t.Errorf("method %s", f.Method)
			}
		}
		if len(seen) != 8 {
			t.Errorf("seen %v", seen)
		}
	})
}

// clientReady comes when it comes: the line is registered without.
func TestFreeSWITCHReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		b, stop := startFreeSWITCH(t, p)
		defer stop()
		synctest.Wait()
		if s := b.Status(); s.State != Registered || s.GatewayState != "" {
			t.Errorf("line %+v", s)
		}
		time.Sleep(100 * time.Millisecond)
		b.say(p.request(1, ClientReady, ClientReadyParams{ReattachedSessions: []string{"c1"}}))
		synctest.Wait()
		if e := b.heard(); len(e) != 1 || !slices.Equal(e[0].Reattached, []string{"c1"}) {
			t.Errorf("events %+v", e)
		}
		if len(b.received("verto.gatewayState")) != 0 {
			t.Error("asked for a gateway state")
		}
	})
}

// Headers go out as user variables, and come in as params of their own.
func TestFreeSWITCHHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		b, stop := startFreeSWITCH(t, p)
		defer stop()
		synctest.Wait()
		_, err := b.Call(t.Context(), Invite, ClientCallParams{SDP: "v=0", Trickle: true, Dialog: DialogParams{
			CallID: "c1", CustomHeaders: []Header{{"X-Site", "lobby"}}, UserVariables: map[string]any{"door": "3"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		sent := params[ClientCallParams](t, b.received("verto.invite")[0])
		if sent.Dialog.CustomHeaders != nil || sent.Dialog.UserVariables["X-Site"] != "lobby" ||
			sent.Dialog.UserVariables["door"] != "3" || sent.Trickle {
			t.Errorf("invite %+v", sent)
		}
		b.say(`{"jsonrpc":"2.0","id":3,"method":"verto.invite","params":{"callID":"c2","sdp":"v=0","caller_id_number":"100",` +
			`"callee_id_name":"Outbound Call","callee_id_number":"0d6e0a2f-sessid","display_direction":"outbound",` +
			`"verto_h_X-Site":"lobby","verto_h_floor":"2","verto_h_":"x","verto_h_X-Odd":{"a":1}}}`)
		synctest.Wait()
		events := b.heard()
		c := events[len(events)-1].Call
		if want := []Header{{"X-Site", "lobby"}, {"X-floor", "2"}}; !slices.Equal(c.Dialog.CustomHeaders, want) {
			t.Errorf("headers %v, want %v", c.Dialog.CustomHeaders, want)
		}
		if c.CalleeIDNumber != "" || c.CalleeIDName != "" || c.DisplayDirection != "" || c.CallerIDNumber != "100" {
			t.Errorf("invite %+v: the platform's words for ourselves are not to be shown", c)
		}

		// Of a call that we made the caller is ourselves.
		b.say(`{"jsonrpc":"2.0","id":8,"method":"verto.attach","params":{"callID":"c1","sdp":"v=0","caller_id_name":"Door",` +
			`"caller_id_number":"door1","callee_id_number":"100","display_direction":"inbound"}}`)
		synctest.Wait()
		events = b.heard()
		if c := events[len(events)-1].Call; c.CallID != "c1" || c.CallerIDName != "" || c.CallerIDNumber != "" {
			t.Errorf("attach %+v: the platform's words for ourselves are not to be shown", c)
		}
	})
}

func TestTelnyxHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		b, stop := start(t, p, nil)
		defer stop()
		synctest.Wait()
		dialog := DialogParams{CallID: "c1", CustomHeaders: []Header{{"X-Site", "lobby"}}}
		if _, err := b.Call(t.Context(), Invite, ClientCallParams{SDP: "v=0", Trickle: true, Dialog: dialog}); err != nil {
			t.Fatal(err)
		}
		sent := params[ClientCallParams](t, b.received("telnyx_rtc.invite")[0])
		if !slices.Equal(sent.Dialog.CustomHeaders, dialog.CustomHeaders) || sent.Dialog.UserVariables != nil || !sent.Trickle {
			t.Errorf("invite %+v", sent)
		}
		b.say(p.request(3, Invite, map[string]any{"callID": "c2", "sdp": "v=0", "callee_id_number": "200", "verto_h_X-B": "2",
			"dialogParams": map[string]any{"custom_headers": []Header{{"X-A", "1"}}}}))
		synctest.Wait()
		events := b.heard()
		c := events[len(events)-1].Call
		if want := []Header{{"X-A", "1"}, {"X-B", "2"}}; !slices.Equal(c.Dialog.CustomHeaders, want) || c.CalleeIDNumber != "200" {
			t.Errorf("invite %+v", c)
		}
	})
}

// What a dialect does not have is said here, and not asked of the platform.
func TestUnsupported(t *testing.T) {
	tests := []struct {
		dialect Dialect
		method  string
		action  string
		ok      bool
	}{
		{FreeSWITCH, Candidate, "", false},
		{FreeSWITCH, EndOfCandidates, "", false},
		{FreeSWITCH, Modify, "transfer", true},
		{FreeSWITCH, Modify, "replace", true},
		{FreeSWITCH, Modify, "hold", true},
		{Telnyx, Candidate, "", true},
		{Telnyx, EndOfCandidates, "", true},
		{Telnyx, Modify, "transfer", false},
		{Telnyx, Modify, "replace", false},
		{Telnyx, Modify, "updateMedia", true},
	}
	for _, tt := range tests {
		t.Run(tt.dialect.Name+" "+tt.method+" "+tt.action, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, stop := start(t, &platform{dialect: tt.dialect}, func(c *Config) { c.Credentials = userLogin })
				defer stop()
				synctest.Wait()
				_, err := b.Call(t.Context(), tt.method, ClientCallParams{Action: tt.action, Destination: "100", ReplaceCallID: "c2"})
				if tt.ok != (err == nil) || !tt.ok && !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("%v", err)
				}
				if n := len(b.received(tt.dialect.Method(tt.method))); (n == 1) != tt.ok {
					t.Errorf("%d frames", n)
				}
			})
		})
	}
}

// The shapes of a real mod_verto's answers.
func TestFreeSWITCHAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		answer := ""
		p.answer = func(f *Frame) *Frame {
			b, err := Parse([]byte(strings.Replace(answer, "ID", strings.Trim(string(f.ID), `"`), 1)))
			if err != nil {
				t.Error(err)
			}
			return b
		}
		b, stop := startFreeSWITCH(t, p)
		defer stop()
		synctest.Wait()
		tests := []struct {
			method, answer string
			want           CallResult
			fails          bool
		}{
			{Invite, `{"jsonrpc":"2.0","id":"ID","result":{"message":"CALL CREATED","callID":"c1","sessid":"s"}}`, CallResult{Message: "CALL CREATED", CallID: "c1", SessID: "s"}, false},
			{Invite, `{"jsonrpc":"2.0","id":"ID","error":{"message":"CALL ERROR","code":-32002,"causeCode":88,"cause":"INCOMPATIBLE_DESTINATION"}}`, CallResult{}, true},
			{Answer, `{"jsonrpc":"2.0","id":"ID","result":{"sessid":"s"}}`, CallResult{SessID: "s"}, false},
			{Attach, `{"jsonrpc":"2.0","id":"ID","result":{"sessid":"s"}}`, CallResult{SessID: "s"}, false},
			{Modify, `{"jsonrpc":"2.0","id":"ID","result":{"callID":"c1","action":"hold","holdState":"held","sessid":"s"}}`, CallResult{CallID: "c1", Action: "hold", HoldState: "held", SessID: "s"}, false},
			{Modify, `{"jsonrpc":"2.0","id":"ID","result":{"callID":"c1","action":"dance","holdState":"active"}}`, CallResult{CallID: "c1", Action: "dance", HoldState: "active"}, false},
			{Info, `{"jsonrpc":"2.0","id":"ID","result":{"message":"SENT"}}`, CallResult{Message: "SENT"}, false},
			{Info, `{"jsonrpc":"2.0","id":"ID","result":{}}`, CallResult{}, true}, // no such call
			{Bye, `{"jsonrpc":"2.0","id":"ID","result":{"callID":"c1","message":"CALL ENDED","causeCode":16,"cause":"NORMAL_CLEARING"}}`,
				CallResult{CallID: "c1", Message: "CALL ENDED", CauseCode: 16, Cause: "NORMAL_CLEARING"}, false},
			{Bye, `{"jsonrpc":"2.0","id":"ID","error":{"code":-32002,"message":"CALL DOES NOT EXIST"}}`, CallResult{}, true},
		}
		for _, tt := range tests {
			answer = tt.answer
			r, err := b.Call(t.Context(), tt.method, ClientCallParams{DTMF: "1", Dialog: DialogParams{CallID: "c1"}})
			var refused *Error
			if tt.fails != errors.As(err, &refused) || !tt.fails && r != tt.want {
				t.Errorf("%s answered by %s: %+v, %v", tt.method, tt.answer, r, err)
			}
			if tt.fails && strings.Contains(tt.answer, "causeCode") && refused.CauseCode != 88 {
				t.Errorf("cause %+v", refused)
			}
		}
	})
}

// Our session is said to be another user's: nothing is wrong with the password, so another session is taken at once.
func TestFreeSWITCHSessionInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{loginError: &Error{Code: CodeAuthenticationFailed, Message: "Session in use"}}
		b, stop := startFreeSWITCH(t, p)
		defer stop()
		synctest.Wait()
		if s := b.Status(); s.State != Down {
			t.Errorf("line %+v", s)
		}
		p.script(func() { p.loginError = nil })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		logins := b.received(Login)
		first, second := params[LoginParams](t, logins[0]), params[LoginParams](t, logins[1])
		if first.SessID == second.SessID || b.Status().State != Registered {
			t.Errorf("sessids %q and %q, line %s", first.SessID, second.SessID, b.Status().State)
		}
	})
}

// The older of two sockets of one session is put off; a message of it that is still on its way means nothing.
func TestFreeSWITCHPuntedOldSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		b, stop := startFreeSWITCH(t, p)
		defer stop()
		synctest.Wait()
		old := p.conn
		_ = b.Renew(t.Context(), "test")
		time.Sleep(2 * time.Second)
		p.write(old, p.request(9, Punt, struct{}{}))
		synctest.Wait()
		if b.Status().State != Registered || len(b.heard()) != 0 || len(b.dialed()) != 2 {
			t.Errorf("line %+v, events %+v", b.Status(), b.heard())
		}
	})
}

// Several frames in one message: each counts, in order, and a broken one takes no other with it.
func TestBatch(t *testing.T) {
	for _, dialect := range []Dialect{Telnyx, FreeSWITCH} {
		synctest.Test(t, func(t *testing.T) {
			p := &platform{dialect: dialect}
			b, stop := start(t, p, func(c *Config) { c.Credentials = userLogin })
			defer stop()
			synctest.Wait()
			before := len(b.heard())
			var batch []any
			for i, digit := range []string{"1", "2", "3"} {
				batch = append(batch, p.request(i, Info, ServerCallParams{CallID: "c1", DTMF: digit}), "rubbish", 7, []any{}, nil)
			}
			batch = append(batch, p.request(9, Bye, ServerCallParams{CallID: "c1"}))
			text, _ := json.Marshal(batch)
			b.say(string(text))
			b.say("[]")
			b.say("[" + strings.Repeat(`{"jsonrpc":"2.0","method":"x"},`, MaxBatch) + `{"method":"x"}]`)
			synctest.Wait()
			var got []string
			for _, e := range b.heard()[before:] {
				got = append(got, e.Method+e.Call.DTMF)
			}
			if want := []string{"info1", "info2", "info3", "bye"}; !slices.Equal(got, want) {
				t.Errorf("events %v, want %v", got, want)
			}
			if len(b.received("")) != 1 {
				t.Errorf("%d acks", len(b.received("")))
			}
			// What ends the connection ends the batch.
			text, _ = json.Marshal([]any{p.request(1, Punt, struct{}{}), p.request(2, Info, ServerCallParams{CallID: "c1", DTMF: "4"})})
			b.say(string(text))
			synctest.Wait()
			heard := b.heard()
			if e := heard[len(heard)-1]; e.Method != Punt {
				t.Errorf("last event %+v", e)
			}
		})
	}
}
