package ota

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

var theRelease = Release{Version: "2.0.0", Serial: 7, SHA256: "22", Size: 10}

// run steps through inputs and gives the last state and its actions.
func run(s State, inputs ...Input) (State, []Action) {
	var actions []Action
	for _, in := range inputs {
		s, actions = DefaultLimits.Step(s, in)
	}
	return s, actions
}

func booted(slot, bootID string, trial bool) Input {
	other := map[string]string{"a": "b", "b": "a"}[slot]
	return Input{Kind: OnBoot, Running: slot, Other: other, BootID: bootID, Trial: trial}
}

func kinds(kinds ...InputKind) []Input {
	var ins []Input
	for _, k := range kinds {
		ins = append(ins, Input{Kind: k, Reason: "why", Release: theRelease, BootID: "1"})
	}
	return ins
}

// upTo brings a machine to a phase by the shortest way.
func upTo(t *testing.T, p Phase) State {
	t.Helper()
	s, _ := run(State{}, booted("a", "1", false))
	for _, in := range append(kinds(OnCheck, OnFound, OnDone, OnDone, OnDone, OnQuiet), booted("b", "2", true), kinds(OnDone)[0]) {
		if s.Phase == p {
			return s
		}
		s, _ = DefaultLimits.Step(s, in)
	}
	if s.Phase != p {
		t.Fatalf("came to %s, want %s", s.Phase, p)
	}
	return s
}

