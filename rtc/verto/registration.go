package verto

import (
	"encoding/json"
	"fmt"
	"time"
)

const (
	registerTimeout = 60 * time.Second // from open to registered; ours: the SDK waits for ever
	maxPolls        = 5                // answers "not registered" before the login counts as failed
)

// gatewayState finds the state of the registration, which servers put into results, errors and pushed frames of any
// name. It is empty when the frame has none.
func gatewayState(f *Frame) GatewayStateParams {
	var result struct {
		Params GatewayStateParams `json:"params"`
	}
	var p GatewayStateParams
	switch {
	case f.Error != nil && len(f.Error.Params) > 0:
		_ = json.Unmarshal(f.Error.Params, &p) // not of this shape: no state
	case len(f.Result) > 0:
		_ = json.Unmarshal(f.Result, &result)
		p = result.Params
	case len(f.Params) > 0:
		_ = json.Unmarshal(f.Params, &p)
	}
	switch p.State {
	case StateRegistered, StateRegister, StateUnregistered, StateNoRegister, StateFailed, StateFailWait, StateTimeout,
		StateTrying, StateExpired, StateUnregister, StateDown, StateAttached:
		return p
	}
	return GatewayStateParams{}
}

// poll asks for the gateway state.
func (l *line) poll() {
	l.clearAlarm(alarmReady)
	l.clearAlarm(alarmPoll)
	for _, p := range l.pending {
		if p.purpose == forState {
			return
		}
	}
	_ = l.request(GatewayState, l.bare(), pending{purpose: forState, deadline: time.Now().Add(requestTimeout)})
}

// pollPause is 2 to 6 whole seconds, as the browser SDK waits.
func (l *line) pollPause() time.Duration {
	return time.Duration(2+int(l.cfg.Rand()*5)) * time.Second
}

// gateway takes a state of the registration, wherever it came from.
func (l *line) gateway(p GatewayStateParams) {
	if l.conn == nil {
		return
	}
	if isID(p.CallReportID) {
		l.reportID = p.CallReportID
	}
	if p.Region != "" || p.DC != "" {
		l.region, l.dc = l.scrub(p.Region), l.scrub(p.DC)
	}
	switch p.State {
	case StateFailed, StateFailWait, StateTimeout:
		l.skipSDKID = true
		l.status.GatewayState = p.State
		l.fail(CodeGatewayFailed, "the platform's gateway says "+p.State, l.pollPause())
		return
	}
	if !l.loggedIn {
		return
	}
	switch p.State {
	case StateRegistered:
		l.tries, l.skipSDKID = 0, false
		l.registered(p.State)
	case StateRegister:
		l.registered(p.State)
	case StateUnregistered, StateNoRegister:
		l.polls++
		if l.polls >= maxPolls {
			l.status.GatewayState = p.State
			l.refuse(CodeLoginFailed, fmt.Sprintf("the platform took the login but does not register the line (%s, %d "+
				"times): check its credential and SIP connection there", p.State, l.polls))
			l.dropCredentials()
			return
		}
		l.unregistered(p.State)
	case StateExpired, StateUnregister, StateDown:
		// Browsers do nothing, and cannot be called any more. Whoever waits sees it come back, or takes a new connection.
		l.unregistered(p.State)
	case StateTrying:
		s := l.status
		s.GatewayState = p.State
		l.setStatus(s)
		l.setAlarm(alarmPoll, l.pollPause())
	case StateAttached: // of a call, not of the line
		if l.status.State != Registered {
			l.setAlarm(alarmPoll, l.pollPause())
		}
	}
}

func (l *line) registered(gatewayState string) {
	fresh := l.status.State != Registered
	l.polls, l.refusals = 0, 0
	l.clearAlarm(alarmRegister)
	l.clearAlarm(alarmReady)
	l.clearAlarm(alarmPoll)
	l.clear(CodeConnectFailed, CodeWebSocket, CodeExhausted, CodeGatewayFailed, CodeLoginFailed, CodeInvalidCredentials,
		CodeLoginRequired, CodeOffline, CodeRecovery)
	l.setStatus(Status{State: Registered, GatewayState: gatewayState})
	if fresh {
		l.log.Info("the line is registered", "url", l.base.Redacted())
	}
}

// unregistered looks again in a moment. Calls that live go on meanwhile.
func (l *line) unregistered(gatewayState string) {
	if l.status.State == Registered {
		l.setAlarm(alarmRegister, registerTimeout)
	}
	l.trying(Status{State: Registering, GatewayState: gatewayState})
	l.setAlarm(alarmPoll, l.pollPause())
}
