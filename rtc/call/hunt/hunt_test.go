package hunt

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// world plays the calls of a hunt: it places what is asked for, in virtual time.
type world struct {
	t      *testing.T
	h      Hunt
	now    time.Time
	placed int
	log    []string
	start  time.Time
}

func begin(t *testing.T, p Plan) *world {
	w := &world{t: t, now: time.Unix(1000, 0)}
	w.start = w.now
	var actions []Action
	w.h, actions = Start(p, w.now)
	w.do(actions)
	return w
}

// do carries actions out at once, as call.Manager does.
func (w *world) do(actions []Action) {
	for _, a := range actions {
		if a.Dial {
			w.placed++
			w.note("dial " + a.Target)
			w.feed(Input{Kind: Dialled, Leg: a.Leg, CallID: fmt.Sprint("c", w.placed)})
		} else {
			w.note("hang up " + a.CallID)
			w.feed(Input{Kind: Ended, CallID: a.CallID})
		}
	}
}

func (w *world) note(what string) {
	w.log = append(w.log, fmt.Sprintf("%d %s", int(w.now.Sub(w.start).Seconds()), what))
}

func (w *world) feed(in Input) {
	in.Time = w.now
	var actions []Action
	w.h, actions = w.h.Step(in)
	w.do(actions)
}

// wait lets time pass, and ticks as asked.
func (w *world) wait(d time.Duration) {
	end := w.now.Add(d)
	for {
		due := w.h.Due()
		if due.IsZero() || due.After(end) {
			break
		}
		w.now = due
		w.feed(Input{Kind: Tick})
		if w.h.Due().Equal(due) {
			w.t.Fatal("a tick that changes nothing is wanted for ever")
		}
	}
	w.now = end
}

func (w *world) is(outcome Outcome, log string) {
	w.t.Helper()
	if got := strings.Join(w.log, ", "); got != log {
		w.t.Errorf("did\n %s, want\n %s", got, log)
	}
	if w.h.Outcome() != outcome {
		w.t.Errorf("outcome %q, want %q", w.h.Outcome(), outcome)
	}
}

var list = []string{"a", "b", "c"}

func TestSequence(t *testing.T) {
	w := begin(t, Plan{Targets: list, PerTarget: 20 * time.Second, Rounds: 2})
	w.wait(25 * time.Second)
	w.feed(Input{Kind: Ended, CallID: "c2"}) // b is busy: on to the next at once
	w.wait(5 * time.Second)
	w.wait(time.Hour)
	w.is(NoAnswer, "0 dial a, 20 hang up c1, 20 dial b, 25 dial c, 45 hang up c3, 45 dial a, 65 hang up c4, 65 dial b, 85 hang up c5, 85 dial c, 105 hang up c6")
}

func TestSequenceAnswered(t *testing.T) {
	w := begin(t, Plan{Targets: list, PerTarget: 20 * time.Second, MaxCall: time.Minute})
	w.wait(21 * time.Second)
	w.feed(Input{Kind: Answered, CallID: "c2"})
	if w.h.Talking() != "c2" {
		t.Errorf("talking to %q", w.h.Talking())
	}
	w.wait(30 * time.Second)
	w.feed(Input{Kind: Ended, CallID: "c2"})
	w.is(Talked, "0 dial a, 20 hang up c1, 20 dial b")
}

func TestFirst(t *testing.T) {
	w := begin(t, Plan{Targets: list, Mode: First, PerTarget: 30 * time.Second, Rounds: 2})
	w.feed(Input{Kind: Ended, CallID: "c2"})
	w.wait(31 * time.Second)
	w.feed(Input{Kind: Answered, CallID: "c1"}) // too late: it is being hung up
	w.feed(Input{Kind: Answered, CallID: "c6"})
	w.feed(Input{Kind: Answered, CallID: "c5"})
	w.wait(time.Hour)
	w.is(Open, "0 dial a, 0 dial b, 0 dial c, 30 hang up c1, 30 hang up c3, 30 dial a, 30 dial b, 30 dial c, 31 hang up c4, 31 hang up c5")
	w.feed(Input{Kind: Pressed})
	w.is(Talked, strings.Join(w.log, ", "))
}

