package call

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// in runs a test in a bubble with a manager that is stopped, and checked, at its end.
func in(t *testing.T, change func(*Config, *world), test func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, change)
		defer w.stop()
		test(t, w)
	})
}

func is(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

func TestOutbound(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.dial()
		w.Signal(Signal{Kind: SignalRinging, CallID: id, TelnyxLegID: "leg-1"})
		synctest.Wait()
		if c := w.Calls(t.Context()); len(c) != 1 || !c[0].RemoteRings || c[0].State != Trying {
			t.Errorf("calls %+v", c)
		}
		w.Signal(Signal{Kind: SignalEarlyMedia, CallID: id, SDP: "early answer"})
		w.Signal(Signal{Kind: SignalAnswered, CallID: id, SDP: "second answer"})
		time.Sleep(10 * time.Second)
		if err := w.Hangup(t.Context(), id); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		is(t, "states", w.states(id), "new requesting trying early active hangup destroy")
		is(t, "line", w.line.done(), "invite call-1 our offer, bye call-1 NORMAL_CLEARING/16")
		is(t, "media", w.theMedia(0).done(), "offer, set early answer")
		if n := w.theMedia(0).samples; n != 12 {
			t.Errorf("%d samples in 10 s, want a first one, one a second and a last one", n)
		}
		s := w.report(id).Summary
		if s.CallerNumber != "+15550100" || s.DestinationNumber != "concierge" || s.TelnyxLegID != "leg-1" ||
			s.Direction != "outbound" || s.CauseCode != 16 || s.EndTimestamp.Sub(s.ActiveTimestamp) != 10*time.Second {
			t.Errorf("summary %+v", s)
		}
		if len(w.report(id).Logs) != 6 {
			t.Errorf("logs %+v", w.report(id).Logs)
		}
		if len(w.Calls(t.Context())) != 0 {
			t.Error("the call is still listed")
		}
	})
}

func TestOutboundWithoutEarlyMedia(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.talk()
		w.Signal(Signal{Kind: SignalBye, CallID: id, Cause: NormalClearing})
		synctest.Wait()
		is(t, "states", w.states(id), "new requesting trying active hangup destroy")
		is(t, "line", w.line.done(), "invite call-1 our offer")
		is(t, "media", w.theMedia(0).done(), "offer, set their answer")
		if e := w.of(Reported)[0]; e.Call.EndedBy != ByRemote || e.Call.Cause != NormalClearing {
			t.Errorf("report's call %+v", e.Call)
		}
	})
}

// What the platform says may overtake its answer to our invite.
func TestAnswerOvertakesInvite(t *testing.T) {
	in(t, func(_ *Config, w *world) { w.line.delay = time.Second }, func(t *testing.T, w *world) {
		id := w.dial()
		w.Signal(Signal{Kind: SignalAnswered, CallID: id, SDP: "their answer"})
		time.Sleep(5 * time.Second)
		is(t, "states", w.states(id), "new requesting active")
	})
}

func TestInbound(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.Signal(Signal{Kind: SignalInvite, CallID: "in-1", SDP: "their offer", RemoteName: "Door", RemoteID: "door1"})
		time.Sleep(5 * time.Second)
		if err := w.Answer(t.Context(), ""); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		w.Signal(Signal{Kind: SignalBye, CallID: "in-1", Cause: NormalClearing})
		synctest.Wait()
		is(t, "states", w.states("in-1"), "new ringing answering active hangup destroy")
		is(t, "line", w.line.done(), "answer in-1 our answer")
		is(t, "media", w.theMedia(0).done(), "answer their offer")
		if s := w.report("in-1").Summary; s.CallerNumber != "door1" || s.Direction != "inbound" {
			t.Errorf("summary %+v", s)
		}
	})
}

func TestAutoAnswer(t *testing.T) {
	in(t, func(c *Config, _ *world) { c.AutoAnswer = true }, func(t *testing.T, w *world) {
		w.Signal(Signal{Kind: SignalInvite, CallID: "in-1", SDP: "their offer"})
		time.Sleep(time.Second)
		is(t, "states", w.states("in-1"), "new ringing answering active")
	})
}

