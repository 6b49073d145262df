// Package jitter is the playout buffer: packets go in when the network brings them, and come out, in order and in time,
// when the playback clock asks. It is pure: time is an argument, so that the same packets and pulls give the same
// decisions on every machine. It uses integers only, starts no goroutine, takes no lock and, once started, allocates nothing.
package jitter

import (
	"time"

	"github.com/pion/rtp"
)

const (
	clockRate = 48000 // of RTP timestamps (RFC 7587, section 4.1)

	// slots is how many packets are kept: 2.5 s of 20 ms, or of DTX much more. A power of two.
	slots = 128
	// maxPayload bounds memory; Opus packets of one frame end at 1275 bytes (RFC 6716, section 3.2).
	maxPayload = 4096
	// usualPayload is what a slot has room for from the start.
	usualPayload = 512

	// maxDropout and maxMisorder are how far a sequence number may jump ahead or fall back before it is taken for
	// another stream (RFC 3550, appendix A.1).
	maxDropout, maxMisorder = 3000, 100
	// maxSkew is the same for timestamps: how far a packet may be from when its timestamp says.
	maxSkew = 5 * time.Second

	// maxHeld is how long playout waits for packets of a stalled network; what comes later than that is skipped over.
	maxHeld = 300 * time.Millisecond
	// maxStarved is how long after the last packet the stream counts as stopped, to start afresh with the next one.
	maxStarved = 2 * time.Second
	// maxStale is how late a packet may be at the start of playout; older ones are left out.
	maxStale = 200 * time.Millisecond

	unit = 20 * time.Millisecond // of concealment
)

// Config bounds the delay that the buffer adds to that of the fastest packet. Zero values mean the defaults.
type Config struct {
	Start time.Duration // the least until enough is known; 20 ms
	Min   time.Duration // 0
	Max   time.Duration // 400 ms
}

// Kind is what is to be played.
type Kind uint8

// Kinds of decisions.
const (
	Wait    Kind = iota // nothing: no stream, or it has just begun
	Play                // Payload
	Lost                // a frame did not come, or not yet: recover it from Payload, which follows it, else conceal
	Silence             // the sender sent nothing on purpose (DTX)
)

func (k Kind) String() string { return [...]string{"wait", "play", "lost", "silence"}[k] }

// Decision is the answer to a pull.
type Decision struct {
	Kind Kind
	// Payload of the packet to play. With Lost, of the packet right after the lost frame if it is there, else nil.
	// It is good until the next call of the buffer.
	Payload []byte
	// Samples is how long the decision is, at 48 kHz.
	Samples int
	// Stretch is by how many samples the sound of Payload may be made longer at most, or, when it is negative, shorter.
	// What was done of it is to be told to Stretched.
	Stretch int
	// Hurry reports that a stretch matters more than that nobody hears it.
	Hurry bool
	// Seq is the sequence number of Payload's packet.
	Seq uint16
	// Waited is how long Payload's packet has been in the buffer, and Delay how much later it is played than it would be
	// without a buffer, had it come as the fastest does.
	Waited, Delay time.Duration
	// Skipped reports that packets before this one were thrown away because the delay was out of bounds.
	Skipped bool
}

// Info is what a packet's codec says of it.
type Info struct {
	Samples int  // that it decodes to; 0 for a packet that holds no sound
	FEC     bool // it tells of the packet before it
}

// Stats are the buffer's own counters.
type Stats struct {
	Discarded  uint64 // packets that came too late, or that were skipped; duplicates are not counted
	Duplicates uint64
	Restarts   uint64 // new streams: another SSRC, or a jump of sequence numbers or timestamps
}

// slot holds a packet.
type slot struct {
	seq     int64
	state   slotState
	ts      int64
	samples int
	fec     bool
	arrival int64
	payload []byte
}

type slotState uint8

const (
	empty slotState = iota
	waiting
	played // or discarded after it was counted
)

// Buffer is a playout buffer of one stream. It is not safe for concurrent use. The zero value is not usable; see New.
type Buffer struct {
	cfg   Config
	stats Stats
	slots [slots]slot

	// stream
	known   bool // a packet has come
	ssrc    uint32
	highest int64 // sequence number, unwrapped
	lastTS  int64 // timestamp of the highest, unwrapped
	jumpSeq uint16
	jumping bool // the last packet was out of bounds; jumpSeq right after it makes a new stream

	// playout
	started bool
	nextSeq int64 // all before are done with
	next    int64 // timestamp before which nothing is played any more
	held    int64 // samples played out of nothing while the network is stalled; the clock is at next+held
	starved int64 // samples since the last packet was played
	paused  bool  // the last packet said that the sender falls silent (DTX)
	calm    int64 // samples played since the delay was last changed in a way that may be heard

	estimate estimator
	delays   delays
}

// New makes an empty buffer.
func New(c Config) *Buffer {
	if c.Start == 0 {
		c.Start = 20 * time.Millisecond
	}
	if c.Max == 0 {
		c.Max = 400 * time.Millisecond
	}
	b := &Buffer{cfg: c}
	for i := range b.slots {
		b.slots[i].payload = make([]byte, 0, usualPayload)
	}
	b.estimate.reset(c)
	return b
}

