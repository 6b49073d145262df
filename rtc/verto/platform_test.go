package verto

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// pipe is one end of an in-memory connection: what a WebSocket does, without a socket, so that fake time runs.
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
	default:
	}
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
	case <-p.closed:
		return io.ErrClosedPipe
	default:
	}
	select {
	case p.out <- bytes.Clone(b):
		return nil
	case <-p.closed:
		return io.ErrClosedPipe
	case <-ctx.Done():
		return ctx.Err()
	}
}

// LocalAddr is the address that the device connects from.
func (p *pipe) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(ourAddress) }

var ourAddress = netip.MustParseAddrPort("10.9.0.2:40000")

func (p *pipe) Close(int, string) error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

const (
	secretToken    = "eyJhbGciOi.secret-token.sig"
	secretPassword = "hunter2-password"
)

// platform is the far side of the line, as a script: what it does not say, it answers as the real one does.
type platform struct {
	t *testing.T
	// script
	dialect    Dialect
	loginError *Error
	mute       bool                // answers nothing, says nothing
	noReady    bool                // sends no clientReady
	noPong     bool                // leaves pings unanswered
	pingEvery  time.Duration       // 0: never
	states     []string            // answers to gatewayState in turn; the last one stays; none is REGED
	stateError bool                // the state comes inside an error
	answer     func(*Frame) *Frame // call requests; nil result leaves them unanswered
	refuseDial func(n int) error
	reattach   []string                   // reattached_sessions of every clientReady
	delay      func(*Frame) time.Duration // before the answer to a frame
	silent     func(*Frame) bool          // leaves a frame unanswered

	mu      sync.Mutex
	dead    map[*pipe]bool // swallow everything, both ways
	members map[*pipe]bool // logged in
	dials   []time.Time
	urls    []*url.URL
	frames  []*Frame // everything received, in order
	conn    *pipe    // the newest
	polled  int
	wg      sync.WaitGroup
}

func (p *platform) dial(_ context.Context, target string) (Conn, error) {
	u, err := url.Parse(target)
	if err != nil {
		p.t.Error(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dials = append(p.dials, time.Now())
	p.urls = append(p.urls, u)
	if p.refuseDial != nil {
		if err := p.refuseDial(len(p.dials)); err != nil {
			return nil, err
		}
	}
	client, server := newPipe()
	p.conn = server
	p.wg.Go(func() { p.serve(server) })
	return client, nil
}

func (p *platform) serve(conn *pipe) {
	if p.pingEvery > 0 {
		p.wg.Go(func() {
			tick := time.NewTicker(p.pingEvery)
			defer tick.Stop()
			for n := 1; ; n++ {
				select {
				case <-tick.C:
					p.write(conn, p.request(n, Ping, map[string]any{"serno": n}))
				case <-conn.closed:
					return
				}
			}
		})
	}
	for {
		b, err := conn.Read(context.Background())
		if err != nil {
			return
		}
		f, err := Parse(b)
		if err != nil {
			p.t.Errorf("the client sent %q: %v", b, err)
			return
		}
		p.mu.Lock()
		dead, silent, delay := p.dead[conn], p.silent, p.delay
		if !dead {
			p.frames = append(p.frames, f)
		}
		p.mu.Unlock()
		if dead || p.mute || silent != nil && silent(f) {
			continue
		}
		var late time.Duration
		if delay != nil {
			late = delay(f)
		}
		switch {
		case late > 0:
			p.wg.Go(func() {
				time.Sleep(late)
				p.react(conn, f)
			})
		case f.IsRequest() || f.Type != "":
			p.react(conn, f)
		}
	}
}

func (p *platform) react(conn *pipe, f *Frame) {
	switch f.Method {
	case Login, AnonymousLogin:
		p.mu.Lock()
		refusal := p.loginError
		if refusal == nil {
			p.members[conn] = true
		}
		reattach := p.reattach
		p.mu.Unlock()
		if refusal != nil {
			p.write(conn, &Frame{JSONRPC: Version, ID: f.ID, Error: refusal})
			return
		}
		p.write(conn, p.reply(f, LoginResult{Message: "logged in", SessID: "sess-1"}))
		if !p.noReady {
			p.write(conn, p.request(1, ClientReady, ClientReadyParams{ReattachedSessions: reattach}))
		}
	case p.dialect.Method(GatewayState):
		state := StateRegistered
		p.mu.Lock()
		if n := len(p.states); n > 0 {
			state = p.states[min(p.polled, n-1)]
		}
		p.polled++
		inError := p.stateError
		p.mu.Unlock()
		params := GatewayStateParams{State: state, CallReportID: "report-1"}
		if inError {
			raw, _ := json.Marshal(params)
			p.write(conn, &Frame{JSONRPC: Version, ID: f.ID, Error: &Error{Code: -32099, Message: "state", Params: raw}})
			return
		}
		p.write(conn, p.reply(f, GatewayStateResult{Params: params}))
	case p.dialect.Method(Ping):
		if !p.noPong {
			p.write(conn, p.reply(f, map[string]string{"message": "PONG"}))
		}
	default:
		p.mu.Lock()
		answer := p.answer
		p.mu.Unlock()
		if answer != nil {
			if r := answer(f); r != nil {
				p.write(conn, r)
			}
			return
		}
		p.write(conn, p.reply(f, CallResult{Message: "SENT"}))
	}
}

func (p *platform) reply(f *Frame, result any) *Frame {
	r, err := Reply(f, result)
	if err != nil {
		p.t.Error(err)
	}
	r.VoiceSDKID = "VSDK-1"
	return r
}

func (p *platform) request(id int, method string, params any) *Frame {
	f, err := Request(id, p.dialect.Method(method), params)
	if err != nil {
		p.t.Error(err)
	}
	f.VoiceSDKID = "VSDK-1"
	return f
}

func (p *platform) write(conn *pipe, f *Frame) {
	b, err := json.Marshal(f)
	if err != nil {
		p.t.Error(err)
	}
	p.mu.Lock()
	dead := p.dead[conn]
	p.mu.Unlock()
	if !dead {
		_ = conn.Write(context.Background(), b) // a closed connection takes nothing
	}
}

// die makes the newest connection swallow everything from now on.
func (p *platform) die() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead[p.conn] = true
}

// registrations counts the connections that are open and logged in.
func (p *platform) registrations() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for conn := range p.members {
		select {
		case <-conn.closed:
		default:
			n++
		}
	}
	return n
}

