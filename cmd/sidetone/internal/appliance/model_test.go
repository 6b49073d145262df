package appliance

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"sidetone/audio"
	"sidetone/audio/tone"
	"sidetone/board/indicator"
	"sidetone/provisioning/config"
	"sidetone/provisioning/identity"
	"sidetone/rtc/call"
	"sidetone/rtc/verto"
)

var inputKinds = []call.InputKind{
	call.OnAnswer, call.OnReject, call.OnHangup, call.OnHold, call.OnUnhold, call.OnToggleHold, call.OnMute, call.OnToggleMute,
	call.OnRinging, call.OnEarlyMedia, call.OnAnswered, call.OnBye, call.OnLineLost, call.OnDropped, call.OnReattached,
	call.OnNotReattached, call.OnAttach, call.OnOffered, call.OnAnswerReady, call.OnMediaError, call.OnSDPError, call.OnTaken,
	call.OnRefused, call.OnHealthy, call.OnUnhealthy, call.OnByeDone, call.OnMediaClosed, call.OnSettled, call.OnConnected,
	call.OnDisconnected, call.OnMediaLost, call.OnMediaFailed, call.OnSilent, call.OnFlowing, call.OnModified, call.OnTimeout,
}

// modelCall is a call of the model: what the reducer makes of it, and what is known of it without asking the reducer.
type modelCall struct {
	info    call.Info
	try     int
	timer   call.Timer
	rang    bool // the far side said so, before anything was to be heard
	reports int
}

// wall is a device with everything that shows and sounds, and nothing else.
type wall struct {
	*Appliance
	lamp  string
	calls []*modelCall
	in    map[string]audio.Source
}

func newWall(card bool) *wall {
	w := &wall{in: map[string]audio.Source{}}
	w.Appliance = &Appliance{
		cfg: config.Default(), clock: identity.NewClock(time.Time{}), view: view{calls: map[string]call.Info{}},
		opt:   Options{Lamp: func(p indicator.Pattern) { w.lamp = p.Name }},
		sound: newSound(&soundDevice{card: card}, slog.New(slog.NewTextHandler(io.Discard, nil))),
	}
	w.voices.set = map[string]*pipelines{}
	return w
}

// begin starts a call of the device.
func (w *wall) begin(rng *rand.Rand) {
	c := &modelCall{info: call.Info{ID: fmt.Sprint("call", len(w.calls)), Created: time.Unix(int64(len(w.calls)), 0)}}
	w.calls = append(w.calls, c)
	w.in[c.info.ID] = tone.Sine(440, -20)
	w.voices.set[c.info.ID] = &pipelines{in: w.in[c.info.ID]}
	first := call.OnDial
	if c.info.Direction = call.Outbound; rng.IntN(2) == 0 {
		c.info.Direction, first = call.Inbound, call.OnInvite
	}
	w.feed(c, call.Input{Kind: first, SDP: "sdp", Time: c.info.Created})
}

// feed gives an input to the reducer, and the outcome to the device.
func (w *wall) feed(c *modelCall, in call.Input) {
	if in.Kind == call.OnRinging && (c.info.State == call.Trying || c.info.State == call.Requesting) {
		c.rang = true
	}
	next, actions := call.Step(c.info, in)
	if len(actions) == 1 && actions[0].Kind == call.Refuse && in.Kind == call.OnRinging {
		c.rang = false // it could not: no invite was sent yet
	}
	c.info = next
	for _, a := range actions {
		c.try = cmp.Or(a.Try, c.try)
		switch a.Kind {
		case call.Arm:
			c.timer = a.Timer
		case call.MakeReport:
			c.reports++
		}
	}
	if next.State >= call.Destroy { // as onCall does
		delete(w.view.calls, next.ID)
	} else {
		w.view.calls[next.ID] = next
	}
}

// sounds is what of tones and calls the loudspeaker plays.
func (w *wall) sounds() string {
	r := w.sound.route.Load()
	switch {
	case r.speaker == nil:
		return "nothing"
	case r.speaker == w.tones.playing && r.mic == nil:
		return string(w.tones.current)
	}
	for id, in := range w.in {
		if in == r.speaker && r.mic == audio.Sink(w.voices.set[id].out) {
			return id
		}
	}
	return "something else"
}

