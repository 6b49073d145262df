package voice

import (
	"math"
	"testing"
	"time"

	"sidetone/audio"
	"sidetone/audio/jitter"

	"github.com/pion/rtp"
)

const frame = audio.FrameDuration

// line is a sender and a receiver with a clock of its own between them.
type line struct {
	now time.Time
	*Receiver
	send  *Sender
	wire  wire
	n     int
	heard []audio.Frame
}

func newLine(fec bool) *line {
	l := &line{now: time.Unix(1e9, 0)}
	l.send = NewSender(SenderConfig{Encoder: &pcmCodec{fec: fec}, Out: &l.wire})
	steady := jitter.Config{Start: 3 * frame, Min: 3 * frame} // no change of delay changes a sample
	l.Receiver = NewReceiver(ReceiverConfig{Decoder: new(pcmCodec), Jitter: steady, Now: func() time.Time { return l.now }})
	return l
}

// step is 20 ms: a frame of value is sent, comes at once or never, and a frame is heard.
func (l *line) step(value int16, lost bool) audio.Frame {
	l.send.PushFrame(frameOf(value))
	p := l.wire.packets[l.n]
	l.n++
	if !lost {
		l.PushRTP(&p, l.now)
	}
	return l.listen()
}

func (l *line) listen() audio.Frame {
	var f audio.Frame
	l.PullFrame(&f)
	l.heard = append(l.heard, f)
	l.now = l.now.Add(frame)
	return f
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*(1+math.Abs(b)) }

func TestCleanLine(t *testing.T) {
	l := newLine(false)
	for i := range 500 {
		l.step(int16(1000+i), false)
	}
	const begin = 3 // 60 ms
	for i, f := range l.heard {
		if want := int16(1000 + i - begin); i >= begin && f != *frameOf(want) || i < begin && f != (audio.Frame{}) {
			t.Fatalf("frame %d is %d.., want %d", i, f[0], want)
		}
	}
	s := l.PlayoutStats()
	played := uint64(500-begin) * 960
	if s.TotalSamplesReceived != played || s.JitterBufferEmittedCount != played || !near(s.JitterBufferDelay, float64(played)*0.06) ||
		!near(s.TotalProcessingDelay, s.JitterBufferDelay) || !near(s.JitterBufferTargetDelay, float64(played)*0.06) {
		t.Errorf("%+v", s)
	}
	if s.ConcealedSamples+s.SilentConcealedSamples+s.ConcealmentEvents+s.InsertedSamplesForDeceleration+s.RemovedSamplesForAcceleration+
		s.PacketsDiscarded+s.FECPacketsReceived != 0 || s.BurstRatio != 1 {
		t.Errorf("a clean line, and %+v", s)
	}
	if !near(s.TotalSamplesDuration, 10) {
		t.Errorf("%g s played, want 10", s.TotalSamplesDuration)
	}
}

func TestNothingIsCountedBeforeTheFirstPacket(t *testing.T) {
	l := newLine(false)
	for range 100 {
		if f := l.listen(); f != (audio.Frame{}) {
			t.Fatal("sound out of nothing")
		}
	}
	if s := l.PlayoutStats(); s.TotalSamplesReceived != 0 || s.ConcealedSamples != 0 || s.ConcealmentEvents != 0 {
		t.Errorf("%+v", s)
	}
}

func TestLossIsConcealedAndFadesOut(t *testing.T) {
	l := newLine(false)
	for i := range 300 {
		l.step(guessed, i >= 200 && i < 210)
	}
	for i, f := range l.heard[203:213] {
		peak := 0
		for _, v := range f {
			peak = max(peak, int(v))
		}
		switch {
		case i < 3 && peak != guessed, i >= 3 && i < 6 && (peak <= 0 || peak > guessed), i >= 6 && peak != 0:
			t.Errorf("lost frame %d has a peak of %d", i, peak)
		}
		if last := l.heard[203+i-1][959]; f[0] > last+2 || f[0] < last-2 {
			t.Errorf("lost frame %d begins with a step from %d to %d", i, last, f[0])
		}
	}
	if first := l.heard[213]; first[0] > 2 || first[959] != guessed {
		t.Errorf("the sound comes back with a step: %d .. %d", first[0], first[959])
	}
	s := l.PlayoutStats()
	if s.ConcealedSamples != 10*960 || s.SilentConcealedSamples != 4*960 || s.ConcealmentEvents != 1 || s.TotalSamplesReceived != 297*960 {
		t.Errorf("%+v", s)
	}
	if want := 10 * (1 - 10.0/297); !near(s.BurstRatio, want) {
		t.Errorf("burst ratio %g, want %g", s.BurstRatio, want)
	}
}