func TestReject(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.Signal(Signal{Kind: SignalInvite, CallID: "in-1", SDP: "their offer"})
		if err := w.Hangup(t.Context(), "in-1"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		is(t, "states", w.states("in-1"), "new ringing hangup destroy")
		is(t, "line", w.line.done(), "bye in-1 USER_BUSY/17")
	})
}

func TestSecondCall(t *testing.T) {
	in(t, func(c *Config, _ *world) { c.AutoAnswer = true }, func(t *testing.T, w *world) {
		id := w.talk()
		if _, err := w.Dial(t.Context(), DialRequest{Destination: "other"}); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), id) {
			t.Errorf("second dial: %v", err)
		}
		w.Signal(Signal{Kind: SignalInvite, CallID: "in-2", SDP: "their offer", RemoteID: "door2"})
		synctest.Wait()
		is(t, "states of the first", w.states(id), "new requesting trying active")
		is(t, "states of the second", w.states("in-2"), "")
		is(t, "line", w.line.done(), "invite call-1 our offer, bye in-2 USER_BUSY/17")
		if s := w.report("in-2").Summary; s.Cause != "USER_BUSY" || s.CallerNumber != "door2" {
			t.Errorf("summary %+v", s)
		}
		// The same invite again is no third call.
		w.Signal(Signal{Kind: SignalInvite, CallID: id, SDP: "their offer"})
		synctest.Wait()
		if n := len(w.Calls(t.Context())); n != 1 {
			t.Errorf("%d calls", n)
		}
		w.stop()
		is(t, "states of the first", w.states(id), "new requesting trying active hangup destroy")
	})
}

// A storm of invites is answered in part, and costs no more than that.
func TestInviteStorm(t *testing.T) {
	in(t, func(_ *Config, w *world) { w.line.delay = time.Second }, func(t *testing.T, w *world) {
		for i := range 1000 {
			w.Signal(Signal{Kind: SignalInvite, CallID: fmt.Sprintf("in-%d", i), SDP: "their offer"})
		}
		synctest.Wait()
		if n := len(w.Calls(t.Context())); n != maxCalls {
			t.Errorf("%d calls", n)
		}
		w.Signal(Signal{Kind: SignalInvite, CallID: "../../etc/passwd", SDP: "x"})
		time.Sleep(time.Minute)
	})
}

