package appliance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/audio"
	"sidetone/audio/device"
)

// socket is where a card is plugged in and out: the device and the watch of a sound.
type socket struct {
	mu      sync.Mutex
	in      bool
	mute    bool        // opens, and gives nothing
	hangs   atomic.Bool // does not say that it was unplugged
	tries   int
	unplug  chan struct{}
	changed func()
}

func (s *socket) open(*soundDevice) (audio.Duplex, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries++
	if !s.in {
		return nil, fmt.Errorf("no card (%w)", fs.ErrNotExist)
	}
	return &plugged{unplug: s.unplug, mute: s.mute, hangs: &s.hangs}, nil
}

func (s *socket) watch(ctx context.Context, changed func()) {
	s.mu.Lock()
	s.changed = changed
	s.mu.Unlock()
	<-ctx.Done()
}

// set plugs the card in or out; the kernel tells, or does not.
func (s *socket) set(in, told bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in && !in {
		close(s.unplug)
	}
	if s.in = in; in {
		s.unplug = make(chan struct{})
	}
	if told {
		s.changed()
	}
}

func (s *socket) tried() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries
}

// plugged is a card: it captures frames of 7, and stalls when it is unplugged.
type plugged struct {
	unplug chan struct{}
	mute   bool
	hangs  *atomic.Bool
}

func (p *plugged) Gone() bool {
	select {
	case <-p.unplug:
		return true
	default:
		return false
	}
}

func (p *plugged) Run(ctx context.Context, speaker audio.Source, mic audio.Sink) error {
	ticker := time.NewTicker(audio.FrameDuration)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.unplug:
			if p.hangs.Load() {
				<-ctx.Done()
			}
			return device.ErrStopped
		case <-ticker.C:
		}
		if p.mute {
			return device.ErrStalled
		}
		f := audio.Frame{7}
		mic.PushFrame(&f)
		speaker.PullFrame(&f)
	}
}

// TestHotPlug unplugs the card in mid-call and plugs it in again, with and without a word of the kernel's. Meanwhile silence
// goes out at the same rate, and the far side's sound is taken, so that the call lives.
func TestHotPlug(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		card := &socket{}
		s := newSound(&soundDevice{capture: "card:Device", playback: "card:Device", card: true}, slog.New(slog.DiscardHandler))
		s.open, s.watch = card.open, card.watch
		var told []error
		s.failed = func(err error) { told = append(told, err) }
		var p part
		p.start(t.Context(), s.run)
		defer p.stop()
		synctest.Wait()
		card.set(true, true)
		c := &counter{}
		s.set(route{speaker: c, mic: c})
		after := func(d time.Duration, heard int32, rate bool) {
			t.Helper()
			before := c.played.Load()
			time.Sleep(d)
			synctest.Wait()
			if got := c.heard.Load(); got != heard {
				t.Errorf("the microphone gives %d, want %d", got, heard)
			}
			if n := time.Duration(c.played.Load()-before) * audio.FrameDuration; rate && (n < d-100*time.Millisecond || n > d+100*time.Millisecond) {
				t.Errorf("%v played within %v", n, d)
			}
		}
		after(time.Second, 7, false)
		for _, c := range []struct {
			told, hangs bool
			away        time.Duration
			back        time.Duration // the sound must be back after
		}{
			{true, false, 3 * time.Second, 100 * time.Millisecond},
			{true, false, time.Minute, 100 * time.Millisecond},
			{true, true, 3 * time.Second, 100 * time.Millisecond},
			{false, false, 300 * time.Millisecond, 2 * time.Second},
		} {
			told = nil
			card.hangs.Store(c.hangs)
			card.set(false, c.told)
			after(time.Second/4, 0, false)
			after(c.away, 0, true)
			if len(told) == 0 || !errors.Is(told[0], fs.ErrNotExist) {
				t.Errorf("told %v", told)
			}
			card.set(true, c.told)
			after(c.back, 7, false)
			after(steady, 7, true)
			if last := told[len(told)-1]; last != nil {
				t.Errorf("it is well, and told %v", last)
			}
		}
		if got := s.counts.read(); got.Reopened != 4 {
			t.Errorf("%+v", got)
		}
	})
}

// TestReopenBacksOff holds that a card which opens and gives nothing is not tried without end.
func TestReopenBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		card := &socket{in: true, mute: true, unplug: make(chan struct{})}
		s := newSound(&soundDevice{capture: "card:Device", playback: "card:Device", card: true}, slog.New(slog.DiscardHandler))
		s.open, s.watch = card.open, card.watch
		var p part
		p.start(t.Context(), s.run)
		defer p.stop()
		c := &counter{}
		s.set(route{speaker: c, mic: c})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		first := card.tried()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := card.tried() - first; first < 5 || n < 10 || n > 13 {
			t.Errorf("%d tries in 10 s, %d in the minute after", first, n)
		}
	})
}
