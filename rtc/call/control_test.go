package call

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/rtc/quality"
)

// codes of the warnings and errors that were told, but for those of quality, once all that is under way has been done.
func (w *world) codes() string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var codes []string
	for _, e := range w.events {
		if e.Kind == Errored || e.Kind == Warned && e.Warning.Code > quality.LowBytesSent {
			codes = append(codes, fmt.Sprint(e.Warning.Code))
		}
	}
	return strings.Join(codes, " ")
}

func (l *fakeLine) says(holdState, sdp string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.modified = Modified{HoldState: holdState, SDP: sdp}
}

func (w *world) ring(id string) {
	w.Signal(Signal{Kind: SignalInvite, CallID: id, SDP: "their offer", RemoteID: "+1555" + id, RemoteName: "Gate " + id})
	synctest.Wait()
}

func TestHold(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.talk()
		ctx := t.Context()
		if err := w.Unhold(ctx, id); err == nil {
			t.Error("a call that is not held was taken off hold")
		}
		w.line.says("held", "")
		if err := w.Hold(ctx, ""); err != nil {
			t.Error(err)
		}
		if s := w.Calls(ctx)[0].State; s != Held {
			t.Errorf("after Hold the call is %s", s)
		}
		if err := w.DTMF(ctx, id, "1"); err == nil {
			t.Error("digits while held")
		}
		w.line.says("active", "")
		if err := w.Unhold(ctx, id); err != nil {
			t.Error(err)
		}
		for _, says := range []string{"held", "active", ""} { // only "active" is active
			w.line.says(says, "")
			if err := w.ToggleHold(ctx, id); err != nil {
				t.Error(err)
			}
		}
		w.line.modifyErr = &Refused{Err: errors.New("CALL DOES NOT EXIST")}
		if err := w.Unhold(ctx, id); err == nil || !strings.Contains(err.Error(), "CALL DOES NOT EXIST") {
			t.Errorf("a refused unhold: %v", err)
		}
		if err := w.Hangup(ctx, id); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		is(t, "states", w.states(id), "new requesting trying active held active held active held hangup destroy")
		is(t, "media", w.theMedia(0).done(),
			"offer, set their answer, hold true, hold false, hold true, hold false, hold true, hold true")
		is(t, "codes", w.codes(), "44001")
		if !slices.ContainsFunc(w.report(id).Warnings, func(q quality.Warning) bool { return q.Name == "HOLD_FAILED" }) {
			t.Errorf("the report's warnings: %+v", w.report(id).Warnings)
		}
	})
}

// A hold that waits for its answer when the call ends gets an error, soon.
func TestHangupDuringHold(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.talk()
		w.line.mu.Lock()
		w.line.delay = 5 * time.Second
		w.line.mu.Unlock()
		held := make(chan error)
		go func() { held <- w.Hold(t.Context(), id) }()
		synctest.Wait()
		w.Signal(Signal{Kind: SignalBye, CallID: id, Cause: NormalClearing})
		if err := <-held; err == nil {
			t.Error("held a call that ended")
		}
	})
}

