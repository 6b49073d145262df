package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sidetone/rtc/verto"

	"github.com/google/uuid"
)

// Frames and what is said to them. An answer of "" is silence.
func TestFrames(t *testing.T) {
	l := startLab(t)
	const anon, user = false, true
	for _, c := range []struct {
		what     string
		loggedIn bool
		frame    string
		answer   string // part of the next frame
	}{
		{"text that is not JSON", user, `hello`, `"id":null,"error":{"code":-32600,`},
		{"a string", user, `"hello"`, `"id":null,"error":{"code":-32600,`},
		{"broken JSON", user, `{"jsonrpc":"2.0",`, `"id":null,"error":{"code":-32600,`},
		{"an empty object", user, `{}`, `"id":null,"error":{"code":-32600,`},
		{"an empty batch", user, `[]`, `"id":null,"error":{"code":-32600,`},
		{"a batch of anything", user, `[1]`, `"id":null,"error":{"code":-32600,`},
		{"a speed test", user, `#SPU 1000`, ``},
		{"an unknown method", user, `{"jsonrpc":"2.0","id":"x","method":"telnyx_rtc.dance"}`, `"id":"x","error":{"code":-32601,`},
		{"an unknown method that wants no answer", user, `{"jsonrpc":"2.0","method":"telnyx_rtc.dance"}`, ``},
		{"a ping", user, `{"jsonrpc":"2.0","id":"x","method":"telnyx_rtc.ping","params":{}}`, `"id":"x","result":{"message":"PONG"`},
		{"an echoed ping, as phones say pong", user, `{"jsonrpc":"2.0","id":7,"method":"telnyx_rtc.ping","params":{"serno":7},"voice_sdk_id":"V"}`, `"id":7,"result":`},
		{"a result of no request, as Flutter says pong", user, `{"jsonrpc":"2.0","id":"r","result":{}}`, ``},
		{"an error of no request", user, `{"jsonrpc":"2.0","id":99,"error":{"code":1,"message":"m"}}`, ``},
		{"a debug report", user, `{"jsonrpc":"2.0","id":"x","type":"debug_report_start","debug_report_id":"d"}`, `"id":"x","result":{}`},
		{"a batch", user, `[{"jsonrpc":"2.0","id":"x","method":"telnyx_rtc.ping"}]`, `"id":"x","result":`},
		{"params that are a list", user, `{"jsonrpc":"2.0","id":"x","method":"telnyx_rtc.invite","params":[1]}`, `"id":"x","error":{"code":-32002,`},
		{"an invite without call", user, `{"jsonrpc":"2.0","id":"x","method":"telnyx_rtc.invite","params":{"sdp":"v=0"}}`, `"id":"x","error":{"code":-32002,`},
		{"an invite without SDP", user, `{"jsonrpc":"2.0","id":"x","method":"telnyx_rtc.invite","params":{"dialogParams":{"callID":"c"}}}`, `"id":"x","error":{"code":-32002,`},
		{"the answer to no call", user, `{"jsonrpc":"2.0","id":"x","method":"telnyx_rtc.answer","params":{"sdp":"v=0","dialogParams":{"callID":"c"}}}`, `"message":"CALL DOES NOT EXIST"`},
		{"hold of no call", user, `{"jsonrpc":"2.0","id":"x","method":"telnyx_rtc.modify","params":{"action":"hold","dialogParams":{"callID":"c"}}}`, `"message":"CALL DOES NOT EXIST"`},
		{"bye of no call", user, `{"jsonrpc":"2.0","id":"x","method":"telnyx_rtc.bye","params":{"sipCode":null,"cause":"USER_BUSY","causeCode":17,"dialogParams":{"callId":"c"}}}`, `"result":{"callID":"c","message":"CALL ENDED","cause":"USER_BUSY","causeCode":17`},
		{"info of no call", user, `{"jsonrpc":"2.0","id":"x","method":"telnyx_rtc.info","params":{"dtmf":"1","dialogParams":{"callID":"c"}}}`, `"id":"x","result":{"sessid":`},
		{"a candidate of no call", user, `{"jsonrpc":"2.0","id":"x","method":"telnyx_rtc.candidate","params":{"candidate":{"a":1},"sdpMid":0,"dialogParams":{"callID":"c"}}}`, `"id":"x","result":`},
		{"a ping before login", anon, `{"jsonrpc":"2.0","id":"x","method":"telnyx_rtc.ping"}`, `"id":"x","error":{"code":-32001,"message":"Authentication Failure"}`},
		{"an unknown method before login", anon, `{"jsonrpc":"2.0","id":"x","method":"dance"}`, `"id":"x","error":{"code":-32001,`},
		{"an invite before login", anon, `{"jsonrpc":"2.0","id":"x","method":"telnyx_rtc.invite","params":{"sdp":"v=0","dialogParams":{"callID":"c"}}}`, `"id":"x","error":{"code":-32001,`},
		{"a debug report before login", anon, `{"jsonrpc":"2.0","id":"x","type":"debug_report_start"}`, `"id":"x","error":{"code":-32001,`},
		{"a login without anything", anon, `{"jsonrpc":"2.0","id":"x","method":"login"}`, `"id":"x","error":{"code":-32001,"message":"Login Incorrect"}`},
		{"a bad token", anon, `{"jsonrpc":"2.0","id":"x","method":"login","params":{"login_token":"bad"}}`, `"id":"x","error":{"code":-32001,"message":"Authentication Failure"}`},
		{"a bad password", anon, `{"jsonrpc":"2.0","id":"x","method":"login","params":{"login":"door1","passwd":"bad"}}`, `"id":"x","error":{"code":-32001,"message":"Login Incorrect"}`},
		{"a login without a name", anon, `{"jsonrpc":"2.0","id":"x","method":"login","params":{"login_token":"good-"}}`, `"id":"x","error":{"code":-32001,`},
		{"a browser's login", anon, `{"jsonrpc":"2.0","id":"x","method":"login","params":{"login_token":"good-kiosk1","userVariables":{"push_when_active":false},"reconnection":false,"loginParams":{"early_sdp_answer":false},"User-Agent":{"sdkVersion":"2.27.10","data":"Chromium"}}}`, `"id":"x","result":{"message":"logged in","sessid":"`},
		{"a phone's login", anon, `{"jsonrpc":"2.0","id":"x","method":"login","params":{"login":"kiosk2","passwd":"good","reconnection":"false","userVariables":"none","loginParams":{"attach_call":"true"},"User-Agent":"iOS-4.1.2","sessid":"d41d8cd9"}}`, `"id":"x","result":{"message":"logged in","sessid":"`},
	} {
		t.Run(c.what, func(t *testing.T) {
			var w *wire
			if c.loggedIn {
				w = l.login(t, "door1")
			} else {
				w = l.connect(t)
			}
			w.raw(c.frame)
			// Whatever it was, the connection stays: the answer to this comes, and nothing stands before it but what
			// is wanted.
			mark := w.request("mark", nil)
			var before []string
			w.next("the mark", func(f *verto.Frame) bool {
				if string(f.ID) == mark {
					return true
				}
				if f.Method == "" {
					before = append(before, dump(f))
				}
				return false
			})
			got := strings.Join(before, "\n")
			if c.answer == "" && got != "" || !strings.Contains(got, c.answer) {
				t.Errorf("%s\nwas answered by %s\nwant %s", c.frame, got, c.answer)
			}
		})
	}
}

