package voice

import (
	"log/slog"
	"sync"
	"time"

	"sidetone/audio"
	"sidetone/audio/jitter"
	"sidetone/audio/stretch"

	"github.com/pion/rtp"
)

// ReceiverConfig says how a Receiver works.
type ReceiverConfig struct {
	// Decoder of what comes. Nil until SetDecoder: packets before that are dropped.
	Decoder Decoder
	// Jitter bounds the playout delay. The zero value is good for a call.
	Jitter jitter.Config
	// Now is the clock that PushRTP's arrival is of. Nil is time.Now.
	Now func() time.Time
	// Tell is told each decision; may be nil. It must not call the receiver.
	Tell   func(Decision)
	Logger *slog.Logger
}

// Decision is what was made of one piece of sound.
type Decision struct {
	At      time.Duration // when it is played, since the receiver was made
	Kind    string        // decode, fec, conceal, silence or wait
	Seq     uint16        // of the packet that it is of, or that tells of it; with decode and fec
	Samples int           // that came out
	Stretch int           // by how many of them it became longer, or, negative, shorter
	Delay   time.Duration // over that of the fastest packet
	Target  time.Duration
}

// playout decides which packet is played when. It is pure, and one caller's at a time.
type playout interface {
	Push(p *rtp.Packet, info jitter.Info, arrival time.Duration)
	Pull(now time.Duration, ready, wanted int) jitter.Decision
	Stretched(n int)
	Target() time.Duration
	Minimum() time.Duration
	Stats() jitter.Stats
}

// Receiver turns the packets of one stream into frames: they wait in a jitter buffer for their time, are decoded, and what
// is missing is recovered or concealed. It implements audio.Receiver towards the network and audio.Source towards the
// playback clock; the two may be of different goroutines.
type Receiver struct {
	cfg   ReceiverConfig
	epoch time.Time

	mu      sync.Mutex
	buffer  playout
	heard   bool // playout has begun
	broken  bool // a packet that could not be decoded has been logged
	fecUsed bool // what the next packet says of the one before has been played
	conceal concealer
	stretch stretch.Stretcher
	stats   audio.PlayoutStats // with what buffers before this one discarded
	losses  losses

	ready int // samples in pcm that wait to be pulled
	pcm   [maxSamples + 3*audio.FrameSamples]int16
}

// NewReceiver makes a receiver of one stream.
func NewReceiver(c ReceiverConfig) *Receiver {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Receiver{cfg: c, epoch: c.Now(), buffer: jitter.New(c.Jitter)}
	r.conceal.decoder = c.Decoder
	return r
}

// SetDecoder changes how packets are decoded from the next one on: the far side chose, or changed, its codec. Packets of the
// codec before it that still wait are dropped.
func (r *Receiver) SetDecoder(d Decoder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d == r.cfg.Decoder {
		return
	}
	if r.heard {
		r.ready += r.conceal.end(r.pcm[r.ready:])
	}
	r.stats.PacketsDiscarded += r.buffer.Stats().Discarded
	r.cfg.Decoder, r.conceal.decoder = d, d
	r.buffer = jitter.New(r.cfg.Jitter)
	r.broken = false
}

// PushRTP implements audio.Receiver. A packet without payload (padding, or a telephone event whose payload is not sound)
// tells that its number is not missing.
func (r *Receiver) PushRTP(p *rtp.Packet, arrival time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cfg.Decoder == nil {
		return
	}
	samples := 0
	if len(p.Payload) > 0 {
		var err error
		if samples, err = r.cfg.Decoder.Samples(p.Payload); err != nil || samples > maxSamples {
			r.complain(err)
			return
		}
	}
	before := r.buffer.Stats().Discarded
	fec := r.cfg.Decoder.HasFEC(p.Payload)
	r.buffer.Push(p, jitter.Info{Samples: samples, FEC: fec}, arrival.Sub(r.epoch))
	if fec {
		r.stats.FECPacketsReceived++
		if r.buffer.Stats().Discarded > before {
			r.stats.FECPacketsDiscarded++
		}
	}
}

// PullFrame implements audio.Source.
func (r *Receiver) PullFrame(f *audio.Frame) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	for r.ready < len(f) {
		r.fill(now)
	}
	copy(f[:], r.pcm[:])
	r.ready -= len(f)
	copy(r.pcm[:], r.pcm[len(f):len(f)+r.ready])
	r.stats.TotalAudioEnergy += energy(f[:]) / audio.SampleRate
	r.stats.TotalSamplesDuration += audio.FrameDuration.Seconds()
}

// PlayoutStats implements audio.Receiver.
func (r *Receiver) PlayoutStats() audio.PlayoutStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.PacketsDiscarded += r.buffer.Stats().Discarded
	s.BurstRatio = r.losses.burstRatio()
	return s
}

