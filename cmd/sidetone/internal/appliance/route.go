package appliance

import (
	"slices"
	"time"

	"sidetone/audio"
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
)

// routeFor decides what is heard and where the microphone goes: a function of the calls alone. A file device takes
// part in calls only, so that a recording begins when the call is active.
func (a *Appliance) routeFor(calls []call.Info) route {
	card := a.sound.device.Load().card
	talk := slices.IndexFunc(calls, func(c call.Info) bool { return c.State == call.Active || c.State == call.Recovering })
	if talk < 0 { // a call on hold keeps the device, so that a recording goes on
		talk = slices.IndexFunc(calls, func(c call.Info) bool { return c.State == call.Held || card && c.State == call.Early })
	}
	signs := call.SignsOf(calls...)
	switch {
	case card && signs.Rings && talk < 0 && a.ringVolume() > 0:
		return route{speaker: a.tones.source(ringTone, a.ringVolume())}
	case card && signs.Ringback && talk < 0:
		return route{speaker: a.tones.source(ringbackTone, fullVolume)}
	}
	a.tones.source(noTone, 0)
	if talk < 0 {
		return route{}
	}
	p, ok := a.voices.of(calls[talk].ID)
	if !ok {
		return route{}
	}
	return route{speaker: p.in, mic: p.out}
}

// tones holds the tone that sounds, so that it goes on where it is while its reason holds, and starts anew for the
// next one.
type tones struct {
	current signalTone
	volume  int // percent
	playing audio.Source
}

func (t *tones) source(want signalTone, volume int) audio.Source {
	if want == t.current && volume == t.volume {
		return t.playing
	}
	t.current, t.volume = want, volume
	switch want {
	case ringTone:
		t.playing = tone.Ring()
	case ringbackTone:
		t.playing = tone.Ringback("us")
	default:
		t.playing = nil
	}
	if t.playing != nil && volume < fullVolume {
		t.playing = &softer{t.playing, volume}
	}
	return t.playing
}

const fullVolume = 100

// softer is a source at so many percent of its amplitude.
type softer struct {
	audio.Source
	percent int
}

// PullFrame implements audio.Source.
func (s *softer) PullFrame(f *audio.Frame) {
	s.Source.PullFrame(f)
	for i, v := range f {
		f[i] = int16(int(v) * s.percent / fullVolume)
	}
}

// quiet tells whether these are quiet hours. A clock that is known to be wrong knows of none.
func (a *Appliance) quiet() bool {
	now := time.Now()
	return a.clock.Plausible(now) && a.cfg.Quiet.At(now)
}

// ringVolume is how loud a call rings now, in percent.
func (a *Appliance) ringVolume() int {
	switch {
	case !a.quiet():
		return a.cfg.Audio.RingVolume
	case a.cfg.Quiet.Action == config.QuietSoft:
		return a.cfg.Quiet.RingVolume
	}
	return 0
}

// litFor are those of the calls that the lamp may show.
func (a *Appliance) litFor(calls []call.Info) []call.Info {
	if a.cfg.Quiet.Lamp || !a.quiet() {
		return calls
	}
	return slices.DeleteFunc(slices.Clone(calls), func(c call.Info) bool { return c.State == call.Ringing })
}