func TestLimits(t *testing.T) {
	t.Run("nobody answers in time", func(t *testing.T) {
		w := begin(t, Plan{Targets: list, PerTarget: 20 * time.Second, NoAnswer: 25 * time.Second})
		w.wait(time.Hour)
		w.is(NoAnswer, "0 dial a, 20 hang up c1, 20 dial b, 25 hang up c2")
	})
	t.Run("the call is too long", func(t *testing.T) {
		w := begin(t, Plan{Targets: list, NoAnswer: time.Minute, MaxCall: 3 * time.Minute})
		w.wait(10 * time.Second)
		w.feed(Input{Kind: Answered, CallID: "c1"})
		w.wait(time.Hour)
		w.is(Limited, "0 dial a, 190 hang up c1")
	})
	t.Run("the door was opened", func(t *testing.T) {
		w := begin(t, Plan{Targets: list, MaxCall: time.Minute, AfterDoor: 5 * time.Second})
		w.feed(Input{Kind: DoorOpened}) // before anybody answered it means nothing
		w.feed(Input{Kind: Answered, CallID: "c1"})
		w.wait(10 * time.Second)
		w.feed(Input{Kind: DoorOpened})
		w.wait(time.Second)
		w.feed(Input{Kind: DoorOpened}) // once more: the first counts
		w.wait(time.Hour)
		w.is(Limited, "0 dial a, 15 hang up c1")
	})
	t.Run("the door was opened late", func(t *testing.T) {
		w := begin(t, Plan{Targets: list, MaxCall: time.Minute, AfterDoor: 5 * time.Second})
		w.feed(Input{Kind: Answered, CallID: "c1"})
		w.wait(58 * time.Second)
		w.feed(Input{Kind: DoorOpened})
		w.wait(time.Hour)
		w.is(Limited, "0 dial a, 60 hang up c1")
	})
	t.Run("pressed again", func(t *testing.T) {
		w := begin(t, Plan{Targets: list, Mode: First})
		w.wait(time.Second)
		w.feed(Input{Kind: Pressed})
		w.feed(Input{Kind: Pressed})
		w.is(Canceled, "0 dial a, 0 dial b, 0 dial c, 1 hang up c1, 1 hang up c2, 1 hang up c3")
	})
	t.Run("no targets", func(t *testing.T) {
		w := begin(t, Plan{Rounds: 5})
		w.is(NoAnswer, "")
	})
	t.Run("zero", func(t *testing.T) {
		var h Hunt
		if h, actions := h.Step(Input{Kind: Pressed}); !h.Over() || actions != nil || !h.Due().IsZero() {
			t.Errorf("%+v %v", h, actions)
		}
	})
}

// A call whose placing took longer than its turn is hung up when it is there.
func TestPlacedTooLate(t *testing.T) {
	now := time.Unix(1000, 0)
	h, actions := Start(Plan{Targets: list[:1], PerTarget: time.Second}, now)
	h, none := h.Step(Input{Kind: Tick, Time: now.Add(time.Second)})
	if len(actions) != 1 || len(none) != 0 || h.Outcome() != NoAnswer {
		t.Fatalf("%v %v %q", actions, none, h.Outcome())
	}
	h, actions = h.Step(Input{Kind: Dialled, Leg: actions[0].Leg, CallID: "late", Time: now.Add(2 * time.Second)})
	if len(actions) != 1 || actions[0].CallID != "late" {
		t.Errorf("%v", actions)
	}
	if _, actions = h.Step(Input{Kind: Answered, CallID: "late"}); actions != nil || h.Talking() != "" {
		t.Errorf("%v", actions)
	}
}

