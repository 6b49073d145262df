package gateway

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidetone/rtc/verto"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/pion/webrtc/v4"
)

// verto connects to the freeswitch personality.
func (l *lab) verto(t *testing.T) *wire {
	t.Helper()
	w := l.connectTo(t, vertoPath)
	w.dialect = verto.FreeSWITCH
	return w
}

func (l *lab) vertoLogin(t *testing.T, user string) *wire {
	t.Helper()
	w := l.verto(t)
	w.register(verto.LoginParams{User: user + "@lab.example", Password: "good"})
	w.name = user
	return w
}

// normal is what a client makes of a FreeSWITCH's SDP before pion may see it.
func normal(sdp string) string {
	sdp = strings.Replace(sdp, " RTP/SAVPF ", " UDP/TLS/RTP/SAVPF ", 1)
	sdp = regexp.MustCompile(`(?m)^a=candidate:\S+ 2 .*\r\n`).ReplaceAllString(sdp, "")
	return undisguise(sdp)
}

// strange checks that an SDP is as FreeSWITCH writes it.
func strange(t *testing.T, sdp string, offer bool) {
	t.Helper()
	for _, no := range []string{"a=mid:", "a=group:", "m=audio 9 ", " 0.0.0.0"} {
		if strings.Contains(sdp, no) {
			t.Errorf("%s in\n%s", no, sdp)
		}
	}
	for _, yes := range []string{"o=FreeSWITCH ", "s=FreeSWITCH\r", "a=ptime:20\r", "\na=rtcp:", " generation 0\r"} {
		if !strings.Contains(sdp, yes) {
			t.Errorf("no %q in\n%s", yes, sdp)
		}
	}
	if !offer {
		return
	}
	for _, yes := range []string{" RTP/SAVPF ", "a=setup:actpass", "a=rtcp-mux"} {
		if !strings.Contains(sdp, yes) {
			t.Errorf("no %q in\n%s", yes, sdp)
		}
	}
	if strings.Contains(sdp, "telephone-event") || strings.Contains(sdp, "UDP/TLS") {
		t.Errorf("an offer unlike FreeSWITCH's:\n%s", sdp)
	}
	if strings.Contains(sdp, "opus") && (!strings.Contains(sdp, "a=rtpmap:102 opus/48000/2") || !strings.Contains(sdp, "a=fmtp:102 stereo=1; maxaveragebitrate=30000; maxptime=40")) {
		t.Errorf("another Opus than FreeSWITCH's:\n%s", sdp)
	}
	ports := map[string]map[string]bool{}
	for _, c := range candidateLines(sdp) {
		f := strings.Fields(c)
		if ports[f[1]] == nil {
			ports[f[1]] = map[string]bool{}
		}
		ports[f[1]][f[5]] = true
		if n, err := strconv.Atoi(f[5]); err != nil || n < firstPort || n > lastPort {
			t.Errorf("port %s is none of FreeSWITCH's", f[5])
		}
	}
	if len(ports["1"]) == 0 || dump(ports["1"]) != dump(ports["2"]) {
		t.Errorf("candidates are not there for RTCP as well:\n%s", sdp)
	}
}

func (w *wire) vertoCall(destination string, p *phone) string {
	w.t.Helper()
	id := w.dial(destination, p.offer())
	a := w.expect(verto.Answer)
	strange(w.t, a.SDP, false)
	p.remote(webrtc.SDPTypeAnswer, normal(a.SDP))
	p.wait()
	w.up(id)
	return id
}

