package media

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"sidetone/audio"
)

const audioClock = audio.SampleRate // of our RTP timestamps, in Hz

// outTrack is our one stream as pion knows it: sound, and telephone events on the same SSRC under their own payload type.
// Its timestamps come in at 48 kHz and leave in the clock of the codec that was agreed. What really left is counted.
type outTrack struct {
	packets, bytes, headers atomic.Uint64 // sent; bytes of payload, and of RTP headers
	waited                  atomic.Int64  // nanoseconds that packets of sound waited here

	mu     sync.Mutex
	wanted string                  // the MIME type our answer named; empty: the far side's first counts
	stream webrtc.TrackLocalWriter // nil until negotiated
	ssrc   uint32
	codec  webrtc.RTPCodecParameters
	events webrtc.RTPCodecParameters // telephone-event; zero when the far side takes none
	clock  wireClock
}

// ID implements webrtc.TrackLocal.
func (t *outTrack) ID() string { return "audio" }

// RID implements webrtc.TrackLocal.
func (t *outTrack) RID() string { return "" }

// StreamID implements webrtc.TrackLocal.
func (t *outTrack) StreamID() string { return "sidetone" }

// Kind implements webrtc.TrackLocal.
func (t *outTrack) Kind() webrtc.RTPCodecType { return webrtc.RTPCodecTypeAudio }

// only makes c the one codec to send.
func (t *outTrack) only(c webrtc.RTPCodecParameters) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wanted = c.MimeType
}

// Bind implements webrtc.TrackLocal: pion calls it when codecs are agreed, with the far side's in the far side's order.
func (t *outTrack) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var codec, events webrtc.RTPCodecParameters
	for _, p := range c.CodecParameters() {
		if codec.MimeType == "" && nameOf(p.MimeType) != "" && (t.wanted == "" || strings.EqualFold(p.MimeType, t.wanted)) {
			codec = p
		}
	}
	if codec.MimeType == "" {
		return codec, ErrNoCodec
	}
	for _, p := range c.CodecParameters() {
		// One stream has one clock: events in the clock of the sound are better than others (RFC 4733, section 2.1).
		if isTelephoneEvent(p) && (events.PayloadType == 0 || p.ClockRate == codec.ClockRate) {
			events = p
		}
	}
	t.stream, t.ssrc, t.codec, t.events = c.WriteStream(), uint32(c.SSRC()), codec, events
	t.clock.ratio = clockRatio(codec)
	return codec, nil
}

// Unbind implements webrtc.TrackLocal.
func (t *outTrack) Unbind(webrtc.TrackLocalContext) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stream = nil
	return nil
}

func (t *outTrack) bound() (ssrc uint32, codec, events webrtc.RTPCodecParameters, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ssrc, t.codec, t.events, t.stream != nil
}

// writeSound sends one packet of sound, whose payload type and SSRC it fills in.
func (t *outTrack) writeSound(h rtp.Header, payload []byte) {
	t.mu.Lock()
	stream := t.stream
	h.SSRC, h.PayloadType = t.ssrc, uint8(t.codec.PayloadType)
	h.Timestamp = t.clock.wire(h.Timestamp)
	t.mu.Unlock()
	t.write(stream, h, payload)
}

// writeEvent sends one telephone event.
func (t *outTrack) writeEvent(h rtp.Header, e telephoneEvent) {
	t.mu.Lock()
	stream := t.stream
	h.SSRC, h.PayloadType = t.ssrc, uint8(t.events.PayloadType)
	h.Timestamp = t.clock.wire(h.Timestamp)
	t.mu.Unlock()
	t.write(stream, h, e.append(nil))
}

// write hands a packet to pion. What did not leave is not counted, and the connection's state tells the rest.
func (t *outTrack) write(stream webrtc.TrackLocalWriter, h rtp.Header, payload []byte) {
	if stream == nil {
		return
	}
	if n, err := stream.WriteRTP(&h, payload); err == nil && n > 0 { // 0: SRTP is not up yet, and pion dropped it
		t.packets.Add(1)
		t.bytes.Add(uint64(len(payload)))
		t.headers.Add(uint64(h.MarshalSize()))
	}
}