func TestFailures(t *testing.T) {
	trouble := errors.New("trouble")
	outbound := func(w *world) string { return w.dial() }
	answered := func(w *world) string { return w.talk() }
	inbound := func(w *world) string {
		w.Signal(Signal{Kind: SignalInvite, CallID: "in-1", SDP: "their offer"})
		_ = w.Answer(w.t.Context(), "")
		time.Sleep(time.Second)
		return "in-1"
	}
	for _, tt := range []struct {
		name   string
		change func(*Config, *world)
		do     func(*world) string
		states string
		cause  Cause
		bye    bool
	}{
		{"no media", func(_ *Config, w *world) { w.newMediaErr = trouble }, outbound,
			"new requesting hangup destroy", TemporaryFailure, false},
		{"no offer", func(_ *Config, w *world) { w.offerErr = trouble }, outbound,
			"new requesting hangup destroy", TemporaryFailure, false},
		{"invite refused", func(_ *Config, w *world) { w.line.inviteErr = &Refused{Err: trouble} }, outbound,
			"new requesting hangup destroy", CallRejected, true},
		{"invite refused with a cause", func(_ *Config, w *world) {
			w.line.inviteErr = fmt.Errorf("invite: %w", &Refused{Cause: UserBusy, Err: trouble})
		}, outbound, "new requesting hangup destroy", UserBusy, true},
		{"line lost with the invite", func(_ *Config, w *world) { w.line.inviteErr, w.line.byeErr = errOffline, errOffline }, outbound,
			"new requesting hangup destroy", TemporaryFailure, true},
		{"line down", func(_ *Config, w *world) { w.line.inviteErr = fmt.Errorf("%w: %w", ErrUnsent, errOffline) }, outbound,
			"new requesting hangup destroy", TemporaryFailure, false},
		{"invite unanswered", func(_ *Config, w *world) { w.line.delay = time.Hour }, func(w *world) string {
			id := w.dial()
			time.Sleep(20 * time.Second)
			return id
		}, "new requesting hangup destroy", TemporaryFailure, true},
		{"answer of no use", func(_ *Config, w *world) { w.setErr = trouble }, answered,
			"new requesting trying active hangup destroy", IncompatibleDestination, true},
		{"offer of no use", func(_ *Config, w *world) { w.answerErr = trouble }, inbound,
			"new ringing answering hangup destroy", IncompatibleDestination, true},
		{"our answer refused", func(_ *Config, w *world) { w.line.answerErr = &Refused{Err: trouble} }, inbound,
			"new ringing answering hangup destroy", CallRejected, true},
		{"media failed", nil, func(w *world) string {
			id := w.talk()
			w.theMedia(0).notify(MediaEvent{Kind: MediaFailed, Err: trouble})
			time.Sleep(lostTimeout) // the platform refuses to mend it, and the line is renewed in vain
			return id
		}, "new requesting trying active hangup destroy", TemporaryFailure, true},
		{"nobody answers us", func(c *Config, _ *world) { c.SetupTimeout = 20 * time.Second }, func(w *world) string {
			id := w.dial()
			w.Signal(Signal{Kind: SignalRinging, CallID: id})
			time.Sleep(21 * time.Second)
			return id
		}, "new requesting trying hangup destroy", NoAnswer, true},
		{"we do not answer", func(c *Config, _ *world) { c.RingTimeout = 20 * time.Second }, func(w *world) string {
			w.Signal(Signal{Kind: SignalInvite, CallID: "in-1", SDP: "their offer"})
			time.Sleep(21 * time.Second)
			return "in-1"
		}, "new ringing hangup destroy", NoAnswer, true},
		{"gathering never ends", func(c *Config, w *world) { w.gather, c.SetupTimeout = time.Hour, time.Second }, func(w *world) string {
			id, _ := w.Dial(w.t.Context(), DialRequest{Destination: "x"})
			time.Sleep(2 * time.Second)
			return id
		}, "new requesting hangup destroy", RecoveryOnTimerExpire, false},
		{"line lost before the answer", nil, func(w *world) string {
			id := w.dial()
			w.Signal(Signal{Kind: SignalLineLost})
			synctest.Wait()
			return id
		}, "new requesting trying hangup destroy", TemporaryFailure, true},
		{"dropped by the platform", nil, func(w *world) string {
			id := w.talk()
			w.Signal(Signal{Kind: SignalDropped})
			synctest.Wait()
			return id
		}, "new requesting trying active hangup destroy", TemporaryFailure, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, tt.change, func(t *testing.T, w *world) {
				id := tt.do(w)
				time.Sleep(time.Second)
				is(t, "states", w.states(id), tt.states)
				r := w.report(id)
				if got := (Cause{Cause: r.Summary.Cause, CauseCode: r.Summary.CauseCode}); got != tt.cause {
					t.Errorf("cause %+v, want %+v", got, tt.cause)
				}
				if tt.bye != strings.Contains(w.line.done(), "bye") {
					t.Errorf("line did %s", w.line.done())
				}
				if e := w.of(Reported)[0].Call; e.Error == "" || e.EndedBy == "" {
					t.Errorf("nothing said why: %+v", e)
				}
			})
		})
	}
}

// A lost line leaves a call alone that talks.
func TestLineLostWhileActive(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.talk()
		w.line.byeErr = errOffline
		w.Signal(Signal{Kind: SignalLineLost})
		time.Sleep(time.Minute)
		is(t, "states", w.states(id), "new requesting trying active")
		if err := w.Hangup(t.Context(), id); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		is(t, "states", w.states(id), "new requesting trying active hangup destroy")
	})
}