// script changes what the platform answers from now on.
func (p *platform) script(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// say sends a frame, or any bytes, over the newest connection.
func (p *platform) say(v any) {
	p.mu.Lock()
	conn := p.conn
	p.mu.Unlock()
	switch v := v.(type) {
	case *Frame:
		p.write(conn, v)
	case string:
		_ = conn.Write(context.Background(), []byte(v))
	}
}

func (p *platform) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn.Close(0, "")
}

// received gives the frames of a method, "" meaning answers.
func (p *platform) received(method string) []*Frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	var fs []*Frame
	for _, f := range p.frames {
		if f.Method == method {
			fs = append(fs, f)
		}
	}
	return fs
}

func (p *platform) dialed() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]time.Time(nil), p.dials...)
}

func (p *platform) url(n int) *url.URL {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.urls[n]
}

// bench is a running client on a platform, inside a synctest bubble.
type bench struct {
	*platform
	*Client
	logs *lockedBuffer

	mu       sync.Mutex
	statuses []Status
	said     []Event
	warned   []Condition
}

// lockedBuffer keeps what was logged, at every level.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs a client against p; the returned function ends it, and everything that it started.
func start(t *testing.T, p *platform, change func(*Config)) (*bench, func()) {
	t.Helper()
	p.t, p.dead, p.members = t, map[*pipe]bool{}, map[*pipe]bool{}
	if p.dialect.Name == "" {
		p.dialect = Telnyx
	}
	logs := &lockedBuffer{}
	cfg := Config{
		URL: "wss://rtc.example", Dialect: p.dialect, UserAgent: "Sidetone/1.2.3", Dial: p.dial,
		Credentials: func(context.Context) (Credentials, error) {
			return Credentials{Token: secretToken, Password: secretPassword}, nil
		},
		Logger: slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	b := &bench{platform: p, Client: NewClient(cfg), logs: logs}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	wg.Go(func() {
		for e := range b.Events() {
			b.mu.Lock()
			switch {
			case e.Status != nil:
				b.statuses = append(b.statuses, *e.Status)
			case e.Condition != nil:
				b.warned = append(b.warned, *e.Condition)
			default:
				b.said = append(b.said, e)
			}
			b.mu.Unlock()
		}
	})
	return b, func() {
		cancel()
		wg.Wait()
		if p.conn != nil {
			p.conn.Close(0, "")
		}
		p.wg.Wait()
		for _, secret := range []string{secretToken, secretPassword} {
			if strings.Contains(logs.String(), secret) {
				t.Errorf("the log holds a secret:\n%s", logs)
			}
		}
	}
}

func (b *bench) heard() []Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Event(nil), b.said...)
}

// warnings gives the codes of conditions as they came, negative when they were cleared.
func (b *bench) warnings() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	var codes []int
	for _, c := range b.warned {
		if c.Cleared {
			codes = append(codes, -c.Code)
		} else {
			codes = append(codes, c.Code)
		}
	}
	return codes
}

// lineStates gives the line states in the order of their events, without repeats.
func (b *bench) lineStates() []LineState {
	b.mu.Lock()
	defer b.mu.Unlock()
	var states []LineState
	for _, s := range b.statuses {
		if n := len(states); n == 0 || states[n-1] != s.State {
			states = append(states, s.State)
		}
	}
	return states
}

func params[T any](t *testing.T, f *Frame) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(f.Params, &v); err != nil {
		t.Fatalf("params of %s: %v", f.Method, err)
	}
	return v
}

var errNoRoute = errors.New("no route to host")

func userLogin(context.Context) (Credentials, error) {
	return Credentials{User: "1001@pbx", Password: secretPassword}, nil
}
