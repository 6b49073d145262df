package gateway

import (
	"strings"
	"testing"
	"time"

	"sidetone/rtc/verto"

	"github.com/pion/rtp"
)

// goesOn sends words from one phone to another, and wants them to come in order and time, on a stream that goes on
// where it was. What came before them is let go.
func goesOn(t *testing.T, from, to *phone) {
	t.Helper()
	words := from.run()[:3]
	for i := range words {
		words[i].payload = "goes on: " + words[i].payload
	}
	var last, before *rtp.Packet
	for i, said := 0, -1; i < len(words); {
		if said < i {
			said = i
			from.send(words[i])
		}
		got := to.receive()
		if !strings.HasPrefix(string(got.Payload), "goes on: ") {
			before = got
			continue
		}
		want := words[i]
		if string(got.Payload) != want.payload {
			t.Errorf("word %d is %q, want %q", i, got.Payload, want.payload)
		}
		if i > 0 && (got.SequenceNumber-last.SequenceNumber != want.seq-words[i-1].seq || got.Timestamp-last.Timestamp != want.stamp-words[i-1].stamp) {
			t.Errorf("word %d is at %d %d, after %d %d", i, got.SequenceNumber, got.Timestamp, last.SequenceNumber, last.Timestamp)
		}
		if i == 0 && before != nil && before.SSRC == got.SSRC && got.SequenceNumber-before.SequenceNumber > 10 {
			t.Errorf("the stream jumped from %d to %d", before.SequenceNumber, got.SequenceNumber)
		}
		last = got
		i++
	}
}

// quietNow lets go what is on its way, tells how many packets that were, and fails if it does not end.
func (p *phone) quietNow() (n int) {
	p.t.Helper()
	limit := time.Now().Add(patience)
	for {
		select {
		case <-p.in:
			if n++; time.Now().After(limit) {
				p.t.Fatal("sound goes on")
			}
		case <-time.After(quiet):
			return n
		}
	}
}

// hearsHz decodes n packets and wants that tone to be the sound, at least half of the time.
func (p *phone) hearsHz(n int, hz float64) {
	p.t.Helper()
	for len(p.in) > 0 {
		<-p.in
	}
	e := newEar(p.t, p)
	for range n {
		pkt := p.receive()
		if p.codecOf(pkt) != codecOpus {
			p.t.Fatalf("payload type %d is not Opus", pkt.PayloadType)
		}
		pcm := make([]int16, 5760)
		if k, err := e.dec.Decode(pkt.Payload, pcm); err == nil {
			e.pcm = append(e.pcm, pcm[:k]...)
		}
	}
	const block = 4800
	loud, heard := 0, 0
	for at := 0; at+block <= len(e.pcm); at += block {
		part := e.pcm[at:][:block]
		if r := rms(part); r > 0.01 {
			loud++
			if level(part, 48000, hz) > 0.7*r { // a lone sine is at 1.4 of its RMS, one of two at 1
				heard++
			}
		}
	}
	if heard == 0 || heard*2 < loud {
		p.t.Errorf("%.0f Hz in %d of %d parts that have any sound", hz, heard, loud)
	}
}

func (w *wire) modify(callID, action string) string {
	w.t.Helper()
	var r verto.CallResult
	w.ask(verto.Modify, verto.ClientCallParams{Action: action, Dialog: dialog(callID, "")}, &r)
	if r.CallID != callID || r.Action != action {
		w.t.Errorf("result of %s is %s", action, dump(r))
	}
	return r.HoldState
}

func TestHold(t *testing.T) {
	l := startLab(t)
	c := talking(t, l)
	for _, step := range []struct{ action, state string }{
		{"hold", "held"}, {"unhold", "active"}, {"toggleHold", "held"}, {"toggleHold", "active"}, {"dance", "active"}, {"hold", "held"},
	} {
		if got := c.caller.modify(c.callerID, step.action); got != step.state {
			t.Errorf("after %s the call is %s, want %s", step.action, got, step.state)
		}
	}
	// Nothing goes to the holder, and nothing of it to the far side, which hears the hold tone.
	c.callerP.quietNow()
	c.calleeP.send(c.calleeP.run()[0])
	c.callerP.send(c.callerP.run()[0])
	c.calleeP.hearsHz(60, holdHz)
	if len(c.callerP.in) > 0 {
		t.Error("sound came to who holds the call")
	}
	// Both hold: silence.
	c.callee.modify(c.calleeID, "hold")
	c.calleeP.quietNow()
	c.callerP.quietNow()
	// The first one comes back, and now it is the one who waits.
	c.caller.modify(c.callerID, "unhold")
	c.callerP.hearsHz(60, holdHz)
	c.callee.modify(c.calleeID, "unhold")
	goesOn(t, c.callerP, c.calleeP)
	goesOn(t, c.calleeP, c.callerP)
}

// A destination that speaks is not heard on hold, and loses no packet by it.
func TestHoldOfADestination(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	p := newPhone(t)
	id := w.call("tone", p)
	p.hearsHz(20, sineHz)
	before := p.receive()
	w.modify(id, "hold")
	for {
		select {
		case before = <-p.in:
			continue
		case <-time.After(quiet):
		}
		break
	}
	w.modify(id, "unhold")
	after := p.receive()
	if after.SequenceNumber != before.SequenceNumber+1 || after.Timestamp-before.Timestamp < 48*uint32(quiet.Milliseconds()) || !after.Marker {
		t.Errorf("after %d at %d came %d at %d, marker %t", before.SequenceNumber, before.Timestamp, after.SequenceNumber, after.Timestamp, after.Marker)
	}
}
