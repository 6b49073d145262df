package appliance

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"
	"sidetone/audio/tone"
	"sidetone/provisioning/config"
	"sidetone/rtc/call"
)

// heard is what the loudspeaker gets in that time; the loop looks anew each frame.
func (w *wall) heard(d time.Duration) (pcm []int16) {
	var f audio.Frame
	for t := time.Duration(0); t < d; t += audio.FrameDuration {
		w.show()
		w.sound.PullFrame(&f)
		pcm = append(pcm, f[:]...)
		time.Sleep(audio.FrameDuration)
	}
	return pcm
}

func played(s audio.Source, d time.Duration) (pcm []int16) {
	var f audio.Frame
	for t := time.Duration(0); t < d; t += audio.FrameDuration {
		s.PullFrame(&f)
		pcm = append(pcm, f[:]...)
	}
	return pcm
}

// TestPrompts holds what is heard of a call that comes to nothing, and of a door that opens.
func TestPrompts(t *testing.T) {
	for name, c := range map[string]struct {
		call call.Info
		want func(country string) audio.Source
		last time.Duration
	}{
		"busy":        {call.Info{Direction: call.Outbound, Cause: call.UserBusy, EndedBy: call.ByRemote}, func(c string) audio.Source { return tone.Busy(c) }, busyTime},
		"no answer":   {call.Info{Direction: call.Outbound, Cause: call.NoAnswer, EndedBy: call.ByTimeout}, func(string) audio.Source { return tone.Error() }, tone.ErrorLength},
		"our own end": {call.Info{Direction: call.Outbound, Cause: call.NormalClearing, EndedBy: call.ByLocal}, nil, 0},
		"talked":      {call.Info{Direction: call.Outbound, Cause: call.NormalClearing, EndedBy: call.ByRemote, Active: time.Unix(1, 0)}, nil, 0},
		"inbound":     {call.Info{Direction: call.Inbound, Cause: call.UserBusy, EndedBy: call.ByRemote}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWall(true)
				w.tones.country = "de"
				c.call.State = call.Destroy
				w.endPrompt(c.call)
				got, want := w.heard(5*time.Second), make([]int16, 5*audio.SampleRate)
				if c.want != nil {
					frames := (c.last + audio.FrameDuration - 1) / audio.FrameDuration * audio.FrameDuration
					copy(want, played(c.want("de"), frames))
				}
				if !slices.Equal(got, want) {
					t.Errorf("peaks of %d instead of %d in the first second", slices.Max(got[:audio.SampleRate]), slices.Max(want[:audio.SampleRate]))
				}
				if !w.sound.route.Load().idle() {
					t.Error("the device does not rest afterwards")
				}
			})
		})
	}
}

// TestChimeOverACall is heard with the far side, in a call of files, too.
func TestChimeOverACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWall(false)
		w.view.calls["c"] = call.Info{ID: "c", State: call.Active}
		w.voices.set["c"] = &pipelines{in: tone.Sine(440, -20)}
		w.heard(time.Second)
		w.prompts(chimeTone)
		got := w.heard(2 * time.Second)
		far, chime := tone.Sine(440, -20), tone.Chime()
		played(far, time.Second)
		a, b := played(far, 2*time.Second), played(chime, 2*time.Second)
		for i := range got {
			if want := a[i] + b[i]; got[i] != want {
				t.Fatalf("%.3f s after the door opened: %d, want %d", float64(i)/audio.SampleRate, got[i], want)
			}
		}
	})
}

// TestOwnFiles plays the owner's WAV in the place of a tone, of another rate and in stereo, and says which one is missing.
func TestOwnFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ring.wav")
	if err := audiotest.WriteWAV(path, played(tone.Sine(1000, -12), 500*time.Millisecond), 24000); err != nil { // half as fast
		t.Fatal(err)
	}
	ts, err := newTones(config.Tones{Ring: path})
	if err != nil {
		t.Fatal(err)
	}
	// It lasts a second, and is repeated.
	pcm := played(ts.source(ringTone, func() int { return fullVolume }), 3*time.Second)
	for second := range 3 {
		part := pcm[second*audio.SampleRate+4800 : (second+1)*audio.SampleRate-4800]
		crossings := 0
		for i := 1; i < len(part); i++ {
			if (part[i-1] < 0) != (part[i] < 0) {
				crossings++
			}
		}
		if hz := float64(crossings) / 2 * audio.SampleRate / float64(len(part)); hz < 495 || hz > 505 {
			t.Errorf("second %d sounds at %.0f Hz, want 500", second, hz)
		}
	}
	if _, err := newTones(config.Tones{Chime: filepath.Join(dir, "none.wav")}); err == nil {
		t.Error("a file that is not there is no error")
	}
}

// TestVolume is kept over a restart, moves without a click, and is refused where it cannot be.
func TestVolume(t *testing.T) {
	dir := t.TempDir()
	w := newWall(true)
	w.volumes.file = volumeFile(dir)
	w.ended = make(chan struct{})
	close(w.ended) // nobody asks the loop
	half := 50
	_, _ = w.Volume(context.Background(), "talk", &half)
	for name, percent := range map[string]int{"shout": 50, "ring": 101, "prompt": -1} {
		if _, err := w.Volume(context.Background(), name, &percent); err == nil || err == errEnded {
			t.Errorf("%s at %d %%: %v", name, percent, err)
		}
	}
	w = newWall(true)
	w.volumes.file = volumeFile(dir)
	if err := w.volumes.load(); err != nil {
		t.Fatal(err)
	}
	if v, err := w.Volume(context.Background(), "", nil); err != nil || v.Talk != 50 || v.Ring != 100 || v.Prompt != 100 {
		t.Errorf("after the restart %+v, %v", v, err)
	}
	percent := 100
	s := &fader{Source: tone.Sine(200, -6), volume: func() int { return percent }}
	pcm := played(s, 100*time.Millisecond)
	percent = 25
	pcm = append(pcm, played(s, 100*time.Millisecond)...)
	if loud, soft := slices.Max(pcm[:4800]), slices.Max(pcm[5760:]); int(soft) < int(loud)/4-2 || int(soft) > int(loud)/4+2 {
		t.Errorf("peaks of %d and %d", loud, soft)
	}
	for i := 1; i < len(pcm); i++ {
		if step := int(pcm[i]) - int(pcm[i-1]); step > 450 || step < -450 { // a sine of 200 Hz at -6 dBFS has 430
			t.Fatalf("a click of %d at %d", step, i)
		}
	}
}

func TestCountriesAreTheConfigs(t *testing.T) {
	if !slices.Equal(tone.Countries(), config.Countries) {
		t.Errorf("there are tones of %v, and the config has %v", tone.Countries(), config.Countries)
	}
}
