package gateway

import (
	"errors"
	"slices"
	"time"

	"sidetone/rtc/verto"
)

// connect begins a call that a client made. A wrong number is told as such, whatever the SDP is worth.
func (c *call) connect() {
	c.g.saw(c.caller, candidateLines(c.offer.SDP)...)
	if c.app = destinations[c.calleeName]; c.app.run == nil && !c.g.registered(c.calleeName) {
		c.unreachable()
		return
	}
	if why, ok := c.accept(); !ok {
		c.failLater(why)
		return
	}
	if c.app.run != nil {
		c.answerApp()
		return
	}
	switch err := c.callOut(c.calleeName, c.caller.peer.codecs(), c.offer.Dialog); {
	case err == nil:
	case errors.Is(err, ErrNotRegistered): // it left just now
		c.unreachable()
	default:
		c.fail(failure, "no leg to the callee", err)
	}
}

// unreachable ends a call to nobody.
func (c *call) unreachable() {
	if c.calleeName == "" || c.g.known(c.calleeName) {
		c.failLater(absent(c.caller))
	} else {
		c.failLater(unknown(c.caller))
	}
}

// accept takes the caller's offer; if that cannot be, it says why.
func (c *call) accept() (cause, bool) {
	if c.caller.fs && len(candidateLines(c.offer.SDP)) == 0 {
		return incompatible, false // it knows no trickle
	}
	if err := c.caller.open(); err != nil {
		c.g.log.Error("no peer connection", "err", err)
		return failure, false
	}
	if err := c.caller.peer.setOffer(c.offer.SDP); err != nil {
		c.g.log.Info("the caller's SDP is of no use", "caller", c.callerName, "err", err)
		return incompatible, false
	}
	return cause{}, true
}

// ringClient begins a call that a built-in destination makes.
func (c *call) ringClient() {
	c.invite(c.app.codecs, verto.DialogParams{})
}

// answerApp has the built-in destination answer: media carries the SDP, answer comes without.
func (c *call) answerApp() {
	sdp, err := c.caller.peer.answer(c.app.codecs)
	if err != nil {
		c.fail(incompatible, "no answer to the caller's SDP", err)
		return
	}
	c.rings()
	if c.caller.fs {
		c.caller.send(verto.Answer, verto.ServerCallParams{SDP: sdp})
	} else {
		c.caller.send(verto.Media, verto.ServerCallParams{SDP: sdp})
		c.caller.send(verto.Answer, verto.ServerCallParams{})
	}
	c.caller.answered = true
	c.startApp(c.caller)
	c.active()
}

// callOut invites a client by name, with the codecs given.
func (c *call) callOut(name string, codecs []codec, from verto.DialogParams) (err error) {
	if c.ringing, err = c.g.legsTo(name, c); err == nil {
		c.invite(codecs, from)
	}
	return err
}

// invite rings the legs in ringing, with the codecs given or all.
func (c *call) invite(codecs []codec, from verto.DialogParams) {
	name, number := from.CallerIDName, from.CallerIDNumber
	if name == "" {
		name = c.callerName
	}
	if number == "" {
		number = c.callerName
	}
	for _, l := range c.ringing {
		err := l.open()
		var sdp string
		if err == nil {
			sdp, err = l.peer.offer(codecs)
		}
		if err != nil {
			c.fail(incompatible, "no offer to the callee", err)
			return
		}
		p := verto.ServerCallParams{
			SDP: sdp, CallerIDName: name, CallerIDNumber: number, CalleeIDName: c.calleeName, CalleeIDNumber: c.calleeName,
			DisplayDirection: inbound, ClientState: from.ClientState,
		}
		if l.fs {
			l.inviteID = l.inviteFreeSWITCH(p, from)
			continue
		}
		p.Dialog = &verto.DialogParams{CallID: l.id, CustomHeaders: from.CustomHeaders, Audio: true}
		l.inviteID = l.send(verto.Invite, p)
	}
	c.rings()
	stopTimer(&c.ring)
	c.ring = time.AfterFunc(c.g.cfg.RingTimeout, func() { c.post(func() { c.unanswered() }) })
}

// rings says that the far side rings.
func (c *call) rings() {
	for _, l := range c.ringing {
		l.set(func(s *CallStats) { s.State = CallRinging })
	}
	if c.state != CallTrying {
		return
	}
	c.state = CallRinging
	if l := c.caller; l != nil {
		l.set(func(s *CallStats) { s.State = CallRinging })
		if !l.fs {
			l.send(verto.Ringing, verto.ServerCallParams{})
		}
	}
}

// unanswered is told when nobody answered in time.
func (c *call) unanswered() {
	if len(c.ringing) > 0 {
		c.end(noAnswer, nil)
	}
}

// answeredBy takes the callee's answer.
func (c *call) answeredBy(l *leg, sdp string) error {
	if !slices.Contains(c.ringing, l) || l.peer == nil {
		return errors.New("there is nothing to answer")
	}
	c.g.saw(l, candidateLines(sdp)...)
	if err := l.peer.setAnswer(sdp); err != nil {
		c.fail(incompatible, "the callee's SDP is of no use", err)
		return err
	}
	l.answered = true
	c.ringing = slices.DeleteFunc(c.ringing, func(o *leg) bool { return o == l })
	for _, loser := range c.ringing {
		c.drop(loser, loseRace, true)
	}
	c.ringing = nil
	first := c.caller
	if first == nil && c.callee == nil {
		c.callee = l
		c.startApp(l)
		c.active()
		return nil
	}
	if first != nil {
		c.callee = l
	} else { // the callee of a destination was transferred
		first, c.caller = c.callee, l
	}
	if !first.answered {
		// The caller gets those codecs alone that the callee takes: we never transcode.
		answer, err := first.peer.answer(l.peer.codecs())
		if err != nil {
			c.fail(incompatible, "no answer to the caller's SDP", err)
			return err
		}
		first.answered = true
		first.send(verto.Answer, verto.ServerCallParams{SDP: answer})
	}
	first.silence()
	c.bridge(first, l)
	c.bridge(l, first)
	c.active()
	c.tones()
	c.display()
	return nil
}

func (c *call) active() {
	c.state = CallActive
	stopTimer(&c.ring)
	now := time.Now()
	for _, l := range c.legs() {
		l.set(func(s *CallStats) {
			if s.State = CallActive; s.Answered.IsZero() {
				s.Answered = now
			}
		})
		if !l.present() { // its socket went while we answered
			c.detached(l)
		}
	}
}