// want says what must show and sound, from the states alone: a call that is answered wins, then one on hold, then early
// media, then ring and ringback.
func (w *wall) want() (lamp, sounds string) {
	lamp, sounds = "idle", "nothing"
	rank := 0
	is := func(r int, what string) {
		if r > rank {
			rank, sounds = r, what
		}
	}
	talks := false
	for _, c := range w.calls {
		switch c.info.State {
		case call.Active, call.Recovering:
			talks = true
			is(5, c.info.ID)
		case call.Held, call.Early:
			if c.info.State == call.Held {
				talks = true
			} else {
				lamp = "ringing"
			}
			if c.info.State == call.Held || w.sound.device.Load().card {
				is(4, c.info.ID)
			}
		case call.Ringing:
			lamp = "ringing"
			if w.sound.device.Load().card {
				is(3, "ring")
			}
		case call.New, call.Requesting, call.Trying, call.Answering:
			lamp = "ringing"
			if w.sound.device.Load().card && c.rang && c.info.State != call.Answering {
				is(2, "ringback")
			}
		}
	}
	if talks {
		lamp = "talking"
	}
	switch w.view.line.State {
	case verto.Registered:
	case verto.Refused:
		lamp = "refused"
	default:
		lamp = "not-registered"
	}
	return lamp, sounds
}

// Random calls, up to three at a time: light, ring, ringback and the way of the sound always agree with their states,
// and the end of the last call leaves the device dark and silent, with one report of each. SIDETONE_LONG=1 makes a
// million sequences.
func TestModel(t *testing.T) {
	sequences := 25_000
	switch {
	case os.Getenv("SIDETONE_LONG") != "":
		sequences = 1_000_000
	case testing.Short():
		sequences = 5_000
	}
	rng := rand.New(rand.NewPCG(5, 6))
	lamps, heard, states := map[string]int{}, map[string]int{}, map[call.State]int{}
	for n := range sequences {
		w := newWall(rng.IntN(4) > 0)
		w.view.line.State = verto.Registered
		var history []string
		agree := func() {
			t.Helper()
			w.show()
			lamp, sounds := w.want()
			if w.lamp != lamp || w.sounds() != sounds {
				t.Fatalf("sequence %d: %v: the lamp shows %q and %q sounds, want %q and %q", n, history, w.lamp, w.sounds(), lamp, sounds)
			}
			lamps[lamp]++
			if len(sounds) > 4 && sounds[:4] == "call" {
				sounds = "call"
			}
			heard[sounds]++
		}
		agree()
		for range rng.IntN(80) {
			switch k := rng.IntN(40); {
			case k == 0:
				line := []verto.LineState{verto.Registered, verto.Registered, verto.Connecting, verto.Down, verto.Refused}
				w.view.line.State = line[rng.IntN(len(line))]
			case len(w.calls) < 1 || len(w.calls) < 3 && k < 3:
				w.begin(rng)
			default:
				c := w.calls[rng.IntN(len(w.calls))]
				history = append(history, c.info.ID+" "+string(w.random(rng, c)))
				states[c.info.State]++
			}
			agree()
		}
		w.view.line.State = verto.Registered
		agree()
		for _, c := range w.calls {
			w.feed(c, call.Input{Kind: call.OnHangup})
			agree()
			w.feed(c, call.Input{Kind: call.OnTimeout, Timer: call.EndTimer})
			agree()
			if c.info.State != call.Destroy || c.reports != 1 {
				t.Fatalf("sequence %d: %v: %s ended %s with %d reports", n, history, c.info.ID, c.info.State, c.reports)
			}
		}
		if w.lamp != "idle" || w.sounds() != "nothing" {
			t.Fatalf("sequence %d: after all calls the lamp shows %q and %q sounds", n, w.lamp, w.sounds())
		}
	}
	for _, s := range []call.State{
		call.Requesting, call.Trying, call.Ringing, call.Answering, call.Early, call.Active, call.Held, call.Recovering, call.Hangup,
	} {
		if states[s] < sequences/100 {
			t.Errorf("state %s was reached %d times only: the model is too weak", s, states[s])
		}
	}
	t.Logf("%d sequences; lamp %v; sound %v; states %v", sequences, lamps, heard, states)
}

// random feeds an input that does something, if one is found in a few tries; endings are kept rare, or no call gets far.
func (w *wall) random(rng *rand.Rand, c *modelCall) call.InputKind {
	var in call.Input
	for range 12 {
		in = call.Input{
			Kind: inputKinds[rng.IntN(len(inputKinds))], SDP: "sdp", Try: c.try, Timer: c.timer, Time: time.Unix(100, 0), On: rng.IntN(2) == 0,
			Modify:    []string{call.ModifyHold, call.ModifyUnhold, call.ModifyToggleHold, call.ModifyUpdate}[rng.IntN(4)],
			HoldState: []string{"held", "active"}[rng.IntN(2)], Err: errors.New("why"),
		}
		next, actions := call.Step(c.info, in)
		refused := len(actions) == 1 && actions[0].Kind == call.Refuse
		if !refused && (next.State < call.Hangup || rng.IntN(12) == 0) {
			break
		}
	}
	w.feed(c, in)
	return in.Kind
}
