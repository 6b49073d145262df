package call

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// The drawing in State's comment, as a set: nothing else may ever happen.
var drawn = map[State][]State{
	New:        {Requesting, Ringing, Recovering, Hangup},
	Requesting: {Trying, Early, Active, Hangup},
	Trying:     {Early, Active, Hangup},
	Early:      {Active, Hangup},
	Ringing:    {Answering, Hangup},
	Answering:  {Active, Hangup},
	Active:     {Held, Recovering, Hangup},
	Held:       {Active, Recovering, Hangup},
	Recovering: {Active, Hangup},
	Hangup:     {Destroy},
}

// model is one call that is driven at random, and what must be true of it whatever happens.
type model struct {
	t       *testing.T
	c       Info
	history []string
	did     map[ActionKind]int
	reached map[State]int
	mended  map[mend]int

	rang         bool // the far side said so
	media, fresh bool // there is a session of the call, and one to take its place
	timer        Timer
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%v: %s", m.history, fmt.Sprintf(format, args...))
}

func (m *model) feed(name string, in Input) {
	before := m.c
	next, actions := Step(before, in)
	m.c = next
	m.history = append(m.history, name)
	if next.State != before.State {
		m.reached[next.State]++
		if !slices.Contains(drawn[before.State], next.State) || next.PrevState != before.State {
			m.fail("%s became %s", before.State, next.State)
		}
	}
	m.mended[next.mend]++
	for _, a := range actions {
		m.did[a.Kind]++
		m.act(before, a)
	}
	if m.fresh != next.fresh && next.State < Hangup {
		m.fail("fresh media: %t, the machine thinks %t", m.fresh, next.fresh)
	}
	m.signs(in)
}

func (m *model) act(before Info, a Action) {
	switch a.Kind {
	case Refuse:
		if !m.c.same(before) {
			m.fail("refused, but changed")
		}
	case Arm:
		m.timer = a.Timer
	case MakeOffer, MakeAnswer:
		if m.media {
			m.fail("%s while there is media", a.Kind)
		}
		m.media = true
	case MakeAttach, MakeRelay:
		if m.fresh {
			m.fail("%s while there is fresh media", a.Kind)
		}
		m.fresh = true
	case UseFresh:
		if !m.fresh {
			m.fail("no fresh media to use")
		}
		m.media, m.fresh = true, false
	case DropFresh:
		if !m.fresh {
			m.fail("no fresh media to drop")
		}
		m.fresh = false
	case MakeRestart, ApplyAnswer, HoldMedia:
		if !m.media {
			m.fail("%s without media", a.Kind)
		}
	case SendModify:
		if s := m.c.State; s != Active && s != Held {
			m.fail("modify %s in state %s", a.Modify, s)
		}
		if a.Modify == ModifyUpdate && m.c.detached {
			m.fail("media is mended on a line that is lost")
		}
	}
}

// signs holds light and tones against what the model knows by itself.
func (m *model) signs(in Input) {
	c := m.c
	before := c.State == Requesting || c.State == Trying
	if in.Kind == OnRinging && before && c.sent {
		m.rang = true
	}
	got := SignsOf(c)
	want := Signs{
		Rings: c.State == Ringing, Ringback: before && m.rang,
		Calling: c.State < Recovering || c.State > Recovering && c.State < Active,
		Talking: c.State == Active || c.State == Held || c.State == Recovering, Held: c.State == Held,
	}
	if got != want {
		m.fail("in state %s the signs are %+v, want %+v", c.State, got, want)
	}
	switch {
	case c.mend != mendNone && c.State != Active && c.State != Held:
		m.fail("mending in state %s", c.State)
	case (c.mend == mendOffering || c.mend == mendSending) && m.timer != MendTimer,
		c.mend == mendProving && m.timer != ProveTimer,
		(c.mend == mendWaiting || c.mend == mendAskAgain) && m.timer != LostTimer,
		c.State == Recovering && m.timer != RecoverTimer && m.timer != LostTimer:
		m.fail("state %s, mending at %d, and the timer is %q", c.State, c.mend, m.timer)
	}
}

