package gateway

import (
	"slices"
	"time"
)

// hungUp is told when the client of l said bye.
func (c *call) hungUp(l *leg, text string, code int) {
	switch {
	case l.gone:
	case l.answered:
		c.end(causeOf(text, code, normalClearing), l)
	case l == c.caller:
		c.end(canceled, l)
	default:
		c.left(l, causeOf(text, code, userBusy))
	}
}

// refused is told when the client of l answered a request of ours by an error; it matters when that was the invite.
func (c *call) refused(l *leg, request uint32) {
	if l.inviteID == request && slices.Contains(c.ringing, l) {
		c.left(l, failure)
	}
}

// abandoned is told when the client of an unanswered leg is gone: what rings does not outlive its socket.
func (c *call) abandoned(l *leg) {
	if l == c.caller {
		c.end(canceled, l)
		return
	}
	c.left(l, lost(l))
}

// left is told when a leg that rang will not answer: others may.
func (c *call) left(l *leg, why cause) {
	if len(c.ringing) < 2 || !slices.Contains(c.ringing, l) {
		c.end(why, l)
		return
	}
	c.ringing = slices.DeleteFunc(c.ringing, func(o *leg) bool { return o == l })
	c.drop(l, why, false)
}

// drop ends one leg of a call that goes on.
func (c *call) drop(l *leg, why cause, tell bool) {
	l.gone = true
	l.port.route(nil)
	l.hangUp(why, tell)
	c.closing.Go(l.close)
}

func (c *call) fail(why cause, what string, err error) {
	c.g.log.Info("call failed", "caller", c.callerName, "callee", c.calleeName, "why", what, "err", err)
	c.end(why, nil)
}

// failLater ends a call that cannot be, as soon as its gateway says so.
func (c *call) failLater(why cause) {
	if !c.caller.fs {
		c.end(why, nil)
		return
	}
	c.ring = time.AfterFunc(failureDelay, func() { c.post(func() { c.end(why, nil) }) })
}

// end ends the call: every leg but the one that ended it gets a bye.
func (c *call) end(why cause, by *leg) {
	if c.state == CallEnded {
		return
	}
	for _, l := range c.legs() {
		told := why
		if slices.Contains(c.ringing, l) && l != by && (why == noAnswer || why == normalClearing) {
			told = canceled // it did not answer: the caller gave up
		}
		l.hangUp(told, l != by)
	}
	c.state = CallEnded
}
