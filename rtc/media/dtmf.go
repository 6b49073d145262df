package media

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// digits in the order of their event codes (RFC 4733, section 3.2, table 3).
const digits = "0123456789*#ABCD"

// telephoneEvent is the payload of RFC 4733, section 2.3.
type telephoneEvent struct {
	event    byte
	end      bool
	volume   byte   // power below 0 dBm0, in dB
	duration uint16 // in units of the event's clock
}

const telephoneEventSize = 4

func (e telephoneEvent) append(b []byte) []byte {
	flags := e.volume & 0x3f
	if e.end {
		flags |= 0x80
	}
	return binary.BigEndian.AppendUint16(append(b, e.event, flags), e.duration)
}

func parseTelephoneEvent(b []byte) (telephoneEvent, bool) {
	if len(b) < telephoneEventSize {
		return telephoneEvent{}, false
	}
	return telephoneEvent{b[0], b[1]&0x80 != 0, b[1] & 0x3f, binary.BigEndian.Uint16(b[2:])}, true
}

// digitDetector finds presses in a stream of telephone events. Each press is told once, when it is first heard of: the
// packets of one event share their timestamp, so a lost start or a lost end does no harm.
type digitDetector struct {
	seen, ended bool
	event       byte
	timestamp   uint32
}

// push takes the next packet and returns a digit when a key went down.
func (d *digitDetector) push(timestamp uint32, marker bool, payload []byte) (string, bool) {
	e, ok := parseTelephoneEvent(payload)
	if !ok || int(e.event) >= len(digits) {
		return "", false
	}
	ahead := int32(timestamp - d.timestamp)
	switch {
	case d.seen && ahead < 0: // late packet of an event that is over
		return "", false
	case d.seen && ahead == 0:
		d.ended = d.ended || e.end
		return "", false
	case d.seen && !d.ended && !marker && e.event == d.event && ahead <= 1<<16:
		// A key held for longer than the duration field reaches goes on as a new segment (section 2.5.1.3).
		d.timestamp, d.ended = timestamp, e.end
		return "", false
	}
	*d = digitDetector{seen: true, ended: e.end, event: e.event, timestamp: timestamp}
	return digits[e.event : e.event+1], true
}

const (
	toneTick     = 20 * time.Millisecond // an update each packet time (section 2.5.1.2)
	toneTicks    = 5                     // 100 ms of tone, as browsers do
	toneRepeats  = 2                     // the last packet goes out three times (section 2.5.1.4)
	toneGapTicks = 2                     // and then a pause, so that the same digit twice is two presses
	toneVolume   = 10
	maxTones     = 64 // waiting digits
)

// toneSender turns digits into telephone events, one step each toneTick. It is pure: time comes in as RTP timestamps.
type toneSender struct {
	queue []byte // event codes
	step  int    // within the digit at the head of queue
	start uint32 // its timestamp
}

// checkDigits maps digits to event codes.
func checkDigits(s string) ([]byte, error) {
	if s == "" {
		return nil, fmt.Errorf("media: no digits to send")
	}
	var codes []byte
	for _, r := range strings.ToUpper(s) {
		i := strings.IndexRune(digits, r)
		if i < 0 {
			return nil, fmt.Errorf("media: %q is not a DTMF digit; it takes 0-9, *, # and A-D", r)
		}
		codes = append(codes, byte(i))
	}
	return codes, nil
}

func (t *toneSender) busy() bool { return len(t.queue) > 0 }

// next makes one step. now is the RTP timestamp of this moment in the audio clock; perTick is toneTick in the event's
// own clock. It returns the packet to send, if there is one in this step.
func (t *toneSender) next(now uint32, perTick uint16) (e telephoneEvent, timestamp uint32, marker, ok bool) {
	if !t.busy() {
		return e, 0, false, false
	}
	step := t.step
	t.step++
	if step == 0 {
		t.start = now
	}
	if step < toneTicks+toneRepeats {
		e = telephoneEvent{event: t.queue[0], volume: toneVolume}
		e.duration = perTick * uint16(min(step+1, toneTicks))
		e.end = step >= toneTicks-1
		return e, t.start, step == 0, true
	}
	if t.step == toneTicks+toneRepeats+toneGapTicks {
		t.queue, t.step = t.queue[1:], 0
	}
	return e, 0, false, false
}

// tail is the first timestamp in the audio clock that a running tone does not cover; sound before it stays unsent.
func (t *toneSender) tail() uint32 {
	return t.start + toneTicks*uint32(toneTick*audioClock/time.Second)
}