func TestRegistration(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	var state verto.GatewayStateResult
	w.ask(verto.GatewayState, struct{}{}, &state)
	if state.Params.State != verto.StateRegistered || uuid.Validate(state.Params.CallReportID) != nil || state.Params.Region == "" ||
		state.Params.DC == "" || state.SessID != w.sess {
		t.Errorf("gatewayState is %+v", state)
	}
	if s := l.Stats().Clients["door1"]; !s.Registered || len(s.Sessions) != 1 {
		t.Errorf("stats are %s", dump(s))
	}

	// A new token on the same socket: no second clientReady, or clients would end their calls.
	var r verto.LoginResult
	w.ask(verto.Login, verto.LoginParams{Token: "good-door1"}, &r)
	if r.SessID != w.sess {
		t.Errorf("the session became %s, was %s", r.SessID, w.sess)
	}
	w.none(verto.ClientReady)
	if f := w.answer(w.request(verto.Login, verto.LoginParams{Token: "good-door2"})); f.Error == nil || f.Error.Code != -32001 {
		t.Errorf("another name on the same socket: %s", dump(f))
	}

	if s := l.Stats(); s.Clients["door1"].Sessions[0].Logins != 2 || len(s.RefusedLogins) != 0 {
		t.Errorf("stats are %s", dump(s))
	}
	if f := w.answer(w.request(verto.Login, verto.LoginParams{Token: "bad"})); f.Error == nil {
		t.Errorf("a bad renewal: %s", dump(f))
	}
	if s := l.Stats(); s.Clients["door1"].Sessions[0].Logins != 2 || len(s.RefusedLogins) != 1 {
		t.Errorf("stats are %s", dump(s))
	}

	_ = w.conn.CloseNow()
	l.stats(t, "door1", "that it is gone", func(s ClientStats) bool { return !s.Registered && len(s.Sessions) == 0 })
}