func TestMute(t *testing.T) {
	in(t, func(c *Config, _ *world) { c.StartMuted = true }, func(t *testing.T, w *world) {
		ctx := t.Context()
		id, err := w.Dial(ctx, DialRequest{Destination: "+15550199", Muted: true})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.Signal(Signal{Kind: SignalAnswered, CallID: id, SDP: "their answer"})
		synctest.Wait()
		for _, err := range []error{w.Mute(ctx, id, false), w.ToggleMute(ctx, id), w.ToggleMute(ctx, ""), w.Deaf(ctx, id, true), w.Deaf(ctx, id, false)} {
			if err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		is(t, "media", w.theMedia(0).done(), "mute true, offer, set their answer, mute false, mute true, mute false, deaf true, deaf false")
		if c := w.Calls(ctx)[0]; c.Muted || c.Deaf {
			t.Errorf("%+v", c)
		}
		_ = w.Hangup(ctx, id)
		w.ring("in-1") // inbound calls begin muted here
		if err := w.Mute(ctx, "in-1", false); err != nil {
			t.Error(err) // and may be unmuted before they are answered
		}
		_ = w.Answer(ctx, "in-1")
		time.Sleep(time.Second)
		is(t, "inbound media", w.theMedia(1).done(), "answer their offer")
		if err := w.Mute(ctx, "nobody", true); !errors.Is(err, ErrNoCall) {
			t.Errorf("muted nobody: %v", err)
		}
	})
}

func TestDigitsWithPauses(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.talk()
		began := time.Now()
		if err := w.DTMF(t.Context(), id, "1w2,3W4p5"); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %s", took)
		}
		is(t, "line", w.line.done(), "invite call-1 our offer, dtmf call-1 1, dtmf call-1 2, dtmf call-1 3, dtmf call-1 4, dtmf call-1 5")

		// The end of the call ends the digits.
		sent := make(chan error)
		go func() { sent <- w.DTMF(t.Context(), id, "1WWWW2") }()
		time.Sleep(time.Second)
		began = time.Now()
		_ = w.Hangup(t.Context(), id)
		if err := <-sent; !errors.Is(err, errEnded) || time.Since(began) > 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

func TestDigitsByRTP(t *testing.T) {
	in(t, func(c *Config, _ *world) { c.DTMF = DTMFRTP }, func(t *testing.T, w *world) {
		id := w.talk()
		began := time.Now()
		if err := w.DTMF(t.Context(), id, "12w3"); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 500*time.Millisecond+2*keyTime { // a pause begins when the tones have ended
			t.Errorf("took %s", took)
		}
		w.dtmfErr = errors.New("no telephone events")
		if err := w.DTMF(t.Context(), id, "4"); err != nil {
			t.Error(err)
		}
		is(t, "media", w.theMedia(0).done(), "offer, set their answer, dtmf 12, dtmf 3, dtmf 4")
		is(t, "line", w.line.done(), "invite call-1 our offer, dtmf call-1 4")
	})
}

func TestRejectCommand(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.ring("in-1")
		if err := w.Reject(t.Context(), ""); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		is(t, "line", w.line.done(), "bye in-1 USER_BUSY/17")
		id := w.talk()
		if err := w.Reject(t.Context(), id); err == nil {
			t.Error("rejected a call of our own")
		}
	})
}

func TestDuplicateAnswer(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.ring("in-1")
		for range 3 {
			if err := w.Answer(t.Context(), ""); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Second)
		is(t, "line", w.line.done(), "answer in-1 our answer")
		if err := w.Answer(t.Context(), "in-1"); err != nil {
			t.Error(err)
		}
		is(t, "codes", w.codes(), "33006 33006 33006")
	})
}

func TestTransfer(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.talk()
		if err := w.Transfer(t.Context(), id, "no such place"); err == nil {
			t.Error("transferred to nowhere")
		}
		if err := w.Transfer(t.Context(), id, "1001"); err != nil {
			t.Error(err)
		}
		w.line.modifyErr = &Refused{Err: errors.New("no")}
		if err := w.Transfer(t.Context(), id, "1001"); err == nil {
			t.Error("the platform's no was lost")
		}
		is(t, "line", w.line.done(), "invite call-1 our offer, modify call-1 transfer 1001, modify call-1 transfer 1001")
		is(t, "states", w.states(id), "new requesting trying active")
	})
}

func TestAnswerDelayAndAllowList(t *testing.T) {
	in(t, func(c *Config, _ *world) {
		c.AutoAnswer, c.AnswerDelay, c.AllowFrom = true, 3*time.Second, []string{"+15550100", "Gate in-2", "+1777*"}
	}, func(t *testing.T, w *world) {
		for i, tt := range []struct {
			number, name string
			answered     bool
		}{
			{"+15550100", "", true}, {"+1555010", "", false}, {"+155501000", "", false},
			{"", "Gate in-2", true}, {"+17770000", "x", true}, {"", "", false}, {"", "*", false},
		} {
			id := fmt.Sprintf("in-%d", i)
			w.Signal(Signal{Kind: SignalInvite, CallID: id, SDP: "their offer", RemoteID: tt.number, RemoteName: tt.name})
			time.Sleep(2 * time.Second)
			is(t, "early", w.states(id), "new ringing")
			time.Sleep(2 * time.Second)
			want := "new ringing"
			if tt.answered {
				want += " answering active"
			}
			is(t, tt.number+tt.name, w.states(id), want)
			_ = w.Hangup(t.Context(), id)
			synctest.Wait()
		}
		// Answered by hand before, it is not answered again.
		w.ring("x")
		w.Signal(Signal{Kind: SignalInvite, CallID: "late", SDP: "o", RemoteID: "+15550100"})
		_ = w.Hangup(t.Context(), "x")
		time.Sleep(time.Minute)
	})
}

