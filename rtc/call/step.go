package call

// Step is the call machine: what a call becomes by an input, and what is to be done about it. It is pure: time comes in
// with the input. What does not fit the state changes nothing and gives the one action Refuse.
func Step(c Info, in Input) (Info, []Action) {
	if next, actions, ok := step(c, in); ok {
		return next, actions
	}
	return c, []Action{{Kind: Refuse}}
}

func step(c Info, in Input) (Info, []Action, bool) {
	if c.State >= Hangup {
		return ending(c, in)
	}
	if in.stale(c) {
		return c, nil, false
	}
	if next, actions, ok := anytime(c, in); ok {
		return next, actions, true
	}
	switch c.State {
	case New:
		return fresh(c, in)
	case Requesting, Trying, Early:
		return outbound(c, in)
	case Ringing, Answering:
		return inbound(c, in)
	case Active, Held:
		return talking(c, in)
	case Recovering:
		return recovering(c, in)
	}
	return c, nil, false
}

// stale tells that an input is the result of an attempt that was given up.
func (in Input) stale(c Info) bool {
	switch in.Kind {
	case OnOffered, OnAnswerReady, OnMediaError, OnSDPError, OnTaken, OnRefused, OnHealthy, OnUnhealthy:
		return in.Try != c.try
	case OnModified, OnModifyFailed:
		return in.Modify == ModifyUpdate && in.Try != c.try
	}
	return false
}

// answered tells that two parties have talked: the call survives a lost line, and ends as one that was.
func (c Info) answered() bool { return c.State >= Active || c.State == Recovering }

// anytime is what may happen in every state before hangup.
func anytime(c Info, in Input) (Info, []Action, bool) {
	switch in.Kind {
	case OnBye:
		return end(c, in, ByRemote, in.Cause, "")
	case OnDropped:
		return end(c, in, ByLine, TemporaryFailure, "the platform dropped the call")
	case OnHangup:
		// 16 before the answer makes the platform try the call again elsewhere; 17 is a no.
		if !c.answered() {
			return end(c, in, ByLocal, UserBusy, "")
		}
		return end(c, in, ByLocal, NormalClearing, "")
	case OnLineLost:
		if !c.answered() {
			return end(c, in, ByLine, TemporaryFailure, "the line was lost before the call was answered")
		}
	case OnDisplay:
		return c.of(in.Remote), nil, true
	case OnMute:
		return mute(c, in.On)
	case OnToggleMute:
		return mute(c, !c.Muted)
	case OnDeaf:
		c.Deaf = in.On
		return c, c.ifOpen(Action{Kind: DeafMedia, On: c.Deaf}), true
	}
	if !c.mediaOpen {
		return c, nil, false
	}
	switch in.Kind {
	case OnNetwork:
		if c.State < Active && in.On { // not yet to be mended
			c.moved = true
			return c, nil, true
		}
	case OnConnected:
		c.Media = "connected"
		return c, nil, true
	case OnDisconnected:
		c.Media = "disconnected"
		return c, nil, true
	}
	if c.mend != mendNone {
		return c, nil, false
	}
	switch in.Kind {
	case OnMediaError:
		code := codeAnswerFailed
		if c.Direction == Outbound && !c.answered() {
			code = codeOfferFailed
		}
		return fail(c, in, code, ByMedia, TemporaryFailure, failure("no media", in.Err))
	case OnSDPError:
		code := codeRemoteSDPFailed
		if c.State == Answering || c.State == Recovering {
			code = codeAnswerFailed
		}
		return fail(c, in, code, ByMedia, IncompatibleDestination, failure("the far side's description of its media is of no use", in.Err))
	case OnMediaFailed:
		if !c.answered() {
			return end(c, in, ByMedia, TemporaryFailure, failure("the way of the sound was lost", in.Err))
		}
	}
	return c, nil, false
}

func mute(c Info, on bool) (Info, []Action, bool) {
	c.Muted = on
	return c, c.ifOpen(Action{Kind: MuteMedia, On: on}), true
}

func (c Info) ifOpen(a Action) []Action {
	if !c.mediaOpen {
		return nil
	}
	return []Action{a}
}

func fresh(c Info, in Input) (Info, []Action, bool) {
	switch {
	case in.Kind == OnDial && c.Direction == Outbound:
		c.mediaOpen = true
		return c.to(Requesting), []Action{{Kind: Arm, Timer: SetupTimer}, {Kind: MakeOffer}}, true
	case in.Kind == OnInvite && c.Direction == Inbound:
		c = c.of(in.Remote)
		switch {
		case in.Busy:
			return end(c, in, ByLocal, UserBusy, "another call was up, or these are quiet hours")
		case in.SDP == "":
			return end(c, in, ByMedia, IncompatibleDestination, "the invite had no SDP")
		}
		return c.to(Ringing), []Action{{Kind: Arm, Timer: RingTimer}}, true
	case in.Kind == OnAttach && c.Direction == Inbound:
		return attach(c, in)
	case in.Kind == OnReject && c.Direction == Inbound:
		return end(c, in, ByLocal, UserBusy, "")
	}
	return c, nil, false
}

