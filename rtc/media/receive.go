package media

import (
	"math"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// arrivals counts what came in, over all streams of a session (RFC 3550, appendix A). Counted here because pion's
// recorder restarts with each SSRC, and measures the change of the delay's change where RFC 3550 wants the delay's.
type arrivals struct {
	mu             sync.Mutex
	packets, bytes uint64 // bytes of payload
	lost           int64  // of streams that ended
	stream         streamCount
	jitter         float64 // in seconds
	jitterKnown    bool
	codec          webrtc.RTPCodecParameters
	before         time.Time // when sound last came by the session before this one; zero without one
}

type streamCount struct {
	ssrc          uint32
	started       bool
	base, highest int64 // extended sequence numbers
	received      int64
	timestamp     uint32 // of the last packet of sound
	at            time.Time
}

// maxDropout is the largest jump of sequence numbers that is loss; a larger one is a sender that started anew
// (RFC 3550, appendix A.1).
const maxDropout = 3000

func (a *arrivals) push(p *rtp.Packet, codec webrtc.RTPCodecParameters, sound bool, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &a.stream
	delta := int16(p.SequenceNumber - uint16(s.highest))
	if !s.started || s.ssrc != p.SSRC || delta > maxDropout || delta < -maxDropout {
		a.lost += s.lost()
		*s = streamCount{ssrc: p.SSRC, started: true, base: int64(p.SequenceNumber), highest: int64(p.SequenceNumber)}
	} else if delta > 0 {
		s.highest += int64(delta)
	}
	s.received++
	a.packets++
	a.bytes += uint64(len(p.Payload))
	if !sound {
		return // an event's timestamp stands still
	}
	a.codec = codec
	if clock := float64(codec.ClockRate); !s.at.IsZero() && clock > 0 {
		sent := float64(int32(p.Timestamp-s.timestamp)) / clock
		d := math.Abs(now.Sub(s.at).Seconds() - sent)
		a.jitter += (d - a.jitter) / 16
		a.jitterKnown = true
	}
	s.timestamp, s.at = p.Timestamp, now
}

// goOn adds what was counted in another session of the same call.
func (a *arrivals) goOn(before *arrivals) {
	packets, bytes, lost, _, _ := before.counts()
	last := before.last()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.before = last
	a.packets += packets
	a.bytes += bytes
	a.lost += lost
}

// last is when sound last came, by this session or the ones before it; zero when it never did.
func (a *arrivals) last() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stream.at.IsZero() {
		return a.before
	}
	return a.stream.at
}

// gap is how long nothing came, at the first packet of a session that took another's place.
func (a *arrivals) gap(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.before.IsZero() {
		return 0
	}
	return now.Sub(a.before)
}

func (s *streamCount) lost() int64 {
	if !s.started {
		return 0
	}
	return s.highest - s.base + 1 - s.received
}

// counts gives the counters; jitter is nil while unknown.
func (a *arrivals) counts() (packets, bytes uint64, lost int64, jitter *float64, codec webrtc.RTPCodecParameters) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.jitterKnown {
		j := a.jitter
		jitter = &j
	}
	return a.packets, a.bytes, a.lost + a.stream.lost(), jitter, a.codec
}

// ssrc of the stream that came last; 0 before one did.
func (a *arrivals) ssrc() uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stream.ssrc
}

const receiveMTU = 1500

// receive reads one of the far side's streams to its end.
func (s *Session) receive(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
	known := map[uint8]webrtc.RTPCodecParameters{}
	for _, c := range r.GetParameters().Codecs { // what was agreed, under the far side's payload types
		known[uint8(c.PayloadType)] = c
	}
	ratio := uint32(1) // of our clock to that of the sound that came last
	var (
		buf = make([]byte, receiveMTU)
		p   rtp.Packet
		det digitDetector
	)
	for {
		n, _, err := t.Read(buf)
		now := time.Now()
		if err != nil {
			if n > 0 { // a payload type that was never agreed: not for us, and no end
				continue
			}
			return
		}
		p = rtp.Packet{}
		if p.Unmarshal(buf[:n]) != nil {
			continue
		}
		codec, ok := known[p.PayloadType]
		if !ok {
			continue
		}
		if len(p.Payload) == 0 { // padding: it takes a sequence number and says nothing
			s.place(p, ratio, now)
			continue
		}
		if isTelephoneEvent(codec) {
			s.in.push(&p, codec, false, now)
			s.place(p, ratio, now)
			if digit, ok := det.push(p.Timestamp, p.Marker, p.Payload); ok {
				s.events.put(Event{Kind: Digit, Time: now, Digit: digit})
			}
			continue
		}
		s.in.push(&p, codec, true, now)
		ratio = clockRatio(codec)
		if s.held.Load() {
			s.place(p, ratio, now)
			continue
		}
		if s.standby.Load() {
			continue
		}
		s.heard.Do(func() { s.events.put(Event{Kind: FirstPacketReceived, Time: now, Gap: s.in.gap(now)}) })
		s.codecs.receiving(codec)
		if s.cfg.Receiver != nil {
			p.Timestamp *= ratio // a wrap of the slower clock is one of ours
			s.cfg.Receiver.PushRTP(&p, now)
		}
	}
}

// place tells the receiver that a packet's sequence number was not for sound, so that it is not missed.
func (s *Session) place(p rtp.Packet, ratio uint32, now time.Time) {
	if s.cfg.Receiver != nil && !s.standby.Load() {
		p.Payload = nil
		p.Timestamp *= ratio
		s.cfg.Receiver.PushRTP(&p, now)
	}
}

// Hold lets no sound pass either way while on is true; the connection is kept alive, and digits pass.
func (s *Session) Hold(on bool) { s.held.Store(on) }

// Held tells whether the session is on hold.
func (s *Session) Held() bool { return s.held.Load() }

// drain reads RTCP for the interceptors' sake, until the stream ends.
func drain(read func([]byte) error) {
	buf := make([]byte, receiveMTU)
	for read(buf) == nil {
	}
}