func TestStep(t *testing.T) {
	cancelled := Input{Kind: OnCancel, Reason: "me"}
	for _, tt := range []struct {
		name    string
		from    Phase
		inputs  []Input
		phase   Phase
		actions []Action
		reason  string
	}{
		{"a check", Idle, kinds(OnCheck), Checking, []Action{Check}, ""},
		{"no news", Idle, kinds(OnCheck, OnNothing), Idle, nil, "why"},
		{"news", Idle, kinds(OnCheck, OnFound), Downloading, []Action{Fetch}, ""},
		{"the server goes", Downloading, kinds(OnTrouble), Idle, nil, "why"},
		{"a wrong chunk", Downloading, kinds(OnBad), Failed, nil, "why"},
		{"fetched", Downloading, kinds(OnDone), Verifying, []Action{ReadBack}, ""},
		{"read back", Verifying, kinds(OnDone), Writing, []Action{WriteHead}, ""},
		{"the disk is not what was written", Verifying, kinds(OnTrouble), Idle, nil, "why"},
		{"whole", Writing, kinds(OnDone), Ready, []Action{Ask}, ""},
		{"a call", Ready, kinds(OnBusy), Waiting, nil, "why"},
		{"the call is over", Ready, kinds(OnBusy, OnQuiet), Trying, []Action{Try}, ""},
		{"withdrawn", Ready, kinds(OnNothing), Idle, nil, "why"},
		{"withdrawn in a call", Waiting, kinds(OnNothing), Idle, nil, "why"},
		{"still offered", Waiting, kinds(OnFound), Waiting, nil, ""},
		{"a newer one is offered", Waiting, []Input{{Kind: OnFound, Release: Release{Version: "3.0.0", SHA256: "33", Size: 9}}}, Downloading, []Action{Fetch}, ""},
		{"the trial boots", Trying, []Input{booted("b", "2", true)}, Probation, []Action{Watch}, ""},
		{"our program ended before the boot", Trying, []Input{booted("a", "1", false)}, Waiting, []Action{Ask}, "the boot that was asked for did not come"},
		{"a boot that never comes", Trying, []Input{booted("a", "1", false), kinds(OnQuiet)[0], booted("a", "1", false), kinds(OnQuiet)[0], booted("a", "1", false)},
			RolledBack, nil, "the boot that was asked for did not come"},
		{"a trial that nobody knows of", Idle, []Input{booted("b", "1", true)}, Idle, nil, "slot b is on trial, and no update knows of it: the next boot is of slot a"},
		{"a cut ate the trial", Trying, []Input{booted("a", "2", false)}, Waiting, []Action{Ask}, "the trial boot ended before it was healthy"},
		{"an image that panics", Trying, []Input{booted("a", "2", false), {Kind: OnQuiet}, booted("a", "3", false), {Kind: OnQuiet}, booted("a", "4", false)},
			RolledBack, nil, "the trial boot ended before it was healthy"},
		{"it cannot be armed", Trying, kinds(OnTrouble), Idle, nil, "why"},
		{"healthy", Probation, kinds(OnHealthy), Probation, []Action{Commit}, ""},
		{"committed", Probation, kinds(OnHealthy, OnDone), Committed, nil, ""},
		{"a cut after the commit", Probation, []Input{booted("b", "3", false)}, Committed, nil, ""},
		{"unhealthy", Probation, kinds(OnUnhealthy), RolledBack, []Action{Revert}, "why"},
		{"the way back is not taken", Probation, append(kinds(OnUnhealthy), booted("b", "2", true)), RolledBack, []Action{Revert}, "why"},
		{"there is no way back", Probation, append(kinds(OnUnhealthy), booted("b", "3", true), booted("b", "4", true), booted("b", "5", true), booted("b", "6", true)),
			RolledBack, nil, "slot a does not boot any more; b stays, though: why"},
		{"a way back after three starts", Probation, []Input{booted("b", "2", true), booted("b", "2", true), cancelled, booted("b", "2", true)}, RolledBack, []Action{Revert}, "cancelled by me"},
		{"back", Probation, append(kinds(OnUnhealthy), booted("a", "3", false)), RolledBack, []Action{Watch}, "why"},
		{"back, and well", Probation, append(kinds(OnUnhealthy), booted("a", "3", false), Input{Kind: OnHealthy}), RolledBack, nil, "why"},
		{"back, and not well either", Probation, append(kinds(OnUnhealthy), booted("a", "3", false), Input{Kind: OnUnhealthy, Reason: "no network"}),
			Waiting, []Action{Ask}, "why; no fault of it, the old system is not well either: no network"},
		{"back, and a check comes", Probation, append(kinds(OnUnhealthy), booted("a", "3", false), Input{Kind: OnCheck}), RolledBack, nil, "why"},
		{"back, and forced", Probation, append(kinds(OnUnhealthy), booted("a", "3", false), Input{Kind: OnForce}), Checking, []Action{Check}, "why"},
		{"back, cancelled", Probation, []Input{cancelled, booted("a", "3", false)}, RolledBack, nil, "cancelled by me"},
		{"a reset in probation", Probation, []Input{booted("a", "3", false)}, Waiting, []Action{Ask}, "the trial boot ended before it was healthy"},
		{"a restart in probation", Probation, []Input{booted("b", "2", true)}, Probation, []Action{Watch}, ""},
		{"a crash loop", Probation, slices.Repeat([]Input{booted("b", "2", true)}, 3), RolledBack, []Action{Revert}, "crash loop: started 4 times in one boot"},
		{"the commit sector is read-only", Probation, kinds(OnHealthy, OnTrouble), RolledBack, []Action{Revert}, "commit: why"},
		{"cancelled", Downloading, []Input{cancelled}, Idle, []Action{Stop}, "cancelled by me"},
		{"cancelled on trial", Probation, []Input{cancelled}, RolledBack, []Action{Revert}, "cancelled by me"},
		{"cancelled when it is over", Committed, []Input{cancelled}, Committed, nil, ""},
		{"a cut in the download", Downloading, []Input{booted("a", "2", false)}, Checking, []Action{Check}, ""},
		{"a cut while writing", Writing, []Input{booted("a", "2", false)}, Checking, []Action{Check}, ""},
		{"a cut while ready", Ready, []Input{booted("a", "2", false)}, Ready, []Action{Ask}, ""},
		{"a cut in a check", Checking, []Input{booted("a", "2", false)}, Idle, nil, ""},
		{"somebody changed the slots", Ready, []Input{booted("b", "2", false)}, Failed, nil, "slot b runs, which the update did not expect"},
		{"forced", Waiting, kinds(OnForce), Waiting, []Action{Ask}, ""},
		{"forced in a check", Checking, kinds(OnForce), Checking, []Action{Check}, ""},
		{"forced on trial", Probation, kinds(OnForce), Probation, nil, ""},
		{"what was overtaken", Trying, kinds(OnDone, OnProgress, OnFound, OnHealthy, OnQuiet, OnCheck), Trying, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from := tt.from
			if from == Waiting {
				from = Ready
			}
			s := upTo(t, from)
			if tt.from == Waiting {
				s, _ = run(s, kinds(OnBusy)...)
				s.Reason = ""
			}
			s, actions := run(s, tt.inputs...)
			if s.Phase != tt.phase || !slices.Equal(actions, tt.actions) || s.Reason != tt.reason {
				t.Errorf("%s %v %q, want %s %v %q", s.Phase, actions, s.Reason, tt.phase, tt.actions, tt.reason)
			}
			if err := s.check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A version that failed comes again only with newer metadata, or by a person's word.
func TestCondemned(t *testing.T) {
	s, _ := run(upTo(t, Probation), append(kinds(OnUnhealthy), booted("a", "3", false), Input{Kind: OnHealthy})...)
	s, actions := run(s, kinds(OnCheck, OnFound)...)
	if s.Phase != Idle || actions != nil || s.Reason != "2.0.0 is not tried again: why" {
		t.Errorf("%+v %v", s, actions)
	}
	newer := Input{Kind: OnFound, Release: theRelease}
	newer.Release.Serial++
	if s, _ := run(s, Input{Kind: OnCheck}, newer); s.Phase != Downloading {
		t.Errorf("newer metadata: %+v", s)
	}
	for _, forced := range [][]Input{kinds(OnForce, OnFound), kinds(OnCheck, OnForce, OnFound)} {
		if s, _ := run(s, forced...); s.Phase != Downloading || !s.Forced {
			t.Errorf("forced: %+v", s)
		}
	}
}

// A release that is not well where the old system is not well either has as many trials as power cuts may eat, and no more.
func TestNoFaultOfTheRelease(t *testing.T) {
	s := upTo(t, Probation)
	for n := 1; s.Phase != RolledBack || s.Doubt; n++ {
		if n > DefaultLimits.Tries {
			t.Fatalf("trial %d: %+v", n, s)
		}
		if _, is := s.Condemned[theRelease.Version]; is {
			t.Errorf("before trial %d it was given up", n)
		}
		trial := fmt.Sprint(2 * n)
		s, _ = run(s, booted("b", trial, true), Input{Kind: OnUnhealthy, Reason: "no line"})
		if s, _ = run(s, booted("a", trial+"+", false), Input{Kind: OnUnhealthy, Reason: "no network"}); s.Phase == Waiting {
			s, _ = run(s, Input{Kind: OnBusy, Reason: "the line is not registered"}, Input{Kind: OnQuiet})
		}
	}
	if s.Tries != DefaultLimits.Tries || s.Condemned[theRelease.Version].Reason != "no line" {
		t.Errorf("%+v", s)
	}
}

// An image that is offered once more has all its trials again, and goes on where its download was.
func TestOfferedOnceMore(t *testing.T) {
	s, _ := run(upTo(t, Downloading), Input{Kind: OnProgress, Offset: 4}, kinds(OnTrouble)[0])
	s.Tries, s.Transitions = DefaultLimits.Tries, DefaultLimits.Transitions
	newer := Input{Kind: OnFound, Release: theRelease}
	newer.Release.Serial++
	if s, _ := run(s, Input{Kind: OnCheck}, newer); s.Phase != Downloading || s.Offset != 4 || s.Tries != 0 || s.Transitions != 1 {
		t.Errorf("%+v", s)
	}
	if s, _ := run(s, kinds(OnCheck, OnFound)...); s.Phase != Failed {
		t.Errorf("the same once more: %+v", s)
	}
}

// Verdicts do not pile up: those that can be of no use any more go with the next version that stays.
func TestCondemnedAreForgotten(t *testing.T) {
	s := upTo(t, Probation)
	s.Condemned = map[string]Verdict{"1.8.0": {Serial: 5}, "1.9.0": {Serial: 6}, "2.0.0": {Serial: 7}, "3.0.0": {Serial: 8}}
	if s, _ := run(s, kinds(OnDone)...); len(s.Condemned) != 1 || s.Condemned["3.0.0"].Serial != 8 {
		t.Errorf("%+v", s.Condemned)
	}
}

// A download goes on at its byte after a cut and after a server that went away; of another image it begins anew.
func TestOffset(t *testing.T) {
	s, _ := run(upTo(t, Downloading), Input{Kind: OnProgress, Offset: 4}, booted("a", "2", false), kinds(OnFound)[0])
	if s.Offset != 4 || s.Percent() != 40 {
		t.Errorf("after a cut: %+v", s)
	}
	s, _ = run(s, kinds(OnTrouble, OnCheck, OnFound)...)
	if s.Offset != 4 {
		t.Errorf("after trouble: %+v", s)
	}
	other := Input{Kind: OnFound, Release: Release{Version: "2.0.1", SHA256: "33", Size: 10}}
	if s, _ := run(s, Input{Kind: OnTrouble}, Input{Kind: OnCheck}, other); s.Offset != 0 {
		t.Errorf("another image: %+v", s)
	}
}

func TestDeferred(t *testing.T) {
	now := time.Unix(1e9, 0)
	s, _ := run(upTo(t, Ready), Input{Kind: OnDefer, Until: now.Add(time.Hour)}, Input{Kind: OnQuiet, Time: now})
	if s.Phase != Ready {
		t.Errorf("%+v", s)
	}
	if s, _ := run(s, Input{Kind: OnForce}, Input{Kind: OnQuiet, Time: now}); s.Phase != Trying {
		t.Errorf("forced: %+v", s)
	}
	if s, _ := run(s, Input{Kind: OnQuiet, Time: now.Add(time.Hour)}); s.Phase != Trying {
		t.Errorf("later: %+v", s)
	}
	if s, _ := run(s, Input{Kind: OnQuiet, Time: now.AddDate(-50, 0, 0)}); s.Phase != Trying {
		t.Errorf("by a clock that was wrong: %+v", s)
	}
	if s, _ := run(upTo(t, Downloading), kinds(OnForce, OnDone, OnDone, OnDone)...); !s.Forced || s.Phase != Ready {
		t.Errorf("forced while it was fetched: %+v", s)
	}
}

// A slot whose disk never keeps what is written does not go round for ever.
func TestTransitionsEnd(t *testing.T) {
	s := upTo(t, Idle)
	for n := 0; s.Phase != Failed; n++ {
		if n > DefaultLimits.Transitions {
			t.Fatal("no end")
		}
		s, _ = run(s, kinds(OnCheck, OnFound, OnDone, OnTrouble)...)
	}
}

func TestStateSurvivesJSON(t *testing.T) {
	for _, p := range phases {
		if p == RolledBack || p == Failed || p == Waiting {
			continue
		}
		s := upTo(t, p)
		s.Until = time.Unix(1e9, 0).UTC()
		b, _ := json.Marshal(s)
		back, err := ParseState(b)
		if err != nil || !reflect.DeepEqual(back, s) {
			t.Errorf("%s: %+v, %v, want %+v", p, back, err, s)
		}
	}
	for _, text := range []string{``, `{"phase":"flying"}`, `{"phase":"ready"}`, `{"offset":-1}`, `{"tries":-1}`,
		`{"phase":"trying","release":{"version":"1"},"target":"a","from":"a"}`} {
		if _, err := ParseState([]byte(text)); err == nil {
			t.Errorf("%s: taken", text)
		}
	}
	if s, err := ParseState([]byte(`{"phase":"flying","condemned":{"2.0.0":{"serial":7}}}`)); err == nil || s.Phase != "" || s.Condemned["2.0.0"].Serial != 7 {
		t.Errorf("the verdicts are lost: %+v, %v", s, err)
	}
}

func FuzzParseState(f *testing.F) {
	f.Add([]byte(`{"phase":"downloading","release":{"version":"2","size":9,"sha256":"22"},"target":"b","from":"a","offset":3}`), byte(0))
	f.Fuzz(func(t *testing.T, b []byte, pick byte) {
		s, err := ParseState(b)
		if err != nil {
			return
		}
		all := append(kinds(OnCheck, OnFound, OnNothing, OnProgress, OnDone, OnTrouble, OnBad, OnQuiet, OnBusy, OnHealthy, OnUnhealthy,
			OnDefer, OnCancel, OnForce), booted("a", "1", false), booted("b", "1", true))
		next, _ := DefaultLimits.Step(s, all[int(pick)%len(all)])
		if err := next.check(); err != nil {
			t.Errorf("%+v with %s: %v", s, all[int(pick)%len(all)].Kind, err)
		}
	})
}

// house is an appliance with two slots whose power can go at any moment. What is on its disk survives that.
type house struct {
	t       *testing.T
	rand    *rand.Rand
	disk    State             // saved
	slots   map[string]string // version in each; "" while it is written
	chosen  string            // boots when nothing is armed
	armed   bool              // the next boot is of the other slot
	running string
	trial   bool
	boots   int
	good    bool // the new version is healthy
	panics  bool // the new version never comes up: the watchdog boots the old one
	cuts    int  // left
}

func (h *house) other() string { return map[string]string{"a": "b", "b": "a"}[h.running] }

func (h *house) boot() Input {
	h.boots++
	h.running, h.trial = h.chosen, h.armed
	if h.armed {
		h.running = h.other()
	}
	h.armed = false
	if h.slots[h.running] == "" {
		h.t.Fatalf("boots slot %s, which is not whole: %+v", h.running, h.disk)
	}
	if h.panics && h.slots[h.running] == theRelease.Version {
		return h.boot()
	}
	return Input{Kind: OnBoot, Running: h.running, Other: h.other(), BootID: fmt.Sprint(h.boots), Trial: h.trial}
}

// cut says whether the power goes now.
func (h *house) cut() bool {
	if h.cuts > 0 && h.rand.IntN(4) == 0 {
		h.cuts--
		return true
	}
	return false
}

// do carries out an action: what it changes, and the input that comes of it.
func (h *house) do(a Action, s State) Input {
	in := Input{BootID: fmt.Sprint(h.boots), Release: theRelease, Reason: "why"}
	switch a {
	case Check:
		in.Kind = OnFound
		if h.slots[h.running] == theRelease.Version {
			in.Kind = OnNothing
		}
	case Fetch:
		h.slots[s.Target] = ""
		in.Kind, in.Offset = OnProgress, s.Offset+3
		if in.Offset >= theRelease.Size {
			in.Kind = OnDone
		}
	case ReadBack:
		in.Kind = OnDone
	case WriteHead:
		h.slots[s.Target] = theRelease.Version
		in.Kind = OnDone
	case Ask:
		in.Kind = []InputKind{OnQuiet, OnBusy, OnQuiet, OnBusy, OnNothing}[h.rand.IntN(5)] // withdrawn, then offered again
	case Try:
		h.armed = true
		return h.boot()
	case Watch:
		in.Kind = OnUnhealthy
		if h.good || h.slots[h.running] != theRelease.Version {
			in.Kind = OnHealthy
		}
	case Commit:
		h.chosen, h.trial = h.running, false
		in.Kind = OnDone
	case Revert:
		return h.boot()
	}
	return in
}

// Whatever the moment of a cut, what boots is whole, and the update ends: with the new version if it is good, but for a
// power that went in each of its trials, else with the old one.
func TestPowerCuts(t *testing.T) {
	for seed := range uint64(20000) {
		h := &house{t: t, rand: rand.New(rand.NewPCG(seed, 1)), chosen: "a", slots: map[string]string{"a": "1.0.0", "b": "0.9.0"}}
		h.good, h.cuts = h.rand.IntN(2) == 0, h.rand.IntN(12)
		h.panics = !h.good && h.rand.IntN(2) == 0
		h.running = "a"
		in, eaten := h.boot(), 0
		var s State
		for step := 0; ; step++ {
			if step > 1000 {
				t.Fatalf("seed %d: no end: %+v", seed, s)
			}
			var actions []Action
			s, actions = DefaultLimits.Step(s, in)
			if h.cut() { // before the state is on disk
				if s.Phase == Trying || s.Phase == Probation {
					eaten++
				}
				s, in = h.disk, h.boot()
				continue
			}
			h.disk = s
			if h.cut() { // before the action
				if s.Phase == Trying || s.Phase == Probation {
					eaten++
				}
				in = h.boot()
				continue
			}
			if len(actions) == 0 {
				if s.Phase == Committed || s.Phase == RolledBack && !s.Doubt || s.Phase == Failed {
					break
				}
				in = Input{Kind: OnCheck}
				switch s.Phase {
				case Downloading:
					in = h.do(Fetch, s)
				case Ready, Waiting:
					in = h.do(Ask, s)
				}
				continue
			}
			in = h.do(actions[0], s)
			if h.cut() { // after the action, before anybody is told
				if s.Phase == Trying || s.Phase == Probation {
					eaten++
				}
				in = h.boot()
			}
		}
		want := "1.0.0"
		if h.good && s.Phase == Committed {
			want = theRelease.Version
		}
		if !h.good && s.Phase == Committed || h.good && s.Phase != Committed && eaten < DefaultLimits.Tries {
			t.Fatalf("seed %d: good %v, %d trials eaten: %+v", seed, h.good, eaten, s)
		}
		if got := h.slots[h.chosen]; got != want || h.armed {
			t.Fatalf("seed %d: %s is what boots, want %s: %+v", seed, got, want, s)
		}
	}
}