// outbound is a call of ours that is not yet answered.
func outbound(c Info, in Input) (Info, []Action, bool) {
	switch in.Kind {
	case OnOffered:
		if c.sent {
			return c, nil, false
		}
		c.sent = true
		return c, []Action{{Kind: SendInvite, SDP: in.SDP}}, true
	case OnTaken:
		if !c.sent || c.State != Requesting {
			return c, nil, false // or overtaken by media or answer
		}
		return c.to(Trying), nil, true
	case OnRefused:
		if !c.sent {
			return c, nil, false
		}
		c.sent = !in.Unsent
		return fail(c, in, codeSDPNotSent, ByLine, in.Cause, failure("the invite failed", in.Err))
	case OnTimeout:
		switch {
		case in.Timer != SetupTimer:
			return c, nil, false
		case c.State == Requesting:
			return end(c, in, ByTimeout, RecoveryOnTimerExpire, "the call could not be set up in time")
		}
		return end(c, in, ByTimeout, NoAnswer, "nobody answered")
	}
	if !c.sent {
		return c, nil, false // what follows can only be about an invite
	}
	switch in.Kind {
	case OnRinging:
		c = c.of(in.Remote)
		c.RemoteRings = c.State != Early
		return c, nil, true
	case OnEarlyMedia:
		if c.sdpTaken || in.SDP == "" {
			return c, nil, false
		}
		c = c.of(in.Remote)
		c.sdpTaken, c.RemoteRings = true, false
		return c.to(Early), []Action{{Kind: ApplyAnswer, SDP: in.SDP}}, true
	case OnAnswered:
		c = c.of(in.Remote)
		var actions []Action
		if !c.sdpTaken {
			if in.SDP == "" {
				return end(c, in, ByMedia, IncompatibleDestination, "the answer had no SDP, and none came before")
			}
			c.sdpTaken = true
			actions = []Action{{Kind: ApplyAnswer, SDP: in.SDP}}
		}
		c.RemoteRings = false
		return c.talks(in, actions)
	case OnSendDigits, OnDigit:
		if c.State == Early { // early media may come from a menu that wants digits
			return c, digits(in), true
		}
	}
	return c, nil, false
}

// inbound is a call to us that is not yet answered.
func inbound(c Info, in Input) (Info, []Action, bool) {
	switch {
	case in.Kind == OnReject:
		return end(c, in, ByLocal, UserBusy, "")
	case c.State == Ringing && in.Kind == OnAnswer:
		c.mediaOpen, c.sdpTaken, c.AnswerHeaders = true, true, in.Headers
		return c.to(Answering), []Action{{Kind: Arm, Timer: AnswerTimer}, {Kind: MakeAnswer}}, true
	case c.State == Answering && in.Kind == OnAnswer:
		return c, []Action{{Kind: Tell, Code: codeAnsweredAlready}}, true // one answer is enough
	case c.State == Ringing && in.Kind == OnTimeout && in.Timer == RingTimer:
		return end(c, in, ByTimeout, NoAnswer, "nobody answered")
	case c.State == Answering && in.Kind == OnAnswerReady:
		if c.sent {
			return c, nil, false
		}
		c.sent = true
		return c, []Action{{Kind: SendAnswer, SDP: in.SDP}}, true
	case c.State == Answering && in.Kind == OnTaken:
		if !c.sent {
			return c, nil, false
		}
		return c.talks(in, nil)
	case c.State == Answering && in.Kind == OnRefused:
		if !c.sent {
			return c, nil, false
		}
		return fail(c, in, codeSDPNotSent, ByLine, in.Cause, failure("the answer failed", in.Err))
	case c.State == Answering && in.Kind == OnTimeout && in.Timer == AnswerTimer:
		return end(c, in, ByTimeout, RecoveryOnTimerExpire, "the call could not be set up in time")
	}
	return c, nil, false
}

// talks makes a call active. Media that was described before a way was lost may go by it: it is mended at once.
func (c Info) talks(in Input, actions []Action) (Info, []Action, bool) {
	if c.Active.IsZero() {
		c.Active = in.Time
	}
	c = c.to(Active)
	actions = append(actions, Action{Kind: Arm, Timer: NoTimer}, Action{Kind: Measure})
	if c.moved {
		c.moved = false
		next, more, _ := mediaBad(c, Input{Kind: OnNetwork})
		return next, append(actions, more...), true
	}
	return c, actions, true
}

