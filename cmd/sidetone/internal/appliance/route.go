package appliance

import (
	"slices"
	"time"

	"sidetone/audio"
	"sidetone/audio/tone"
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
	case card && signs.Rings && talk < 0 && !a.cfg.Quiet.At(time.Now()):
		return route{speaker: a.tones.source(ringTone)}
	case card && signs.Ringback && talk < 0:
		return route{speaker: a.tones.source(ringbackTone)}
	}
	a.tones.source(noTone)
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
	playing audio.Source
}

func (t *tones) source(want signalTone) audio.Source {
	if want == t.current {
		return t.playing
	}
	t.current = want
	switch want {
	case ringTone:
		t.playing = tone.Ring()
	case ringbackTone:
		t.playing = tone.Ringback("us")
	default:
		t.playing = nil
	}
	return t.playing
}
