package gateway

import (
	"encoding/json"
	"slices"
	"testing"

	"sidetone/rtc/verto"
)

// back logs in with the session of w and takes the attach of a call: its clientReady names the call, and comes first.
func (l *lab) back(t *testing.T, name, sess, callID string) (*wire, verto.ServerCallParams) {
	t.Helper()
	w := l.connect(t)
	var r verto.LoginResult
	w.ask(verto.Login, verto.LoginParams{User: name, Password: "good", SessID: sess, Reconnection: true}, &r)
	w.sess = r.SessID
	if r.SessID != sess {
		t.Errorf("the session became %s, was %s", r.SessID, sess)
	}
	f := w.next("clientReady or attach", func(f *verto.Frame) bool {
		return f.Method == "telnyx_rtc.clientReady" || f.Method == "telnyx_rtc.attach"
	})
	var ready verto.ClientReadyParams
	if err := json.Unmarshal(f.Params, &ready); err != nil || f.Method != "telnyx_rtc.clientReady" || !slices.Contains(ready.ReattachedSessions, callID) {
		t.Fatalf("%s is %s, want one with %s", f.Method, f.Params, callID)
	}
	in := w.expect(verto.Attach)
	if in.CallID != callID || in.SDP == "" || in.TelnyxSessionID == "" || in.TelnyxLegID == "" {
		t.Fatalf("attach is %s", dump(in))
	}
	return w, in
}

func TestAttach(t *testing.T) {
	l := startLab(t)
	c := talking(t, l)
	intact(t, c.callerP, c.calleeP)
	for range 2 { // a line may be lost more than once
		_ = c.callee.conn.CloseNow()
		l.stats(t, "door2", "that it is gone", func(s ClientStats) bool { return !s.Registered })
		goesOn(t, c.callerP, c.calleeP)
		w, in := l.back(t, "door2", c.callee.sess, c.calleeID)
		old, fresh := c.calleeP, newPhone(t)
		sdp := fresh.accept(in.SDP)
		goesOn(t, c.callerP, old) // until the new one is up
		goesOn(t, old, c.callerP)
		w.ask(verto.Attach, verto.ClientCallParams{SessID: w.sess, SDP: sdp, Dialog: dialog(c.calleeID, "")}, nil)
		fresh.wait()
		l.swapped(t, c.calleeID)
		_ = old.GracefulClose() // as clients do; the call is not there any more
		c.callee, c.calleeP = w, fresh
		goesOn(t, c.callerP, c.calleeP)
		goesOn(t, c.calleeP, c.callerP)
	}
	c.callee.hangUp(c.calleeID, "NORMAL_CLEARING", 16)
	c.caller.bye(c.callerID, "NORMAL_CLEARING", 16, 0)
}

// swapped waits until a call's new media carries it.
func (l *lab) swapped(t *testing.T, callID string) {
	t.Helper()
	l.stats(t, "door2", "the new media", func(ClientStats) bool {
		leg := l.leg("door2", callID)
		over := make(chan bool, 1)
		leg.call.post(func() { over <- leg.next == nil })
		return <-over
	})
}

// What a destination says goes on as well; the client closed its old media before it had new one.
func TestAttachOfADestinationsCall(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door2")
	p := newPhone(t)
	id := w.call("tone", p)
	p.hearsHz(20, sineHz)
	_ = w.conn.CloseNow()
	_ = p.GracefulClose()
	w, in := l.back(t, "door2", w.sess, id)
	if in.CalleeIDName != "door2" || in.CallerIDName != "tone" {
		t.Errorf("attach is %s", dump(in))
	}
	fresh := newPhone(t)
	w.ask(verto.Attach, verto.ClientCallParams{SDP: fresh.accept(in.SDP), Dialog: dialog(id, "")}, nil)
	fresh.wait()
	fresh.hearsHz(20, sineHz)
	w.modify(id, "hold")
	w.hangUp(id, "NORMAL_CLEARING", 16)
}

func TestPuntReattaches(t *testing.T) {
	l := startLab(t)
	c := talking(t, l)
	w, in := l.back(t, "door2", c.callee.sess, c.calleeID)
	c.callee.expect(verto.Punt)
	c.callee.closed()
	fresh := newPhone(t)
	w.ask(verto.Attach, verto.ClientCallParams{SDP: fresh.accept(in.SDP), Dialog: dialog(c.calleeID, "")}, nil)
	fresh.wait()
	l.swapped(t, c.calleeID)
	goesOn(t, c.callerP, fresh)
	if f := w.answer(w.request(verto.Attach, verto.ClientCallParams{SDP: "v=0", Dialog: dialog(c.calleeID, "")})); f.Error == nil {
		t.Error("an attach that nobody asked for was taken")
	}
	if f := w.answer(w.request(verto.Attach, verto.ClientCallParams{SDP: "v=0", Dialog: dialog("other", "")})); f.Error == nil || f.Error.Message != textNoCall {
		t.Errorf("attach of no call: %s", dump(f))
	}
}

// What rings ends with its socket, also when the client is back at once.
func TestPuntEndsWhatRings(t *testing.T) {
	c := ringing(t, startLab(t))
	again := c.lab.connect(t)
	again.register(verto.LoginParams{User: "door1", Password: "good", SessID: c.caller.sess, Reconnection: true})
	c.callee.bye(c.calleeID, "ORIGINATOR_CANCEL", 487, 487)
	again.none(verto.Attach)
}

// The candidates of the answer to an attach may come in frames of their own.
func TestTrickleIntoAttach(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door2")
	p := newPhone(t)
	id := w.call("tone", p)
	_ = w.conn.CloseNow()
	w, in := l.back(t, "door2", w.sess, id)
	fresh := newPhone(t)
	bare, lines := trickling(fresh.accept(in.SDP))
	w.ask(verto.Attach, verto.ClientCallParams{SDP: bare, Trickle: true, Dialog: dialog(id, "")}, nil)
	w.trickle(id, lines)
	w.ask(verto.EndOfCandidates, verto.ClientCallParams{EndOfCandidates: true, Dialog: dialog(id, "")}, nil)
	fresh.wait()
	fresh.hearsHz(20, sineHz)
	w.hangUp(id, "NORMAL_CLEARING", 16)
}
