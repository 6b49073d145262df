package playout

import (
	"slices"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"

	"github.com/pion/rtp"
)

// sequence numbers and timestamps begin where both wrap within the first minute, and are the same in every run.
const (
	firstSequence  = 1<<16 - 500
	firstTimestamp = 1<<32 - 700*audio.FrameSamples
	// reportEvery is between receiver reports: RTCP's minimum (RFC 3550, section 6.2).
	reportEvery = 5 * time.Second
)

// sent is a frame on its way.
type sent struct {
	rtp.Packet
	number int  // of the packets sent, from 0
	unsent bool // the encoder had nothing to say (DTX)
}

// network carries packets as a schedule says; it is the audio.PacketWriter of the sender. All times are of the
// receiver's clock, since the first packet was sent.
type network struct {
	rows     audiotest.Schedule // by time sent, from 0
	arrivals []audiotest.Packet // Seq is a row's number here
	fastest  time.Duration

	packets []sent // by row
	numbers []int  // rows of the packets sent, by number

	// what the far side's receiver reports are made of
	came, highest         int
	lastCame, lastHighest int // at the report before
	nextReport            time.Duration
	reports               []report
}

// report is a receiver report on its way back.
type report struct {
	at           time.Duration
	fractionLost uint8
	highest      uint32
}

// newNetwork makes the network of a schedule whose sender's clock is fast by skew parts in a million.
func newNetwork(s audiotest.Schedule, skew float64) *network {
	n := &network{rows: slices.Clone(s), nextReport: reportEvery, highest: -1, lastHighest: -1}
	slices.SortStableFunc(n.rows, func(a, b audiotest.Row) int { return int(max(min(a.Sent-b.Sent, 1), -1)) })
	first := n.rows[0].Sent
	n.fastest = -1
	for i := range n.rows {
		r := &n.rows[i]
		r.Seq = i
		r.Sent -= first
		if skew != 0 {
			r.Sent = time.Duration(float64(r.Sent) / (1 + skew/1e6))
		}
		if r.Delay >= 0 && (n.fastest < 0 || r.Delay < n.fastest) {
			n.fastest = r.Delay
		}
	}
	n.arrivals = n.rows.Arrivals()
	return n
}

// WriteRTP implements audio.PacketWriter: it puts the packet of the row that is being sent on its way.
func (n *network) WriteRTP(p *rtp.Packet) bool {
	s := &n.packets[len(n.packets)-1]
	s.Header = p.Header
	s.Payload = slices.Clone(p.Payload)
	s.unsent = false
	return true
}

// send lets push send the row after the last one.
func (n *network) send(push func()) {
	row := len(n.packets)
	n.packets = append(n.packets, sent{unsent: true})
	push()
	if s := &n.packets[row]; !s.unsent {
		s.SSRC, s.PayloadType = 1, 111
		s.number = len(n.numbers)
		s.SequenceNumber = uint16((firstSequence + s.number) & 0xffff)
		s.Timestamp = uint32((firstTimestamp + int64(row)*audio.FrameSamples) & 0xffffffff)
		n.numbers = append(n.numbers, row)
	}
}

// arrive takes the next packet that comes to the far side; nil when it is none that was sent.
func (n *network) arrive() *sent {
	row := n.arrivals[0].Seq
	n.arrivals = n.arrivals[1:]
	if row >= len(n.packets) || n.packets[row].unsent {
		return nil
	}
	p := &n.packets[row]
	n.came++
	n.highest = max(n.highest, p.number)
	return p
}

// rowOf is the row of a packet that came; its number is the one nearest to the highest that did.
func (n *network) rowOf(sequence uint16) int {
	number := n.highest + int(int16(sequence-uint16((firstSequence+n.highest)&0xffff)))
	if number < 0 || number >= len(n.numbers) {
		return -1
	}
	return n.numbers[number]
}

// report sends a receiver report, which takes as long as the packet that goes the other way at the time, and is lost when
// that is.
func (n *network) report() {
	at := n.nextReport
	n.nextReport += reportEvery
	expected, came := n.highest-n.lastHighest, n.came-n.lastCame
	n.lastHighest, n.lastCame = n.highest, n.came
	lost := uint8(0)
	if expected > came {
		lost = uint8(min((expected-came)*256/expected, 255))
	}
	row := min(len(n.packets), len(n.rows)) - 1
	if delay := n.rows[row].Delay; delay >= 0 {
		n.reports = append(n.reports, report{at + delay, lost, uint32(firstSequence + n.highest)})
	}
}
