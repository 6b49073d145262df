package appliance

import (
	"slices"
	"time"

	"sidetone/audio"
	"sidetone/provisioning/config"
	"sidetone/rtc/call"
)

// routeFor decides what is heard and where the microphone goes: a function of the calls, and of a prompt that is due. A file device takes
// part in calls only, so that a recording begins when the call is active.
func (a *Appliance) routeFor(calls []call.Info) route {
	card := a.sound.device.Load().card
	talk := slices.IndexFunc(calls, func(c call.Info) bool { return c.State == call.Active || c.State == call.Recovering })
	if talk < 0 { // a call on hold keeps the device, so that a recording goes on
		talk = slices.IndexFunc(calls, func(c call.Info) bool { return c.State == call.Held || card && c.State == call.Early })
	}
	signs := call.SignsOf(calls...)
	var over audio.Source // what the device itself has to say meanwhile
	ring := a.ringVolume()
	a.ringing.Store(int32(ring))
	counting := a.view.reset.Held // is heard, whatever rings
	switch prompt := a.view.prompt.now(); {
	case card && !counting && signs.Rings && talk < 0 && ring > 0:
		return route{speaker: a.tones.source(ringTone, func() int { return int(a.ringing.Load()) })}
	case card && !counting && signs.Ringback && talk < 0:
		return route{speaker: a.tones.source(ringbackTone, func() int { return a.volume(talkRole) })}
	case prompt != noTone && (card || talk >= 0):
		over = a.tones.source(prompt, func() int { return a.volume(promptRole) })
	default:
		a.tones.source(noTone, nil)
	}
	if talk < 0 {
		return route{speaker: over}
	}
	p, ok := a.voices.of(calls[talk].ID)
	if !ok {
		return route{speaker: over}
	}
	if over != nil {
		return route{speaker: &mixed{Source: p.in, over: over}, mic: p.out}
	}
	return route{speaker: p.in, mic: p.out}
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
		return a.volume(ringRole)
	case a.cfg.Quiet.Action == config.QuietSoft:
		return min(a.volume(ringRole), a.cfg.Quiet.RingVolume)
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
