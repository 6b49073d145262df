package gateway

import (
	"slices"

	"sidetone/rtc/verto"
)

// maxCallID is the longest id a client may give a call: four times a UUID.
const maxCallID = 144

// invite starts a call under the client's own id. That it was created says no more than that: failures come as a bye.
func (s *session) invite(f *request, p verto.ClientCallParams, id string) {
	switch {
	case id == "" || len(id) > maxCallID:
		s.refuse(f, verto.CodeSessionError, "CALL ERROR: dialogParams.callID is missing or too long")
		return
	case s.down():
		s.refuse(f, verto.CodeSessionError, "GATEWAY DOWN: the line is not registered")
		return
	case p.SDP == "" && s.fs:
		s.refuseCall(f, unspecified)
		return
	case p.SDP == "":
		s.refuse(f, verto.CodeSessionError, "CALL ERROR: sdp is missing")
		return
	}
	c := s.g.newCall()
	c.offer = p
	c.callerName, c.calleeName = s.name, p.Dialog.DestinationNumber
	if s.assistant != "" {
		c.calleeName = s.assistant
	}
	var err error
	if c.caller, err = s.g.legFrom(s, id, c); err != nil {
		s.refuse(f, verto.CodeSessionError, err.Error())
		return
	}
	s.reply(f, verto.CallResult{CallID: id, Message: "CALL CREATED", SessID: s.sessid})
	trickled := s.early.take(id)
	s.g.run(c, func() {
		c.connect()
		for _, p := range trickled {
			c.candidate(c.caller, p)
		}
	})
}

// answer takes the call that we offered to the client.
func (s *session) answer(f *request, p verto.ClientCallParams, id string) {
	l := s.g.leg(s.name, id)
	if l == nil && s.fs { // it does not look
		s.reply(f, verto.CallResult{SessID: s.sessid})
		return
	}
	if l == nil || !l.call.post(func() {
		if err := l.call.answeredBy(l, p.SDP); err != nil {
			s.log.Info("answer refused", "client", s.name, "call", id, "err", err)
			s.refuse(f, verto.CodeSessionError, "CALL ERROR")
			return
		}
		s.reply(f, verto.CallResult{SessID: s.sessid})
	}) {
		s.refuse(f, verto.CodeSessionError, textNoCall)
	}
}

// attach brings the client's new media for a call that it found again.
func (s *session) attach(f *request, p verto.ClientCallParams, id string) {
	l := s.g.leg(s.name, id)
	if l == nil || !l.call.post(func() {
		if err := l.call.attachedBy(l, p.SDP); err != nil {
			s.log.Info("attach refused", "client", s.name, "call", id, "err", err)
			s.refuse(f, verto.CodeSessionError, "CALL ERROR")
			return
		}
		s.reply(f, verto.CallResult{SessID: s.sessid})
	}) {
		s.refuse(f, verto.CodeSessionError, textNoCall)
	}
}

// modify holds, takes back, or renews the path of media.
func (s *session) modify(f *request, p verto.ClientCallParams, id string) {
	l := s.g.leg(s.name, id)
	if l == nil || !l.call.post(func() {
		result := verto.CallResult{CallID: id, Action: p.Action, SessID: s.sessid}
		switch p.Action {
		case "hold":
			l.call.hold(l, true)
		case "unhold":
			l.call.hold(l, false)
		case "toggleHold":
			l.call.hold(l, !l.held)
		case "transfer": // FreeSWITCH's alone: the far side is sent elsewhere
			if err := l.call.refer(l, f.Params); err != nil {
				s.log.Info("transfer refused", "client", s.name, "call", id, "err", err)
				s.refuse(f, verto.CodeSessionError, err.Error())
				return
			}
			if s.fs {
				result.Message = "CALL TRANSFERRED"
			}
		case "updateMedia":
			var err error
			if result.SDP, err = l.call.renew(l, p.SDP); err != nil {
				s.log.Info("new media refused", "client", s.name, "call", id, "err", err)
				s.refuse(f, verto.CodeSessionError, "CALL ERROR")
				return
			}
		}
		result.HoldState = "active"
		if l.held {
			result.HoldState = "held"
		}
		s.reply(f, result)
	}) {
		s.refuse(f, verto.CodeSessionError, textNoCall)
	}
}

// info carries DTMF. Of a call that is gone it is taken without a word, as FreeSWITCH does.
func (s *session) info(f *request, p verto.ClientCallParams, id string) {
	l := s.g.leg(s.name, id)
	if l == nil {
		s.reply(f, verto.CallResult{SessID: s.sessid})
		return
	}
	l.call.post(func() { l.call.digits(l, p.DTMF) })
	s.reply(f, verto.CallResult{Message: "SENT", SessID: s.sessid})
}

// bye hangs up. A call that is gone, or never was, has ended as well; FreeSWITCH alone says so by an error.
func (s *session) bye(f *request, p verto.ClientCallParams, id string) {
	why := causeOf(p.Cause, p.CauseCode, normalClearing)
	if l := s.g.leg(s.name, id); l != nil {
		l.call.post(func() { l.call.hungUp(l, p.Cause, p.CauseCode) })
	} else if s.fs {
		s.refuse(f, verto.CodeSessionError, textNoCall)
		return
	}
	s.reply(f, verto.CallResult{
		CallID: id, Message: "CALL ENDED", Cause: why.text, CauseCode: why.code, SessID: s.sessid,
	})
}

// candidate adds an ICE candidate, or says that there are no more, which ICE need not be told. One that comes before
// its call's invite waits for it.
func (s *session) candidate(f *request, p verto.ClientCallParams, id string) {
	switch l := s.g.leg(s.name, id); {
	case p.Candidate == "":
	case l != nil:
		l.call.post(func() { l.call.candidate(l, p) })
	default:
		s.early.put(id, p)
	}
	s.reply(f, verto.CallResult{SessID: s.sessid})
}

// early holds the newest candidates that came for calls which were not there. Most are of calls that have ended; nobody
// ever takes those.
type early []earlyCandidate

type earlyCandidate struct {
	callID string
	params verto.ClientCallParams
}

const maxEarly = 64 // of all calls of a session: each of a few interfaces and servers has a candidate

func (e *early) put(callID string, p verto.ClientCallParams) {
	if len(callID) > maxCallID {
		return
	}
	*e = append(*e, earlyCandidate{callID, p})
	*e = (*e)[max(0, len(*e)-maxEarly):]
}

// take gives a call's candidates in the order in which they came, and forgets them.
func (e *early) take(callID string) (of []verto.ClientCallParams) {
	*e = slices.DeleteFunc(*e, func(c earlyCandidate) bool {
		if c.callID == callID {
			of = append(of, c.params)
		}
		return c.callID == callID
	})
	return of
}
