package gateway

import (
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
	s.g.run(c, c.connect)
}

// answer takes the call that we offered to the client.
func (s *session) answer(f *request, p verto.ClientCallParams, id string) {
	l := s.g.leg(s.name, id)
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
				s.refuse(f, verto.CodeSessionError, "CALL ERROR")
				return
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

// bye hangs up. A call that is gone, or never was, has ended as well.
func (s *session) bye(f *request, p verto.ClientCallParams, id string) {
	why := causeOf(p.Cause, p.CauseCode, normalClearing)
	if l := s.g.leg(s.name, id); l != nil {
		l.call.post(func() { l.call.hungUp(l, p.Cause, p.CauseCode) })
	}
	s.reply(f, verto.CallResult{
		CallID: id, Message: "CALL ENDED", Cause: why.text, CauseCode: why.code, SessID: s.sessid,
	})
}

// candidate adds an ICE candidate, or says that there are no more, which ICE need not be told.
func (s *session) candidate(f *request, p verto.ClientCallParams, id string) {
	if l := s.g.leg(s.name, id); l != nil && p.Candidate != "" {
		l.call.post(func() { l.call.candidate(l, p) })
	}
	s.reply(f, verto.CallResult{SessID: s.sessid})
}
