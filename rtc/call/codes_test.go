package call

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/rtc/quality"
)

// What a call says of itself when things go wrong, by the codes of the SDKs; each stands in its report as well.
func TestCodes(t *testing.T) {
	trouble := errors.New("trouble")
	inbound := func(w *world) string {
		w.ring("in-1")
		_ = w.Answer(w.t.Context(), "")
		time.Sleep(time.Second)
		return "in-1"
	}
	outbound := (*world).dial
	path := func(w *world, changes uint32) {
		m := w.theMedia(0)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.path = &quality.Path{Changes: changes}
	}
	for _, tt := range []struct {
		name   string
		change func(*Config, *world)
		do     func(*world) string
		want   []int
	}{
		{"all is well", nil, (*world).talk, nil},
		{"no offer", func(_ *Config, w *world) { w.offerErr = trouble }, outbound, []int{40001}},
		{"no media for a call of ours", func(_ *Config, w *world) { w.newMediaErr = trouble }, outbound, []int{40001}},
		{"no media for a call to us", func(_ *Config, w *world) { w.newMediaErr = trouble }, inbound, []int{40002}},
		{"an offer of no use", func(_ *Config, w *world) { w.answerErr = trouble }, inbound, []int{40002}},
		{"an answer of no use", func(_ *Config, w *world) { w.setErr = trouble }, (*world).talk, []int{40004}},
		{"invite refused", func(_ *Config, w *world) { w.line.inviteErr = &Refused{Err: trouble} }, outbound, []int{40005}},
		{"our answer refused", func(_ *Config, w *world) { w.line.answerErr = &Refused{Err: trouble} }, inbound, []int{40005}},
		{"hold refused", nil, func(w *world) string {
			id := w.talk()
			w.line.modifyErr = &Refused{Err: trouble}
			_ = w.Hold(w.t.Context(), id)
			return id
		}, []int{44001}},
		{"answered twice", func(_ *Config, w *world) { w.gather = time.Second }, func(w *world) string {
			w.ring("in-1")
			_ = w.Answer(w.t.Context(), "in-1")
			_ = w.Answer(w.t.Context(), "in-1")
			return "in-1"
		}, []int{33006}},
		{"another is being answered", func(c *Config, w *world) { c.SecondCall, w.gather = SecondWait, time.Second }, func(w *world) string {
			w.ring("in-1")
			w.ring("in-2")
			_ = w.Answer(w.t.Context(), "in-1")
			if err := w.Answer(w.t.Context(), "in-2"); !errors.Is(err, errOther) {
				w.t.Errorf("two calls were answered at a time: %v", err)
			}
			return "in-2"
		}, []int{33007}},
		{"no way for media was found", func(_ *Config, w *world) {
			w.offerErr = fmt.Errorf("no offer: %w", &quality.Error{Code: 33003})
		}, outbound, []int{33003, 40001}},
		{"what media warns of", nil, func(w *world) string {
			id := w.dial()
			w.theMedia(0).notify(MediaEvent{Kind: MediaWarning, Code: quality.OnlyHostCandidates})
			return id
		}, []int{33005}},
		{"media takes another path", nil, func(w *world) string {
			id := w.talk()
			for _, changes := range []uint32{0, 1, 1, 2, 2} { // the first selection is none
				path(w, changes)
				time.Sleep(samplePeriod)
			}
			return id
		}, []int{33008}},
		{"two calls talk", nil, func(w *world) string {
			// Two legs of a hunt are answered before one of them could be taken back.
			var ids []string
			for _, to := range []string{"a", "b"} {
				id, err := w.Dial(w.t.Context(), DialRequest{Destination: to, Group: "hunt-1"})
				if err != nil {
					w.t.Fatal(err)
				}
				ids = append(ids, id)
			}
			time.Sleep(time.Second)
			for _, id := range ids {
				w.Signal(Signal{Kind: SignalAnswered, CallID: id, SDP: "their answer"})
			}
			return ids[1]
		}, []int{33010}},
		{"the call is not given back", nil, func(w *world) string {
			id := w.talk()
			w.Signal(Signal{Kind: SignalLineLost})
			w.Signal(Signal{Kind: SignalReady})
			return id
		}, []int{48501}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, tt.change, func(t *testing.T, w *world) {
				id := tt.do(w)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				_ = w.Hangup(t.Context(), id)
				time.Sleep(10 * time.Second)
				var told []int
				for _, e := range append(w.of(Warned), w.of(Errored)...) {
					if e.Call.ID != id {
						continue
					}
					if told = append(told, e.Warning.Code); (e.Kind == Errored) != (e.Warning.Code >= 40000) {
						t.Errorf("%d came as %s", e.Warning.Code, e.Kind)
					}
				}
				if !slices.Equal(told, tt.want) {
					t.Errorf("told %v, want %v", told, tt.want)
				}
				var kept []int
				for _, k := range w.report(id).Warnings {
					kept = append(kept, k.Code)
				}
				if !slices.Equal(kept, tt.want) {
					t.Errorf("the report has %v, want %v", kept, tt.want)
				}
			})
		})
	}
}

// A restart that finds no way says so each time.
func TestNoWayForNewMedia(t *testing.T) {
	in(t, func(_ *Config, w *world) { w.restartErr = &quality.Error{Code: quality.GatheringEmpty} }, func(t *testing.T, w *world) {
		w.talk()
		w.theMedia(0).notify(MediaEvent{Kind: MediaConnected})
		w.theMedia(0).notify(MediaEvent{Kind: MediaFailed})
		time.Sleep(time.Second)
		is(t, "codes", w.codes(), "33004 36004 33003 47001 33003 47001 33003 47001")
	})
}

// The causes that we give ourselves, as the platforms name and number them.
func TestCauseCodes(t *testing.T) {
	for _, c := range []struct {
		cause Cause
		text  string
		code  int
	}{
		{NormalClearing, "NORMAL_CLEARING", 16}, {UserBusy, "USER_BUSY", 17}, {NoAnswer, "NO_ANSWER", 19},
		{CallRejected, "CALL_REJECTED", 21}, {TemporaryFailure, "NORMAL_TEMPORARY_FAILURE", 41},
		{IncompatibleDestination, "INCOMPATIBLE_DESTINATION", 88}, {RecoveryOnTimerExpire, "RECOVERY_ON_TIMER_EXPIRE", 102},
	} {
		if c.cause != (Cause{Cause: c.text, CauseCode: c.code}) {
			t.Errorf("%+v, want %s %d", c.cause, c.text, c.code)
		}
	}
}

// The actions of modify, as the platforms take them.
func TestModifyNames(t *testing.T) {
	for name, wire := range map[string]string{
		ModifyHold: "hold", ModifyUnhold: "unhold", ModifyToggleHold: "toggleHold", ModifyUpdate: "updateMedia",
		ModifyTransfer: "transfer",
	} {
		if name != wire {
			t.Errorf("%s, want %s", name, wire)
		}
	}
}

// The times of the SDKs that no other test measures to the second.
func TestTimes(t *testing.T) {
	for _, c := range []struct{ ours, want time.Duration }{
		{disconnectPatience, 3 * time.Second}, {mendTimeout, 15 * time.Second}, {proveTimeout, 5 * time.Second},
		{lostTimeout, 120 * time.Second}, {byeTimeout, 5 * time.Second},
	} {
		if c.ours != c.want {
			t.Errorf("%v, want %v", c.ours, c.want)
		}
	}
}
