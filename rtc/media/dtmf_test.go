package media

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// press gives the packets of one digit as a sender makes them: update packets, then the end three times.
func press(event byte, ts uint32) (out []rtp.Packet) {
	for i := range 7 {
		e := telephoneEvent{event: event, end: i >= 4, volume: 10, duration: 960 * uint16(min(i+1, 5))}
		out = append(out, rtp.Packet{Header: rtp.Header{Timestamp: ts, Marker: i == 0}, Payload: e.append(nil)})
	}
	return out
}

func TestDigitDetector(t *testing.T) {
	five, again := press(5, 1000), press(5, 10000)
	for name, c := range map[string]struct {
		packets []rtp.Packet
		want    string
	}{
		"one press":                 {five, "5"},
		"two presses":               {append(press(5, 1000), again...), "55"},
		"start lost":                {five[3:], "5"},
		"end lost, then the same":   {append(press(5, 1000)[:4], again...), "55"},
		"only one end packet":       {five[6:], "5"},
		"two presses, first ends 1": {append(press(5, 1000)[:5], again[1:]...), "55"},
		"late packet of the first":  {append(append(press(1, 1000), press(2, 10000)...), press(1, 1000)[2]), "12"},
		"all keys":                  {append(append(press(10, 1), press(11, 9000)...), press(15, 20000)...), "*#D"},
		"flash hook is no digit":    {press(16, 1000), ""},
		"too short":                 {[]rtp.Packet{{Payload: []byte{1, 2, 3}}}, ""},
		"across the wrap":           {append(press(3, math.MaxUint32-100), press(4, 9000)...), "34"},
		"held for long": {[]rtp.Packet{
			{Header: rtp.Header{Timestamp: 0, Marker: true}, Payload: telephoneEvent{event: 9, duration: 0xffff}.append(nil)},
			{Header: rtp.Header{Timestamp: 0xffff}, Payload: telephoneEvent{event: 9, duration: 960}.append(nil)},
			{Header: rtp.Header{Timestamp: 0xffff}, Payload: telephoneEvent{event: 9, duration: 1920, end: true}.append(nil)},
		}, "9"},
	} {
		var d digitDetector
		got := ""
		for _, p := range c.packets {
			if digit, ok := d.push(p.Timestamp, p.Marker, p.Payload); ok {
				got += digit
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestToneSenderIsHeardByItsDetector(t *testing.T) {
	const all = "0123456789*#ABCD1188"
	codes, err := checkDigits(strings.ToLower(all))
	must(t, err)
	s := toneSender{queue: codes}
	var d digitDetector
	got, ends, marks := "", 0, 0
	now := uint32(math.MaxUint32 - 5000)
	for steps := 0; s.busy(); steps++ {
		if steps > 1000 {
			t.Fatal("no end")
		}
		e, ts, marker, ok := s.next(now, 960)
		now += 960
		if !ok {
			continue
		}
		if e.end {
			ends++
			if e.duration != 4800 {
				t.Errorf("ended after %d", e.duration)
			}
		}
		if marker {
			marks++
		}
		if digit, ok := d.push(ts, marker, e.append(nil)); ok {
			got += digit
		}
	}
	if got != all || ends != 3*len(all) || marks != len(all) {
		t.Errorf("%q, %d ends, %d marks", got, ends, marks)
	}
	for _, bad := range []string{"", "12x", "é"} {
		if _, err := checkDigits(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestSequencerLeavesNoHoles(t *testing.T) {
	now := time.Now()
	var s sequencer
	n, ts := s.sound(65534, 100, now)
	if n != 65534 || ts != 100 {
		t.Error(n, ts)
	}
	if e := s.event(now); e != 65535 {
		t.Error(e)
	}
	s.displaced(65535, 1060, now) // its number went to the event
	if e := s.event(now); e != 0 {
		t.Error(e)
	}
	if n, ts := s.sound(0, 2020, now); n != 1 || ts != 2020 {
		t.Error(n, ts)
	}
	if n, _ := s.sound(3, 4900, now); n != 4 { // lost before us: stays a hole
		t.Error(n)
	}
	if c := s.clock(now.Add(40 * time.Millisecond)); c != 4900+1920 {
		t.Error(c)
	}

	var fresh sequencer // digits before any sound
	first := fresh.event(now)
	at := fresh.clock(now)
	n, ts = fresh.sound(7, 50, now.Add(100*time.Millisecond))
	if n != first+1 || int32(ts-at) < 0 {
		t.Error(first, n, at, ts)
	}
	if m, u := fresh.sound(8, 1010, now.Add(120*time.Millisecond)); m != n+1 || u != ts+960 {
		t.Error(m, u)
	}
}

func TestQueueDropsTheOldest(t *testing.T) {
	q := newPacketQueue()
	for i := range uint16(sendQueue + 5) {
		q.push(&rtp.Packet{Header: rtp.Header{SequenceNumber: i}, Payload: []byte{byte(i)}})
	}
	var s packetSlot
	for i := range uint16(sendQueue) {
		if !q.pop(&s) || s.sequence != i+5 || s.size != 1 || s.payload[0] != byte(i+5) {
			t.Fatalf("%d: %d", i, s.sequence)
		}
	}
	if q.pop(&s) || q.drops() != 5 {
		t.Error(q.drops())
	}
}

func TestArrivals(t *testing.T) {
	opus := webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{ClockRate: 48000}}
	var a arrivals
	at := time.Now()
	push := func(ssrc uint32, seq uint16, delay time.Duration) {
		a.push(&rtp.Packet{Header: rtp.Header{SSRC: ssrc, SequenceNumber: seq, Timestamp: uint32(seq) * 960}, Payload: []byte{1, 2}}, opus, true,
			at.Add(time.Duration(seq)*20*time.Millisecond+delay))
	}
	push(1, 65530, 0)
	if _, _, _, jitter, _ := a.counts(); jitter != nil {
		t.Error("jitter is known from one packet")
	}
	push(1, 65531, 0)
	push(1, 65533, 0) // 65532 is late
	if _, _, lost, jitter, _ := a.counts(); lost != 1 || *jitter != 0 {
		t.Error(lost, *jitter)
	}
	push(1, 65532, 0)
	if n, b, lost, _, _ := a.counts(); n != 4 || b != 8 || lost != 0 {
		t.Error(n, b, lost)
	}
	a.push(&rtp.Packet{Header: rtp.Header{SSRC: 1, SequenceNumber: 1}}, opus, false, at) // across the wrap: 65534, 65535 and 0 are lost
	if _, _, lost, _, _ := a.counts(); lost != 3 {
		t.Error(lost)
	}
	push(2, 100, 0) // another stream: what was lost stays lost, and nothing between the two was
	push(2, 101, 16*time.Millisecond)
	if _, _, lost, jitter, _ := a.counts(); lost != 3 || math.Abs(*jitter-0.001) > 1e-6 { // 16 ms / 16
		t.Error(lost, *jitter)
	}
	push(2, 30000, 0) // a sender that began anew
	if _, _, lost, _, _ := a.counts(); lost != 3 {
		t.Error(lost)
	}
}

func FuzzDigitDetector(f *testing.F) {
	for _, p := range press(5, 1000) {
		f.Add(p.Timestamp, p.Marker, p.Payload)
	}
	f.Fuzz(func(t *testing.T, ts uint32, marker bool, payload []byte) {
		d := digitDetector{seen: true, event: 5, timestamp: 1000}
		if digit, ok := d.push(ts, marker, payload); ok && (len(digit) != 1 || !strings.Contains(digits, digit)) {
			t.Errorf("%q", digit)
		}
	})
}