func TestVertoFrames(t *testing.T) {
	l := startLab(t)
	for _, c := range []struct {
		what     string
		loggedIn bool
		frame    string
		answer   string // part of the next frame
	}{
		{"before login", false, `{"jsonrpc":"2.0","id":1,"method":"verto.ping"}`, `"id":1,"error":{"code":-32000,"message":"Authentication Required"}`},
		{"an anonymous login", false, `{"jsonrpc":"2.0","id":1,"method":"anonymous_login","params":{}}`, `"error":{"code":-32000,`},
		{"a bad password", false, `{"jsonrpc":"2.0","id":1,"method":"login","params":{"login":"a@b","passwd":"x"}}`, `"error":{"code":-32001,`},
		{"a token", false, `{"jsonrpc":"2.0","id":1,"method":"login","params":{"login_token":"good-door1"}}`, `"error":{"code":-32001,`},
		{"text", true, `hello`, `"id":null,"error":{"code":-32600,`},
		{"a ping", true, `{"jsonrpc":"2.0","id":1,"method":"verto.ping"}`, `"result":{"message":"PONG","sessid":"`},
		{"a batch", true, `[{"jsonrpc":"2.0","id":1,"method":"verto.ping"}]`, `"result":{"message":"PONG"}`},
		{"the state", true, `{"jsonrpc":"2.0","id":1,"method":"verto.gatewayState"}`, `"error":{"code":-32601,"message":"Invalid Method, Missing Method or Permission Denied"}`},
		{"a candidate", true, `{"jsonrpc":"2.0","id":1,"method":"verto.candidate","params":{"dialogParams":{"callID":"c"}}}`, `"error":{"code":-32601,`},
		{"Telnyx's dialect", true, `{"jsonrpc":"2.0","id":1,"method":"telnyx_rtc.ping"}`, `"error":{"code":-32601,`},
		{"a message to an assistant", true, `{"jsonrpc":"2.0","id":1,"method":"ai_conversation"}`, `"error":{"code":-32601,`},
		{"info of no call", true, `{"jsonrpc":"2.0","id":1,"method":"verto.info","params":{"dialogParams":{"callID":"c"}}}`, `"result":{"sessid":"`},
		{"hold of no call", true, `{"jsonrpc":"2.0","id":1,"method":"verto.modify","params":{"action":"hold","dialogParams":{"callID":"c"}}}`, `"message":"CALL DOES NOT EXIST"`},
		{"an invite without SDP", true, `{"jsonrpc":"2.0","id":1,"method":"verto.invite","params":{"dialogParams":{"callID":"c"}}}`, `"error":{"code":-32002,"message":"CALL ERROR","cause":"INVALID_MSG_UNSPECIFIED","causeCode":95}`},
		{"a bye of no call", true, `{"jsonrpc":"2.0","id":1,"method":"verto.bye","params":{"dialogParams":{"callID":"c"}}}`, `"error":{"code":-32002,"message":"CALL DOES NOT EXIST"}`},
		{"an answer of no call", true, `{"jsonrpc":"2.0","id":1,"method":"verto.answer","params":{"sdp":"x","dialogParams":{"callID":"c"}}}`, `"result":{"sessid":"`},
	} {
		w := l.verto(t)
		if c.loggedIn {
			w.register(verto.LoginParams{User: "door1@lab.example", Password: "good"})
		}
		w.raw(c.frame)
		f := w.next("an answer", func(f *verto.Frame) bool { return f.Method == "" })
		got := dump(f)
		if string(f.ID) == "" {
			got = `"id":null,` + got[strings.Index(got, `"error"`):]
		}
		if !strings.Contains(got, c.answer) || strings.Contains(got, "voice_sdk_id") {
			t.Errorf("%s: %s\nwas answered by %s\nwant %s", c.what, c.frame, got, c.answer)
		}
	}
}

// An array is answered by an array, when the last answer is there.
func TestVertoBatch(t *testing.T) {
	l := startLab(t)
	w := l.vertoLogin(t, "door1")
	before := w.batches.Load()
	id := w.vertoCall("echo", newPhone(t))
	w.raw(`[{"jsonrpc":"2.0","id":"h","method":"verto.modify","params":{"action":"hold","dialogParams":{"callID":"` + id + `"}}},` +
		`7,{"jsonrpc":"2.0","method":"verto.ping"},{"jsonrpc":"2.0","id":"p","method":"verto.ping"}]`)
	if f := w.answer(`"h"`); !strings.Contains(string(f.Result), `"holdState":"held"`) {
		t.Errorf("hold: %s", dump(f))
	}
	w.answer(`"p"`)
	w.next("the error", func(f *verto.Frame) bool { return f.Error != nil && f.Error.Code == verto.CodeInvalidRequest })
	if n := w.batches.Load() - before; n != 1 {
		t.Errorf("%d arrays came, want 1", n)
	}
}

