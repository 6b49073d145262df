package device

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"sidetone/audio"

	"github.com/gen2brain/malgo"
)

const (
	periods      = 3                       // of 20 ms each in the card's buffer
	ahead        = 2 * audio.FrameSamples  // how far playback is kept filled
	ringSamples  = 8 * audio.FrameSamples  // what the machine may dawdle before sound is lost
	pollInterval = audio.FrameDuration / 4 // of the rings

	// A card may stop without a word (mackron/miniaudio#877, #681). A first callback may take its time.
	stallTime = 10 * audio.FrameDuration
	startTime = 50 * audio.FrameDuration
)

// What a running card may fail with; the remedy is to open it again.
var (
	ErrStalled = errors.New("sound device stalled")
	ErrStopped = errors.New("sound device stopped by itself")
)

// Card is a sound card by way of ALSA, s16 mono at 48 kHz with a period pinned to 20 ms. Capture and Playback are
// ALSA's names, as "plughw:CARD=Device,DEV=0", and may be two cards: then capture's clock is that of the device, and what
// is played is brought to the other card's. Both sides of one card are opened apart, too: they share the card's clock anyway, and of a duplex device miniaudio 0.11.23 would never
// close the captured side again when the other did not open, and would start playback with an empty buffer.
type Card struct {
	Capture, Playback string
	// Backends of miniaudio to try; none is ALSA.
	Backends []malgo.Backend

	overruns, underruns atomic.Uint64
}

var _ audio.Duplex = (*Card)(nil)

// Stats are counters since a Card was made.
type Stats struct {
	// Overruns: how often captured samples were lost because nobody took them in time.
	Overruns uint64 `json:"overruns"`
	// Underruns: how often the loudspeaker got silence because nobody gave enough in time.
	Underruns uint64 `json:"underruns"`
}

// Stats tells how Run is doing. It may be called from any goroutine.
func (c *Card) Stats() Stats {
	return Stats{Overruns: c.overruns.Load(), Underruns: c.underruns.Load()}
}

// Run implements audio.Duplex. The card's own threads do nothing but copy between its buffers and two rings; this
// goroutine moves frames between the rings and speaker and mic. It returns ErrStalled or ErrStopped when the card went
// silent, and does not wait for a driver that hangs.
func (c *Card) Run(ctx context.Context, speaker audio.Source, mic audio.Sink) (err error) {
	malgoCtx, err := soundSystem(c.Backends)
	if err != nil {
		return err
	}
	m := mover{captured: newRing(ringSamples), toPlay: newRing(ringSamples), speaker: speaker, mic: mic}
	m.streams = []*stream{
		{kind: malgo.Capture, name: c.Capture, captured: m.captured, xruns: &c.overruns},
		{kind: malgo.Playback, name: c.Playback, toPlay: m.toPlay, xruns: &c.underruns},
	}
	defer func() { err = errors.Join(err, release(m.streams)) }()
	for _, s := range m.streams {
		if err := s.open(malgoCtx); err != nil {
			return err
		}
	}
	first := ahead
	if !oneCard(c.Capture, c.Playback) {
		m.match, first = newMatch(), matchAhead
	}
	m.fill(first + periods*audio.FrameSamples) // the card takes its buffer full at once
	for _, s := range m.streams {
		if err := s.device.Start(); err != nil {
			return fmt.Errorf("sound device %s does not start: %w", s.name, err)
		}
	}
	return m.run(ctx)
}

// mover moves frames between the rings of a card and the ends of a call.
type mover struct {
	captured, toPlay *ring
	speaker          audio.Source
	mic              audio.Sink
	streams          []*stream // capture, playback
	match            *match    // nil: both have one clock

	frame audio.Frame // under way
}

// run moves frames until ctx ends or a stream does.
func (m *mover) run(ctx context.Context) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		m.drain()
		if m.match == nil {
			m.fill(ahead)
		}
		for _, s := range m.streams {
			if err := s.check(); err != nil {
				return err
			}
		}
	}
}

// drain hands every whole frame that was captured by now to the microphone's side, which drops what it has no use for. What
// is captured meanwhile waits: on a machine that is too slow for a while there would be no end, and a stall never seen.
func (m *mover) drain() {
	for range m.captured.buffered() / len(m.frame) {
		if m.match != nil {
			m.matched()
		}
		m.captured.read(m.frame[:])
		m.mic.PushFrame(&m.frame)
	}
}

// matched plays a frame for one that was captured, at the playback card's rate.
func (m *mover) matched() {
	frames := 1
	// From a card that has gone quiet there is nothing to learn, and no reason to hurry.
	if in, out := m.streams[0], m.streams[1]; out.callbacks.Load() > 0 && !out.late() {
		waiting := float64(m.toPlay.buffered()) - (in.at()-out.at()).Seconds()*audio.SampleRate
		m.match.follow(waiting)
		frames += m.match.jump(waiting)
	}
	for range frames {
		m.play()
	}
}

// play moves a frame from the loudspeaker's side into the ring.
func (m *mover) play() {
	m.speaker.PullFrame(&m.frame)
	switch {
	case m.toPlay.buffered() == len(m.toPlay.buf): // nobody plays: what would be converted is lost anyway, and that takes time
	case m.match != nil:
		m.toPlay.write(m.match.convert(&m.frame))
	default:
		m.toPlay.write(m.frame[:])
	}
}

// fill keeps so many samples in the playback ring, from the loudspeaker's side.
func (m *mover) fill(enough int) {
	for m.toPlay.buffered() < enough {
		m.play()
	}
}