// goOn adds what was counted in another session of the same call.
func (t *outTrack) goOn(before *outTrack) {
	t.packets.Add(before.packets.Load())
	t.bytes.Add(before.bytes.Load())
	t.headers.Add(before.headers.Load())
	t.waited.Add(before.waited.Load())
}

// wireClock turns timestamps of 48 kHz into those of a slower clock, across all wraps.
type wireClock struct {
	ratio   uint32 // 1 or 0: nothing to do
	started bool
	last    uint32
	ticks   int64 // of 48 kHz, since some time before the first
}

func (c *wireClock) wire(timestamp uint32) uint32 {
	if c.ratio <= 1 {
		return timestamp
	}
	if !c.started {
		c.started, c.last, c.ticks = true, timestamp, int64(timestamp)+1<<32 // never below 0
	}
	c.ticks += int64(int32(timestamp - c.last))
	c.last = timestamp
	return uint32(c.ticks / int64(c.ratio))
}

const (
	sendQueue  = 16   // packets: 320 ms; what is older is of no use to a listener
	maxPayload = 1200 // bytes; 20 ms of Opus take at most 1275, at rates far above ours
)

// packetQueue is a ring of copies. When it is full the oldest packet goes, so a push never waits.
type packetQueue struct {
	mu      sync.Mutex
	slots   [sendQueue]packetSlot
	head, n int
	dropped uint64
	ready   chan struct{} // holds a token while there is something to pop
}

type packetSlot struct {
	at        time.Time // when it came
	marker    bool
	sequence  uint16
	timestamp uint32
	size      int
	payload   [maxPayload]byte
}

func newPacketQueue() *packetQueue { return &packetQueue{ready: make(chan struct{}, 1)} }

func (q *packetQueue) push(p *rtp.Packet) {
	q.mu.Lock()
	if q.n == sendQueue {
		q.head = (q.head + 1) % sendQueue
		q.n--
		q.dropped++
	}
	s := &q.slots[(q.head+q.n)%sendQueue]
	q.n++
	s.at, s.marker, s.sequence, s.timestamp = time.Now(), p.Marker, p.SequenceNumber, p.Timestamp
	s.size = copy(s.payload[:], p.Payload)
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// drops counts the packets that nobody took in time.
func (q *packetQueue) drops() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// pop copies the oldest packet to out.
func (q *packetQueue) pop(out *packetSlot) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n == 0 {
		return false
	}
	s := &q.slots[q.head]
	out.at, out.marker, out.sequence, out.timestamp, out.size = s.at, s.marker, s.sequence, s.timestamp, s.size
	copy(out.payload[:s.size], s.payload[:s.size])
	q.head = (q.head + 1) % sendQueue
	q.n--
	return true
}

// sequencer lets sound and telephone events share one run of sequence numbers and one clock: an event takes a number of
// its own, and sound that a tone displaced gives its number back. Gaps in what the sending pipeline gives stay gaps.
type sequencer struct {
	started, heard bool   // anything was sent; sound was given
	last           uint16 // number sent
	offset         uint16 // of numbers sent to numbers given
	shift          uint32 // of timestamps sent to timestamps given
	timestamp      uint32 // of the last sound, as sent
	at             time.Time
}

// sound maps the number and time of a packet of sound to those it is sent with.
func (s *sequencer) sound(sequence uint16, timestamp uint32, now time.Time) (uint16, uint32) {
	s.meet(sequence, timestamp, now)
	s.last = sequence + s.offset
	s.timestamp, s.at = timestamp+s.shift, now
	return s.last, s.timestamp
}