// talking is a call that was answered, held or not.
func talking(c Info, in Input) (Info, []Action, bool) {
	switch in.Kind {
	case OnSendDigits:
		if c.State == Active {
			return c, digits(in), true
		}
	case OnDigit:
		return c, digits(in), true
	case OnHold, OnUnhold, OnToggleHold:
		if c.asked == "" && (in.Kind == OnToggleHold || (in.Kind == OnHold) == (c.State == Active)) {
			return ask(c, holdActions[in.Kind])
		}
	case OnTransfer:
		return c, []Action{{Kind: SendModify, Modify: ModifyTransfer, With: in.To}}, true
	case OnModified, OnModifyFailed:
		switch in.Modify {
		case ModifyUpdate:
			return mending(c, in)
		case ModifyTransfer:
			return c, nil, true // the platform's bye tells how it went on
		case c.asked:
			return heldOrNot(c, in)
		}
	case OnAnswer:
		if c.Direction == Inbound {
			return c, []Action{{Kind: Tell, Code: codeAnsweredAlready}}, true
		}
	case OnReattached:
		if c.detached {
			c.detached = false
			return c, nil, true
		}
	case OnNotReattached:
		return notReattached(c, in)
	case OnAttach:
		return attach(c, in)
	default:
		return mending(c, in)
	}
	return c, nil, false
}

var holdActions = map[InputKind]string{OnHold: ModifyHold, OnUnhold: ModifyUnhold, OnToggleHold: ModifyToggleHold}

func ask(c Info, action string) (Info, []Action, bool) {
	c.asked = action
	return c, []Action{{Kind: SendModify, Modify: action}}, true
}

// heldOrNot is the platform's answer to hold, unhold or toggleHold.
func heldOrNot(c Info, in Input) (Info, []Action, bool) {
	c.asked = ""
	if in.Kind == OnModifyFailed {
		return c, []Action{{Kind: Tell, Code: codeHoldFailed}, {Kind: HoldMedia, On: c.State == Held}}, true
	}
	now := Held
	if in.HoldState == "active" {
		now = Active
	}
	if now != c.State {
		c = c.to(now)
	}
	return c, []Action{{Kind: HoldMedia, On: now == Held}}, true
}

// ending is a call that waits for its bye to be answered and its media to be closed.
func ending(c Info, in Input) (Info, []Action, bool) {
	if c.State != Hangup {
		return c, nil, false
	}
	switch {
	case in.Kind == OnByeDone && c.byeOpen:
		c.byeOpen = false
	case in.Kind == OnMediaClosed && c.mediaOpen:
		c.mediaOpen = false
	case in.Kind == OnTimeout && in.Timer == EndTimer:
		c.byeOpen, c.mediaOpen = false, false
	case in.Kind == OnSettled && !c.byeOpen && !c.mediaOpen:
	default:
		return c, nil, false
	}
	if c.byeOpen || c.mediaOpen {
		return c, nil, true
	}
	return c.to(Destroy), []Action{{Kind: Arm, Timer: NoTimer}, {Kind: MakeReport}}, true
}

// end brings a call to hangup. Bye is said unless the far side said it, or cannot know of the call.
func end(c Info, in Input, by EndedBy, cause Cause, why string) (Info, []Action, bool) {
	c.Ended, c.EndedBy, c.Cause, c.Error = in.Time, by, cause, why
	c.RemoteRings, c.asked, c.mend, c.fresh = false, "", mendNone, false
	actions := []Action{{Kind: Arm, Timer: EndTimer}}
	known := c.Direction == Inbound || c.sent || c.answered()
	if known && in.Kind != OnBye && in.Kind != OnDropped && in.Kind != OnNotReattached {
		c.byeOpen = true
		actions = append(actions, Action{Kind: SendBye})
	}
	if c.mediaOpen {
		actions = append(actions, Action{Kind: CloseMedia})
	}
	if !c.byeOpen && !c.mediaOpen {
		actions = append(actions, Action{Kind: Settle})
	}
	return c.to(Hangup), actions, true
}

// fail ends a call by an error that has a code.
func fail(c Info, in Input, code int, by EndedBy, cause Cause, why string) (Info, []Action, bool) {
	c, actions, ok := end(c, in, by, cause, why)
	return c, append([]Action{{Kind: Tell, Code: code}}, actions...), ok
}

// to enters a state.
func (c Info) to(s State) Info {
	c.PrevState, c.State = c.State, s
	return c
}

// of takes over what the line told.
func (c Info) of(r Remote) Info {
	for _, f := range []struct {
		to *string
		s  string
	}{
		{&c.RemoteName, r.Name}, {&c.RemoteID, r.Number}, {&c.TelnyxCallControlID, r.TelnyxCallControlID},
		{&c.TelnyxSessionID, r.TelnyxSessionID}, {&c.TelnyxLegID, r.TelnyxLegID},
	} {
		if f.s != "" {
			*f.to = f.s
		}
	}
	if c.Direction == Inbound {
		if r.ClientState != "" {
			c.ClientState = r.ClientState
		}
		if h := receivable(r.Headers); h != nil {
			c.Headers = h
		}
	}
	return c
}

func digits(in Input) []Action {
	if in.Kind == OnDigit {
		return []Action{{Kind: TellDigit, Digits: in.Digits}}
	}
	return []Action{{Kind: SendDigits, Digits: in.Digits}}
}

func failure(what string, err error) string {
	if err == nil {
		return what
	}
	return what + ": " + err.Error()
}