// fill adds the next piece of sound to pcm.
func (r *Receiver) fill(now time.Time) {
	d := r.buffer.Pull(now.Sub(r.epoch), r.ready, audio.FrameSamples-r.ready)
	out := r.pcm[r.ready:]
	n := min(d.Samples, len(out))
	kind, by := "", 0
	switch d.Kind {
	case jitter.Play:
		kind, n, by = r.play(d, now, out)
	case jitter.Lost:
		kind = r.recover(d, out[:n])
	case jitter.Silence:
		kind = "silence"
		r.conceal.extend(out[:n])
		r.countConcealed(n, true)
	case jitter.Wait:
		kind = "wait"
		if r.heard { // the stream stopped, or another has begun
			r.countConcealed(n, r.conceal.lost(out[:n]))
		} else {
			clear(out[:n])
		}
	}
	if r.cfg.Tell != nil {
		at := now.Sub(r.epoch) + time.Duration(r.ready)*time.Second/audio.SampleRate
		r.cfg.Tell(Decision{
			At: at, Kind: kind, Seq: d.Seq, Samples: n, Stretch: by, Delay: d.Delay, Target: r.buffer.Target(),
		})
	}
	r.ready += n
}

// play decodes a packet into out and makes it longer or shorter where the delay is to change.
func (r *Receiver) play(d jitter.Decision, now time.Time, out []int16) (kind string, n, by int) {
	r.heard = true
	n, ok := r.decode(d, now, out)
	if !ok {
		n = min(d.Samples, len(out))
		r.lose(out[:n])
		return "conceal", n, 0
	}
	if resumed := r.conceal.resume(out[:n]); d.Skipped && !resumed {
		fadeIn(out[:n])
	}
	switch m := n; {
	case d.Stretch > 0:
		n = r.stretch.Lengthen(out, n, d.Stretch, d.Hurry)
		r.stats.InsertedSamplesForDeceleration += uint64(n - m)
		r.stats.TotalSamplesReceived += uint64(n - m)
		by = n - m
	case d.Stretch < 0:
		n = r.stretch.Shorten(out, n, -d.Stretch, d.Hurry)
		r.stats.RemovedSamplesForAcceleration += uint64(m - n)
		by = n - m
	}
	r.buffer.Stretched(by)
	return "decode", n, by
}

// decode decodes a packet into out and counts it.
func (r *Receiver) decode(d jitter.Decision, now time.Time, out []int16) (int, bool) {
	n, err := r.cfg.Decoder.Decode(d.Payload, out[:min(d.Samples, len(out))])
	if r.cfg.Decoder.HasFEC(d.Payload) && !r.fecUsed {
		r.stats.FECPacketsDiscarded++ // nothing was lost before it
	}
	r.fecUsed = false
	if err != nil || n == 0 {
		r.complain(err)
		return 0, false
	}
	r.countEmitted(d.Waited, n, now)
	return n, true
}

// recover plays a lost frame as the packet after it tells it, or a guess.
func (r *Receiver) recover(d jitter.Decision, out []int16) (kind string) {
	if d.Payload == nil {
		r.lose(out)
		return "conceal"
	}
	if err := r.cfg.Decoder.DecodeFEC(d.Payload, out); err != nil {
		r.complain(err)
		r.lose(out)
		return "conceal"
	}
	r.fecUsed = true
	r.conceal.resume(out)
	r.countEmitted(d.Waited, len(out), r.cfg.Now())
	return "fec"
}

// lose plays a guess.
func (r *Receiver) lose(out []int16) {
	r.losses.lost(len(out))
	if r.conceal.run == 0 {
		r.stats.ConcealmentEvents++
	}
	r.countConcealed(len(out), r.conceal.lost(out))
}

// countEmitted counts n samples that came out of the buffer after they had waited there; decoding began at began.
func (r *Receiver) countEmitted(waited time.Duration, n int, began time.Time) {
	seconds := func(d time.Duration) float64 { return d.Seconds() * float64(n) }
	r.losses.received(n)
	r.stats.JitterBufferDelay += seconds(waited)
	r.stats.JitterBufferTargetDelay += seconds(r.buffer.Target())
	r.stats.JitterBufferMinimumDelay += seconds(r.buffer.Minimum())
	r.stats.TotalProcessingDelay += seconds(waited + max(r.cfg.Now().Sub(began), 0))
	r.stats.JitterBufferEmittedCount += uint64(n)
	r.stats.TotalSamplesReceived += uint64(n)
}

func (r *Receiver) countConcealed(n int, silent bool) {
	r.stats.TotalSamplesReceived += uint64(n)
	r.stats.ConcealedSamples += uint64(n)
	if silent {
		r.stats.SilentConcealedSamples += uint64(n)
	}
}

// complain logs the first packet that makes no sense; others are only concealed.
func (r *Receiver) complain(err error) {
	if !r.broken {
		r.broken = true
		r.cfg.Logger.Warn("the far side sends packets that do not decode; they are concealed", "err", err)
	}
}