// displaced takes a packet of sound that is not sent.
func (s *sequencer) displaced(sequence uint16, timestamp uint32, now time.Time) {
	s.meet(sequence, timestamp, now)
	s.timestamp, s.at = timestamp+s.shift, now
	s.offset--
}

// meet joins the first sound to events that were sent before it.
func (s *sequencer) meet(sequence uint16, timestamp uint32, now time.Time) {
	if s.started && !s.heard {
		s.offset, s.shift = s.last+1-sequence, s.clock(now)-timestamp
	}
	s.started, s.heard = true, true
}

func (s *sequencer) event(now time.Time) uint16 {
	s.begin(now)
	s.last++
	s.offset++
	return s.last
}

// begin starts a stream that has no sound yet, at random (RFC 3550, section 5.1).
func (s *sequencer) begin(now time.Time) {
	if !s.started {
		s.started, s.at = true, now
		s.last, s.timestamp = uint16(rand.Uint32()), rand.Uint32()
	}
}

// clock is the RTP timestamp of now, after the last sound.
func (s *sequencer) clock(now time.Time) uint32 {
	s.begin(now)
	return s.timestamp + uint32(max(now.Sub(s.at), audio.FrameDuration)*audioClock/time.Second)
}

// sender owns everything that leaves: one goroutine takes sound from the queue and digits from their channel. Only it
// ever waits for pion, so a network that swallows nothing holds up nobody else.
type sender struct {
	track  *outTrack
	queue  *packetQueue
	digits chan []byte
	first  func(time.Time) // called once, when the first sound has left

	slot  packetSlot
	out   rtp.Header
	seq   sequencer
	tones toneSender
	told  bool
}

func newSender(t *outTrack, first func(time.Time)) *sender {
	return &sender{track: t, queue: newPacketQueue(), digits: make(chan []byte, 8), first: first}
}

func (s *sender) run(done <-chan struct{}) {
	tick := time.NewTicker(toneTick)
	tick.Stop()
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-s.queue.ready:
			for s.queue.pop(&s.slot) {
				s.sound(time.Now())
				select {
				case <-done:
					return
				default:
				}
			}
		case codes := <-s.digits: // never more than maxTones wait, so a flood of digits is cut
			if !s.tones.busy() {
				tick.Reset(toneTick)
			}
			s.tones.queue = append(s.tones.queue, codes[:min(len(codes), maxTones-len(s.tones.queue))]...)
		case now := <-tick.C:
			s.tone(now)
			if !s.tones.busy() {
				tick.Stop()
			}
		}
	}
}

func (s *sender) sound(now time.Time) {
	p := &s.slot
	if s.tones.busy() || s.toneCovers(p.timestamp+s.seq.shift) {
		s.seq.displaced(p.sequence, p.timestamp, now)
		return
	}
	s.out = rtp.Header{Version: 2, Marker: p.marker}
	s.out.SequenceNumber, s.out.Timestamp = s.seq.sound(p.sequence, p.timestamp, now)
	before := s.track.packets.Load()
	s.track.writeSound(s.out, p.payload[:p.size])
	if s.track.packets.Load() == before {
		return
	}
	s.track.waited.Add(int64(time.Since(p.at)))
	if !s.told {
		s.told = true
		s.first(time.Now())
	}
}

// toneCovers says whether the last tone reached past timestamp: time in a stream never runs backwards.
func (s *sender) toneCovers(timestamp uint32) bool {
	return s.tones.start != 0 && int32(timestamp-s.tones.tail()) < 0 && int32(timestamp-s.tones.start) >= 0
}

func (s *sender) tone(now time.Time) {
	_, _, events, _ := s.track.bound()
	perTick := uint16(toneTick * time.Duration(events.ClockRate) / time.Second)
	e, timestamp, marker, ok := s.tones.next(s.seq.clock(now), perTick)
	if !ok {
		return
	}
	h := rtp.Header{Version: 2, Marker: marker, Timestamp: timestamp, SequenceNumber: s.seq.event(now)}
	s.track.writeEvent(h, e)
}
