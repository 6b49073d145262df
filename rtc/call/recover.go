package call

// The rule of Telnyx's SDKs: on a bad line wait for it, and for the platform's attach; on a good line mend bad media by
// an ICE restart, or else by a fresh, relay-only session; never both at once.

// maxTries bounds the attempts to mend: a restart, a move to TURN where that is allowed (else a restart), a restart.
const maxTries = 3

// attach takes a call back that the platform offers: with fresh media, beside what still runs.
func attach(c Info, in Input) (Info, []Action, bool) {
	if in.SDP == "" {
		return c, nil, false
	}
	c = c.of(in.Remote)
	actions := c.dropFresh()
	c.holdAgain = c.holdAgain || c.State == Held
	c.detached, c.sent, c.asked = false, false, ""
	c.mend, c.tries, c.silent, c.moved = mendNone, 0, false, false
	c.mediaOpen, c.fresh, c.sdpTaken = true, true, true
	c.RecoveredCallID = c.ID
	c.try++
	if c.State != Recovering {
		c = c.to(Recovering)
	}
	return c, append(actions, Action{Kind: Arm, Timer: RecoverTimer}, Action{Kind: MakeAttach, SDP: in.SDP, Try: c.try}), true
}

// dropFresh is called by value before c.fresh is set anew.
func (c Info) dropFresh() []Action {
	if !c.fresh {
		return nil
	}
	return []Action{{Kind: DropFresh}}
}

// recovering is a call that the platform is giving back.
func recovering(c Info, in Input) (Info, []Action, bool) {
	switch in.Kind {
	case OnAttach:
		return attach(c, in)
	case OnAnswerReady:
		if c.sent || !c.fresh {
			return c, nil, false
		}
		c.sent = true
		return c, []Action{{Kind: SendAttach, SDP: in.SDP, Try: c.try}}, true
	case OnTaken:
		if !c.sent || !c.fresh {
			return c, nil, false
		}
		c.fresh, c.Media = false, ""
		c, actions, _ := c.talks(in, []Action{{Kind: UseFresh}})
		if c.holdAgain {
			c.holdAgain, c.asked = false, ModifyHold
			actions = append(actions, Action{Kind: SendModify, Modify: ModifyHold})
		}
		return c, actions, true
	case OnRefused:
		switch {
		case !c.sent || !c.fresh:
			return c, nil, false
		case c.detached, in.Unreachable: // the line was lost once more, or is about to be found so: its next session tells
			actions := c.dropFresh()
			c.fresh = false
			return c, append(actions, Action{Kind: Arm, Timer: LostTimer}), true
		}
		return fail(c, in, codeSDPNotSent, ByLine, in.Cause, failure("the call could not be taken back", in.Err))
	case OnLineLost:
		c.detached = true
		return c, []Action{{Kind: Arm, Timer: LostTimer}}, true
	case OnReattached:
		if !c.detached {
			return c, nil, false
		}
		c.detached = false
		return c, []Action{{Kind: Arm, Timer: RecoverTimer}}, true
	case OnNotReattached:
		return notReattached(c, in)
	case OnMediaFailed, OnMediaLost: // of what is on its way out
		c.Media = "disconnected"
		return c, nil, true
	case OnDigit:
		return c, digits(in), true
	case OnTimeout:
		switch in.Timer {
		case RecoverTimer:
			return end(c, in, ByTimeout, RecoveryOnTimerExpire, "the call could not be taken back in time")
		case LostTimer:
			return end(c, in, ByLine, TemporaryFailure, "the line did not come back in time")
		}
	}
	return c, nil, false
}

// notReattached ends a call that did not survive its lost line.
func notReattached(c Info, in Input) (Info, []Action, bool) {
	if !c.detached {
		return c, nil, false
	}
	return fail(c, in, codeNotReattached, ByLine, TemporaryFailure,
		"the platform did not give the call back after its line was lost (48501)")
}

// mending is what happens to the media of a call that talks, or is held.
func mending(c Info, in Input) (Info, []Action, bool) {
	switch in.Kind {
	case OnLineLost:
		c.detached = true
		switch c.mend {
		case mendAsking, mendAskAgain, mendOffering, mendSending:
			return c.await(c.dropFresh())
		}
		return c, nil, true
	case OnMediaLost, OnMediaFailed, OnSilent:
		return mediaBad(c, in)
	case OnNetwork:
		return networkChanged(c, in)
	case OnFlowing:
		switch c.mend {
		case mendAsking, mendAskAgain, mendWaiting, mendProving:
			return c.well(), []Action{{Kind: Arm, Timer: NoTimer}}, true
		case mendExhausted:
			return c.well(), nil, true
		case mendNone: // after the renewal of the line
			return c.well(), nil, c.renewed
		}
	case OnHealthy:
		if c.mend == mendAsking || c.mend == mendAskAgain {
			return c.renew()
		}
	case OnUnhealthy:
		switch c.mend {
		case mendAsking:
			return c.await([]Action{{Kind: Tell, Code: codeSignalingRecovery}})
		case mendAskAgain: // the lost timer goes on
			c.mend = mendWaiting
			return c, nil, true
		}
	case OnOffered:
		if c.mend == mendOffering {
			c.mend = mendSending
			return c, []Action{{Kind: SendModify, Modify: ModifyUpdate, With: in.SDP, Try: c.try}}, true
		}
	case OnModified:
		switch {
		case c.mend != mendSending:
		case in.SDP == "":
			return c.notAnswered(in)
		default:
			c.mend = mendProving
			var actions []Action
			if c.fresh {
				c.fresh, c.Relay, c.Media = false, true, ""
				actions = []Action{{Kind: UseFresh}}
			}
			return c, append(actions, Action{Kind: ApplyAnswer, SDP: in.SDP, Try: c.try}, Action{Kind: Arm, Timer: ProveTimer}), true
		}
	case OnModifyFailed:
		switch {
		case c.mend != mendSending:
		case in.Unreachable:
			actions := append([]Action{{Kind: Tell, Code: codeSignalingRecovery}}, c.dropFresh()...)
			return c.await(actions)
		default:
			return c.notAnswered(in)
		}
	case OnMediaError:
		if c.mend == mendOffering {
			return c.notMended(in)
		}
	case OnSDPError:
		if c.mend == mendProving {
			return c.notMended(in)
		}
	case OnTimeout:
		switch {
		case in.Timer == MendTimer && (c.mend == mendOffering || c.mend == mendSending):
			return c.notMended(in)
		case in.Timer == ProveTimer && c.mend == mendProving:
			if c.State == Held && c.Media == "connected" { // no sound is due
				return c.well(), nil, true
			}
			return c.notMended(in)
		case in.Timer == LostTimer && (c.mend == mendWaiting || c.mend == mendAskAgain):
			return end(c, in, ByLine, TemporaryFailure, "neither line nor sound came back in time")
		}
	}
	return c, nil, false
}

