package verto

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
)

const (
	requestTimeout = 10 * time.Second // of modify, bye and ping
	forgetTimeout  = 60 * time.Second // of all other requests; ours: the SDK's never time out
)

// purpose of a request of ours.
type purpose int

const (
	forLogin purpose = iota
	forRefresh
	forState
	forPing  // answers a ping of the server
	forProbe // asks whether anybody is there
	forCaller
)

// pending is a request of ours without an answer yet.
type pending struct {
	purpose  purpose
	deadline time.Time
	// answer is called once: with the answer, or with why there is none. Nil when only the purpose matters.
	answer func(*Frame, error)
}

// call sends the request of a caller of Client.Call.
func (l *line) call(method string, p ClientCallParams, reply func(CallResult, error)) {
	callID := p.Dialog.ID()
	if err := l.cfg.Dialect.outgoing(method, &p); err != nil {
		reply(CallResult{}, err)
		return
	}
	p.SessID = l.sessid
	if p.UserAgent == "" && p.SDP != "" {
		p.UserAgent = l.cfg.UserAgent
	}
	if !l.loggedIn || method == Invite && l.status.State != Registered {
		if method == Bye {
			l.dialogs.owe(callID, p)
		}
		reply(CallResult{}, l.notRegistered())
		return
	}
	switch method {
	case Invite:
		l.dialogs.add(callID)
	case Bye:
		l.dialogs.remove(callID)
	}
	timeout := forgetTimeout
	if method == Bye || method == Modify {
		timeout = requestTimeout
	}
	err := l.request(method, p, pending{
		purpose: forCaller, deadline: time.Now().Add(timeout),
		answer: func(f *Frame, err error) {
			var r CallResult
			if err == nil {
				r, err = callAnswer(f)
				if err == nil {
					err = l.cfg.Dialect.failed(method, &p, r)
				}
				if err != nil && method == Invite {
					l.dialogs.remove(callID)
				}
			} else if method == Bye {
				l.dialogs.owe(callID, p)
				l.warn(CodeByeFailed, err.Error())
			}
			reply(r, err)
		},
	})
	if err != nil {
		if method == Bye {
			l.dialogs.owe(callID, p)
		}
		reply(CallResult{}, err)
	}
}

// notRegistered is why nothing can be asked of the platform now.
func (l *line) notRegistered() error {
	err := fmt.Errorf("%w (%s)", ErrNotRegistered, l.status.State)
	if l.status.Message != "" {
		err = fmt.Errorf("%w: %s", err, l.status.Message)
	}
	return err
}

// bare are the params of a request that has none of its own.
func (l *line) bare() bareParams {
	if l.cfg.Dialect.ClientSessID {
		return bareParams{SessID: l.sessid}
	}
	return bareParams{}
}

// request sends a request and remembers who waits for its answer. When it cannot be sent, the connection is dropped
// and the error says so; the caller answers for its own pending.
func (l *line) request(method string, params any, p pending) error {
	f, err := Request(uuid.NewString(), l.cfg.Dialect.Method(method), params)
	if err != nil {
		return err
	}
	if method == GatewayState || method == Ping {
		f.VoiceSDKID = l.sdkID
	}
	return l.ask(f, p)
}

// ask sends a frame that has an id, and remembers who waits for its answer.
func (l *line) ask(f *Frame, p pending) error {
	var id string
	_ = json.Unmarshal(f.ID, &id) // our own
	if err := l.send(f); err != nil {
		return err
	}
	l.pending[id] = p
	return nil
}

// send writes a frame; a connection that does not take it is dropped.
func (l *line) send(f *Frame) error {
	if l.conn == nil {
		return ErrLineLost
	}
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if len(b) > MaxFrame {
		return fmt.Errorf("frame of %d bytes is larger than %d", len(b), MaxFrame)
	}
	ctx, cancel := context.WithTimeout(l.ctx, writeTimeout)
	defer cancel()
	l.trace("sent", f, len(b))
	if err := l.conn.Write(ctx, b); err != nil {
		l.fail(CodeWebSocket, fmt.Sprintf("the connection broke while sending: %v", err), 0)
		return ErrLineLost
	}
	return nil
}

// unanswered deals with a request of ours that got no answer in time.
func (l *line) unanswered(p pending) {
	switch p.purpose {
	case forPing, forProbe:
		l.raise(CodeRecovery, "nothing was heard for "+time.Since(l.lastFrame).Round(time.Second).String())
		l.fail(CodeWebSocket, "the platform has gone silent", 0)
	case forState:
		l.poll()
	case forRefresh, forCaller:
		p.answer(nil, ErrNoAnswer)
		// One lost answer is no proof; silence after a probe is.
		l.ping(forProbe, probeTimeout)
	}
}
