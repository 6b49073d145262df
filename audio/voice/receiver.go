package voice

import (
	"log/slog"
	"sync"
	"time"

	"sidetone/audio"
	"sidetone/audio/jitter"

	"github.com/pion/rtp"
)

// ReceiverConfig says how a Receiver works.
type ReceiverConfig struct {
	// Decoder of what comes. Nil until SetDecoder: packets before that are dropped.
	Decoder Decoder
	// Jitter bounds the playout delay. The zero value is good for a call.
	Jitter jitter.Config
	// Now is the clock that PushRTP's arrival is of. Nil is time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// playout decides which packet is played when. It is pure, and one caller's at a time.
type playout interface {
	Push(p *rtp.Packet, samples int, arrival time.Duration)
	Pull(now time.Duration, quiet bool) jitter.Decision
	Drop(now time.Duration, quiet bool) (jitter.Decision, bool)
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
	loud    loudness
	stats   audio.PlayoutStats // with what buffers before this one discarded
	losses  losses

	ready int // samples in pcm that wait to be pulled
	pcm   [maxSamples + audio.FrameSamples]int16
	spare [maxSamples]int16
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
	r.buffer.Push(p, samples, arrival.Sub(r.epoch))
	if r.cfg.Decoder.HasFEC(p.Payload) {
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

// TargetDelay is the delay that the playout aims at now, over that of the fastest packet.
func (r *Receiver) TargetDelay() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buffer.Target()
}

// fill adds the next piece of sound to pcm.
func (r *Receiver) fill(now time.Time) {
	// What waits already is played first, so this piece's time is later.
	at := now.Sub(r.epoch) + time.Duration(r.ready)*time.Second/audio.SampleRate
	d := r.buffer.Pull(at, r.loud.quiet)
	out := r.pcm[r.ready:]
	n := min(d.Samples, len(out))
	switch d.Kind {
	case jitter.Play:
		n = r.play(d, at, now, out)
	case jitter.Lost:
		r.recover(d, out[:n])
	case jitter.Hold:
		r.conceal.extend(out[:n])
		r.stats.InsertedSamplesForDeceleration += uint64(n)
		r.stats.TotalSamplesReceived += uint64(n)
	case jitter.Silence:
		r.conceal.extend(out[:n])
		r.countConcealed(n, true)
	case jitter.Wait:
		if r.heard { // the stream stopped, or another has begun
			r.countConcealed(n, r.conceal.lost(out[:n]))
		} else {
			clear(out[:n])
		}
	}
	r.ready += n
}

// play decodes a packet into out, and the one after it instead when the delay is to fall.
func (r *Receiver) play(d jitter.Decision, at time.Duration, now time.Time, out []int16) int {
	r.heard = true
	n, ok := r.decode(d, now, out)
	if !ok {
		n = min(d.Samples, len(out))
		r.lose(out[:n])
		return n
	}
	resumed := r.conceal.resume(out[:n])
	r.loud.hear(out[:n])
	if next, drop := r.buffer.Drop(at, r.loud.quiet); drop {
		m, ok := r.decode(next, now, r.spare[:])
		if ok && m >= fadeSamples && n >= fadeSamples {
			crossFade(r.spare[:m], out)
			copy(out, r.spare[:m])
			r.stats.RemovedSamplesForAcceleration += uint64(n)
			n = m
			r.loud.hear(out[:n])
		}
	} else if d.Skipped && !resumed {
		fadeIn(out[:n])
	}
	return n
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
func (r *Receiver) recover(d jitter.Decision, out []int16) {
	if d.Payload == nil || !r.cfg.Decoder.HasFEC(d.Payload) {
		r.lose(out)
		return
	}
	if err := r.cfg.Decoder.DecodeFEC(d.Payload, out); err != nil {
		r.complain(err)
		r.lose(out)
		return
	}
	r.fecUsed = true
	r.conceal.resume(out)
	r.countEmitted(d.Waited, len(out), r.cfg.Now())
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