func TestVertoLogin(t *testing.T) {
	l := startLab(t)
	w := l.verto(t)
	begin, sess := time.Now(), uuid.NewString()
	w.register(verto.LoginParams{User: "door1@lab.example", Password: "good", SessID: sess})
	if took := time.Since(begin); took < readyDelay || w.sess != sess {
		t.Errorf("ready after %v in session %s, want %v and %s", took, w.sess, readyDelay, sess)
	}
	thief := l.verto(t)
	f := thief.answer(thief.request(verto.Login, verto.LoginParams{User: "door2", Password: "good", SessID: sess}))
	if f.Error == nil || f.Error.Code != -32001 || f.Error.Message != "Session in use" {
		t.Errorf("another user: %s", dump(f))
	}
	thief.closed()
	again := l.verto(t)
	again.register(verto.LoginParams{User: "door1@lab.example", Password: "good", SessID: sess})
	w.expect(verto.Punt)
	w.closed()
}

func TestVertoPingsWhoIsSilent(t *testing.T) {
	l := startLab(t, func(c *Config) { c.IdlePing = 400 * time.Millisecond })
	begin := time.Now()
	w := l.vertoLogin(t, "door1")
	w.expect(verto.Ping)
	if took := time.Since(begin); took < l.Gateway.cfg.IdlePing {
		t.Errorf("pinged after %v", took)
	}
}

func TestVertoOutbound(t *testing.T) {
	l := startLab(t)
	w := l.vertoLogin(t, "door1")
	p := newPhone(t)
	id := w.vertoCall("echo", p)
	intact(t, p, p)
	w.none(verto.Ringing)

	// An ICE restart is answered with the old name and password, port and fingerprint.
	credentials := regexp.MustCompile(`(?m)^(a=ice-(ufrag|pwd):|a=fingerprint:|m=audio|a=candidate:\S+ 1).*$`)
	before := credentials.FindAllString(p.RemoteDescription().SDP, -1)
	sdp := p.local(p.CreateOffer(&webrtc.OfferOptions{ICERestart: true}))
	var r verto.CallResult
	w.ask(verto.Modify, verto.ClientCallParams{CallID: id, Action: "updateMedia", SDP: sdp, Dialog: dialog(id, "")}, &r)
	strange(t, r.SDP, false)
	if after := credentials.FindAllString(r.SDP, -1); len(before) != 5 || !slices.Equal(before, after) {
		t.Errorf("the restart's answer has %q, was %q", after, before)
	}
	p.remote(webrtc.SDPTypeAnswer, normal(r.SDP))
	w.selected(id, p)
	goesOn(t, p, p)

	if got := w.modify(id, "dance"); got != "active" {
		t.Errorf("an unknown action makes the call %s", got)
	}
	if got := w.modify(id, "hold"); got != "held" {
		t.Errorf("after hold the call is %s", got)
	}
	p.send(p.run()[0])
	p.quietNow()
	w.modify(id, "unhold")
	goesOn(t, p, p)
	w.hangUp(id, "NORMAL_CLEARING", 16)
}

// CALL CREATED says no more than that: what cannot be ends by a bye a moment later.
func TestVertoFailures(t *testing.T) {
	l := startLab(t)
	gone := l.vertoLogin(t, "gone")
	_ = gone.conn.CloseNow()
	l.stats(t, "gone", "that it is gone", func(s ClientStats) bool { return !s.Registered })
	w := l.vertoLogin(t, "door1")
	good := newPhone(t).offer()
	bare := regexp.MustCompile(`(?m)^a=candidate:.*\r\n`).ReplaceAllString(good, "")
	for _, c := range []struct {
		destination, sdp, cause string
		code                    int
	}{
		{"echo", bare, "INCOMPATIBLE_DESTINATION", 88}, {"nobody", good, "NO_ROUTE_DESTINATION", 3}, {"gone", good, "USER_NOT_REGISTERED", 806},
	} {
		begin := time.Now()
		id := w.dial(c.destination, c.sdp)
		w.bye(id, c.cause, c.code, 0)
		if took := time.Since(begin); took < failureDelay/2 {
			t.Errorf("%s: the bye came after %v", c.destination, took)
		}
	}
}

