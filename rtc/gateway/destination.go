package gateway

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sidetone/audio"
	"sidetone/audio/tone"

	"github.com/go-audio/wav"
)

// destination is what talks to a client at a built-in name.
type destination struct {
	run    func(ctx context.Context, l line) // from the answer until ctx ends
	codecs []codec                           // that it has; nil is all
}

// line is what a destination has of the call.
type line struct {
	port      *port
	voice     *speaker      // what the client hears
	digits    <-chan string // that came by signalling
	sendDigit func(string)  // by signalling
	log       *slog.Logger
}

// destinations by name.
var destinations = map[string]destination{
	"echo": {run: echo}, "tone": {run: sineTone}, "concierge": {run: concierge},
	"pcmu": {run: sineTone, codecs: []codec{codecPCMU}}, // as a caller from the telephone network
}

// echo sends everything back as it came.
func echo(ctx context.Context, l line) {
	l.port.route(func(p *packet) { l.voice.pass(p) })
	<-ctx.Done()
	l.port.route(nil)
}

// The tone destination: 1 kHz, 12 dB below full scale.
const (
	sineHz    = 1000
	sineLevel = -12
)

// sineTone says a tone for ever.
func sineTone(ctx context.Context, l line) {
	if !l.connected(ctx) {
		return
	}
	sine := tone.Sine(sineHz, sineLevel)
	var f audio.Frame
	for p := startPace(); p.wait(ctx); {
		sine.PullFrame(&f)
		if err := l.voice.say(&f); err != nil {
			l.log.Error("no tone", "err", err)
			return
		}
	}
}

// maxWanted digits wait to be said by the concierge.
const maxWanted = 32

// concierge greets, then echoes; it answers each digit by the same one.
func concierge(ctx context.Context, l line) {
	if !l.connected(ctx) {
		return
	}
	s := l.voice
	words, err := greeting()
	if err != nil {
		l.log.Error("no greeting", "err", err)
		return
	}

	heard := make(chan *packet, 64)
	var keys digitDetector
	pressed := make(chan string, 8)
	l.port.route(func(p *packet) {
		if p.codec.isTelephoneEvent() {
			if d := keys.digit(p); d != "" {
				offer(pressed, d)
			}
			return
		}
		q := *p
		q.Payload = bytes.Clone(p.Payload)
		offer(heard, &q)
	})
	defer l.port.route(nil)

	pace := startPace()
	defer pace.stop()
	say := s.sound(&recording{frames: words}, len(words))
	var wanted []string // digits that wait to be said; the first one is being said
	key := func(d string) {
		l.sendDigit(d)
		if len(wanted) == maxWanted {
			return // who dials that fast is told by signalling alone
		}
		if wanted = append(wanted, d); len(wanted) > 1 {
			return
		}
		if say, err = s.key(d); err != nil {
			l.log.Error("no digit", "err", err)
			wanted = nil
		}
	}
	for {
		var tick <-chan time.Time
		if say != nil {
			tick = pace.tick()
		}
		select {
		case <-ctx.Done():
			return
		case d := <-pressed:
			key(d)
		case d := <-l.digits:
			key(d)
		case p := <-heard:
			if say == nil {
				s.pass(p)
			}
		case <-tick:
			pace.next()
			over, err := say()
			if err != nil {
				l.log.Error("cannot speak", "err", err)
			}
			if over || err != nil {
				say = nil
				if len(wanted) > 0 {
					wanted = wanted[1:]
				}
				if len(wanted) > 0 {
					if say, err = s.key(wanted[0]); err != nil {
						l.log.Error("no digit", "err", err)
						wanted = nil
					}
				}
			}
		}
	}
}

// offer drops what nobody takes in time.
func offer[T any](c chan<- T, v T) {
	select {
	case c <- v:
	default:
	}
}

// connected waits until media can flow; false when ctx ended first.
func (l line) connected(ctx context.Context) bool {
	select {
	case <-l.port.up:
		return true
	case <-ctx.Done():
		return false
	}
}

// pace keeps time: a tick each 20 ms, on average exactly.
type pace struct {
	timer *time.Timer
	due   time.Time
}

func startPace() *pace {
	return &pace{timer: time.NewTimer(0), due: time.Now()}
}

// behind is how late a stream may be before it gives up catching up.
const behind = 200 * time.Millisecond

// tick is the channel of the next tick; next must follow each.
func (p *pace) tick() <-chan time.Time {
	if late := time.Since(p.due); late > behind {
		p.due = time.Now()
	}
	p.timer.Reset(time.Until(p.due))
	return p.timer.C
}

func (p *pace) next() { p.due = p.due.Add(audio.FrameDuration) }
func (p *pace) stop() { p.timer.Stop() }

// wait waits for a tick; false when ctx ended.
func (p *pace) wait(ctx context.Context) bool {
	select {
	case <-p.tick():
		p.next()
		return true
	case <-ctx.Done():
		p.stop()
		return false
	}
}

//go:embed greeting.wav
var greetingWAV []byte

// greeting is what the concierge says.
var greeting = sync.OnceValues(func() ([]audio.Frame, error) {
	d := wav.NewDecoder(bytes.NewReader(greetingWAV))
	pcm, err := d.FullPCMBuffer()
	if err != nil {
		return nil, fmt.Errorf("greeting.wav: %w", err)
	}
	if pcm.Format.SampleRate != audio.SampleRate || pcm.Format.NumChannels != 1 || d.BitDepth != 16 {
		return nil, errors.New("greeting.wav: want 48 kHz, mono, 16 bit")
	}
	frames := make([]audio.Frame, (len(pcm.Data)+audio.FrameSamples-1)/audio.FrameSamples)
	for i, v := range pcm.Data {
		frames[i/audio.FrameSamples][i%audio.FrameSamples] = int16(v)
	}
	return frames, nil
})

// recording plays frames once, and then silence.
type recording struct{ frames []audio.Frame }

// PullFrame implements audio.Source.
func (r *recording) PullFrame(f *audio.Frame) {
	*f = audio.Frame{}
	if len(r.frames) > 0 {
		*f, r.frames = r.frames[0], r.frames[1:]
	}
}
