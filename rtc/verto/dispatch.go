package verto

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// receive takes one text message, or the end of the connection.
func (l *line) receive(in inbound) {
	if in.err != nil {
		l.socket = socketClose(in.err, l.scrub(in.err.Error()))
		l.fail(CodeWebSocket, "the connection was lost: "+l.scrub(in.err.Error()), 0)
		return
	}
	l.heard(true)
	frames, err := ParseAll(in.frame)
	if err != nil {
		l.once("a frame that is not JSON-RPC", "err", err)
	}
	for _, f := range frames {
		if l.conn != in.conn {
			return // an earlier one of the batch has ended it
		}
		l.trace("received", f, len(in.frame))
		l.frame(f)
	}
}

func (l *line) frame(f *Frame) {
	if isID(f.VoiceSDKID) && f.VoiceSDKID != l.sdkID {
		l.sdkID = f.VoiceSDKID
		l.publish()
	}
	state := gatewayState(f)
	switch {
	case f.IsResponse():
		l.answered(f, state)
	case f.IsRequest():
		l.asked(f, state.State != "")
	}
	if state.State != "" {
		l.gateway(state)
	}
}

// isID tells whether a server's word may be used as an id in URLs and headers.
func isID(s string) bool {
	return s != "" && len(s) <= 256 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// answered takes the answer to a request of ours.
func (l *line) answered(f *Frame, state GatewayStateParams) {
	var id string
	_ = json.Unmarshal(f.ID, &id) // not a string: not ours
	p, ok := l.pending[id]
	if !ok {
		return // an echo, or an answer after its time
	}
	delete(l.pending, id)
	l.lastAnswer = time.Now()
	switch p.purpose {
	case forLogin:
		l.loginAnswered(f, state)
		return
	case forRefresh:
		p.answer(f, nil)
		return
	case forState:
		if state.State == "" {
			l.once("a gatewayState answer without a state")
			l.setAlarm(alarmPoll, l.pollPause())
		}
	case forCaller:
		p.answer(f, nil)
	}
	// The browser SDK logs in again when any request is answered so; by way of a new connection it cannot loop.
	if f.Error != nil && f.Error.Code == CodeAuthenticationRequired && l.conn != nil {
		l.raise(CodeLoginRequired, l.scrub(f.Error.Message))
		l.fail(CodeWebSocket, "the platform has forgotten our login", 0)
	}
}

// asked takes a request or notification of the server.
func (l *line) asked(f *Frame, isState bool) {
	name, ok := strings.CutPrefix(f.Method, l.cfg.Dialect.Prefix)
	if !ok {
		switch f.Method {
		case AIConversation:
			l.conversation(f)
		case "webrtc.event": // known, and no business of a telephone
		default:
			if !isState {
				l.once("method "+l.scrub(f.Method), "id", string(f.ID))
			}
		}
		return
	}
	switch name {
	case ClientReady:
		var p ClientReadyParams
		_ = json.Unmarshal(f.Params, &p) // without a list there are no calls
		l.clientReady(p)
	case Ping:
		l.pong(f)
	case Invite, Ringing, Media, Answer, Attach, Display, Candidate, Bye:
		l.aboutCall(f, name, true)
	case EndOfCandidates, Modify, Info:
		l.aboutCall(f, name, false)
	case Punt:
		l.punted()
	case GatewayState, "event":
	default:
		if !isState {
			l.once("method "+l.scrub(f.Method), "id", string(f.ID))
		}
	}
}

// punted leaves the line: whoever punted us, another connection of ours or an operator, wants us away. All calls are
// over without a word. We come back with a new session, in no hurry, and in ever less when it happens again.
func (l *line) punted() {
	if l.status.State == Registered && time.Since(l.status.Since) > puntForget {
		l.punts = 0
	}
	l.punts++
	l.dialogs.keep(nil)
	l.tell(Event{Method: Punt})
	l.newSession()
	l.fail(CodeWebSocket, "the platform has put us off the line", doubling(puntFirst, puntMax, l.punts))
}

// aboutCall passes on a message about a call, and acknowledges it where the browser SDK does.
func (l *line) aboutCall(f *Frame, name string, ack bool) {
	var p ServerCallParams
	if err := json.Unmarshal(f.Params, &p); err != nil {
		// A field of another type than ours does not make the others wrong, and a bye is a bye.
		var mismatch *json.UnmarshalTypeError
		if !errors.As(err, &mismatch) {
			l.once(name+" without parameters", "err", err)
			return
		}
		l.once(name+" with a field of an unknown type", "field", mismatch.Field)
	}
	if p.CallID == "" && p.Dialog != nil {
		p.CallID = p.Dialog.ID()
	}
	if p.CallID == "" {
		l.once(name + " without callID")
		return
	}
	l.cfg.Dialect.incoming(name, &p, f.Params)
	if ack && len(f.ID) > 0 {
		if reply, err := Reply(f, map[string]string{"method": f.Method}); err == nil {
			_ = l.send(reply) // when it fails, the connection is dropped; what was said still counts
		}
	}
	switch name {
	case Invite:
		l.dialogs.add(p.CallID)
	case Bye:
		l.dialogs.remove(p.CallID)
		delete(l.dialogs.owed, p.CallID)
	case Attach:
		if !l.attached(p.CallID) {
			return
		}
	}
	l.tell(Event{Method: name, Call: &p})
}

// callAnswer reads the answer to a call request. Some come wrapped once more, with a code of their own.
func callAnswer(f *Frame) (CallResult, error) {
	if f.Error != nil {
		return CallResult{}, f.Error
	}
	result := f.Result
	var wrapped struct {
		Code    json.RawMessage `json:"code"`
		Message string          `json:"message"`
		Result  json.RawMessage `json:"result"`
	}
	if json.Unmarshal(result, &wrapped) == nil && len(wrapped.Result) > 0 {
		code := strings.Trim(string(wrapped.Code), `"`)
		if code != "" && code != "200" {
			return CallResult{}, &Error{Code: CodeSessionError, Message: fmt.Sprintf("%s (code %s)", wrapped.Message, code)}
		}
		result = slices.Clone(wrapped.Result)
	}
	var r CallResult
	_ = json.Unmarshal(result, &r) // an answer of any shape is a yes
	return r, nil
}
