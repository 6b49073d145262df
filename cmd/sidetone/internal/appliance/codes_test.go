package appliance

import (
	"log/slog"
	"testing"
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
