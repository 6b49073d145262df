package appliance

import (
	"fmt"
	"time"

	"sidetone/audio"
	"sidetone/audio/device"
	"sidetone/audio/tone"
	"sidetone/provisioning/config"
	"sidetone/rtc/call"
)

// signalTone is a tone that the device makes by itself.
type signalTone string

const (
	noTone       signalTone = ""
	ringTone     signalTone = "ring"     // somebody calls us
	ringbackTone signalTone = "ringback" // it rings at the other side
	busyTone     signalTone = "busy"     // whom we called is in another call
	errorTone    signalTone = "error"    // our call failed
	chimeTone    signalTone = "chime"    // the door is open
	tickTone     signalTone = "tick"     // a second of a count-down
	letGoTone    signalTone = "let go"   // its end
)

// How long tones are heard; files have their own length.
const (
	busyTime  = 3 * time.Second
	tickTime  = 100 * time.Millisecond
	letGoTime = time.Second
)

// tones holds the tone that sounds, so that it goes on where it is while its reason holds, and starts anew for the
// next one.
type tones struct {
	country string                 // whose telephones it sounds like
	files   map[signalTone][]int16 // the owner's own
	current signalTone
	playing audio.Source
}

// newTones reads the files that the config names.
func newTones(c config.Tones) (tones, error) {
	t := tones{country: c.Country, files: map[signalTone][]int16{}}
	for name, path := range map[signalTone]string{
		ringTone: c.Ring, ringbackTone: c.Ringback, busyTone: c.Busy, errorTone: c.Error, chimeTone: c.Chime,
	} {
		if path == "" {
			continue
		}
		pcm, err := device.ReadWAV(path)
		if err != nil {
			return t, fmt.Errorf("tones.%s: %w", name, err)
		}
		t.files[name] = pcm
	}
	return t, nil
}

// source gives the tone that is wanted, at a volume in percent that may change meanwhile.
func (t *tones) source(want signalTone, volume func() int) audio.Source {
	if want == t.current {
		return t.playing
	}
	t.current, t.playing = want, nil
	if s := t.make(want); s != nil {
		t.playing = &fader{Source: s, volume: volume}
	}
	return t.playing
}

func (t *tones) make(want signalTone) audio.Source {
	if pcm := t.files[want]; pcm != nil {
		return tone.Recording(pcm, want == ringTone || want == ringbackTone)
	}
	switch want {
	case ringTone:
		return tone.Ring()
	case ringbackTone:
		return tone.Ringback(t.country)
	case busyTone:
		return tone.Busy(t.country)
	case errorTone:
		return tone.Error()
	case chimeTone:
		return tone.Chime()
	case tickTone:
		return tone.Beep(tickTime)
	case letGoTone:
		return tone.Beep(letGoTime)
	}
	return nil
}

// length is how long a prompt is heard.
func (t *tones) length(prompt signalTone) time.Duration {
	if pcm := t.files[prompt]; pcm != nil {
		return time.Duration(len(pcm)) * time.Second / audio.SampleRate
	}
	switch prompt {
	case busyTone:
		return busyTime
	case errorTone:
		return tone.ErrorLength
	case tickTone:
		return tickTime
	case letGoTone:
		return letGoTime
	}
	return tone.ChimeLength
}

// prompt is a tone that is heard for a while because of something that happened.
type prompt struct {
	tone  signalTone
	until time.Time
}

// now is the prompt that is to be heard, if any.
func (p prompt) now() signalTone {
	if time.Now().Before(p.until) {
		return p.tone
	}
	return noTone
}

// over gives a channel for the prompt's end; nil when there is none to come.
func (p prompt) over() <-chan time.Time {
	if p.now() == noTone {
		return nil
	}
	return time.After(time.Until(p.until))
}

// prompts makes the loop play a prompt, from its beginning.
func (a *Appliance) prompts(which signalTone) {
	a.tones.source(noTone, nil)
	a.view.prompt = prompt{which, time.Now().Add(a.tones.length(which))}
}

// endPrompt tells by a tone that a call of ours came to nothing, once nobody else is called for the same press.
func (a *Appliance) endPrompt(c call.Info) {
	if c.Direction != call.Outbound || !c.Active.IsZero() || c.State != call.Destroy || !a.view.hunt.Over() {
		return
	}
	switch {
	case c.EndedBy == call.ByLocal:
	case c.Cause.Cause == call.UserBusy.Cause:
		a.prompts(busyTone)
	default:
		a.prompts(errorTone)
	}
}

// mixed is a source with another one over it.
type mixed struct {
	audio.Source
	over  audio.Source
	frame audio.Frame
}

// PullFrame implements audio.Source.
func (m *mixed) PullFrame(f *audio.Frame) {
	m.Source.PullFrame(f)
	m.over.PullFrame(&m.frame)
	for i, v := range m.frame {
		f[i] = int16(max(-1<<15, min(1<<15-1, int(f[i])+int(v))))
	}
}