func TestPings(t *testing.T) {
	l := startLab(t, func(c *Config) { c.PingInterval = 200 * time.Millisecond }) // it gives up after four of them
	w := l.login(t, "door1")
	first := time.Now()
	for range 3 {
		w.expect(verto.Ping)
	}
	t.Logf("three pings in %v", time.Since(first))
	// Nothing is heard from the client: it is gone.
	w.closed()
	if l := startLab(t, func(c *Config) { c.PingInterval = time.Minute }); l.Gateway.cfg.PingInterval > 15*time.Second {
		t.Errorf("pings each %v: clients wait 20 s", l.Gateway.cfg.PingInterval)
	}
}

func TestTakeOverOfASession(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	thief := l.connect(t)
	if f := thief.answer(thief.request(verto.Login, verto.LoginParams{User: "door2", Password: "good", SessID: w.sess})); f.Error == nil || f.Error.Code != -32001 {
		t.Errorf("a session of another client: %s", dump(f))
	}
	again := l.connect(t)
	again.register(verto.LoginParams{User: "door1", Password: "good", SessID: w.sess, Reconnection: true})
	if again.sess != w.sess {
		t.Errorf("the session became %s, was %s", again.sess, w.sess)
	}
	w.expect(verto.Punt)
	w.closed()
	if s := l.Stats().Clients["door1"]; len(s.Sessions) != 1 {
		t.Errorf("sessions are %s", dump(s.Sessions))
	}
}

func TestDialectOfFreeSWITCH(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	w.raw(`{"jsonrpc":"2.0","id":"x","method":"verto.ping"}`)
	if f := w.answer(`"x"`); f.Error == nil || f.Error.Code != -32601 {
		t.Errorf("a method of the other dialect: %s", dump(f))
	}
}

func TestKick(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	p := newPhone(t)
	id := w.call("echo", p)
	// Another socket of the same name, by another credential, and one that changed over to it.
	other, renewed := l.login(t, "door1:other"), l.login(t, "door1")
	renewed.ask(verto.Login, verto.LoginParams{User: "door1:other", Password: "good"}, nil)
	kept := renewed.call("echo", newPhone(t))
	l.Kick("door1:")
	w.bye(id, "NORMAL_CLEARING", 16, 0)
	w.closed()
	s := l.stats(t, "door1", "that it is gone", func(s ClientStats) bool { return len(s.Sessions) == 2 })
	if !s.Registered || l.leg("door1", kept) == nil {
		t.Errorf("after the other credential was withdrawn: %s", dump(s))
	}
	other.ask(verto.Ping, struct{}{}, nil)
	l.Kick("door1:other")
	renewed.bye(kept, "NORMAL_CLEARING", 16, 0)
	renewed.closed()
	other.closed()
	l.Kick("nobody")
}

// A credential that is withdrawn while a login by it is on its way lets nobody in: whichever of the two is first.
func TestLoginWhileItsCredentialIsWithdrawn(t *testing.T) {
	for _, renewal := range []bool{false, true} {
		var l *lab
		var withdraw atomic.Bool // at the next login, just after it was found good
		var deleted atomic.Bool
		l = startLab(t, func(c *Config) {
			good := c.Authenticate
			c.Authenticate = func(p verto.LoginParams) (Identity, error) {
				who, err := good(p)
				if deleted.Load() {
					return Identity{}, errors.New("deleted")
				}
				if withdraw.Load() {
					deleted.Store(true)
					l.Kick(who.Credential)
				}
				return who, err
			}
		})
		w := l.connect(t)
		user := "door1"
		if renewal {
			w.register(verto.LoginParams{User: "door1", Password: "good"})
			user = "door1:other"
		}
		withdraw.Store(true)
		if f := w.answer(w.request(verto.Login, verto.LoginParams{User: user, Password: "good"})); f.Error == nil || f.Error.Code != -32001 {
			t.Errorf("renewal %t: %s", renewal, dump(f))
		}
		w.closed()
		l.stats(t, "door1", "that it is gone", func(s ClientStats) bool { return !s.Registered })
	}
}