func TestRandomLossHasABurstRatioOfOne(t *testing.T) {
	l := newLine(false)
	for i := range 1000 {
		l.step(5, i%10 == 5)
	}
	if s := l.PlayoutStats(); s.BurstRatio != 1 || s.ConcealmentEvents < 99 {
		t.Errorf("%+v", s)
	}
}

func TestFEC(t *testing.T) {
	l := newLine(true)
	for i := range 300 {
		l.step(int16(1000+i), i >= 100 && i%10 == 5)
	}
	for i, f := range l.heard[3:] {
		if f != *frameOf(int16(1000 + i)) {
			t.Fatalf("frame %d is %d.., want %d", i, f[0], 1000+i)
		}
	}
	s := l.PlayoutStats()
	if s.ConcealedSamples != 0 || s.FECPacketsReceived != 280 || s.BurstRatio != 1 || s.JitterBufferEmittedCount != 297*960 {
		t.Errorf("%+v", s)
	}
	// 19 or 20 losses are recovered by now; the FEC of all others that were played was not needed.
	if used := s.FECPacketsReceived - s.FECPacketsDiscarded; used < 20 || used > 24 {
		t.Errorf("FEC of %d packets used", used)
	}
}

func TestLatePacketsAreDiscarded(t *testing.T) {
	l := newLine(false)
	for i := range 200 {
		l.step(100, i == 100)
		if i == 110 {
			l.PushRTP(&l.wire.packets[100], l.now)
			l.PushRTP(&l.wire.packets[99], l.now) // a duplicate is none
		}
	}
	if s := l.PlayoutStats(); s.PacketsDiscarded != 1 || s.ConcealedSamples != 960 {
		t.Errorf("%+v", s)
	}
}

func TestStreamThatStopsIsSilentAndComesBack(t *testing.T) {
	l := newLine(false)
	for range 100 {
		l.step(1000, false)
	}
	for range 500 {
		l.listen()
	}
	if l.heard[590] != (audio.Frame{}) {
		t.Error("sound while nothing comes")
	}
	before := l.PlayoutStats()
	if before.ConcealedSamples < 490*960 || before.ConcealedSamples-before.SilentConcealedSamples > 6*960 {
		t.Errorf("%+v", before)
	}
	l.send.packet.Timestamp += 500 * 960
	for range 100 {
		l.step(1000, false)
	}
	if got := l.heard[len(l.heard)-1]; got != *frameOf(1000) {
		t.Errorf("%d.. after the stream came back", got[0])
	}
}

func TestGarbage(t *testing.T) {
	l := newLine(false)
	for i := range 100 {
		l.step(1000, i%2 == 0)
		for _, payload := range [][]byte{nil, {1}, make([]byte, 5000)} {
			l.PushRTP(&rtp.Packet{Header: rtp.Header{SequenceNumber: l.send.packet.SequenceNumber + uint16(i)*7 + 200}, Payload: payload}, l.now)
		}
	}
	for range 200 {
		l.step(1000, false)
	}
	if got := l.heard[len(l.heard)-1]; got != *frameOf(1000) {
		t.Errorf("%d.. after the garbage ended", got[0])
	}
}

func TestReceiverDoesNotAllocate(t *testing.T) {
	l := newLine(false)
	l.step(1, false)
	p := l.wire.packets[0]
	var f audio.Frame
	if n := testing.AllocsPerRun(1000, func() {
		p.SequenceNumber++
		p.Timestamp += 960
		l.PushRTP(&p, l.now)
		l.PullFrame(&f)
		l.now = l.now.Add(frame)
	}); n != 0 {
		t.Errorf("%g allocations for a frame", n)
	}
}