func TestVertoInbound(t *testing.T) {
	l := startLab(t)
	w := l.vertoLogin(t, "door2")
	for _, from := range []string{"tone", "pcmu"} {
		if _, err := l.Ring(context.Background(), "door2", from); err != nil {
			t.Fatal(err)
		}
		in := w.expect(verto.Invite)
		strange(t, in.SDP, true)
		if in.CalleeIDNumber != w.sess || in.DisplayDirection != "outbound" || in.TelnyxLegID != "" || in.Dialog != nil {
			t.Errorf("invite is %s", dump(in))
		}
		if from == "pcmu" && (strings.Contains(in.SDP, "opus") || strings.Contains(in.SDP, "PCMA")) {
			t.Errorf("more than PCMU:\n%s", in.SDP)
		}
		p := newPhone(t)
		var raw map[string]any
		w.ask(verto.Answer, verto.ClientCallParams{SDP: p.accept(normal(in.SDP)), Dialog: dialog(in.CallID, "")}, &raw)
		if len(raw) != 1 || raw["sessid"] != w.sess {
			t.Errorf("answer's result is %v", raw)
		}
		p.wait()
		w.up(in.CallID)
		if from == "tone" {
			p.hearsHz(20, sineHz)
		} else {
			var pcm []int16
			for range 20 {
				for _, b := range p.receive().Payload {
					pcm = append(pcm, expandMulaw(b))
				}
			}
			if at := level(pcm, 8000, sineHz); at < 0.15 {
				t.Errorf("1000 Hz at %.3f", at)
			}
		}
		w.hangUp(in.CallID, "NORMAL_CLEARING", 16)
	}
}

// bridged is a call between two users of the freeswitch personality. Both of the callee's sockets ring.
func bridged(t *testing.T, l *lab) *pair {
	t.Helper()
	c := &pair{lab: l, caller: l.vertoLogin(t, "door1"), callee: l.vertoLogin(t, "door2"), callerP: newPhone(t), calleeP: newPhone(t)}
	loser := l.vertoLogin(t, "door2")
	d := dialog(uuid.NewString(), "door2")
	d.UserVariables = map[string]any{"site": "lobby"}
	c.callerID = d.CallID
	c.caller.ask(verto.Invite, verto.ClientCallParams{SDP: c.callerP.offer(), Dialog: d}, nil)
	f := c.callee.next("invite", func(f *verto.Frame) bool { return f.Method == "verto.invite" })
	if !strings.Contains(string(f.Params), `"verto_h_site":"lobby"`) {
		t.Errorf("invite is %s", f.Params)
	}
	var in verto.ServerCallParams
	if err := json.Unmarshal(f.Params, &in); err != nil {
		t.Fatal(err)
	}
	other := loser.expect(verto.Invite)
	if c.calleeID = in.CallID; other.CallID == c.calleeID {
		t.Error("both sockets have the same call")
	}
	c.callee.ask(verto.Answer, verto.ClientCallParams{SDP: c.calleeP.accept(normal(in.SDP)), Dialog: dialog(c.calleeID, "")}, nil)
	loser.bye(other.CallID, "LOSE_RACE", 702, 0)
	a := c.caller.expect(verto.Answer)
	c.callerP.remote(webrtc.SDPTypeAnswer, normal(a.SDP))
	c.callerP.wait()
	c.calleeP.wait()
	c.caller.up(c.callerID)
	c.callee.up(c.calleeID)
	return c
}

