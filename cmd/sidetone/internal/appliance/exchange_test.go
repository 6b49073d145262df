package appliance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"sidetone/rtc/verto"
)

// exchange is a platform as far as one device's line and calls go: it keeps the calls of a connection that is lost and
// gives them back on the next, until somebody has it forget them. Connections may be in memory or real.
type exchange struct {
	t *testing.T

	mu      sync.Mutex
	conns   map[*trunk]bool
	calls   map[string]*exchangeCall
	last    int // number of the call that it made last
	dials   int
	closed  bool     // connections are refused
	cutting bool     // the next login is answered by the end of the connection
	states  []string // answers to gatewayState in turn, before REGED
	inError bool     // and they come as errors
	late    time.Duration
	admit   func(verto.LoginParams) error // nil: everybody is let in
	logins  []login
	wg      sync.WaitGroup
}

// login is one that the exchange was asked for, and what it said.
type login struct {
	at  time.Time
	on  *trunk
	err error
}

// exchangeCall is what it knows of a call. An answered one outlives its connection for 2 minutes, as FreeSWITCH has it.
type exchangeCall struct {
	dialog   verto.DialogParams // of the invite or answer that came
	answered bool
	lost     time.Time // without a connection since; zero with one
}

const kept = 2 * time.Minute

// trunk is one connection of the device, as the exchange sees it.
type trunk struct {
	verto.Conn
	in   bool // logged in
	dead bool // swallows everything, both ways
}

func newExchange(t *testing.T) *exchange {
	return &exchange{t: t, conns: map[*trunk]bool{}, calls: map[string]*exchangeCall{}}
}

var errClosed = errors.New("connection refused")

// dial connects the device in memory.
func (x *exchange) dial(context.Context, string) (verto.Conn, error) {
	if !x.opens() {
		return nil, errClosed
	}
	ours, theirs := newPipe()
	x.wg.Go(func() { x.serve(ours) })
	return theirs, nil
}

// opens counts a connection, and tells whether it is taken.
func (x *exchange) opens() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.dials++
	return !x.closed
}

// with changes what the exchange does.
func (x *exchange) with(do func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	do()
}

// serve talks to the device over one connection until that ends.
func (x *exchange) serve(conn verto.Conn) {
	c := &trunk{Conn: conn}
	x.with(func() { x.conns[c] = true })
	defer x.with(func() { x.gone(c) })
	defer conn.Close(1000, "")
	for {
		b, err := conn.Read(context.Background())
		if err != nil {
			return
		}
		f, err := verto.Parse(b)
		if err != nil {
			x.t.Errorf("the device sent %q: %v", b, err)
			return
		}
		var late time.Duration
		var cut bool
		x.with(func() {
			late = x.late
			cut = x.cutting && f.Method == verto.Login
			x.cutting = x.cutting && !cut
		})
		if cut {
			return
		}
		time.Sleep(late)
		x.with(func() {
			if f.IsRequest() && !c.dead {
				x.asked(c, f)
			}
		})
	}
}

// gone is called, with the lock, when a connection has ended.
func (x *exchange) gone(c *trunk) {
	delete(x.conns, c)
	if x.line() != nil {
		return // the device is here by another one
	}
	for id, call := range x.calls {
		switch {
		case !call.answered:
			delete(x.calls, id)
		case call.lost.IsZero():
			call.lost = time.Now()
		}
	}
}

// line is the connection that the device is logged in by; nil when there is none. Of several it is any.
func (x *exchange) line() *trunk {
	for c := range x.conns {
		if c.in && !c.dead {
			return c
		}
	}
	return nil
}

// asked answers a request of the device, with the lock.
func (x *exchange) asked(c *trunk, f *verto.Frame) {
	var p verto.ClientCallParams
	_ = json.Unmarshal(f.Params, &p)
	id := p.Dialog.CallID
	switch f.Method {
	case verto.Login:
		var err error
		if x.admit != nil {
			var p verto.LoginParams
			_ = json.Unmarshal(f.Params, &p)
			err = x.admit(p)
		}
		x.logins = append(x.logins, login{time.Now(), c, err})
		if err != nil {
			x.send(c, verto.Refuse(f, verto.CodeAuthenticationFailed, "Authentication Failure"))
			return
		}
		if c.in { // renewed
			x.reply(c, f, verto.LoginResult{Message: "logged in", SessID: "sess-1"})
			return
		}
		c.in = true
		x.reply(c, f, verto.LoginResult{Message: "logged in", SessID: "sess-1"})
		ready := verto.ClientReadyParams{ReattachedSessions: []string{}}
		for id, call := range x.calls {
			if !call.lost.IsZero() && time.Since(call.lost) > kept {
				delete(x.calls, id)
				continue
			}
			ready.ReattachedSessions = append(ready.ReattachedSessions, id)
		}
		x.ask(c, verto.ClientReady, ready)
		for _, id := range ready.ReattachedSessions {
			x.calls[id].lost = time.Time{}
			x.ask(c, verto.Attach, verto.ServerCallParams{CallID: id, SDP: "offer"})
		}
		return
	case verto.Telnyx.Method(verto.GatewayState):
		s := verto.GatewayStateParams{State: verto.StateRegistered}
		if len(x.states) > 0 {
			s.State, x.states = x.states[0], x.states[1:]
			if x.inError {
				raw, _ := json.Marshal(s)
				x.send(c, &verto.Frame{JSONRPC: verto.Version, ID: f.ID, Error: &verto.Error{Code: -32099, Message: "state", Params: raw}})
				return
			}
		}
		x.reply(c, f, verto.GatewayStateResult{Params: s})
		return
	case verto.Telnyx.Method(verto.Invite):
		x.calls[id] = &exchangeCall{dialog: p.Dialog}
	case verto.Telnyx.Method(verto.Answer):
		call := x.calls[id]
		if call == nil {
			x.send(c, verto.Refuse(f, verto.CodeSessionError, "CALL DOES NOT EXIST"))
			return
		}
		call.answered, call.dialog = true, p.Dialog
	case verto.Telnyx.Method(verto.Attach):
		if x.calls[id] == nil {
			x.send(c, verto.Refuse(f, verto.CodeSessionError, "CALL DOES NOT EXIST"))
			return
		}
	case verto.Telnyx.Method(verto.Bye):
		delete(x.calls, id)
	}
	x.reply(c, f, verto.CallResult{CallID: id, Message: "OK"})
	if f.Method == verto.Telnyx.Method(verto.Invite) {
		x.ask(c, verto.Ringing, verto.ServerCallParams{CallID: id})
	}
}

