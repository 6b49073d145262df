package voice

import (
	"math"
	"testing"

	"sidetone/audio"

	"github.com/pion/rtp"
)

// wire keeps what was sent, and refuses while it is closed.
type wire struct {
	closed  bool
	asked   int
	packets []rtp.Packet
}

func (w *wire) WriteRTP(p *rtp.Packet) bool {
	w.asked++
	if !w.closed {
		q := *p
		q.Payload = append([]byte(nil), p.Payload...)
		w.packets = append(w.packets, q)
	}
	return !w.closed
}

// telling is a wire that says beforehand whether it is open.
type telling struct{ wire }

func (w *telling) Ready() bool { return !w.closed }

func frameOf(v int16) *audio.Frame {
	f := new(audio.Frame)
	for i := range f {
		f[i] = v
	}
	return f
}

func valueOf(t *testing.T, p rtp.Packet) int16 {
	var f audio.Frame
	if _, err := new(pcmCodec).Decode(p.Payload, f[:]); err != nil {
		t.Fatal(err)
	}
	return f[0]
}

func TestSenderNumbersItsPackets(t *testing.T) {
	w := new(wire)
	s := NewSender(SenderConfig{Encoder: new(pcmCodec), Out: w})
	for i := range 100 {
		if !s.PushFrame(frameOf(int16(i))) {
			t.Fatal("not taken")
		}
	}
	for i, p := range w.packets {
		first := w.packets[0]
		if p.SequenceNumber != first.SequenceNumber+uint16(i) || p.Timestamp != first.Timestamp+uint32(i)*960 || p.Marker != (i == 0) || p.Version != 2 {
			t.Fatalf("packet %d: %v", i, p.Header)
		}
	}
	if other := NewSender(SenderConfig{Encoder: new(pcmCodec), Out: w}); other.packet.Timestamp == s.packet.Timestamp-100*960 {
		t.Error("two senders start with the same timestamp")
	}
}

// A file waits until it is heard: it offers its first frame until that is taken.
func TestFirstFrameLeavesFirst(t *testing.T) {
	for name, w := range map[string]interface {
		audio.PacketWriter
		open(bool) *wire
	}{"refusing": new(refusing), "telling": new(tellingBeforehand)} {
		enc := new(pcmCodec)
		wire := w.open(false)
		processed := 0
		s := NewSender(SenderConfig{Encoder: enc, Out: w, Process: func(*audio.Frame) { processed++ }})
		for range 50 {
			if s.PushFrame(frameOf(1)) {
				t.Fatalf("%s: taken while nothing can leave", name)
			}
		}
		if enc.seen > 1 || processed > 1 {
			t.Errorf("%s: %d frames encoded, %d processed, for nothing", name, enc.seen, processed)
		}
		before := s.packet.Timestamp
		w.open(true)
		for i := range 10 {
			if !s.PushFrame(frameOf(int16(i + 1))) {
				t.Fatalf("%s: not taken", name)
			}
		}
		if len(wire.packets) != 10 {
			t.Fatalf("%s: %d packets for 10 frames", name, len(wire.packets))
		}
		for i, p := range wire.packets {
			if got := valueOf(t, p); got != int16(i+1) {
				t.Errorf("%s: packet %d holds frame %d", name, i, got)
			}
			if p.Timestamp != before+uint32(i+1)*960 {
				t.Errorf("%s: packet %d has timestamp %d more", name, i, p.Timestamp-before)
			}
		}
		if stats := s.CaptureStats(); stats.FramesEncoded != 10 || math.Abs(stats.TotalSamplesDuration-0.2) > 1e-9 {
			t.Errorf("%s: %+v", name, stats)
		}
	}
}

type refusing struct{ wire }

func (w *refusing) open(o bool) *wire { w.closed = !o; return &w.wire }

type tellingBeforehand struct{ telling }

func (w *tellingBeforehand) open(o bool) *wire { w.closed = !o; return &w.wire }

func TestMarkerAfterASilence(t *testing.T) {
	w := new(wire)
	s := NewSender(SenderConfig{Encoder: new(pcmCodec), Out: w})
	for i := range 30 {
		w.closed = i >= 10 && i < 20
		s.PushFrame(frameOf(1))
	}
	for i, p := range w.packets {
		if p.Marker != (i == 0 || i == 10) {
			t.Errorf("packet %d: marker %v", i, p.Marker)
		}
	}
	if a, b := w.packets[9], w.packets[10]; b.SequenceNumber != a.SequenceNumber+1 || b.Timestamp != a.Timestamp+11*960 {
		t.Errorf("after 10 refused frames: %v, then %v", a.Header, b.Header)
	}
}

// dtxEncoder rests on zeros, as Opus does.
type dtxEncoder struct{}

func (dtxEncoder) Encode(f *audio.Frame, buf []byte) (int, error) {
	if f[0] == 0 {
		return 1, nil
	}
	return 40, nil
}

func TestDiscontinuousTransmission(t *testing.T) {
	w := new(wire)
	s := NewSender(SenderConfig{Encoder: dtxEncoder{}, Out: w})
	for i := range 30 {
		if !s.PushFrame(frameOf(int16(i / 10 % 2))) { // silence, sound, silence
			t.Fatal("not taken")
		}
	}
	if len(w.packets) != 1+10+1 {
		t.Fatalf("%d packets, want 12", len(w.packets))
	}
	for i, p := range w.packets {
		if p.Marker != (i <= 1) {
			t.Errorf("packet %d: marker %v", i, p.Marker)
		}
	}
	if d := w.packets[1].Timestamp - w.packets[0].Timestamp; d != 10*960 {
		t.Errorf("the sound comes %d samples after the first silence, want 9600", d)
	}
}

func TestMuteSendsSilence(t *testing.T) {
	w := new(wire)
	s := NewSender(SenderConfig{Encoder: new(pcmCodec), Out: w, Process: func(f *audio.Frame) { f[1] /= 2 }})
	s.PushFrame(frameOf(16384))
	loud := s.CaptureStats()
	if math.Abs(loud.TotalAudioEnergy-0.25*0.02) > 1e-4 {
		t.Errorf("energy %g, want 0.005", loud.TotalAudioEnergy)
	}
	s.SetMuted(true)
	s.PushFrame(frameOf(16384))
	if got := valueOf(t, w.packets[1]); got != 0 || !s.Muted() {
		t.Errorf("muted, and %d is sent", got)
	}
	if stats := s.CaptureStats(); stats.TotalAudioEnergy != loud.TotalAudioEnergy || stats.FramesEncoded != 2 {
		t.Errorf("%+v", stats)
	}
	s.SetMuted(false)
	if s.PushFrame(frameOf(5)); valueOf(t, w.packets[2]) != 5 {
		t.Error("still muted")
	}
}

// nowhere takes everything.
type nowhere struct{}

func (nowhere) WriteRTP(*rtp.Packet) bool { return true }

func TestSenderDoesNotAllocate(t *testing.T) {
	s := NewSender(SenderConfig{Encoder: new(pcmCodec), Out: nowhere{}})
	f := frameOf(1)
	if n := testing.AllocsPerRun(1000, func() { s.PushFrame(f) }); n != 0 {
		t.Errorf("%g allocations for a frame", n)
	}
}
