package call

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// roomFor tells why a call of a group cannot be placed now.
func (m *Manager) roomFor(group string) error {
	ups := 0
	for _, c := range m.calls {
		if !c.up() {
			continue
		}
		ups++
		if c.info.State != Held && (group == "" || c.info.Group != group) || ups >= maxUp {
			return fmt.Errorf("%w (%s, %s)", ErrBusy, c.info.ID, c.info.State)
		}
	}
	return nil
}

// invited takes in an inbound call.
func (m *Manager) invited(s Signal, in Input) {
	switch {
	case m.leaving, len(m.calls) >= maxCalls:
		return
	case !validID(s.CallID):
		m.log.Warn("an invite with a callID that is none was ignored")
		return
	}
	ups := 0
	for _, other := range m.calls {
		if other.up() {
			ups++
		}
	}
	in.Busy = ups > 0 && m.cfg.SecondCall != SecondWait && m.cfg.SecondCall != SecondHold || ups >= maxUp
	c := m.add(Info{ID: s.CallID, Direction: Inbound, Muted: m.cfg.StartMuted})
	c.offer, c.busy = s.SDP, in.Busy
	in.Busy = in.Busy || m.cfg.DoNotDisturb != nil && m.cfg.DoNotDisturb()
	m.emit(c, Event{Kind: StateChanged})
	m.step(c, in)
	switch {
	case c.info.State != Ringing:
	case ups == 0:
		m.answerSoon(c)
	case m.cfg.SecondCall == SecondHold && m.allowed(c.info):
		refuse := func(err error) {
			if err != nil && c.info.State == Ringing {
				m.log.Info("the other call could not be put on hold: this one hears that we are busy", "call_id", c.info.ID, "err", err)
				m.step(c, Input{Kind: OnReject})
			}
		}
		if err := m.answer(c, nil, refuse); err != nil {
			refuse(err)
		}
	}
}

// answerSoon answers a call by itself, when that is wanted.
func (m *Manager) answerSoon(c *live) {
	if !m.cfg.AutoAnswer || !m.allowed(c.info) {
		return
	}
	if m.cfg.AnswerDelay <= 0 {
		m.step(c, Input{Kind: OnAnswer})
		return
	}
	c.answerAt = time.Now().Add(m.cfg.AnswerDelay)
}

// allowed tells whether a caller's call may be answered without a person.
func (m *Manager) allowed(c Info) bool {
	if len(m.cfg.AllowFrom) == 0 {
		return true
	}
	for _, entry := range m.cfg.AllowFrom {
		for _, caller := range []string{c.RemoteID, c.RemoteName} {
			if prefix, ok := strings.CutSuffix(entry, "*"); caller != "" && (caller == entry || ok && strings.HasPrefix(caller, prefix)) {
				return true
			}
		}
	}
	return false
}

var errOther = errors.New("another call is being set up or taken back: wait, or hang it up first")

// answer answers a call that rings, after putting the one that is talked on on hold. done is told how that went, unless
// an error is returned.
func (m *Manager) answer(c *live, headers []Header, done func(error)) error {
	var talk *live
	for _, other := range m.calls {
		if other == c || !other.up() {
			continue
		}
		switch other.info.State {
		case Active:
			talk = other
		case Held, Ringing:
		default:
			if other.info.State == Answering {
				m.tell(c, codeDuplicateAnswer)
			}
			return errOther
		}
	}
	if talk == nil {
		err := m.command(c, c.info.ID, Input{Kind: OnAnswer, Headers: headers})
		if err == nil {
			done(nil)
		}
		return err
	}
	return m.modifying(talk, talk.info.ID, Input{Kind: OnHold}, func(err error) {
		switch {
		case err == nil && talk.info.State == Active:
			err = errors.New("the platform did not put the other call on hold")
		case err != nil && talk.info.State >= Hangup:
			err = nil // it is gone: so much the better
		}
		if err == nil {
			talk.heldFor = talk.info.State == Held
			err = m.command(c, c.info.ID, Input{Kind: OnAnswer, Headers: headers})
		}
		done(err)
	})
}

// freed looks what the end of a call leaves room for: the one that was put on hold because of it, or one that waits.
func (m *Manager) freed() {
	var waiting, held *live
	for _, c := range m.calls {
		switch {
		case !c.up():
		case c.info.State == Held:
			if c.heldFor {
				held = c
			}
		case c.info.State == Ringing && c.info.Direction == Inbound:
			waiting = c
		default:
			return // somebody talks
		}
	}
	switch {
	case held != nil:
		_ = m.modifying(held, held.info.ID, Input{Kind: OnUnhold}, nil)
	case waiting != nil && waiting.answerAt.IsZero():
		m.answerSoon(waiting)
	}
}

// reattached sorts the calls by what the platform still has, once the line is back.
func (m *Manager) reattached(ids []string) {
	for _, c := range m.list() {
		in := Input{Kind: OnNotReattached}
		for _, id := range ids {
			if id == c.info.ID {
				in.Kind = OnReattached
			}
		}
		m.step(c, in)
	}
}

// sayBye tells the platform once more of a call that has ended here: the first bye went into a line that was down.
func (m *Manager) sayBye(c Info) {
	m.log.Info("the platform gives back a call that is over: it is told so again", "call_id", c.ID)
	m.workers.Go(func() {
		ctx, cancel := context.WithTimeout(m.byeCtx, byeTimeout)
		defer cancel()
		if err := m.cfg.Line.Bye(ctx, c); err != nil {
			m.log.Info("bye was not answered", "call_id", c.ID, "err", err)
		}
	})
}

// attached takes in a call that an earlier run of the device left. While there are others it is none of ours.
func (m *Manager) attached(s Signal, in Input) {
	if m.leaving || !validID(s.CallID) || s.SDP == "" {
		return
	}
	if i := slices.IndexFunc(m.over, func(c Info) bool { return c.ID == s.CallID }); i >= 0 {
		m.sayBye(m.over[i])
		return
	}
	if up := m.find(""); up != nil {
		m.log.Warn("the platform offers a call that is not ours", "call_id", s.CallID)
		m.tell(up, codeUnknownReattached) // beside the call that is
		return
	}
	c := m.add(Info{ID: s.CallID, Direction: Inbound, Muted: m.cfg.StartMuted})
	m.emit(c, Event{Kind: StateChanged})
	m.step(c, in)
}
