package device

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"sidetone/audio"

	"github.com/gen2brain/malgo"
)

// stopTime is how long a driver may take to let go of a card.
const stopTime = 500 * time.Millisecond

// stream is one side of a card at work: miniaudio's device and its ring.
type stream struct {
	kind             malgo.DeviceType
	name             string
	captured, toPlay *ring // nil: not this side
	xruns            *atomic.Uint64
	device           *malgo.Device // once open

	callbacks atomic.Uint32
	last      atomic.Int64 // when the last of them was, since began
	stopped   atomic.Bool

	seen    uint32        // callbacks at the last check
	quiet   time.Duration // since there was a new one, as far as check counts it
	checked time.Duration // when check looked last
}

// open opens the card's side.
func (s *stream) open(ctx *malgo.AllocatedContext) error {
	var pin runtime.Pinner // the name is in Go's memory, and goes to C inside a structure
	defer pin.Unpin()
	side := malgo.SubConfig{Format: malgo.FormatS16, Channels: 1}
	if s.name != "" {
		id := new(malgo.DeviceID)
		copy(id[:len(id)-1], s.name)
		pin.Pin(id)
		side.DeviceID = unsafe.Pointer(id)
	}
	cfg := malgo.DefaultDeviceConfig(s.kind)
	cfg.SampleRate = audio.SampleRate
	cfg.PeriodSizeInFrames = audio.FrameSamples
	cfg.Periods = periods
	cfg.Capture, cfg.Playback = side, side // each device looks at its own
	device, err := malgo.InitDevice(ctx.Context, cfg, malgo.DeviceCallbacks{
		Data: s.data,
		Stop: func() { s.stopped.Store(true) },
	})
	if err != nil {
		return fmt.Errorf("sound device %s does not open: %w (%s)", s.name, named(err), presentCards())
	}
	s.device = device
	return nil
}

// named gives miniaudio's errors the names of io/fs where there is one.
func named(err error) error {
	switch {
	case errors.Is(err, malgo.ErrDoesNotExist), errors.Is(err, malgo.ErrNoDevice):
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case errors.Is(err, malgo.ErrAccessDenied):
		return fmt.Errorf("%w: %w", fs.ErrPermission, err)
	}
	return err
}

// data is called on the card's thread: it copies, and nothing else. The output comes silenced.
func (s *stream) data(out, in []byte, _ uint32) {
	s.callbacks.Add(1)
	s.last.Store(int64(time.Since(began)))
	if s.captured != nil {
		if pcm := samples(in); s.captured.write(pcm) < len(pcm) {
			s.xruns.Add(1)
		}
	}
	if s.toPlay != nil {
		if pcm := samples(out); s.toPlay.read(pcm) < len(pcm) {
			s.xruns.Add(1)
		}
	}
}

// began is a moment to count callbacks' times from, by the clock that nobody sets.
var began = time.Now()

// at is when the card's last callback was.
func (s *stream) at() time.Duration { return time.Duration(s.last.Load()) }

// samples looks at b, which miniaudio aligned, as 16 bit samples of this machine's order.
func samples(b []byte) []int16 {
	return unsafe.Slice((*int16)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/2)
}

// check is called about each pollInterval and tells whether the card is still at work. However late it is called, little
// time counts each time: a process that was itself held up does not blame the card, and one that is slow sees it all the
// same.
func (s *stream) check() error {
	if s.stopped.Load() {
		return fmt.Errorf("%w: %s", ErrStopped, s.name)
	}
	now := time.Since(began)
	since := max(pollInterval, min(now-s.checked, 5*pollInterval))
	s.checked = now
	if n := s.callbacks.Load(); n != s.seen {
		s.seen, s.quiet = n, 0
		return nil
	}
	s.quiet += since
	limit := stallTime
	if s.seen == 0 {
		limit = startTime
	}
	if s.quiet >= limit {
		return fmt.Errorf("%w: %s: no callback for %v", ErrStalled, s.name, s.quiet.Round(pollInterval))
	}
	return nil
}

// late tells whether more than two periods have gone by without a callback, as far as check has seen.
func (s *stream) late() bool { return s.quiet > 2*audio.FrameDuration }

// release stops and frees what was opened. A driver may hang in that: then it is left behind, with its memory, rather
// than waited for.
func release(streams []*stream) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, s := range streams {
			if s.device != nil {
				s.device.Uninit()
			}
		}
	}()
	timeout := time.NewTimer(stopTime)
	defer timeout.Stop()
	select {
	case <-done:
		return nil
	case <-timeout.C:
		return fmt.Errorf("sound device does not let go within %v", stopTime)
	}
}

// systems are the sound systems in use, by their backends. They are kept for the life of the process, as the binding
// (v0.11.24) never frees the log of one, and a card that is away would be tried again each second.
var systems = struct {
	sync.Mutex
	byBackends map[string]*malgo.AllocatedContext
}{byBackends: map[string]*malgo.AllocatedContext{}}

// soundSystem gives the sound system of these backends, or ALSA.
func soundSystem(backends []malgo.Backend) (*malgo.AllocatedContext, error) {
	if len(backends) == 0 {
		backends = []malgo.Backend{malgo.BackendAlsa}
		if err := configureALSA(); err != nil {
			return nil, err
		}
	}
	key := fmt.Sprint(backends)
	systems.Lock()
	defer systems.Unlock()
	if ctx := systems.byBackends[key]; ctx != nil {
		return ctx, nil
	}
	ctx, err := malgo.InitContext(backends, malgo.ContextConfig{}, nil)
	if err != nil {
		return nil, fmt.Errorf("sound system: %w", err)
	}
	systems.byBackends[key] = ctx
	return ctx, nil
}