// Hanging up while the invite is under way: bye comes after it, never before.
func TestHangupDuringInvite(t *testing.T) {
	in(t, func(_ *Config, w *world) { w.line.delay = 100 * time.Millisecond }, func(t *testing.T, w *world) {
		id, err := w.Dial(t.Context(), DialRequest{Destination: "concierge"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(w.gather + 10*time.Millisecond)
		if err := w.Hangup(t.Context(), id); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		is(t, "line", w.line.done(), "invite call-1 our offer, bye call-1 USER_BUSY/17")
		is(t, "states", w.states(id), "new requesting hangup destroy")
	})
}

func TestHangupWhileGathering(t *testing.T) {
	in(t, func(_ *Config, w *world) { w.gather = time.Hour }, func(t *testing.T, w *world) {
		id, err := w.Dial(t.Context(), DialRequest{Destination: "concierge"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := w.Hangup(t.Context(), ""); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		is(t, "line", w.line.done(), "")
		is(t, "states", w.states(id), "new requesting hangup destroy")
		// There is room for the next call at once.
		if _, err := w.Dial(t.Context(), DialRequest{Destination: "concierge"}); err != nil {
			t.Error(err)
		}
	})
}

func TestDTMF(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.dial()
		if err := w.DTMF(t.Context(), id, "1"); err == nil || !strings.Contains(err.Error(), "trying") {
			t.Errorf("digits while trying: %v", err)
		}
		w.Signal(Signal{Kind: SignalAnswered, CallID: id, SDP: "their answer"})
		for _, bad := range []string{"", "x", "12 3", "٣", strings.Repeat("1", 65)} {
			if err := w.DTMF(t.Context(), id, bad); err == nil {
				t.Errorf("digits %q were taken", bad)
			}
		}
		if err := w.DTMF(t.Context(), "", "1a#*"); err != nil {
			t.Error(err)
		}
		if err := w.DTMF(t.Context(), "nobody", "1"); !errors.Is(err, ErrNoCall) {
			t.Errorf("digits to nobody: %v", err)
		}
		is(t, "line", w.line.done(), "invite call-1 our offer, dtmf call-1 1A#*")
		w.Signal(Signal{Kind: SignalDigit, CallID: id, Digit: "4\x002"})
		w.theMedia(0).notify(MediaEvent{Kind: MediaDigit, Digit: "9"})
		synctest.Wait()
		var got string
		for _, e := range w.of(DTMF) {
			got += e.Digit
		}
		is(t, "digits heard", got, "429")
	})
}

func TestCandidates(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.dial()
		w.Signal(Signal{Kind: SignalCandidate, CallID: id, Candidate: "early"})
		w.Signal(Signal{Kind: SignalAnswered, CallID: id, SDP: "their answer"})
		w.Signal(Signal{Kind: SignalCandidate, CallID: id, Candidate: "late"})
		synctest.Wait()
		is(t, "media", w.theMedia(0).done(), "offer, set their answer, candidate early, candidate late")
		w.Signal(Signal{Kind: SignalBye, CallID: id})

		w.Signal(Signal{Kind: SignalInvite, CallID: "in-1", SDP: "their offer"})
		w.Signal(Signal{Kind: SignalCandidate, CallID: "in-1", Candidate: "while ringing"})
		_ = w.Answer(t.Context(), "in-1")
		time.Sleep(time.Second)
		is(t, "media", w.theMedia(1).done(), "answer their offer, candidate while ringing")
	})
}

func TestMediaUpdates(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.talk()
		w.theMedia(0).notify(MediaEvent{Kind: MediaConnected})
		w.theMedia(0).notify(MediaEvent{Kind: MediaDisconnected})
		w.theMedia(0).notify(MediaEvent{Kind: "first_packet_sent"})
		synctest.Wait()
		updates := w.of(Updated)
		if len(updates) != 2 || updates[0].Call.Media != "connected" || updates[1].Call.Media != "disconnected" {
			t.Errorf("updates %+v", updates)
		}
	})
}

