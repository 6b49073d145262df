package appliance

import (
	"testing"
	"time"

	"sidetone/audio"
	"sidetone/provisioning/config"
	"sidetone/provisioning/identity"
	"sidetone/rtc/call"
	"sidetone/rtc/verto"
)

// TestQuietHours holds how loud a call rings, what the lamp shows and who is sent away, in the quiet hours and outside.
func TestQuietHours(t *testing.T) {
	ringing := call.Info{ID: "c", Direction: call.Inbound, State: call.Ringing}
	const full = 100
	for name, c := range map[string]struct {
		change  func(*wall)
		percent int
		lamp    string
		refuses bool
	}{
		"by day":                  {func(w *wall) { w.cfg.Quiet.From, w.cfg.Quiet.To = "", "" }, full, "ringing", false},
		"low by day":              {func(w *wall) { w.cfg.Quiet.From, w.cfg.Quiet.To, w.cfg.Audio.RingVolume = "", "", 50 }, 50, "ringing", false},
		"silent":                  {func(*wall) {}, 0, "ringing", false},
		"dark":                    {func(w *wall) { w.cfg.Quiet.Lamp = false }, 0, "idle", false},
		"soft":                    {func(w *wall) { w.cfg.Quiet.Action = config.QuietSoft }, 20, "ringing", false},
		"soft and dark":           {func(w *wall) { w.cfg.Quiet.Action, w.cfg.Quiet.Lamp = config.QuietSoft, false }, 20, "idle", false},
		"reject":                  {func(w *wall) { w.cfg.Quiet.Action = config.QuietReject }, 0, "ringing", true},
		"a clock without battery": {func(w *wall) { w.clock = identity.NewClock(time.Now().Add(time.Hour)) }, full, "ringing", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWall(true)
			w.view.line.State = verto.Registered
			w.cfg.Quiet.From, w.cfg.Quiet.To = "00:00", "00:00" // always
			c.change(w)
			w.view.calls["c"] = ringing
			w.show()
			if w.lamp != c.lamp {
				t.Errorf("the lamp shows %s, want %s", w.lamp, c.lamp)
			}
			if got, want := peak(w.sound.route.Load().speaker), peak(ringAt(full))*c.percent/full; got < want-1 || got > want+1 {
				t.Errorf("it rings with a peak of %d, want %d", got, want)
			}
			if got := w.callConfig().DoNotDisturb(); got != c.refuses {
				t.Errorf("refuses %t", got)
			}
			// In the call nothing of that matters.
			w.view.calls["c"] = call.Info{ID: "c", Direction: call.Inbound, State: call.Active}
			w.show()
			if w.lamp != "talking" {
				t.Errorf("in the call the lamp shows %s", w.lamp)
			}
		})
	}
}

func ringAt(volume int) audio.Source {
	return (&tones{}).source(ringTone, func() int { return volume })
}

// peak is the loudest sample of the next half second.
func peak(s audio.Source) (most int) {
	if s == nil {
		return 0
	}
	var f audio.Frame
	for range 25 {
		s.PullFrame(&f)
		for _, v := range f {
			most = max(most, int(v))
		}
	}
	return most
}
