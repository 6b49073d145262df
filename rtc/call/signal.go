package call

import (
	"strings"

	"sidetone/rtc/quality"
)

// SignalKind says what the line tells of a call.
type SignalKind string

// Signals.
const (
	SignalInvite     SignalKind = "invite"    // a new inbound call: CallID, SDP (offer), RemoteName, RemoteID, Telnyx ids
	SignalRinging    SignalKind = "ringing"   // the far side rings
	SignalEarlyMedia SignalKind = "media"     // SDP (answer) before the call is answered
	SignalAnswered   SignalKind = "answer"    // SDP (answer) unless early media brought it
	SignalBye        SignalKind = "bye"       // Cause
	SignalDigit      SignalKind = "digit"     // Digit, from info
	SignalDisplay    SignalKind = "display"   // RemoteName, RemoteID
	SignalCandidate  SignalKind = "candidate" // Candidate, SDPMid, SDPMLineIndex
	SignalLineLost   SignalKind = "line lost" // every call: the connection to the platform is gone
	SignalDropped    SignalKind = "dropped"   // the platform dropped the call (every call when CallID is empty): no bye
	SignalReady      SignalKind = "ready"     // a new session of the line: Reattached lists the calls that it still has
	SignalAttach     SignalKind = "attach"    // the platform gives a call back: as SignalInvite
	SignalNetwork    SignalKind = "network"   // every call: the device's addresses or routes changed; Lost
)

// Signal is what the line tells. CallID is needed but for SignalLineLost, SignalReady and SignalNetwork.
type Signal struct {
	Kind                 SignalKind
	CallID               string
	SDP                  string
	RemoteName, RemoteID string
	Digit                string
	Cause                Cause
	Candidate            string
	SDPMid               string
	SDPMLineIndex        uint16
	Headers              []Header
	ClientState          string
	Reattached           []string
	Socket               *quality.SocketClose // of SignalLineLost: how it ended, where that is known
	Lost                 bool                 // an address or a route that was there is gone

	TelnyxCallControlID, TelnyxSessionID, TelnyxLegID string
}

// Signal takes what the line says. It never blocks.
func (m *Manager) Signal(s Signal) { m.inbox.put(func() { m.signal(s) }) }

var signalInputs = map[SignalKind]InputKind{
	SignalInvite: OnInvite, SignalRinging: OnRinging, SignalEarlyMedia: OnEarlyMedia, SignalAnswered: OnAnswered,
	SignalBye: OnBye, SignalDigit: OnDigit, SignalDisplay: OnDisplay, SignalLineLost: OnLineLost, SignalDropped: OnDropped,
	SignalAttach: OnAttach, SignalNetwork: OnNetwork,
}

func (m *Manager) signal(s Signal) {
	in := Input{Kind: signalInputs[s.Kind], SDP: s.SDP, Digits: s.Digit, On: s.Lost, Cause: s.Cause, Remote: Remote{
		Name: s.RemoteName, Number: s.RemoteID,
		TelnyxCallControlID: s.TelnyxCallControlID, TelnyxSessionID: s.TelnyxSessionID, TelnyxLegID: s.TelnyxLegID,
		Headers: s.Headers, ClientState: s.ClientState,
	}}
	switch {
	case s.Kind == SignalLineLost, s.Kind == SignalDropped && s.CallID == "":
		if s.Kind == SignalLineLost {
			m.lineLost(s.Socket)
		}
		for _, c := range m.list() {
			m.step(c, in)
		}
		return
	case s.Kind == SignalNetwork:
		m.networkChanged(in)
		return
	case s.Kind == SignalReady:
		for _, c := range m.calls {
			c.collector.Mark("line_ready", m.cfg.Now())
		}
		m.reattached(s.Reattached)
		return
	case s.CallID == "":
		m.log.Debug("a signal without a call", "signal", s.Kind)
		return
	}
	c := m.find(s.CallID)
	switch {
	case s.Kind == SignalInvite:
		if c == nil {
			m.invited(s, in)
		}
	case c == nil && s.Kind == SignalAttach:
		m.attached(s, in)
	case c == nil:
		m.log.Debug("a signal for a call that we do not have", "signal", s.Kind, "call_id", s.CallID)
	case s.Kind == SignalCandidate:
		c.addCandidate(candidate{s.Candidate, s.SDPMid, s.SDPMLineIndex})
	default:
		m.step(c, in)
	}
}

// validID tells whether the platform's word may name a call: ids end up in topics and file names.
func validID(id string) bool {
	return len(id) <= 128 && !strings.HasPrefix(id, ".") && !strings.ContainsFunc(id, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:@", r)
	})
}
