package gateway

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidetone/rtc/verto"

	"github.com/google/uuid"
	"github.com/pion/webrtc/v4"
)

// A schedule of packets as no encoder sends it: lost ones, steps in time, a late one, markers here and there.
var schedule = []sent{
	{codecOpus, 65533, 4294966000, true, "first"},
	{codecOpus, 65534, 4294966960, false, "second"},
	{codecOpus, 1, 1000, false, "after two lost, wrapped"},
	{codecOpus, 0, 40, false, "late"},
	{codecOpus, 2, 49000, true, "a new talkspurt"},
	{codec{mimeTelephoneEvent, 48000}, 3, 49960, true, "\x05\x0a\x03\xc0"},
	{codec{mimeTelephoneEvent, 48000}, 4, 49960, false, "\x05\x8a\x07\x80"},
	{codecOpus, 90, 200000, false, strings.Repeat("long", 300)},
	{codecOpus, 91, 200960, false, "\x00"},
}

// run is the schedule, later each time: SRTP takes no packet twice.
func (p *phone) run() []sent {
	out := slices.Clone(schedule)
	for i := range out {
		out[i].seq += uint16(p.runs * 1000)
		out[i].stamp += uint32(p.runs * 1000000)
	}
	p.runs++
	return out
}

// intact sends the schedule from one phone and compares what comes to the other.
func intact(t *testing.T, from, to *phone) {
	t.Helper()
	for i, want := range from.run() {
		from.send(want) // one after the other: pion's first packets pass through another goroutine
		got := to.receive()
		if got.SequenceNumber != want.seq || got.Timestamp != want.stamp || got.Marker != want.marker ||
			string(got.Payload) != want.payload || to.codecOf(got) != want.codec {
			t.Errorf("packet %d came as %v %d %d %t %.20q, want %v %d %d %t %.20q", i, to.codecOf(got), got.SequenceNumber,
				got.Timestamp, got.Marker, got.Payload, want.codec, want.seq, want.stamp, want.marker, want.payload)
		}
		if got.SSRC == from.out.bound.Load().ssrc {
			t.Errorf("packet %d has the sender's SSRC", i)
		}
	}
}

func TestEcho(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	p := newPhone(t)
	id := w.call("echo", p)
	intact(t, p, p)

	s := l.stats(t, "door1", "an active call", func(s ClientStats) bool { return len(s.Calls) == 1 && s.Calls[0].State == CallActive })
	if c := s.Calls[0]; c.ID != id || c.Direction != "outbound" || c.Destination != "echo" || c.Caller != "door1" || c.Answered.IsZero() {
		t.Errorf("stats are %s", dump(c))
	}
	if len(s.Candidates) == 0 || s.Candidates[0].Type != "host" || s.Candidates[0].CallID != id || !strings.HasPrefix(s.Candidates[0].Line, "candidate:") {
		t.Errorf("candidates are %s", dump(s.Candidates))
	}
	w.hangUp(id, "NORMAL_CLEARING", 16)
	if c := l.ended(t, "door1"); c.Cause != "NORMAL_CLEARING" || c.CauseCode != 16 || c.Ended.IsZero() {
		t.Errorf("stats are %s", dump(c))
	}
	w.none(verto.Bye)
}

func TestEchoWithoutOpus(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	p := newPhone(t, "pcma/8000")
	w.call("echo", p)
	p.send(sent{codecPCMA, 7, 160, false, "x"})
	if got := p.receive(); p.codecOf(got) != codecPCMA || got.SequenceNumber != 7 {
		t.Errorf("came back as %+v", got.Header)
	}
}

func TestTrickle(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	p := newPhone(t)
	// The candidates come in frames of their own, right behind the invite.
	bare, lines := trickling(p.offer())
	id := w.dial("echo", bare)
	w.trickle(id, lines)
	w.ask(verto.Candidate, verto.ClientCallParams{Candidate: "candidate:nonsense", Dialog: dialog(id, "")}, nil)
	w.ask(verto.EndOfCandidates, verto.ClientCallParams{EndOfCandidates: true, Dialog: dialog(id, "")}, nil)
	p.remote(webrtc.SDPTypeAnswer, w.expect(verto.Media).SDP)
	p.wait()
	w.up(id)
	intact(t, p, p)
	s := l.stats(t, "door1", "candidates", func(s ClientStats) bool { return len(s.Candidates) >= len(lines) })
	if s.Candidates[0].Line != lines[0] || s.Candidates[0].Type != "host" {
		t.Errorf("candidates are %s", dump(s.Candidates))
	}
}