func TestCloseSaysBye(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	id := w.call("echo", newPhone(t))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.Gateway.Close(ctx); err != nil {
		t.Fatal(err)
	}
	w.bye(id, "NORMAL_CLEARING", 16, 0)
	w.closed()
	resp, err := http.Get(l.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode < 400 {
		t.Errorf("no WebSocket: %s", resp.Status)
	}
	if _, err := l.Ring(ctx, "door1", "tone"); !errors.Is(err, errClosed) {
		t.Errorf("Ring on a closed gateway: %v", err)
	}
}

func TestChanges(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	for len(l.Changes()) > 0 {
		<-l.Changes()
	}
	_ = w.conn.CloseNow()
	select {
	case <-l.Changes():
	case <-time.After(patience):
		t.Error("nobody was told that a client left")
	}
}

func TestReports(t *testing.T) {
	l := startLab(t, func(c *Config) { c.MaxReports = 2 })
	w := l.login(t, "door1")
	var state verto.GatewayStateResult
	w.ask(verto.GatewayState, struct{}{}, &state)
	good := state.Params.CallReportID
	post := func(method, reportID, callID, body string) (*http.Response, string) {
		req, _ := http.NewRequest(method, l.URL+"/call_report", strings.NewReader(body))
		for k, v := range map[string]string{"x-call-report-id": reportID, "x-call-id": callID, "x-voice-sdk-id": "V"} {
			if v != "" {
				req.Header.Set(k, v)
			}
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp, string(text)
	}
	for _, c := range []struct {
		what, method, reportID, callID, body string
		status                               int
	}{
		{"a report", "POST", good, "call-1", `{"summary":{},"quality":{"mos":4.3}}`, 200},
		{"a report of a call with an odd name", "POST", good, "../../etc/passwd", `{"quality":7}`, 200},
		{"another one", "POST", good, "call-3", `{}`, 200},
		{"preflight", "OPTIONS", "", "", "", 204},
		{"no report id", "POST", "", "call-1", `{}`, 400},
		{"no call id", "POST", good, "", `{}`, 400},
		{"a report id of nobody", "POST", uuid.NewString(), "call-1", `{}`, 403},
		{"no JSON", "POST", good, "call-1", `mos=5`, 400},
		{"no object", "POST", good, "call-1", `[]`, 400},
		{"too much", "POST", good, "call-1", `{"a":"` + strings.Repeat("x", 2<<20) + `"}`, 413},
		{"GET", "GET", good, "call-1", "", 405},
	} {
		resp, text := post(c.method, c.reportID, c.callID, c.body)
		if resp.StatusCode != c.status {
			t.Errorf("%s: %s %s, want %d", c.what, resp.Status, text, c.status)
		}
		if resp.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: pages of other origins cannot read the answer", c.what)
		}
		if c.method == "OPTIONS" && !strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), "x-call-report-id") {
			t.Errorf("preflight allows %q", resp.Header.Get("Access-Control-Allow-Headers"))
		}
	}
	reports := l.Stats().Clients["door1"].Reports
	if len(reports) != 3 || reports[0].CallID != "call-1" || reports[0].MOS == nil || *reports[0].MOS != 4.3 || reports[1].MOS != nil {
		t.Fatalf("reports are %s", dump(reports))
	}
	if _, err := os.Stat(reports[0].File); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the oldest of three is still there, with room for two: %v", err)
	}
	b, err := os.ReadFile(reports[1].File)
	if err != nil || string(b) != `{"quality":7}` {
		t.Errorf("stored: %q, %v", b, err)
	}
	files, _ := os.ReadDir(l.reports.dir)
	if len(files) != 2 {
		t.Errorf("%d files, want 2: %v", len(files), files)
	}
}

func TestConfig(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("a gateway that lets anybody in was made")
	}
	if _, err := New(Config{Authenticate: func(verto.LoginParams) (Identity, error) { return Identity{}, nil }}); err == nil {
		t.Error("a gateway without address was made")
	}
	l := startLab(t)
	if _, err := l.Ring(context.Background(), "door1", "nobody"); err == nil || errors.Is(err, ErrNotRegistered) {
		t.Errorf("Ring from nobody: %v", err)
	}
	if _, err := l.Ring(context.Background(), "door1", "tone"); !errors.Is(err, ErrNotRegistered) {
		t.Errorf("Ring of nobody: %v", err)
	}
}

func TestClientThatDoesNotReadIsDropped(t *testing.T) {
	l := startLab(t)
	s := l.newSession("test", false)
	for i := range outQueue + 1 {
		s.request(verto.Ping, fmt.Sprint(i))
	}
	select {
	case <-s.closing:
	default:
		t.Error("the session goes on")
	}
}

// A lab behind another address than its own announces that one.
func TestAdvertisedAddress(t *testing.T) {
	l := startLab(t, func(c *Config) { c.IP, c.ListenIP = net.IPv4(192, 0, 2, 7), net.IPv4(127, 0, 0, 1) })
	w := l.login(t, "door1")
	w.dial("echo", newPhone(t).offer())
	lines := candidateLines(w.expect(verto.Media).SDP)
	if len(lines) == 0 {
		t.Fatal("no candidates")
	}
	for _, c := range lines {
		if !strings.Contains(c, " 192.0.2.7 ") {
			t.Errorf("announced %q", c)
		}
	}
}
