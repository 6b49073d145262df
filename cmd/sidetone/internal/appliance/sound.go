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

// A failed sound device is left alone for a moment before it is opened again, and for longer each time that this does not
// help. A card that is plugged in is opened at once.
const (
	firstReopen = 100 * time.Millisecond
	lastReopen  = 5 * time.Second
	// steady is how long a device must have given sound for its next failure to be its first.
	steady = 10 * time.Second
)

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

// open opens it; a card that is away is an error, even where it was chosen as "auto".
func (d *soundDevice) open() (audio.Duplex, error) {
	if d.card {
		return device.OpenCard(d.capture, d.playback)
	}
	return device.Open(d.capture, d.playback)
}

// sound owns the sound device: it runs while a route asks for it, is opened again when it fails, and follows the route
// without a stop. The device's own goroutine reads the route without a lock.
type sound struct {
	log *slog.Logger
	// played is told what the loudspeaker plays, for the echo canceller's reference; may be nil.
	played func(*audio.Frame)
	// amplifier is switched by what is played; nil: there is none.
	amplifier *amplifier
	// failed is told why the device does not open, at each try, and nil once it gives sound or rests again; may be nil.
	failed func(error)
	// prepare is shown each device before it runs; may be nil.
	prepare func(audio.Duplex)
	// open opens a device.
	open func(*soundDevice) (audio.Duplex, error)
	// watch calls a function at each change of the machine's sound cards, until its context ends; newSound's tells of none.
	watch func(context.Context, func())

	counts  counts
	device  atomic.Pointer[soundDevice]
	route   atomic.Pointer[route]
	wake    chan struct{}
	changes chan change
	asked   chan struct{} // whether run is alive
}

// change asks for another device.
type change struct {
	to   *soundDevice
	done chan error
}

func newSound(d *soundDevice, log *slog.Logger) *sound {
	s := &sound{log: log, open: (*soundDevice).open, watch: func(context.Context, func()) {}, wake: make(chan struct{}, 1), changes: make(chan change), asked: make(chan struct{})}
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

// alive returns nil once run has taken note.
func (s *sound) alive(ctx context.Context) error {
	select {
	case s.asked <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
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

// keeper is what sound.run knows: the device that runs, and when to try again.
type keeper struct {
	*sound
	ctx    context.Context
	now    *running // nil: none
	retry  <-chan time.Time
	delay  time.Duration // before the next retry
	broken bool          // the device does not open
}

// run owns the device until ctx ends.
func (s *sound) run(ctx context.Context) {
	plugged := make(chan struct{}, 1)
	var watch part
	watch.start(ctx, func(ctx context.Context) {
		s.watch(ctx, func() {
			select {
			case plugged <- struct{}{}:
			default:
			}
		})
	})
	defer watch.stop()
	k := &keeper{sound: s, ctx: ctx, delay: firstReopen}
	defer func() { k.now.end() }()
	for {
		var ended, first <-chan struct{}
		if k.now != nil {
			ended = k.now.ended
			if k.broken && !k.now.standIn {
				first = k.now.first
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
			if s.route.Load().idle() {
				k.now.end()
				k.now, k.retry = nil, nil
				k.well()
			} else if k.now == nil && k.retry == nil {
				k.start()
			}
		case <-s.asked:
		case <-first:
			k.well()
		case <-ended:
			k.ended()
		case <-k.retry:
			k.start()
		case <-plugged:
			k.plugged()
		case c := <-s.changes:
			var err error
			k.now, err = s.change(ctx, k.now, c.to)
			if k.retry = nil; k.now == nil && !s.route.Load().idle() {
				k.again()
			}
			c.done <- err
		}
	}
}

// start opens the device in the place of what stands in for it.
func (k *keeper) start() {
	k.retry = nil
	dev, err := k.open(k.device.Load())
	if err != nil {
		k.broke(err)
		return
	}
	k.now.end()
	k.now = k.begin(k.ctx, dev)
}

// ended is told that the device has ended by itself.
func (k *keeper) ended() {
	was := k.now
	k.now = nil
	switch {
	case k.ctx.Err() != nil || k.route.Load().idle():
	case was.gave():
		if time.Since(was.since) >= steady {
			k.delay = firstReopen
		}
		k.counts.reopened.Add(1)
		k.log.Error("sound device stopped; opening it again", "err", was.err, "in", k.delay)
		k.again()
	default:
		k.broke(cmp.Or(was.err, context.Canceled))
	}
}

// again tries again after a while. Meanwhile the call goes on in silence: the far side goes on getting packets, and what it
// says is not kept to be played late.
func (k *keeper) again() {
	if k.now == nil && k.device.Load().card {
		k.now = k.begin(k.ctx, device.Null{})
		k.now.standIn = true
	}
	k.retry = time.After(k.delay)
	k.delay = min(2*k.delay, lastReopen)
}

func (k *keeper) broke(err error) {
	k.log.Error("sound device does not open; trying again", "err", err, "in", k.delay)
	k.again()
	if k.broken = true; k.failed != nil {
		k.failed(err)
	}
}

func (k *keeper) well() {
	if k.broken && k.failed != nil {
		k.failed(nil)
	}
	k.broken = false
}

// plugged is told that cards came or went. A device that was chosen as "auto" while there was no card gets one now.
func (k *keeper) plugged() {
	k.log.Info("the sound cards changed")
	old := k.device.Load()
	d := soundDeviceOf(old.capture, old.playback)
	if k.delay = firstReopen; d.card && !old.card {
		k.device.Store(d)
		if k.now != nil {
			k.start()
		}
	} else if k.retry != nil {
		k.start()
	} else if k.now.gone() {
		// Its driver may not say so, and keep a processor busy with that.
		k.now.end()
		k.now = nil
		k.counts.reopened.Add(1)
		k.log.Error("the sound card is gone", "capture", old.capture, "playback", old.playback)
		k.again()
	}
}

// change puts another device in the place of the one that runs, if any, and gives the one that runs then.
func (s *sound) change(ctx context.Context, now *running, to *soundDevice) (*running, error) {
	if err := device.Check(to.capture, to.playback); err != nil {
		return now, err
	}
	next, err := s.open(to)
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
		old, oldErr := s.open(s.device.Load())
		if oldErr != nil {
			return nil, errors.Join(err, oldErr)
		}
		device.Resume(old, now.dev)
		return s.begin(ctx, old), err
	}
}

// running is a device under way.
type running struct {
	dev     audio.Duplex
	standIn bool // silence in the place of a card that is away
	since   time.Time
	stop    context.CancelFunc
	first   chan struct{} // closed with the first frame that was captured
	ended   chan struct{}
	err     error // once it has ended
}

func (s *sound) begin(ctx context.Context, dev audio.Duplex) *running {
	r := &running{dev: dev, since: time.Now(), first: make(chan struct{}), ended: make(chan struct{})}
	ctx, r.stop = context.WithCancel(ctx)
	s.counts.begin(dev)
	if s.prepare != nil {
		s.prepare(dev)
	}
	go func() {
		defer close(r.ended)
		r.err = dev.Run(ctx, s, &firstFrame{Sink: s, come: r.first})
	}()
	return r
}

// gone tells whether the card under way is not there any more.
func (r *running) gone() bool {
	if r == nil {
		return false
	}
	card, is := r.dev.(interface{ Gone() bool })
	return is && card.Gone()
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
	if s.amplifier != nil {
		s.amplifier.pulled(f)
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
