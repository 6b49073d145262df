package voice

import (
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"sidetone/audio"

	"github.com/pion/rtp"
)

// SenderConfig says how a Sender works. Out is needed.
type SenderConfig struct {
	// Encoder of what is sent. Nil until SetEncoder: no frame is taken before that.
	Encoder Encoder
	// Out takes the packets. When it also has a method Ready() bool, no frame is processed or encoded while that is false.
	Out audio.PacketWriter
	// Process works on a frame before it is encoded: echo, noise, gain. May be nil.
	Process func(*audio.Frame)
	Logger  *slog.Logger
}

// maxPacket is the largest packet of one frame (RFC 6716, section 3.4).
const maxPacket = 1275

// Sender turns frames into packets. It implements audio.Sink; its other methods are for any goroutine.
type Sender struct {
	cfg   SenderConfig
	ready func() bool
	muted atomic.Bool
	next  atomic.Pointer[Encoder] // to be used from the next frame on; nil when there is none

	// of the capture goroutine
	frame   audio.Frame
	packet  rtp.Packet
	refused bool // the packet is made, but Out did not take it yet
	resting bool // the far side knows that nothing is sent until there is sound again (DTX)
	broken  bool // an encoder's error has been logged
	buf     [maxPacket]byte

	mu    sync.Mutex
	stats audio.CaptureStats
}

// NewSender makes a sender of one stream. Its sequence numbers and timestamps start at random (RFC 3550, section 5.1).
func NewSender(c SenderConfig) *Sender {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Sender{cfg: c}
	if r, ok := c.Out.(interface{ Ready() bool }); ok {
		s.ready = r.Ready
	}
	s.packet.Version = 2
	s.packet.Marker = true
	// The upper half is left out, so that a rollover does not fall on the first packets (RFC 3711, section 3.3.1).
	s.packet.SequenceNumber = uint16(rand.Uint32() & 0x7fff)
	s.packet.Timestamp = rand.Uint32()
	return s
}

// PushFrame implements audio.Sink. While Out takes no packets the frame counts as not taken, and time goes on. The
// encoder does not go on: the packet that was refused is offered again, so that a file which waits, and therefore pushes
// the same frame, begins with the first packet that leaves.
func (s *Sender) PushFrame(f *audio.Frame) bool {
	s.packet.Timestamp += audio.FrameSamples
	if e := s.next.Swap(nil); e != nil {
		s.cfg.Encoder = *e
		s.refused, s.resting, s.broken = false, false, false // a packet of the other codec is of no use any more
		s.packet.Marker = true
	}
	if s.cfg.Encoder == nil || s.ready != nil && !s.ready() {
		s.packet.Marker = true
		return false
	}
	if !s.refused && !s.encode(f) {
		return true // there is nothing to send of it
	}
	if s.refused = !s.cfg.Out.WriteRTP(&s.packet); s.refused {
		s.packet.Marker = true
		return false
	}
	s.packet.SequenceNumber++
	s.packet.Marker = false
	s.count()
	return true
}

// encode makes the packet of f, and reports whether it is to be sent.
func (s *Sender) encode(f *audio.Frame) bool {
	s.frame = *f
	if s.cfg.Process != nil {
		s.cfg.Process(&s.frame)
	}
	if s.muted.Load() {
		clear(s.frame[:])
	}
	n, err := s.cfg.Encoder.Encode(&s.frame, s.buf[:])
	if err != nil {
		if !s.broken {
			s.broken = true
			s.cfg.Logger.Error("encoding sound", "err", err)
		}
		s.packet.Marker = true
		return false
	}
	// The first packet of silence tells the far side that the sender rests; more of them tell nothing.
	rest := n <= 2
	if rest && s.resting {
		s.packet.Marker = true
		s.count()
		return false
	}
	s.resting = rest
	s.packet.Payload = s.buf[:n]
	return true
}

// count counts the frame that was encoded last, once it is taken.
func (s *Sender) count() {
	e := energy(s.frame[:]) / audio.SampleRate
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.TotalAudioEnergy += e
	s.stats.TotalSamplesDuration += audio.FrameDuration.Seconds()
	s.stats.FramesEncoded++
}

// SetEncoder changes how sound is encoded from the next frame on: another codec was agreed.
func (s *Sender) SetEncoder(e Encoder) { s.next.Store(&e) }

// SetMuted makes the sender send silence, or sound again, from the next frame on.
func (s *Sender) SetMuted(muted bool) { s.muted.Store(muted) }

// Muted reports whether silence is sent.
func (s *Sender) Muted() bool { return s.muted.Load() }

// CaptureStats tells what was sent so far.
func (s *Sender) CaptureStats() audio.CaptureStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}