func TestSecondCallWaits(t *testing.T) {
	in(t, func(c *Config, _ *world) { c.SecondCall = SecondWait }, func(t *testing.T, w *world) {
		ctx := t.Context()
		id := w.talk()
		w.ring("in-1")
		is(t, "second", w.states("in-1"), "new ringing")
		w.line.says("held", "")
		if err := w.Answer(ctx, ""); err != nil { // the one that rings
			t.Error(err)
		}
		time.Sleep(time.Second)
		is(t, "first", w.states(id), "new requesting trying active held")
		is(t, "second", w.states("in-1"), "new ringing answering active")
		if err := w.Unhold(ctx, id); err == nil || !strings.Contains(err.Error(), "in-1") {
			t.Errorf("two calls talked at once: %v", err)
		}
		w.line.says("active", "")
		if err := w.Hangup(ctx, ""); err != nil { // the one that talks
			t.Error(err)
		}
		synctest.Wait()
		is(t, "second", w.states("in-1"), "new ringing answering active hangup destroy")
		is(t, "first", w.states(id), "new requesting trying active held active") // it comes back by itself
		// The calls do not wait for one another: the last two come in either order.
		done := strings.Split(w.line.done(), ", ")
		slices.Sort(done[min(3, len(done)):])
		is(t, "line", strings.Join(done, ", "),
			"invite call-1 our offer, modify call-1 hold, answer in-1 our answer, bye in-1 NORMAL_CLEARING/16, modify call-1 unhold")
	})
}

// One that was put on hold by hand stays there; and a third call is placed beside it.
func TestHeldByHand(t *testing.T) {
	in(t, func(c *Config, _ *world) { c.SecondCall = SecondWait }, func(t *testing.T, w *world) {
		ctx := t.Context()
		id := w.talk()
		w.line.says("held", "")
		_ = w.Hold(ctx, id)
		second := w.talk()
		_ = w.Hangup(ctx, second)
		synctest.Wait()
		is(t, "first", w.states(id), "new requesting trying active held")
	})
}

func TestSecondCallIsTakenAtOnce(t *testing.T) {
	in(t, func(c *Config, _ *world) { c.SecondCall = SecondHold }, func(t *testing.T, w *world) {
		id := w.talk()
		w.line.says("held", "")
		w.ring("in-1")
		time.Sleep(time.Second)
		is(t, "first", w.states(id), "new requesting trying active held")
		is(t, "second", w.states("in-1"), "new ringing answering active")
		// A platform that does not hold: the next one hears that we are busy.
		w.line.says("active", "")
		w.ring("in-2")
		time.Sleep(time.Second)
		is(t, "third", w.states("in-2"), "new ringing hangup destroy")
		if !strings.Contains(w.line.done(), "bye in-2 USER_BUSY/17") {
			t.Error(w.line.done())
		}
	})
}

// While a call of ours is only being set up there is nothing to hold.
func TestSecondCallWhileDialling(t *testing.T) {
	in(t, func(c *Config, _ *world) { c.SecondCall = SecondHold }, func(t *testing.T, w *world) {
		id := w.dial()
		w.ring("in-1")
		is(t, "first", w.states(id), "new requesting trying")
		is(t, "second", w.states("in-1"), "new ringing hangup destroy")
	})
}

func TestGroup(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		ctx := t.Context()
		first, err1 := w.Dial(ctx, DialRequest{Destination: "a", Group: "hunt-1"})
		second, err2 := w.Dial(ctx, DialRequest{Destination: "b", Group: "hunt-1"})
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		for _, group := range []string{"", "hunt-2"} {
			if _, err := w.Dial(ctx, DialRequest{Destination: "c", Group: group}); !errors.Is(err, ErrBusy) {
				t.Errorf("a call of group %q was placed: %v", group, err)
			}
		}
		time.Sleep(time.Second)
		w.Signal(Signal{Kind: SignalAnswered, CallID: second, SDP: "x"})
		_ = w.Hangup(ctx, first)
		synctest.Wait()
		is(t, "first", w.states(first), "new requesting trying hangup destroy")
		is(t, "second", w.states(second), "new requesting trying active")
	})
}

