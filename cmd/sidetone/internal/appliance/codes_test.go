package appliance

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/audio/audiotest"
	"sidetone/provisioning/config"
	"sidetone/rtc/call"
	"sidetone/rtc/quality"
)

// A sound device that does not open is refused, and told under its code.
func TestDeviceChangeSkipped(t *testing.T) {
	a := &Appliance{log: slog.New(slog.DiscardHandler), sound: newSound(soundDeviceOf("null", "null"), slog.New(slog.DiscardHandler))}
	events, stop := a.watchers.watch()
	defer stop()
	var p part
	p.start(t.Context(), a.sound.run)
	defer p.stop()
	if err := a.UseSound(t.Context(), "wav:/none.wav", ""); err == nil {
		t.Error("a device that is not there was taken")
	}
	select {
	case e := <-events:
		if e.Event != "warning" || e.Code != 33009 || e.Name != "AUDIO_INPUT_DEVICE_CHANGE_SKIPPED" || e.Message == "" {
			t.Errorf("told %+v", e)
		}
	default:
		t.Error("nothing was told")
	}
}

// A sound device that does not open is told once for each reason, under its code, until it gives sound; a call has it in
// its report.
func TestSoundDeviceDoesNotOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.wav")
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		// A call that waits for its media.
		a := &Appliance{log: log, sound: newSound(soundDeviceOf("wav:"+path, "null"), log), calls: call.NewManager(call.Config{
			Line: lineAdapter{}, NewMedia: func(ctx context.Context, _ call.Info, _ func(call.MediaEvent)) (call.Media, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
		})}
		a.sound.failed = a.onSound
		var calls, sound part
		calls.start(t.Context(), func(ctx context.Context) { _ = a.calls.Run(ctx) })
		sound.start(t.Context(), a.sound.run)
		events, stop := a.watchers.watch()
		defer stop()
		var kept []int
		go func() {
			for e := range a.calls.Events() {
				if e.Report != nil {
					for _, w := range e.Report.Warnings {
						kept = append(kept, w.Code)
					}
				}
			}
		}()
		if _, err := a.calls.Dial(t.Context(), call.DialRequest{Destination: "concierge"}); err != nil {
			t.Fatal(err)
		}
		told := func() (codes []int) {
			synctest.Wait()
			for len(events) > 0 {
				e := <-events
				if e.Event != "device_error" || e.Name == "" || e.Message == "" || e.Cause == "" || e.Action == "" {
					t.Errorf("told %+v", e)
				}
				codes = append(codes, e.Code)
			}
			return codes
		}
		expect := func(want ...int) {
			t.Helper()
			time.Sleep(10 * time.Second)
			if got := told(); !slices.Equal(got, want) {
				t.Errorf("told %v, want %v", got, want)
			}
		}
		c := &counter{}
		a.sound.set(route{speaker: c, mic: c})
		expect(42002)
		if err := os.WriteFile(path, []byte("no sound"), 0o600); err != nil {
			t.Fatal(err)
		}
		expect(42003)
		if err := audiotest.WriteWAV(path, make([]int16, 48000), 48000); err != nil {
			t.Fatal(err)
		}
		expect()
		if a.noSound.Code != 0 || c.played.Load() == 0 {
			t.Errorf("%+v stands, and %d frames were played", a.noSound, c.played.Load())
		}
		a.sound.set(route{})
		synctest.Wait()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		a.sound.set(route{speaker: c, mic: c})
		expect(42002)
		sound.stop()
		calls.stop()
		synctest.Wait()
		if !slices.Equal(kept, []int{42002, 42003, 42002}) {
			t.Errorf("the report has %v", kept)
		}
	})
	for err, want := range map[error]int{fs.ErrPermission: 42001, fs.ErrNotExist: 42002, os.ErrClosed: 42003} {
		if got := soundCode(fmt.Errorf("it does not open: %w", err)); got != want {
			t.Errorf("%v is %d, want %d", err, got, want)
		}
	}
}

// What a call's media warns of reaches the call.
func TestMediaWarns(t *testing.T) {
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0") // a STUN server that never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	cfg := config.Default()
	cfg.Device.StateDir, cfg.Audio.Capture, cfg.Audio.Playback = t.TempDir(), "null", "null"
	cfg.Assistant.TargetType, cfg.Assistant.TargetID = "ai_assistant", "nobody"
	cfg.ICE.Loopback, cfg.ICE.Servers = true, []config.ICEServer{{URLs: []string{"stun:" + silent.LocalAddr().String()}}}
	a, err := New(Options{Config: cfg, Version: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan call.MediaEvent, 100)
	m, err := a.newMedia(t.Context(), call.Info{ID: "call-1"}, func(e call.MediaEvent) { told <- e })
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.Offer(t.Context()); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case e := <-told:
			if e.Kind == call.MediaWarning {
				if e.Code != quality.OnlyHostCandidates {
					t.Errorf("told %+v", e)
				}
				return
			}
		case <-time.After(30 * time.Second):
			t.Fatal("nothing was told")
		}
	}
}