func TestNotDialled(t *testing.T) {
	now := time.Unix(1000, 0)
	h, actions := Start(Plan{Targets: list, Rounds: 3}, now)
	dialled := 0
	for len(actions) > 0 {
		dialled++
		h, actions = h.Step(Input{Kind: NotDialled, Leg: actions[0].Leg, Time: now})
	}
	if dialled != 9 || h.Outcome() != NoAnswer {
		t.Errorf("%d dialled, %q", dialled, h.Outcome())
	}
}

// Whatever happens: no call is left behind, never do two talk, and each hunt has an end.
func TestModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	outcomes := map[Outcome]int{}
	for range 20_000 {
		limit := func() time.Duration { return time.Duration(rng.IntN(5)) * 10 * time.Second }
		p := Plan{
			Targets: list[:rng.IntN(4)], PerTarget: limit(), Rounds: rng.IntN(4), NoAnswer: limit(), MaxCall: limit(), AfterDoor: limit(),
		}
		if rng.IntN(2) == 0 {
			p.Mode = First
		}
		now := time.Unix(1000, 0)
		var history []string
		up := map[string]bool{} // placed and not ended
		var placing []int
		answered, dialled := 0, 0
		h, actions := Start(p, now)
		take := func() {
			for _, a := range actions {
				if a.Dial {
					dialled++
					placing = append(placing, a.Leg)
				} else if !up[a.CallID] {
					t.Fatalf("%v: %s is hung up, and is not up", history, a.CallID)
				}
			}
		}
		feed := func(in Input) {
			in.Time = now
			history = append(history, fmt.Sprint(in.Kind, in.Leg, in.CallID))
			before := h
			h, actions = h.Step(in)
			if before.talk != "" && h.talk != before.talk {
				t.Fatalf("%v: talks to %s, then to %s", history, before.talk, h.talk)
			}
			if h.talk != "" && before.talk == "" {
				answered++
			}
			hung := append([]Action(nil), actions...)
			take()
			for _, a := range hung { // hanging up ends a call, soon
				if !a.Dial && rng.IntN(2) == 0 {
					delete(up, a.CallID)
					h, actions = h.Step(Input{Kind: Ended, CallID: a.CallID, Time: now})
					take()
				}
			}
		}
		take()
		place := func() {
			n := placing[0]
			placing = placing[1:]
			if rng.IntN(5) == 0 {
				feed(Input{Kind: NotDialled, Leg: n})
				return
			}
			id := fmt.Sprint("c", n)
			up[id] = true
			feed(Input{Kind: Dialled, Leg: n, CallID: id})
		}
		for range rng.IntN(30) {
			var id string
			for id = range up {
				break
			}
			switch rng.IntN(8) {
			case 0, 1:
				if len(placing) > 0 {
					place()
				}
			case 2:
				feed(Input{Kind: Answered, CallID: id})
			case 3:
				if id != "" {
					delete(up, id)
					feed(Input{Kind: Ended, CallID: id})
				}
			case 4:
				if rng.IntN(4) == 0 {
					feed(Input{Kind: Pressed})
				}
			case 5:
				feed(Input{Kind: DoorOpened})
			default:
				now = now.Add(time.Duration(rng.IntN(15)) * time.Second)
				if due := h.Due(); !due.IsZero() && !due.After(now) {
					feed(Input{Kind: Tick})
				}
			}
		}
		feed(Input{Kind: Pressed})
		for len(placing) > 0 {
			place()
		}
		if !h.Over() || !h.Due().IsZero() || answered > 1 || dialled > 9 {
			t.Fatalf("%v: over %t, %d answered, %d dialled", history, h.Over(), answered, dialled)
		}
		for _, l := range h.legs {
			if !l.dropped && l.callID != h.talk {
				t.Fatalf("%v: call %s is left behind", history, l.callID)
			}
		}
		outcomes[h.Outcome()]++
	}
	for _, o := range []Outcome{Talked, Limited, NoAnswer, Canceled} {
		if outcomes[o] < 100 {
			t.Errorf("outcome %q only %d times: the model is too weak", o, outcomes[o])
		}
	}
}