// trickling takes the candidates out of an offer.
func trickling(offer string) (bare string, lines []string) {
	for line := range strings.Lines(offer) {
		if strings.HasPrefix(line, "a=candidate:") {
			lines = append(lines, strings.TrimSpace(line[2:]))
		} else if !strings.HasPrefix(line, "a=end-of-candidates") {
			bare += line
		}
	}
	return bare, lines
}

// trickle sends candidates, each in a frame of its own.
func (w *wire) trickle(callID string, lines []string) {
	mid, index := "0", uint16(0)
	for _, c := range lines {
		w.request(verto.Candidate, verto.ClientCallParams{Candidate: c, SDPMid: &mid, SDPMLineIndex: &index, Dialog: dialog(callID, "")})
	}
}

// Candidates that overtake their invite are not lost.
func TestCandidatesBeforeTheInvite(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	p := newPhone(t)
	bare, lines := trickling(p.offer())
	id := uuid.NewString()
	w.trickle(uuid.NewString(), slices.Repeat([]string{"candidate:1 1 udp 1 192.0.2.1 9 typ host"}, 2*maxEarly)) // of a call that never comes
	w.trickle(id, lines)
	w.ask(verto.Invite, verto.ClientCallParams{SDP: bare, Dialog: dialog(id, "echo")}, nil)
	p.remote(webrtc.SDPTypeAnswer, w.expect(verto.Media).SDP)
	p.wait()
	w.up(id)
	intact(t, p, p)
	l.stats(t, "door1", "its candidates alone, in order", func(s ClientStats) bool {
		var got []string
		for _, c := range s.Candidates {
			got = append(got, c.Line)
		}
		return slices.Equal(got, lines)
	})
}

