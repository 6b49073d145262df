package voice

import (
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

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
	news  atomic.Pointer[report]  // of the far side, not yet looked at
	rate  atomic.Int64            // bit/s

	// of the capture goroutine
	frame   audio.Frame
	packet  rtp.Packet
	refused bool // the packet is made, but Out did not take it yet
	resting bool // the far side knows that nothing is sent until there is sound again (DTX)
	broken  bool // an encoder's error has been logged
	hint    LossHint
	now     time.Duration // since the stream began, by the capture clock
	highest uint32        // extended sequence number that the last report knew of
	percent int           // of loss, as the encoder was told
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
	if c.Encoder != nil {
		s.use(c.Encoder)
	}
	s.packet.Version = 2
	s.packet.Marker = true
	// The upper half is left out, so that a rollover does not fall on the first packets (RFC 3711, section 3.3.1).
	s.packet.SequenceNumber = uint16(rand.Uint32() & 0x7fff)
	s.packet.Timestamp = rand.Uint32()
	return s
}

// report is what a receiver report of the far side says (RFC 3550, section 6.4.1).
type report struct {
	fractionLost uint8
	highest      uint32
}

// PushFrame implements audio.Sink. While Out takes no packets the frame counts as not taken, and time goes on. The
// encoder does not go on: the packet that was refused is offered again, so that a file which waits, and therefore pushes
// the same frame, begins with the first packet that leaves.
func (s *Sender) PushFrame(f *audio.Frame) bool {
	s.packet.Timestamp += audio.FrameSamples
	s.now += audio.FrameDuration
	if r := s.news.Swap(nil); r != nil {
		s.hear(*r)
	}
	if e := s.next.Swap(nil); e != nil {
		s.use(*e)
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

// use makes e the encoder, and tells it what is known of the way.
func (s *Sender) use(e Encoder) {
	s.cfg.Encoder = e
	s.percent = 0
	s.rate.Store(0)
	if a, ok := e.(Adaptive); ok {
		s.rate.Store(int64(a.Bitrate()))
	}
	s.adapt()
}

// hear takes a report. One that knows of no packet that the one before did not says nothing of loss: the sender rested.
func (s *Sender) hear(r report) {
	if r.highest == s.highest {
		return
	}
	s.highest = r.highest
	s.hint.Report(r.fractionLost, s.now)
	s.adapt()
}

// adapt makes the encoder follow the hint, where it can.
func (s *Sender) adapt() {
	a, ok := s.cfg.Encoder.(Adaptive)
	if !ok {
		return
	}
	rate := s.hint.Bitrate(a.Bitrate())
	if int64(rate) != s.rate.Load() {
		s.set("bitrate", a.SetBitrate(rate))
		s.rate.Store(int64(rate))
	}
	if percent := s.hint.Percent(rate); percent != s.percent {
		s.set("loss", a.SetPacketLoss(percent))
		s.percent = percent
	}
}

// set logs what an encoder did not take; sound goes on as it was.
func (s *Sender) set(what string, err error) {
	if err != nil {
		s.cfg.Logger.Error("encoder", "set", what, "err", err)
	}
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

// Report takes what a receiver report of the far side says of this stream: the share lost since the report before, of
// 256, and the highest sequence number received, extended by its cycles. It never waits: the encoder hears of it with the
// next frame. Of two that come within a frame the later counts.
func (s *Sender) Report(fractionLost uint8, highest uint32) {
	s.news.Store(&report{fractionLost, highest})
}

// TargetBitrate is what the encoder aims at now, in bit/s; 0 when that is not for the sender to say.
func (s *Sender) TargetBitrate() int { return int(s.rate.Load()) }

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
