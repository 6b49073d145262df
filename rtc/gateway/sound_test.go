package gateway

import (
	"context"
	"math"
	"testing"
	"time"

	"sidetone/audio"
	"sidetone/audio/opus"
	"sidetone/rtc/verto"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// level is how much of hz is in pcm: 1 is a full-scale sine (Goertzel).
func level(pcm []int16, rate, hz float64) float64 {
	coeff := 2 * math.Cos(2*math.Pi*hz/rate)
	var a, b float64
	for _, s := range pcm {
		a, b = float64(s)/32768+coeff*a-b, a
	}
	return 2 * math.Sqrt(max(0, a*a+b*b-coeff*a*b)) / float64(len(pcm))
}

func rms(pcm []int16) float64 {
	sum := 0.0
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return math.Sqrt(sum/float64(len(pcm))) / 32768
}

// ear decodes what a phone hears.
type ear struct {
	t   *testing.T
	p   *phone
	dec *opus.Decoder
	pcm []int16
}

func newEar(t *testing.T, p *phone) *ear {
	dec, err := opus.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	return &ear{t: t, p: p, dec: dec}
}

// hear takes n packets of Opus; they must follow one another in number and time.
func (e *ear) hear(n int) (first *rtp.Packet) {
	e.t.Helper()
	var last *rtp.Packet
	for range n {
		pkt := e.p.receive()
		if e.p.codecOf(pkt) != codecOpus {
			e.t.Fatalf("payload type %d is not Opus", pkt.PayloadType)
		}
		if last == nil {
			first = pkt
		} else if pkt.SequenceNumber != last.SequenceNumber+1 || pkt.Timestamp-last.Timestamp != 960 || pkt.Marker {
			e.t.Fatalf("after %d at %d came %d at %d, marker %t", last.SequenceNumber, last.Timestamp, pkt.SequenceNumber, pkt.Timestamp, pkt.Marker)
		}
		last = pkt
		pcm := make([]int16, 5760)
		k, err := e.dec.Decode(pkt.Payload, pcm)
		if err != nil {
			e.t.Fatal(err)
		}
		e.pcm = append(e.pcm, pcm[:k]...)
	}
	return first
}

func TestTone(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	p := newPhone(t)
	begin := time.Now()
	w.call("tone", p)
	e := newEar(t, p)
	first := e.hear(50)
	if took := time.Since(begin); took < 900*time.Millisecond {
		t.Errorf("a second of sound came in %v: it is not paced", took)
	}
	if !first.Marker {
		t.Error("the talkspurt has no marker")
	}
	heard := e.pcm[len(e.pcm)/2:]
	if at, beside := level(heard, 48000, 1000), level(heard, 48000, 1500); at < 0.15 || at > 0.35 || beside > at/30 {
		t.Errorf("1000 Hz at %.3f, want 0.25; 1500 Hz at %.4f", at, beside)
	}
}

func TestToneInG711(t *testing.T) {
	for _, c := range []struct {
		name   string
		expand func(byte) int16
	}{{"pcmu/8000", expandMulaw}, {"pcma/8000", expandAlaw}} {
		t.Run(c.name, func(t *testing.T) {
			l := startLab(t)
			w := l.login(t, "door1")
			p := newPhone(t, c.name)
			w.call("tone", p)
			var pcm []int16
			for i := range 20 {
				pkt := p.receive()
				if len(pkt.Payload) != 160 || pkt.Marker != (i == 0) {
					t.Fatalf("packet %d: %d bytes, marker %t", i, len(pkt.Payload), pkt.Marker)
				}
				for _, b := range pkt.Payload {
					pcm = append(pcm, c.expand(b))
				}
			}
			if at, all := level(pcm, 8000, 1000), rms(pcm); at < 0.15 || at > 0.35 || math.Abs(all*math.Sqrt2-at) > 0.02 {
				t.Errorf("1000 Hz at %.3f, all at %.3f", at, all*math.Sqrt2)
			}
		})
	}
}

func expandMulaw(b byte) int16 {
	b = ^b
	v := (int(b&0x0f)<<3+0x84)<<(b>>4&7) - 0x84
	if b&0x80 != 0 {
		v = -v
	}
	return int16(v)
}

func expandAlaw(b byte) int16 {
	b ^= 0x55
	v := int(b&0x0f)<<4 + 8
	if e := b >> 4 & 7; e > 0 {
		v = (v + 0x100) << (e - 1)
	}
	if b&0x80 == 0 {
		v = -v
	}
	return int16(v)
}

func TestG711IsCloseToWhatWentIn(t *testing.T) {
	for v := -32768; v <= 32767; v++ {
		for name, got := range map[string]int16{"mu": expandMulaw(mulaw(int16(v))), "a": expandAlaw(alaw(int16(v)))} {
			if d := math.Abs(float64(got) - float64(v)); d > math.Max(16, math.Abs(float64(v))/16) && v > -32000 && v < 32000 {
				t.Fatalf("%s-law makes %d of %d", name, got, v)
			}
		}
	}
}

func TestConcierge(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	p := newPhone(t)
	id := w.call("concierge", p)
	words, err := greeting()
	if err != nil {
		t.Fatal(err)
	}

	// The greeting is what the file says: each half second is as loud.
	e := newEar(t, p)
	e.hear(len(words))
	const look = 25 // frames: half a second
	for i := 0; i+look <= len(words); i += look {
		var said []int16
		for _, f := range words[i : i+look] {
			said = append(said, f[:]...)
		}
		heard := e.pcm[i*audio.FrameSamples:][:len(said)]
		if a, b := rms(said), rms(heard); a > 0.01 && (b < a/2 || b > a*2) {
			t.Errorf("greeting at %.1f s: said at %.3f, heard at %.3f", float64(i)/50, a, b)
		}
	}

	// Then the client's own sound comes back, on the same stream.
	p.send(sent{codecOpus, 500, 7777, false, "echo"})
	p.send(sent{codecOpus, 503, 7777 + 3*960, false, "three later"})
	one, two := p.receive(), p.receive()
	if string(one.Payload) != "echo" || string(two.Payload) != "three later" || !one.Marker || two.Marker ||
		two.SequenceNumber-one.SequenceNumber != 3 || two.Timestamp-one.Timestamp != 3*960 {
		t.Errorf("came back as %+v %q and %+v %q", one.Header, one.Payload, two.Header, two.Payload)
	}

	// A digit by signalling, and one by RTP.
	w.ask(verto.Info, verto.ClientCallParams{DTMF: "5", Dialog: dialog(id, "")}, nil)
	if i := w.expect(verto.Info); i.DTMF != "5" || i.CallID != id {
		t.Errorf("info is %s", dump(i))
	}
	wantEvents(t, p, two, 5)
	for i, b := range []string{"\x0a\x0a\x03\xc0", "\x0a\x0a\x07\x80", "\x0a\x8a\x07\x80"} {
		p.send(sent{codec{mimeTelephoneEvent, 48000}, uint16(504 + i), 50000, i == 0, b})
	}
	if i := w.expect(verto.Info); i.DTMF != "*" {
		t.Errorf("info is %s", dump(i))
	}
	wantEvents(t, p, two, 10)

	// And the echo goes on.
	p.send(sent{codecOpus, 600, 200000, false, "on"})
	for {
		if got := p.receive(); string(got.Payload) == "on" {
			break
		} else if p.codecOf(got) == codecOpus {
			t.Fatalf("%q came", got.Payload)
		}
	}
}

// wantEvents reads one digit by RFC 4733.
func wantEvents(t *testing.T, p *phone, before *rtp.Packet, event byte) {
	t.Helper()
	var first, last *rtp.Packet
	ends := 0
	for ends < digitEnds {
		pkt := p.receive()
		if p.codecOf(pkt) != (codec{mimeTelephoneEvent, 48000}) || len(pkt.Payload) != 4 {
			t.Fatalf("%+v %x came, want an event", pkt.Header, pkt.Payload)
		}
		if first == nil {
			first = pkt
			if !pkt.Marker || int32(pkt.Timestamp-before.Timestamp) <= 0 || pkt.SequenceNumber == before.SequenceNumber {
				t.Errorf("the event begins with %+v after %+v", pkt.Header, before.Header)
			}
		} else if pkt.Timestamp != first.Timestamp || pkt.Marker || pkt.SequenceNumber != last.SequenceNumber+1 {
			t.Errorf("the event goes on with %+v", pkt.Header)
		}
		if pkt.Payload[0] != event {
			t.Errorf("event %d, want %d", pkt.Payload[0], event)
		}
		if pkt.Payload[1]&eventEnd != 0 {
			ends++
			if d := int(pkt.Payload[2])<<8 | int(pkt.Payload[3]); d != 7680 {
				t.Errorf("it lasts %d units, want 7680", d)
			}
		}
		last = pkt
	}
}

func TestConciergeSpeaksDigitsWithoutEvents(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	p := newPhone(t, "opus/48000")
	id := w.call("concierge", p)
	p.receive() // it speaks: the digit interrupts it
	w.ask(verto.Info, verto.ClientCallParams{DTMF: "1", Dialog: dialog(id, "")}, nil)
	w.expect(verto.Info)
	const part = 4 // frames; the digit lasts 8, and the test may be late or early for it
	e := newEar(t, p)
	for range 100 / part {
		e.pcm = e.pcm[:0]
		e.hear(part)
		if level(e.pcm, 48000, 697) > 0.05 && level(e.pcm, 48000, 1209) > 0.05 && level(e.pcm, 48000, 941) < 0.02 {
			return
		}
	}
	t.Error("697 and 1209 Hz were not heard: no digit 1")
}

func TestRingFromTone(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	id, err := l.Ring(context.Background(), "door1", "tone")
	if err != nil {
		t.Fatal(err)
	}
	p := newPhone(t)
	w.ask(verto.Answer, verto.ClientCallParams{SDP: p.accept(w.expect(verto.Invite).SDP), Dialog: dialog(id, "")}, nil)
	p.wait()
	newEar(t, p).hear(10)
}

// The client's sender reports are answered by what it computes the round-trip time from, and the gateway sends its own.
func TestSenderAndReceiverReports(t *testing.T) {
	l := startLab(t)
	w := l.login(t, "door1")
	p := newPhone(t)
	w.call("echo", p)
	const ntp = 0x1234_5678_9abc_def0
	intact(t, p, p)
	if err := p.WriteRTCP([]rtcp.Packet{&rtcp.SenderReport{SSRC: p.out.bound.Load().ssrc, NTPTime: ntp, RTPTime: 1}}); err != nil {
		t.Fatal(err)
	}
	var mine, theirs bool
	limit := time.After(patience)
	for !mine || !theirs {
		select {
		case r := <-p.rtcp:
			switch r := r.(type) {
			case *rtcp.SenderReport:
				theirs = theirs || r.PacketCount == uint32(len(schedule))
			case *rtcp.ReceiverReport:
				for _, b := range r.Reports {
					mine = mine || b.LastSenderReport == 0x5678_9abc && b.Delay > 0 && b.TotalLost > 0
				}
			}
		case <-limit:
			t.Fatalf("round-trip time can be told: %t; the gateway's own report came: %t", mine, theirs)
		}
	}
}

func BenchmarkForward(b *testing.B) {
	out := newTrack()
	out.bound.Store(&binding{ssrc: 1, types: map[codec]uint8{codecOpus: 111}, writer: discard{}})
	var p packet
	p.codec, p.Payload = codecOpus, make([]byte, 80)
	b.ReportAllocs()
	for b.Loop() {
		p.SequenceNumber++
		out.write(&p)
	}
}

type discard struct{}

func (discard) WriteRTP(h *rtp.Header, payload []byte) (int, error) { return len(payload), nil }
func (discard) Write(b []byte) (int, error)                         { return len(b), nil }