func TestWhatADialCarries(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		headers := []Header{{"X-Site", "lobby"}}
		id, err := w.Dial(t.Context(), DialRequest{
			Destination: "+15550199", CallerName: "Gate", CallerNumber: "+15550111", Headers: headers, ClientState: "aGVsbG8=",
			PreferredCodecs: []string{"PCMU"},
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.line.mu.Lock()
		c := w.line.last["invite"]
		w.line.mu.Unlock()
		if c.CallerName != "Gate" || c.CallerNumber != "+15550111" || c.ClientState != "aGVsbG8=" || !slices.Equal(c.Headers, headers) ||
			!slices.Equal(c.PreferredCodecs, []string{"PCMU"}) {
			t.Errorf("%+v", c)
		}
		_ = w.Hangup(t.Context(), id)
		synctest.Wait()
		is(t, "caller in the report", w.report(id).Summary.CallerNumber, "+15550111")

		w.Signal(Signal{Kind: SignalInvite, CallID: "in-1", SDP: "o", ClientState: "eA==", Headers: []Header{
			{"X-Ok", "1"}, {"Via", "evil"}, {"X-Broken", "a\r\nb"},
		}})
		synctest.Wait()
		got := w.Calls(t.Context())[0]
		if !slices.Equal(got.Headers, []Header{{"X-Ok", "1"}}) || got.ClientState != "eA==" {
			t.Errorf("%+v", got)
		}
		var wrong *Invalid
		if err := w.Answer(t.Context(), "in-1", Header{"Via", "evil"}); !errors.As(err, &wrong) {
			t.Errorf("answered with a header that may not be: %v", err)
		}
		ours := Header{"X-Door", "yard"}
		if err := w.Answer(t.Context(), "in-1", ours); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		w.line.mu.Lock()
		c = w.line.last["answer"]
		w.line.mu.Unlock()
		if !slices.Equal(c.AnswerHeaders, []Header{ours}) || !slices.Equal(c.Headers, []Header{{"X-Ok", "1"}}) {
			t.Errorf("answered with %+v", c)
		}
	})
}

func TestValidDestination(t *testing.T) {
	for _, good := range []string{
		"+15550199", "+4930123456", "+123", "+123456789012345", "sip:door@example.com", "SIPS:100@10.0.0.1:5061;transport=tls",
		"sip:+15550199@example.com", "sip:a@[2001:db8::1]:5060", "concierge", "1001", "*98", "#31", "911", "user@example.com", "door-1.lobby_2",
	} {
		if err := ValidDestination(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "+", "+12", "+0123456", "+1234567890123456", "+1 555 0199", "+1-555-0199", "+1555x", "sip:", "sip:@", "sip:x", "sip:x@",
		"sip:x@y z", "sip:x@y\r\nVia: z", "two words", "a\nb", "a\x00", "@x", "x@", "-x", strings.Repeat("1", 257), "door<script>", "ü",
	} {
		err := ValidDestination(bad)
		var broken *Invalid
		if !errors.As(err, &broken) || broken.Condition().Code != 44002 {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestInvalidRequests(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		many := make([]Header, maxHeaders+1)
		for i := range many {
			many[i] = Header{"X-A", "b"}
		}
		for name, r := range map[string]DialRequest{
			"header without X-": {Headers: []Header{{"Via", "x"}}}, "no name": {Headers: []Header{{"X-", "x"}}},
			"CR LF": {Headers: []Header{{"X-A", "a\r\nVia: b"}}}, "LF in a name": {Headers: []Header{{"X-A\nB", "a"}}},
			"colon in a name": {Headers: []Header{{"X-A:", "a"}}}, "NUL": {Headers: []Header{{"X-A", "a\x00"}}},
			"long": {Headers: []Header{{"X-A", strings.Repeat("a", 1025)}}}, "many": {Headers: many},
			"client state": {ClientState: "not base64!"}, "caller": {CallerName: "a\r\nb"},
		} {
			r.Destination = "100"
			var broken *Invalid
			if _, err := w.Dial(t.Context(), r); !errors.As(err, &broken) || broken.Condition().Code != 44002 {
				t.Errorf("%s: %v", name, err)
			}
		}
		is(t, "line", w.line.done(), "")
	})
}

func FuzzDestination(f *testing.F) {
	for _, s := range []string{"+15550199", "sip:a@b", "concierge", "user@[::1]:5", "a\r\nb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if ValidDestination(s) == nil && (len(s) > maxDestination || strings.ContainsAny(s, "\r\n\x00 \"<>\\")) {
			t.Errorf("%q may be dialled", s)
		}
	})
}

// In quiet hours a caller hears that we are busy, even where calls are answered by themselves; that is told like any call.
func TestDoNotDisturb(t *testing.T) {
	quiet := true
	in(t, func(c *Config, _ *world) {
		c.AutoAnswer, c.DoNotDisturb = true, func() bool { return quiet }
	}, func(t *testing.T, w *world) {
		w.ring("night")
		if got := w.states("night"); got != "new hangup destroy" {
			t.Errorf("states %s", got)
		}
		if r := w.report("night"); r.Summary.Cause != "USER_BUSY" || r.Summary.CauseCode != 17 {
			t.Errorf("report %+v", r.Summary)
		}
		quiet = false
		w.ring("day")
		time.Sleep(time.Second)
		synctest.Wait()
		if got := w.states("day"); got != "new ringing answering active" {
			t.Errorf("states %s", got)
		}
	})
}