// Stats gives the counters.
func (b *Buffer) Stats() Stats { return b.stats }

// Target is the delay that the buffer aims at now, over that of the fastest packet.
func (b *Buffer) Target() time.Duration { return time.Duration(b.estimate.target) }

// Minimum is the delay that the network alone would need now.
func (b *Buffer) Minimum() time.Duration { return time.Duration(b.estimate.needed) }

// Push takes a packet that came at arrival, a time since any fixed moment. The packet is copied. One without a payload
// only tells that its number is not missing: padding, or a telephone event.
func (b *Buffer) Push(p *rtp.Packet, info Info, arrival time.Duration) {
	now, samples := clampTime(arrival), info.Samples
	if len(p.Payload) > maxPayload || samples < 0 || samples > clockRate/2 {
		return
	}
	if len(p.Payload) == 0 {
		samples = 0
	}
	if !b.known || p.SSRC != b.ssrc {
		b.restart(p)
	}
	step := int64(int16(p.SequenceNumber - uint16(b.highest)))
	seq := b.highest + step
	ts := b.lastTS + int64(int32(p.Timestamp-uint32(b.lastTS)))
	if step > maxDropout || step < -maxMisorder || (samples > 0 && b.estimate.outOfBounds(now-nanos(ts))) {
		// Two packets in a row make a new stream, one alone is noise.
		if !b.jumping || p.SequenceNumber != b.jumpSeq {
			b.jumping, b.jumpSeq = true, p.SequenceNumber+1
			b.stats.Discarded++
			return
		}
		b.restart(p)
		seq, ts = b.highest, b.lastTS
	}
	b.jumping = false
	if seq > b.highest {
		b.estimate.count(seq - b.highest)
		b.highest, b.lastTS = seq, ts
	}

	s := &b.slots[uint64(seq)%slots]
	if s.state != empty && s.seq == seq {
		b.stats.Duplicates++
		return
	}
	if seq < b.highest {
		b.estimate.count(-1)
	}
	if samples > 0 {
		b.estimate.add(now-nanos(ts), now, info.FEC)
	}
	if b.started && (seq < b.nextSeq || (samples > 0 && ts < b.next)) {
		b.stats.Discarded++
		if s.state != waiting && seq > s.seq {
			*s = slot{seq: seq, state: played, payload: s.payload[:0]}
		}
		return
	}
	if s.state == waiting {
		if seq < s.seq { // older than all that there is room for
			b.stats.Discarded++
			return
		}
		b.flush() // nobody pulls
	}
	*s = slot{seq: seq, state: waiting, ts: ts, samples: samples, fec: info.FEC, arrival: now, payload: append(s.payload[:0], p.Payload...)}
}

// restart forgets the stream before and begins another with p.
func (b *Buffer) restart(p *rtp.Packet) {
	if b.known {
		b.stats.Restarts++
	}
	b.flush()
	for i := range b.slots {
		b.slots[i].state = empty
	}
	b.known, b.ssrc, b.jumping = true, p.SSRC, false
	// Far from zero, so that a packet from before the first has a place.
	b.highest = 1<<16 + int64(p.SequenceNumber)
	b.lastTS = 1<<32 + int64(p.Timestamp)
	b.estimate.reset(b.cfg)
}

// flush throws away what waits, and stops playout until the next packet.
func (b *Buffer) flush() {
	for i := range b.slots {
		if s := &b.slots[i]; s.state == waiting {
			b.discard(s)
		}
	}
	b.started = false
}

// discard throws away a packet that waits.
func (b *Buffer) discard(s *slot) {
	s.state = played
	if s.samples > 0 {
		b.stats.Discarded++
	}
}

// oldest finds the first packet with sound that waits, and how many numbers before it are missing.
func (b *Buffer) oldest() (s *slot, missing int) {
	from := max(b.nextSeq, b.highest-slots+1)
	if !b.started {
		from = b.highest - slots + 1
	}
	for seq := from; seq <= b.highest; seq++ {
		s := &b.slots[uint64(seq)%slots]
		switch {
		case s.seq != seq || s.state != waiting:
			missing++
		case s.samples > 0:
			return s, missing
		}
	}
	return nil, missing
}

// absent is the timestamp of the first packet to be played that is not there.
func (b *Buffer) absent() int64 {
	ts := b.next
	for seq := b.nextSeq; seq <= b.highest; seq++ {
		s := &b.slots[uint64(seq)%slots]
		if s.seq != seq || s.state != waiting {
			break
		}
		ts = max(ts, s.ts+int64(s.samples))
	}
	return ts
}

// clampTime keeps times where their differences do not overflow.
func clampTime(d time.Duration) int64 { return min(max(int64(d), -1<<60), 1<<60) }

// nanos turns samples into nanoseconds.
func nanos(samples int64) int64 { return samples * 62500 / 3 }

// samplesOf turns a time into samples.
func samplesOf(d time.Duration) int64 { return int64(d) * 3 / 62500 }