func TestCommandsOutOfPlace(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		if err := w.Hangup(t.Context(), ""); !errors.Is(err, ErrNoCall) {
			t.Errorf("hang-up of nothing: %v", err)
		}
		if _, err := w.Dial(t.Context(), DialRequest{Destination: "  "}); err == nil {
			t.Error("dialled nobody")
		}
		id := w.talk()
		if err := w.Answer(t.Context(), id); err == nil || !strings.Contains(err.Error(), "active") {
			t.Errorf("answer of our own call: %v", err)
		}
		for _, k := range []SignalKind{SignalRinging, SignalEarlyMedia, SignalAnswered, "nonsense"} {
			w.Signal(Signal{Kind: k, CallID: id, SDP: "x"})
			w.Signal(Signal{Kind: k, CallID: "unknown", SDP: "x"})
			w.Signal(Signal{Kind: k})
		}
		synctest.Wait()
		is(t, "states", w.states(id), "new requesting trying active")
		is(t, "media", w.theMedia(0).done(), "offer, set their answer")
		w.stop()
		if _, err := w.Dial(context.Background(), DialRequest{Destination: "concierge"}); !errors.Is(err, ErrNotRunning) {
			t.Errorf("dial after the end: %v", err)
		}
		if calls := w.Calls(context.Background()); calls != nil {
			t.Errorf("calls after the end: %v", calls)
		}
	})
}

func TestEndSaysBye(t *testing.T) {
	in(t, func(_ *Config, w *world) { w.line.delay = 100 * time.Millisecond }, func(t *testing.T, w *world) {
		id := w.dial()
		time.Sleep(time.Second)
		w.Signal(Signal{Kind: SignalAnswered, CallID: id, SDP: "their answer"})
		time.Sleep(time.Second)
		began := time.Now()
		w.stop()
		if took := time.Since(began); took > lastBye {
			t.Errorf("the end took %s with a platform that answers", took)
		}
		is(t, "states", w.states(id), "new requesting trying active hangup destroy")
		is(t, "line", w.line.done(), "invite call-1 our offer, bye call-1 NORMAL_CLEARING/16")
	})
}

// Line and media that never come back hold up nothing: not the second call, not the end.
func TestStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		w := newWorld(t, nil)
		first := w.talk()
		w.stick(free)
		time.Sleep(5 * time.Second)
		if err := w.Hangup(t.Context(), first); err != nil {
			t.Error(err)
		}
		time.Sleep(endTimeout + time.Second)
		is(t, "states", w.states(first), "new requesting trying active hangup destroy")
		second, err := w.Dial(t.Context(), DialRequest{Destination: "concierge"})
		if err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		w.stop()
		is(t, "states", w.states(second), "new requesting hangup destroy")
		if !strings.Contains(w.logs.String(), "left behind") {
			t.Error("nothing was logged of what was left behind")
		}
		close(free)
		synctest.Wait()
	})
}

// A reader that comes late finds everything, in order; one that never comes does not keep Run from ending.
func TestSlowReader(t *testing.T) {
	for _, reads := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{t: t, line: &fakeLine{}}
			m := NewManager(Config{Line: w.line, NewMedia: w.newMedia})
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { _ = m.Run(ctx) })
			for i := range 100 {
				id, err := m.Dial(ctx, DialRequest{Destination: "concierge"})
				if err != nil {
					t.Fatal(i, err)
				}
				synctest.Wait()
				m.Signal(Signal{Kind: SignalAnswered, CallID: id, SDP: "x"})
				for range 100 {
					m.Signal(Signal{Kind: SignalDigit, CallID: id, Digit: "1"})
				}
				m.Signal(Signal{Kind: SignalBye, CallID: id})
				synctest.Wait()
			}
			reports, digits := 0, 0
			if reads {
				for reports < 100 {
					switch e := <-m.Events(); e.Kind {
					case Reported:
						reports++
					case DTMF:
						digits++
					}
				}
				if digits == 0 || digits > maxEvents {
					t.Errorf("%d digits", digits)
				}
			}
			began := time.Now()
			cancel()
			wg.Wait()
			if took := time.Since(began); took >= time.Second {
				t.Errorf("the end took %s", took)
			}
		})
	}
}

func TestEventJSON(t *testing.T) {
	c := Info{ID: "c", Direction: Outbound, State: Hangup, PrevState: Active, Cause: UserBusy, EndedBy: ByRemote, sent: true}
	b, err := json.Marshal(Event{Kind: StateChanged, Call: c})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"event":"state","call":{"call_id":"c","direction":"outbound","state":"hangup","prevState":"active",` +
		`"cause":"USER_BUSY","causeCode":17,"ended_by":"remote"}}`
	is(t, "JSON", string(b), want)
}
