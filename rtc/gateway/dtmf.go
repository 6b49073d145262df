package gateway

import "strings"

// keypad has the digits in the order of their events (RFC 4733, section 3.2).
const keypad = "0123456789*#ABCD"

// eventEnd is the E bit of an event's second byte (RFC 4733, section 2.3).
const eventEnd = 0x80

func isDigit(r rune) bool { return strings.ContainsRune(keypad, r) }

func eventOf(digit string) (byte, bool) {
	i := strings.Index(keypad, digit)
	return byte(i), i >= 0 && len(digit) == 1
}

// digitDetector finds digits in a stream of events.
type digitDetector struct {
	seen  bool
	stamp uint32 // of the last event
}

// digit gives the digit that p begins; empty when p goes on with a known one, or is none.
func (d *digitDetector) digit(p *packet) string {
	if len(p.Payload) < 4 || int(p.Payload[0]) >= len(keypad) {
		return ""
	}
	// An event is known by its timestamp: whichever of its packets comes first tells of it.
	if d.seen && int32(p.Timestamp-d.stamp) <= 0 {
		return ""
	}
	d.seen, d.stamp = true, p.Timestamp
	return keypad[p.Payload[0] : p.Payload[0]+1]
}