// Who marks each packet is heard as silence; who marks talkspurts alone is heard whole.
func TestVertoMarkers(t *testing.T) {
	l := startLab(t)
	c := bridged(t, l)
	say := func(from uint16, all bool) {
		for i := range uint16(20) {
			c.callerP.send(sent{codecOpus, from + i, uint32(from+i) * 960, all || i == 0, "x"})
			time.Sleep(time.Millisecond) // far less than the buffer holds
		}
	}
	say(100, false)
	for i := range uint16(20) {
		if got := c.calleeP.receive(); got.SequenceNumber != 100+i {
			t.Errorf("packet %d came as %d", 100+i, got.SequenceNumber)
		}
	}
	say(120, true)
	// The last one, which none came behind, and those before which this machine slept for as long as the buffer.
	if n := c.calleeP.quietNow(); n == 0 || n > 4 {
		t.Errorf("%d of 20 marked packets were heard", n)
	}

	// Digits do not cross the bridge, whichever way they came.
	c.caller.ask(verto.Info, verto.ClientCallParams{DTMF: "5", Dialog: dialog(c.callerID, "")}, nil)
	c.callee.none(verto.Info)

	// On hold RTP stops both ways, without a tone.
	c.caller.modify(c.callerID, "hold")
	c.calleeP.quietNow()
	c.caller.modify(c.callerID, "unhold")
	c.callee.hangUp(c.calleeID, "NORMAL_CLEARING", 16)
	c.caller.bye(c.callerID, "NORMAL_CLEARING", 16, 0)
}

func TestVertoAttach(t *testing.T) {
	l := startLab(t)
	w := l.vertoLogin(t, "door1")
	p := newPhone(t)
	id := w.vertoCall("tone", p)
	p.hearsHz(20, sineHz)
	again := l.verto(t)
	var r verto.LoginResult
	again.ask(verto.Login, verto.LoginParams{User: "door1@lab.example", Password: "good", SessID: w.sess}, &r)
	again.name, again.sess = "door1", r.SessID
	w.expect(verto.Punt)
	w.closed()
	in := again.expect(verto.Attach)
	strange(t, in.SDP, true)
	if in.DisplayDirection != "inbound" || in.CallerIDNumber != "door1" {
		t.Errorf("attach is %s", dump(in))
	}
	again.expect(verto.ClientReady)
	p.hearsHz(5, sineHz)
	fresh := newPhone(t)
	again.ask(verto.Attach, verto.ClientCallParams{SDP: fresh.accept(normal(in.SDP)), Dialog: dialog(id, "")}, nil)
	fresh.wait()
	fresh.hearsHz(20, sineHz)
	again.hangUp(id, "NORMAL_CLEARING", 16)
}

func TestVertoUnansweredEndsWithItsSocket(t *testing.T) {
	l := startLab(t)
	caller, callee := l.vertoLogin(t, "door1"), l.vertoLogin(t, "door2")
	caller.dial("door2", newPhone(t).offer())
	in := callee.expect(verto.Invite)
	_ = caller.conn.Close(websocket.StatusNormalClosure, "")
	callee.bye(in.CallID, "ORIGINATOR_CANCEL", 487, 0)

	again := l.vertoLogin(t, "door1")
	id := again.dial("door2", newPhone(t).offer())
	callee.expect(verto.Invite)
	_ = callee.conn.Close(websocket.StatusNormalClosure, "")
	again.bye(id, "DESTINATION_OUT_OF_ORDER", 27, 0)
}

// A client's own transfer sends the far side elsewhere.
func TestVertoTransfer(t *testing.T) {
	l := startLab(t)
	c := bridged(t, l)
	if d := c.callee.expect(verto.Display); d.CallID != c.calleeID || d.DisplayNumber != "door1" {
		t.Errorf("display is %s", dump(d))
	}
	c.caller.request("modify", map[string]any{"action": "transfer", "destination": "tone", "dialogParams": map[string]any{"callID": c.callerID}})
	c.caller.bye(c.callerID, "NORMAL_CLEARING", 16, 0)
	c.calleeP.hearsHz(20, sineHz)
	c.callee.hangUp(c.calleeID, "NORMAL_CLEARING", 16)
}