// Random sequences of everything: no transition that is not drawn, nothing done twice, every call destroyed and reported
// exactly once, light and tones as the state says. SIDETONE_LONG=1 makes a million of them.
func TestModel(t *testing.T) {
	sequences := 25_000
	switch {
	case os.Getenv("SIDETONE_LONG") != "":
		sequences = 1_000_000
	case testing.Short():
		sequences = 5_000
	}
	names := make([]string, 0, len(inputs))
	for name := range inputs {
		names = append(names, name)
	}
	slices.Sort(names)
	rng := rand.New(rand.NewPCG(1, 2))
	// What cuts the longer ways short.
	rare := map[InputKind]bool{OnAttach: true, OnLineLost: true, OnFlowing: true, OnUnhealthy: true}
	reached, mended := map[State]int{}, map[mend]int{}
	for range sequences {
		m := &model{t: t, c: Info{ID: "c", Direction: Outbound, mayRelay: rng.IntN(2) == 0}, did: map[ActionKind]int{}, reached: reached, mended: mended}
		first := OnDial
		if rng.IntN(2) == 0 {
			m.c.Direction, first = Inbound, OnInvite
			if rng.IntN(4) == 0 {
				first = OnAttach
			}
		}
		m.feed(string(first), Input{Kind: first, SDP: "sdp"})
		for range rng.IntN(60) {
			var name string
			var in Input
			// Most inputs do not fit, and endings are too likely to let a call get far: most of both are left out.
			for range 1 + rng.IntN(24) {
				name = names[rng.IntN(len(names))]
				if rare[inputs[name].Kind] && rng.IntN(12) > 0 {
					continue
				}
				in = inputs[name]
				if in.Try == 0 && rng.IntN(16) > 0 {
					in.Try = m.c.try
				}
				next, actions := Step(m.c, in)
				steps := next.State != m.c.State || next.mend != m.c.mend || next.sent != m.c.sent
				if (len(actions) != 1 || actions[0].Kind != Refuse) && steps && next.State < Hangup {
					break
				}
			}
			if next, _ := Step(m.c, in); next.State == Hangup && m.c.State != Hangup && rng.IntN(12) > 0 || in.Kind == OnTimeout && m.timer != in.Timer {
				continue
			}
			m.feed(name, in)
		}
		m.feed("hang up", inputs["hang up"])
		m.feed("timeout end", Input{Kind: OnTimeout, Timer: EndTimer})
		for _, k := range []ActionKind{MakeOffer, MakeAnswer, SendInvite, SendAnswer, SendBye, CloseMedia, Settle} {
			if m.did[k] > 1 {
				m.fail("%q %d times", k, m.did[k])
			}
		}
		if m.c.State != Destroy || m.did[MakeReport] != 1 {
			m.fail("ended %s with %d reports", m.c.State, m.did[MakeReport])
		}
		if opened := m.did[MakeOffer]+m.did[MakeAnswer]+m.did[MakeAttach] > 0; opened != (m.did[CloseMedia] == 1) {
			m.fail("opened %t, closed %d", opened, m.did[CloseMedia])
		}
		if m.c.EndedBy == "" || m.c.Ended.IsZero() {
			m.fail("nobody ended it")
		}
	}
	for s := range drawn {
		if s != New && reached[s] < sequences/1000 {
			t.Errorf("state %s was reached %d times only: the model is too weak", s, reached[s])
		}
	}
	for stage := mendAsking; stage <= mendExhausted; stage++ {
		if mended[stage] < sequences/1000 {
			t.Errorf("mending was at %d %d times only: the model is too weak", stage, mended[stage])
		}
	}
	t.Logf("states reached: %v; stages of mending: %v", reached, mended)
}

func TestSignsOfSeveral(t *testing.T) {
	ringback := Info{Direction: Outbound, State: Trying, RemoteRings: true}
	for _, tt := range []struct {
		calls []Info
		want  Signs
	}{
		{nil, Signs{}},
		{[]Info{ringback}, Signs{Calling: true, Ringback: true}},
		{[]Info{{State: Held}, ringback}, Signs{Calling: true, Ringback: true, Talking: true, Held: true}},
		{[]Info{{State: Active}, ringback}, Signs{Calling: true, Talking: true}},
		{[]Info{{State: Held}, {State: Active}, {State: Ringing}}, Signs{Calling: true, Rings: true, Talking: true}},
		{[]Info{{State: Hangup, RemoteRings: true, Direction: Outbound}}, Signs{}},
	} {
		if got := SignsOf(tt.calls...); got != tt.want {
			t.Errorf("%+v: %+v, want %+v", tt.calls, got, tt.want)
		}
	}
}
