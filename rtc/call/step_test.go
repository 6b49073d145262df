package call

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestStateText(t *testing.T) {
	want := []string{
		"new", "requesting", "trying", "recovering", "ringing", "answering", "early", "active", "held", "hangup", "destroy", "purge",
	}
	for i, w := range want {
		s := State(i)
		if s.String() != w {
			t.Errorf("state %d is %q, want %q", i, s, w)
		}
		b, err := json.Marshal(s)
		var back State
		if err != nil || string(b) != `"`+w+`"` || json.Unmarshal(b, &back) != nil || back != s {
			t.Errorf("state %d in JSON: %s, %v, back %v", i, b, err, back)
		}
	}
	if State(12).String() != "State(12)" {
		t.Errorf("state 12 is %q", State(12))
	}
	var s State
	if err := s.UnmarshalText([]byte("dancing")); err == nil {
		t.Error("dancing is a state")
	}
}

func show(c Info, actions []Action) string {
	var b strings.Builder
	b.WriteString(c.State.String())
	for i, a := range actions {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, " %s", a.Kind)
		if a.Kind == Arm {
			fmt.Fprintf(&b, " %s", a.Timer)
		}
		switch a.Kind {
		case Tell:
			fmt.Fprintf(&b, " %d", a.Code)
		case HoldMedia, MuteMedia, DeafMedia:
			fmt.Fprintf(&b, " %t", a.On)
		case SendModify:
			fmt.Fprintf(&b, " %s", a.Modify)
		}
		if s := a.SDP + a.Digits + a.With; s != "" {
			fmt.Fprintf(&b, " %s", s)
		}
	}
	return b.String()
}

func TestStep(t *testing.T) {
	for _, tt := range transitions {
		want := everywhere(tt.from)
		if want == nil {
			want = map[string]string{}
		}
		for k, v := range tt.does {
			if _, ok := inputs[k]; !ok {
				t.Fatalf("%s: no input %q", tt.name, k)
			}
			want[k] = v
			if v == "" { // but not here
				delete(want, k)
			}
		}
		for name, in := range inputs {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				next, actions := Step(tt.from, in)
				w, ok := want[name]
				if !ok {
					if !next.same(tt.from) || len(actions) != 1 || actions[0].Kind != Refuse {
						t.Errorf("became %q, want a refusal", show(next, actions))
					}
					return
				}
				if got := show(next, actions); got != w {
					t.Errorf("became %q, want %q", got, w)
				}
				if next.State != tt.from.State && next.PrevState != tt.from.State {
					t.Errorf("prevState is %s", next.PrevState)
				}
			})
		}
	}
}

func TestCauses(t *testing.T) {
	sent := Info{Direction: Outbound, State: Trying, mediaOpen: true, sent: true}
	requesting := Info{Direction: Outbound, State: Requesting, mediaOpen: true}
	early := sent
	early.State = Early
	activeCall := sent
	activeCall.State = Active
	ringing := Info{Direction: Inbound, State: Ringing}
	answering := Info{Direction: Inbound, State: Answering, mediaOpen: true, sent: true}
	far := Cause{Cause: "UNALLOCATED_NUMBER", CauseCode: 1, SIPCode: 404, SIPReason: "Not Found"}
	for _, tt := range []struct {
		from  Info
		in    Input
		cause Cause
		by    EndedBy
	}{
		{ringing, Input{Kind: OnHangup}, UserBusy, ByLocal},
		{sent, Input{Kind: OnHangup}, UserBusy, ByLocal},
		{activeCall, Input{Kind: OnHangup}, NormalClearing, ByLocal},
		{Info{Direction: Inbound}, Input{Kind: OnInvite, SDP: "x", Busy: true}, UserBusy, ByLocal},
		{Info{Direction: Inbound}, Input{Kind: OnInvite}, IncompatibleDestination, ByMedia},
		{sent, Input{Kind: OnBye, Cause: far}, far, ByRemote},
		{activeCall, Input{Kind: OnBye, Cause: NormalClearing}, NormalClearing, ByRemote},
		{sent, Input{Kind: OnRefused, Cause: CallRejected}, CallRejected, ByLine},
		{answering, Input{Kind: OnRefused, Cause: TemporaryFailure}, TemporaryFailure, ByLine},
		{sent, Input{Kind: OnLineLost}, TemporaryFailure, ByLine},
		{ringing, Input{Kind: OnLineLost}, TemporaryFailure, ByLine},
		{activeCall, Input{Kind: OnDropped}, TemporaryFailure, ByLine},
		{requesting, Input{Kind: OnMediaError}, TemporaryFailure, ByMedia},
		{sent, Input{Kind: OnAnswered}, IncompatibleDestination, ByMedia},
		{early, Input{Kind: OnSDPError}, IncompatibleDestination, ByMedia},
		{answering, Input{Kind: OnSDPError}, IncompatibleDestination, ByMedia},
		{mendingCall(mendProving, func(c *Info) { c.tries = maxTries }), Input{Kind: OnMediaFailed}, TemporaryFailure, ByMedia},
		{mendingCall(mendWaiting), Input{Kind: OnTimeout, Timer: LostTimer}, TemporaryFailure, ByLine},
		{talkingCall(Held, func(c *Info) { c.detached = true }), Input{Kind: OnNotReattached}, TemporaryFailure, ByLine},
		{talkingCall(Held), Input{Kind: OnHangup}, NormalClearing, ByLocal},
		{recoveringCall(), Input{Kind: OnHangup}, NormalClearing, ByLocal},
		{recoveringCall(), Input{Kind: OnTimeout, Timer: RecoverTimer}, RecoveryOnTimerExpire, ByTimeout},
		{ringing, Input{Kind: OnReject}, UserBusy, ByLocal},
		{ringing, Input{Kind: OnTimeout, Timer: RingTimer}, NoAnswer, ByTimeout},
		{sent, Input{Kind: OnTimeout, Timer: SetupTimer}, NoAnswer, ByTimeout},
		{early, Input{Kind: OnTimeout, Timer: SetupTimer}, NoAnswer, ByTimeout},
		{requesting, Input{Kind: OnTimeout, Timer: SetupTimer}, RecoveryOnTimerExpire, ByTimeout},
		{answering, Input{Kind: OnTimeout, Timer: AnswerTimer}, RecoveryOnTimerExpire, ByTimeout},
	} {
		tt.in.Time = time.Unix(7, 0)
		c, _ := Step(tt.from, tt.in)
		if c.State != Hangup || c.Cause != tt.cause || c.EndedBy != tt.by || !c.Ended.Equal(tt.in.Time) {
			t.Errorf("%s, %s: %s by %s with %+v, want %+v by %s", tt.from.State, tt.in.Kind, c.State, c.EndedBy, c.Cause, tt.cause, tt.by)
		}
	}
}

func TestRemoteIsKept(t *testing.T) {
	c := Info{Direction: Inbound}
	c, _ = Step(c, Input{Kind: OnInvite, SDP: "x", Remote: Remote{Name: "Gate", Number: "100", TelnyxLegID: "leg"}})
	c, _ = Step(c, Input{Kind: OnDisplay, Remote: Remote{Name: "Gate 2"}})
	if c.RemoteName != "Gate 2" || c.RemoteID != "100" || c.TelnyxLegID != "leg" {
		t.Errorf("%+v", c)
	}
}