// mediaBad begins to mend, or tells a mending that there is still need.
func mediaBad(c Info, in Input) (Info, []Action, bool) {
	if in.Kind == OnSilent {
		if c.State == Held || c.mend != mendNone && c.mend != mendWaiting {
			return c, nil, false
		}
	} else {
		c.Media, c.silent = "disconnected", false
	}
	switch c.mend {
	case mendNone, mendExhausted:
		code := codeConnectivityLost
		if in.Kind == OnMediaFailed {
			code = codePeerFailed
		}
		c.tries, c.silent = 0, in.Kind == OnSilent
		actions := []Action{{Kind: Tell, Code: code}}
		if c.detached {
			return c.await(append(actions, Action{Kind: Tell, Code: codeSignalingRecovery}))
		}
		return c.ask(mendAsking, actions)
	case mendWaiting:
		if !c.detached {
			return c.ask(mendAskAgain, nil)
		}
	case mendProving:
		if in.Kind == OnMediaFailed {
			return c.notMended(in)
		}
	}
	return c, nil, true
}

// networkChanged mends at once what goes by a way that is gone, or is not well already; an attempt that is under way began
// on the old network, and is made anew.
func networkChanged(c Info, in Input) (Info, []Action, bool) {
	if !in.On && c.Media != "disconnected" {
		return c, nil, false
	}
	c.renewed = false // over another network it may help
	switch c.mend {
	case mendAsking, mendOffering, mendSending, mendProving:
		c.Media, c.tries, c.silent = "disconnected", 0, false
		actions := c.dropFresh()
		c.fresh = false
		if c.detached {
			return c.await(actions)
		}
		return c.ask(mendAsking, append(actions, Action{Kind: Arm, Timer: NoTimer}))
	}
	return mediaBad(c, in)
}

func (c Info) ask(stage mend, actions []Action) (Info, []Action, bool) {
	c.try++
	c.mend = stage
	return c, append(actions, Action{Kind: AskLine, Try: c.try}), true
}

// await waits for the line.
func (c Info) await(actions []Action) (Info, []Action, bool) {
	c.mend, c.fresh = mendWaiting, false
	c.try++
	return c, append(actions, Action{Kind: Arm, Timer: LostTimer}), true
}

// renew makes the next attempt: on a line that is healthy.
func (c Info) renew() (Info, []Action, bool) {
	var actions []Action
	if c.tries == 0 {
		actions = []Action{{Kind: Tell, Code: codeMediaRecovery}}
	}
	c.tries++
	c.try++
	c.mend = mendOffering
	how := MakeRestart
	if c.tries == 2 && c.mayRelay && !c.Relay {
		how, c.fresh = MakeRelay, true
	}
	return c, append(actions, Action{Kind: Arm, Timer: MendTimer}, Action{Kind: how, Try: c.try}), true
}

// notMended gives an attempt up. Silence on a connection that stands may be meant, and never ends a call.
func (c Info) notMended(in Input) (Info, []Action, bool) {
	actions := append([]Action{{Kind: Tell, Code: codeICERestartFailed}}, c.dropFresh()...)
	c.fresh = false
	switch {
	case c.detached: // the line went meanwhile
		return c.await(actions)
	case c.tries < maxTries:
		return c.ask(mendAsking, append(actions, Action{Kind: Arm, Timer: NoTimer}))
	case c.silent:
		c.try++
		c.mend = mendExhausted
		return c, append(actions, Action{Kind: Arm, Timer: NoTimer}), true
	}
	c, ending, ok := end(c, in, ByMedia, TemporaryFailure, failure("the way of the sound was lost, and no other was found", in.Err))
	return c, append(actions, ending...), ok
}

// notAnswered is a platform that is there and does not take an offer: it is asked anew over another connection, by its
// attach. Once, until sound flows: others talk over that line too.
func (c Info) notAnswered(in Input) (Info, []Action, bool) {
	if c.silent || c.renewed || c.detached {
		return c.notMended(in)
	}
	actions := append([]Action{{Kind: Tell, Code: codeICERestartFailed}}, c.dropFresh()...)
	c.renewed = true
	return c.await(append(actions, Action{Kind: RenewLine}))
}

// well is a call whose sound flows.
func (c Info) well() Info {
	c.mend, c.tries, c.silent, c.renewed = mendNone, 0, false, false
	c.try++ // what is still being asked is not wanted any more
	return c
}
