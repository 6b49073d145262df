package appliance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"sidetone/audio"
	"sidetone/audio/device"
)

// reopenDelay is how long a failed sound device is left alone before it is opened again.
const reopenDelay = time.Second

// route is what the device should play and where its microphone should go. A nil side is silence. The zero route
// lets the device rest.
type route struct {
	speaker audio.Source
	mic     audio.Sink
}

func (r route) idle() bool { return r.speaker == nil && r.mic == nil }

// soundDevice is which device is in use, by its names as in the config, and what follows from them.
type soundDevice struct {
	capture, playback string
	card              bool // real cards: there is a room, and an echo in it
	dumb              bool // nothing captures
}

func soundDeviceOf(capture, playback string) *soundDevice {
	d := &soundDevice{capture: capture, playback: playback, card: device.IsCard(capture, playback)}
	kind, err := device.KindOf(capture)
	d.dumb = err == nil && kind == device.KindNull
	return d
}

func (d *soundDevice) open() (audio.Duplex, error) { return device.Open(d.capture, d.playback) }

// sound owns the sound device: it runs while a route asks for it, is opened again when it fails, and follows the route
// without a stop. The device's own goroutine reads the route without a lock.
type sound struct {
	log *slog.Logger
	// played is told what the loudspeaker plays, for the echo canceller's reference; may be nil.
	played func(*audio.Frame)
	// failed is told why the device does not open, at each try, and nil once it gives sound or rests again; may be nil.
	failed func(error)

	device  atomic.Pointer[soundDevice]
	route   atomic.Pointer[route]
	wake    chan struct{}
	changes chan change
}

// change asks for another device.
type change struct {
	to   *soundDevice
	done chan error
}

func newSound(d *soundDevice, log *slog.Logger) *sound {
	s := &sound{log: log, wake: make(chan struct{}, 1), changes: make(chan change)}
	s.device.Store(d)
	s.route.Store(&route{})
	return s
}

// set changes the route; it may be called from any goroutine.
func (s *sound) set(r route) {
	s.route.Store(&r)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// use changes the device, in mid-call too; when the other one does not open, the old one stays.
func (s *sound) use(ctx context.Context, d *soundDevice) error {
	c := change{d, make(chan error, 1)}
	select {
	case s.changes <- c:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run owns the device until ctx ends.
func (s *sound) run(ctx context.Context) {
	var (
		now    *running
		retry  <-chan time.Time
		broken bool
	)
	again := func(what string, err error) {
		s.log.Error(what, "err", err, "in", reopenDelay)
		retry = time.After(reopenDelay)
	}
	broke := func(err error) {
		again("sound device does not open; trying again", err)
		if broken = true; s.failed != nil {
			s.failed(err)
		}
	}
	well := func() {
		if broken && s.failed != nil {
			s.failed(nil)
		}
		broken = false
	}
	start := func() {
		dev, err := s.device.Load().open()
		if err != nil {
			broke(err)
			return
		}
		now = s.begin(ctx, dev)
	}
	defer func() { now.end() }()
	for {
		var ended, first <-chan struct{}
		if now != nil {
			ended = now.ended
			if broken {
				first = now.first
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
			if s.route.Load().idle() {
				now.end()
				now, retry = nil, nil
				well()
			} else if now == nil && retry == nil {
				start()
			}
		case <-first:
			well()
		case <-ended:
			switch {
			case ctx.Err() != nil || s.route.Load().idle():
			case now.gave():
				again("sound device stopped; opening it again", now.err)
			default:
				broke(cmp.Or(now.err, context.Canceled))
			}
			now = nil
		case <-retry:
			retry = nil
			if !s.route.Load().idle() {
				start()
			}
		case c := <-s.changes:
			var err error
			now, err = s.change(ctx, now, c.to)
			if retry = nil; now == nil && !s.route.Load().idle() {
				retry = time.After(reopenDelay)
			}
			c.done <- err
		}
	}
}

// change puts another device in the place of the one that runs, if any, and gives the one that runs then.
func (s *sound) change(ctx context.Context, now *running, to *soundDevice) (*running, error) {
	if err := device.Check(to.capture, to.playback); err != nil {
		return now, err
	}
	next, err := to.open()
	if err != nil {
		return now, err
	}
	resting := s.route.Load().idle()
	if resting && !to.card {
		s.device.Store(to)
		return nil, nil
	}
	if now != nil {
		now.end()
		device.Resume(next, now.dev)
	}
	r := s.begin(ctx, next)
	if err := r.proved(); err == nil {
		s.device.Store(to)
		if resting {
			r.end()
			return nil, nil
		}
		return r, nil
	} else {
		r.end()
		if now == nil {
			return nil, err
		}
		old, oldErr := s.device.Load().open()
		if oldErr != nil {
			return nil, errors.Join(err, oldErr)
		}
		device.Resume(old, now.dev)
		return s.begin(ctx, old), err
	}
}

// running is a device under way.
type running struct {
	dev   audio.Duplex
	stop  context.CancelFunc
	first chan struct{} // closed with the first frame that was captured
	ended chan struct{}
	err   error // once it has ended
}

func (s *sound) begin(ctx context.Context, dev audio.Duplex) *running {
	r := &running{dev: dev, first: make(chan struct{}), ended: make(chan struct{})}
	ctx, r.stop = context.WithCancel(ctx)
	go func() {
		defer close(r.ended)
		r.err = dev.Run(ctx, s, &firstFrame{Sink: s, come: r.first})
	}()
	return r
}

// end ends the device and waits for it; nil has ended.
func (r *running) end() {
	if r != nil {
		r.stop()
		<-r.ended
	}
}

// proveTime is how long a device may take to its first frame.
const proveTime = 3 * time.Second

// proved waits until the device works, or does not.
func (r *running) proved() error {
	late := time.NewTimer(proveTime)
	defer late.Stop()
	select {
	case <-r.first:
		return nil
	case <-r.ended:
		return cmp.Or(r.err, context.Canceled)
	case <-late.C:
		return fmt.Errorf("the sound device gives no sound within %s", proveTime)
	}
}

// gave tells whether the device has given any sound.
func (r *running) gave() bool {
	select {
	case <-r.first:
		return true
	default:
		return false
	}
}

// firstFrame tells of the first frame.
type firstFrame struct {
	audio.Sink
	come chan struct{}
	told bool
}

// PushFrame implements audio.Sink.
func (f *firstFrame) PushFrame(frame *audio.Frame) bool {
	if !f.told {
		f.told = true
		close(f.come)
	}
	return f.Sink.PushFrame(frame)
}

// PullFrame implements audio.Source towards the device.
func (s *sound) PullFrame(f *audio.Frame) {
	if src := s.route.Load().speaker; src != nil {
		src.PullFrame(f)
	} else {
		*f = audio.Frame{}
	}
	if s.played != nil {
		s.played(f)
	}
}

// PushFrame implements audio.Sink towards the device.
func (s *sound) PushFrame(f *audio.Frame) bool {
	mic := s.route.Load().mic
	return mic != nil && mic.PushFrame(f)
}
