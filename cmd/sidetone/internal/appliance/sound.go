package appliance

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"sidetone/audio"
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

// sound owns the sound device: it runs while a route asks for it, is opened again when it fails, and follows the route
// without a stop. The device's own goroutine reads the route without a lock.
type sound struct {
	open func() (audio.Duplex, error)
	log  *slog.Logger
	// played is told what the loudspeaker plays, for the echo canceller's reference.
	played func(*audio.Frame)

	route atomic.Pointer[route]
	wake  chan struct{}
}

func newSound(open func() (audio.Duplex, error), played func(*audio.Frame), log *slog.Logger) *sound {
	s := &sound{open: open, played: played, log: log, wake: make(chan struct{}, 1)}
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

// run owns the device until ctx ends.
func (s *sound) run(ctx context.Context) {
	var (
		stop  context.CancelFunc // of the running device
		ended chan error
		retry <-chan time.Time
	)
	start := func() {
		dev, err := s.open()
		if err != nil {
			s.log.Error("sound device does not open; trying again", "err", err, "in", reopenDelay)
			retry = time.After(reopenDelay)
			return
		}
		var devCtx context.Context
		devCtx, stop = context.WithCancel(ctx)
		ended = make(chan error, 1)
		go func(ended chan<- error) { ended <- dev.Run(devCtx, s, s) }(ended)
	}
	halt := func() {
		if stop != nil {
			stop()
			<-ended
			stop, ended = nil, nil
		}
	}
	defer halt()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
			idle := s.route.Load().idle()
			if idle {
				halt()
				retry = nil
			} else if stop == nil && retry == nil {
				start()
			}
		case err := <-ended:
			stop()
			stop, ended = nil, nil
			if ctx.Err() == nil && !s.route.Load().idle() {
				s.log.Error("sound device stopped; opening it again", "err", err, "in", reopenDelay)
				retry = time.After(reopenDelay)
			}
		case <-retry:
			retry = nil
			if !s.route.Load().idle() {
				start()
			}
		}
	}
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