// What is posted to a call that ends at that moment either runs, or is told not to.
func TestPostAtTheEnd(t *testing.T) {
	l := startLab(t)
	for range 200 {
		c := l.Gateway.newCall()
		l.Gateway.run(c, func() {})
		var said, ran atomic.Int32
		var posters sync.WaitGroup
		for range 4 {
			posters.Go(func() {
				for c.post(func() { ran.Add(1) }) {
					said.Add(1)
				}
			})
		}
		c.post(func() { c.end(normalClearing, nil) })
		posters.Wait()
		for range 1000 { // the call's goroutine does what is left
			if ran.Load() == said.Load() {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if ran.Load() != said.Load() {
			t.Fatalf("%d posts were taken, %d ran", said.Load(), ran.Load())
		}
	}
}

func TestUnreachableDestinations(t *testing.T) {
	l := startLab(t)
	gone := l.login(t, "gone")
	_ = gone.conn.CloseNow()
	l.stats(t, "gone", "that it is gone", func(s ClientStats) bool { return !s.Registered })
	w := l.login(t, "door1")
	for _, c := range []struct {
		destination string
		sip         int
	}{{"nobody", 404}, {"", 480}, {"gone", 480}} {
		id := w.dial(c.destination, newPhone(t).offer())
		w.bye(id, "UNALLOCATED_NUMBER", 1, c.sip)
	}
	w.bye(w.dial("nobody", "nonsense"), "UNALLOCATED_NUMBER", 1, 404) // the number is wrong, whatever the SDP is worth
	for _, sdp := range []string{"nonsense", "v=0\r\n", strings.Replace(newPhone(t).offer(), "m=audio", "m=video", 1)} {
		w.bye(w.dial("echo", sdp), "INCOMPATIBLE_DESTINATION", 88, 488)
	}
}

func TestCallIDsAreUnique(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	id := w.call("echo", newPhone(t))
	f := w.answer(w.request(verto.Invite, verto.ClientCallParams{SDP: "v=0", Dialog: dialog(id, "echo")}))
	if f.Error == nil || f.Error.Code != -32002 {
		t.Errorf("the same call again: %s", dump(f))
	}
	// Another client's call may have the same id: it is another call.
	other := l.login(t, "door2")
	if f := other.answer(other.request(verto.Bye, verto.ClientCallParams{Dialog: dialog(id, "")})); f.Error != nil {
		t.Errorf("bye: %s", dump(f))
	}
	w.none(verto.Bye)
	for range maxLegs - 1 {
		w.call("echo", newPhone(t))
	}
	f = w.answer(w.request(verto.Invite, verto.ClientCallParams{SDP: "v=0", Dialog: dialog("one-too-many", "echo")}))
	if f.Error == nil {
		t.Error("calls have no bound")
	}
}

// pair is a call between two clients.
type pair struct {
	lab              *lab
	caller, callee   *wire
	callerP, calleeP *phone
	callerID         string
	calleeID         string
}

// ringing calls door2 from door1 and stops when it rings.
func ringing(t *testing.T, l *lab) *pair {
	t.Helper()
	return ringingWith(t, l, newPhone(t))
}

func ringingWith(t *testing.T, l *lab, callerP *phone) *pair {
	t.Helper()
	c := &pair{lab: l, caller: l.login(t, "door1"), callee: l.login(t, "door2"), callerP: callerP}
	c.callerID = c.caller.dial("door2", c.callerP.offer())
	in := c.callee.expect(verto.Invite)
	if in.CallID == c.callerID || in.SDP == "" || in.CallerIDName != "Lobby" || in.CallerIDNumber != "+15550100" || in.TelnyxSessionID == "" ||
		in.TelnyxLegID == "" || in.TelnyxCallControlID == "" {
		t.Errorf("invite is %s", dump(in))
	}
	c.calleeID = in.CallID
	if r := c.caller.expect(verto.Ringing); r.CallID != c.callerID || r.TelnyxSessionID != in.TelnyxSessionID || r.TelnyxLegID == in.TelnyxLegID {
		t.Errorf("ringing is %s", dump(r))
	}
	c.calleeP = newPhone(t)
	c.calleeP.remote(webrtc.SDPTypeOffer, in.SDP)
	return c
}

func (c *pair) answer(t *testing.T) {
	t.Helper()
	sdp := c.calleeP.local(c.calleeP.CreateAnswer(nil))
	c.callee.ask(verto.Answer, verto.ClientCallParams{SDP: sdp, Dialog: dialog(c.calleeID, "")}, nil)
	a := c.caller.expect(verto.Answer)
	c.callerP.remote(webrtc.SDPTypeAnswer, a.SDP)
	c.callerP.wait()
	c.calleeP.wait()
	c.caller.up(c.callerID)
	c.callee.up(c.calleeID)
}

func talking(t *testing.T, l *lab) *pair {
	t.Helper()
	c := ringing(t, l)
	c.answer(t)
	return c
}

func TestBridge(t *testing.T) {
	l := startLab(t)
	c := talking(t, l)
	intact(t, c.callerP, c.calleeP)
	intact(t, c.calleeP, c.callerP)

	// DTMF by signalling, both ways.
	c.caller.ask(verto.Info, verto.ClientCallParams{DTMF: "4", Dialog: dialog(c.callerID, "")}, nil)
	if i := c.callee.expect(verto.Info); i.DTMF != "4" || i.CallID != c.calleeID {
		t.Errorf("info is %s", dump(i))
	}
	c.callee.ask(verto.Info, verto.ClientCallParams{DTMF: "x#", Dialog: dialog(c.calleeID, "")}, nil)
	if i := c.caller.expect(verto.Info); i.DTMF != "#" || i.CallID != c.callerID {
		t.Errorf("info is %s", dump(i))
	}

	c.callee.hangUp(c.calleeID, "NORMAL_CLEARING", 16)
	c.caller.bye(c.callerID, "NORMAL_CLEARING", 16, 0)
	for name, direction := range map[string]string{"door1": "outbound", "door2": "inbound"} {
		s := l.ended(t, name)
		if s.Direction != direction || s.Caller != "door1" || s.Destination != "door2" || s.CauseCode != 16 || s.Answered.IsZero() {
			t.Errorf("stats of %s are %s", name, dump(s))
		}
	}
}

func TestBridgeNeverTranscodes(t *testing.T) {
	l := startLab(t)
	c := ringingWith(t, l, newPhone(t, "opus/48000", "pcmu/8000", "telephone-event/8000"))
	// The callee takes PCMU alone, so the caller must not be given Opus.
	small := newPhone(t, "pcmu/8000")
	small.remote(webrtc.SDPTypeOffer, c.calleeP.RemoteDescription().SDP)
	c.calleeP = small
	c.answer(t)
	if sdp := c.callerP.RemoteDescription().SDP; strings.Contains(sdp, "opus") {
		t.Errorf("the caller was offered a codec that the callee lacks:\n%s", sdp)
	}
	c.callerP.send(sent{codecPCMU, 1, 160, true, "x"})
	if got := c.calleeP.receive(); c.calleeP.codecOf(got) != codecPCMU {
		t.Errorf("came as %+v", got.Header)
	}
}

// The far side knows no telephone-event: it is told by signalling.
func TestEventsBecomeInfo(t *testing.T) {
	l := startLab(t)
	c := ringing(t, l)
	plain := newPhone(t, "opus/48000")
	plain.remote(webrtc.SDPTypeOffer, c.calleeP.RemoteDescription().SDP)
	c.calleeP = plain
	c.answer(t)
	c.callerP.send(sent{codec{mimeTelephoneEvent, 48000}, 1, 960, true, "\x0b\x0a\x03\xc0"})
	c.callerP.send(sent{codec{mimeTelephoneEvent, 48000}, 2, 960, false, "\x0b\x8a\x07\x80"})
	if i := c.callee.expect(verto.Info); i.DTMF != "#" || i.CallID != c.calleeID {
		t.Errorf("info is %s", dump(i))
	}
	c.callee.none(verto.Info)
}

func TestBridgeWithNothingInCommon(t *testing.T) {
	l := startLab(t)
	c := ringingWith(t, l, newPhone(t, "pcma/8000"))
	if sdp := c.calleeP.RemoteDescription().SDP; strings.Contains(sdp, "opus") {
		t.Errorf("the callee was offered what the caller lacks:\n%s", sdp)
	}
	other := newPhone(t, "opus/48000")
	sdp := other.offer() // no answer to anything
	f := c.callee.answer(c.callee.request(verto.Answer, verto.ClientCallParams{SDP: sdp, Dialog: dialog(c.calleeID, "")}))
	if f.Error == nil || f.Error.Code != -32002 {
		t.Errorf("the answer was taken: %s", dump(f))
	}
	c.caller.bye(c.callerID, "INCOMPATIBLE_DESTINATION", 88, 488)
	c.callee.bye(c.calleeID, "INCOMPATIBLE_DESTINATION", 88, 488)
}

func TestCancel(t *testing.T) {
	c := ringing(t, startLab(t))
	c.caller.hangUp(c.callerID, "USER_BUSY", 17) // as browsers say before the answer
	c.callee.bye(c.calleeID, "ORIGINATOR_CANCEL", 487, 487)
	if s := c.lab.ended(t, "door1"); s.Cause != "ORIGINATOR_CANCEL" || !s.Answered.IsZero() {
		t.Errorf("stats are %s", dump(s))
	}
}

func TestReject(t *testing.T) {
	c := ringing(t, startLab(t))
	c.callee.hangUp(c.calleeID, "USER_BUSY", 17)
	c.caller.bye(c.callerID, "USER_BUSY", 17, 486)
}

func TestRefusedInvite(t *testing.T) {
	l := startLab(t)
	caller, callee := l.login(t, "door1"), l.login(t, "door2")
	id := caller.dial("door2", newPhone(t).offer())
	in := callee.next("invite", func(f *verto.Frame) bool { return f.Method == "telnyx_rtc.invite" })
	b, _ := json.Marshal(verto.Refuse(in, -32000, "no"))
	callee.raw(string(b))
	caller.bye(id, "NORMAL_TEMPORARY_FAILURE", 41, 503)
}

func TestNoAnswer(t *testing.T) {
	c := ringing(t, startLab(t, func(c *Config) { c.RingTimeout = 300 * time.Millisecond }))
	c.caller.bye(c.callerID, "NO_ANSWER", 19, 480)
	c.callee.bye(c.calleeID, "ORIGINATOR_CANCEL", 487, 487)
	f := c.callee.answer(c.callee.request(verto.Answer, verto.ClientCallParams{SDP: "v=0", Dialog: dialog(c.calleeID, "")}))
	if f.Error == nil {
		t.Error("an answer after the end was taken")
	}
}

func TestLastRegistrationGetsTheCall(t *testing.T) {
	l := startLab(t)
	first, second := l.login(t, "door2"), l.login(t, "door2")
	caller := l.login(t, "door1")
	caller.dial("door2", newPhone(t).offer())
	second.expect(verto.Invite)
	first.none(verto.Invite)
	_ = second.conn.CloseNow()
	l.stats(t, "door2", "one session", func(s ClientStats) bool { return len(s.Sessions) == 1 })
	caller.dial("door2", newPhone(t).offer())
	first.expect(verto.Invite)
}

func TestSocketGoneBeforeTheAnswer(t *testing.T) {
	t.Run("caller", func(t *testing.T) {
		c := ringing(t, startLab(t))
		_ = c.caller.conn.CloseNow()
		c.callee.bye(c.calleeID, "ORIGINATOR_CANCEL", 487, 487)
	})
	t.Run("callee", func(t *testing.T) {
		c := ringing(t, startLab(t))
		_ = c.callee.conn.CloseNow()
		c.caller.bye(c.callerID, "NORMAL_TEMPORARY_FAILURE", 41, 480)
	})
}

func TestMediaOutlivesTheSocket(t *testing.T) {
	l := startLab(t)
	c := talking(t, l)
	_ = c.callee.conn.CloseNow()
	l.stats(t, "door2", "that it is gone", func(s ClientStats) bool { return !s.Registered })
	intact(t, c.callerP, c.calleeP)
	intact(t, c.calleeP, c.callerP)

	// The same session comes back: its call is its own again.
	back := l.connect(t)
	back.register(verto.LoginParams{User: "door2", Password: "good", SessID: c.callee.sess, Reconnection: true})
	if back.sess != c.callee.sess {
		t.Errorf("the session became %s, was %s", back.sess, c.callee.sess)
	}
	intact(t, c.callerP, c.calleeP)
	back.hangUp(c.calleeID, "NORMAL_CLEARING", 16)
	c.caller.bye(c.callerID, "NORMAL_CLEARING", 16, 0)
}

func TestOtherSideMayEndADetachedCall(t *testing.T) {
	l := startLab(t)
	c := talking(t, l)
	_ = c.callee.conn.CloseNow()
	l.stats(t, "door2", "that it is gone", func(s ClientStats) bool { return !s.Registered })
	c.caller.hangUp(c.callerID, "NORMAL_CLEARING", 16)
	l.ended(t, "door2")
}

func TestDetachTimeout(t *testing.T) {
	l := startLab(t, func(c *Config) { c.DetachTimeout = 300 * time.Millisecond })
	c := talking(t, l)
	_ = c.callee.conn.CloseNow()
	c.caller.bye(c.callerID, "RECOVERY_ON_TIMER_EXPIRE", 102, 0)
}

func TestLoginAnewEndsDetachedCalls(t *testing.T) {
	l := startLab(t)
	c := talking(t, l)
	_ = c.callee.conn.CloseNow()
	l.stats(t, "door2", "that it is gone", func(s ClientStats) bool { return !s.Registered })
	l.login(t, "door2")
	c.caller.bye(c.callerID, "RECOVERY_ON_TIMER_EXPIRE", 102, 0)
}

// A client that closes its peer connection without a bye has left the call.
func TestMediaClosedByTheClient(t *testing.T) {
	l := startLab(t)
	c := talking(t, l)
	_ = c.calleeP.GracefulClose()
	c.caller.bye(c.callerID, "RECOVERY_ON_TIMER_EXPIRE", 102, 0)
	c.callee.bye(c.calleeID, "RECOVERY_ON_TIMER_EXPIRE", 102, 0)
}

func TestICERestart(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	p := newPhone(t)
	id := w.call("echo", p)
	intact(t, p, p)
	sdp := p.local(p.CreateOffer(&webrtc.OfferOptions{ICERestart: true}))
	var r verto.CallResult
	w.ask(verto.Modify, verto.ClientCallParams{CallID: id, Action: "updateMedia", SDP: sdp, Dialog: dialog(id, "")}, &r)
	if r.SDP == "" || r.CallID != id || r.Action != "updateMedia" || r.HoldState != "active" {
		t.Fatalf("result is %s", dump(r))
	}
	p.remote(webrtc.SDPTypeAnswer, r.SDP)
	w.selected(id, p)
	intact(t, p, p)
	if f := w.answer(w.request(verto.Modify, verto.ClientCallParams{Action: "updateMedia", SDP: "x", Dialog: dialog(id, "")})); f.Error == nil {
		t.Error("nonsense was taken for an ICE restart")
	}
}

func TestRing(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	id, err := l.Ring(context.Background(), "door1", "echo")
	if err != nil {
		t.Fatal(err)
	}
	in := w.expect(verto.Invite)
	if in.CallID != id || in.CallerIDName != "echo" || in.CalleeIDNumber != "door1" {
		t.Errorf("invite is %s", dump(in))
	}
	p := newPhone(t)
	w.ask(verto.Answer, verto.ClientCallParams{SDP: p.accept(in.SDP), Dialog: dialog(id, "")}, nil)
	p.wait()
	w.up(id)
	intact(t, p, p)
	w.none(verto.Answer) // it is the client that answered
	w.hangUp(id, "", 0)
	if c := l.ended(t, "door1"); c.Direction != "inbound" || c.Caller != "echo" || c.CauseCode != 16 {
		t.Errorf("stats are %s", dump(c))
	}
}