func (x *exchange) reply(c *trunk, f *verto.Frame, result any) {
	r, err := verto.Reply(f, result)
	if err != nil {
		x.t.Error(err)
		return
	}
	r.VoiceSDKID = "VSDK-1"
	x.send(c, r)
}

func (x *exchange) ask(c *trunk, method string, params any) {
	f, err := verto.Request(1, verto.Telnyx.Method(method), params)
	if err != nil {
		x.t.Error(err)
		return
	}
	x.send(c, f)
}

func (x *exchange) send(c *trunk, f *verto.Frame) {
	if c.dead {
		return
	}
	b, err := json.Marshal(f)
	if err != nil {
		x.t.Error(err)
		return
	}
	_ = c.Write(context.Background(), b) // the end of the connection is seen by who reads it
}

// tell says something of a call to the device, and tells whether it is there.
func (x *exchange) tell(method string, p verto.ServerCallParams) bool {
	c := x.line()
	if c == nil {
		return false
	}
	x.ask(c, method, p)
	return true
}

// ring has somebody call the device.
func (x *exchange) ring() {
	x.with(func() {
		x.last++
		id := fmt.Sprint("theirs-", x.last)
		if x.tell(verto.Invite, verto.ServerCallParams{CallID: id, SDP: "offer", CallerIDName: "visitor"}) {
			x.calls[id] = &exchangeCall{}
		}
	})
}

// pickUp answers a call of the device.
func (x *exchange) pickUp(id string) {
	x.with(func() {
		call := x.calls[id]
		if call != nil && !call.answered && x.tell(verto.Answer, verto.ServerCallParams{CallID: id, SDP: "answer"}) {
			call.answered = true
		}
	})
}

// hangUp ends every call from the far side; what the device cannot be told now it learns from the list of its calls.
func (x *exchange) hangUp() {
	x.with(func() {
		for id := range x.calls {
			delete(x.calls, id)
			x.tell(verto.Bye, verto.ServerCallParams{CallID: id, Cause: "NORMAL_CLEARING", CauseCode: 16})
		}
	})
}

// cut drops every connection.
func (x *exchange) cut() {
	x.with(func() {
		for c := range x.conns {
			x.wg.Go(func() { c.Close(1001, "") })
		}
	})
}

// die makes every connection swallow what goes through it.
func (x *exchange) die() {
	x.with(func() {
		for c := range x.conns {
			c.dead = true
		}
	})
}

// restart is the end of the process, and a new one that knows nothing.
func (x *exchange) restart() {
	x.with(func() { clear(x.calls) })
	x.cut()
}

// say pushes a state of the gateway.
func (x *exchange) say(state string) {
	x.with(func() {
		for c := range x.conns {
			x.ask(c, verto.GatewayState, verto.GatewayStateParams{State: state})
		}
	})
}

// punt puts the device off the line; its calls are over.
func (x *exchange) punt() {
	x.with(func() {
		clear(x.calls)
		for c := range x.conns {
			x.ask(c, verto.Punt, struct{}{})
		}
	})
}

// registrations counts the connections that the device is logged in by.
func (x *exchange) registrations() (n int) {
	x.with(func() {
		for c := range x.conns {
			if c.in && !c.dead {
				n++
			}
		}
	})
	return n
}

// answered lists the calls that two parties talk in.
func (x *exchange) answered() (ids []string) {
	x.with(func() {
		for id, call := range x.calls {
			if call.answered {
				ids = append(ids, id)
			}
		}
	})
	return ids
}

// pipe is one end of a connection in memory.
type pipe struct {
	in, out chan []byte
	closed  chan struct{} // shared by both ends
	once    *sync.Once
}

func newPipe() (a, b *pipe) {
	x, y, closed, once := make(chan []byte, 64), make(chan []byte, 64), make(chan struct{}), new(sync.Once)
	return &pipe{x, y, closed, once}, &pipe{y, x, closed, once}
}

func (p *pipe) Read(ctx context.Context) ([]byte, error) {
	select {
	case b := <-p.in:
		return b, nil
	case <-p.closed:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipe) Write(ctx context.Context, b []byte) error {
	select {
	case p.out <- bytes.Clone(b):
		return nil
	case <-p.closed:
		return io.ErrClosedPipe
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pipe) Close(int, string) error {
	p.once.Do(func() { close(p.closed) })
	return nil
}
