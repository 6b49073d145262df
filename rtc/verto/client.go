package verto

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Credentials log a line in: a token, or a user and password.
type Credentials struct {
	Token, User, Password string
	// Expires is when a login with them ends; zero when nobody knows.
	Expires time.Time
}

// ErrRefused is what a credentials source wraps when it is itself refused (a token broker that answers 401 or 403):
// the line is then refused and retried slowly, as if the platform had said so.
var ErrRefused = errors.New("credentials refused")

// ErrNotRegistered is what a request gets while the line is not registered.
var ErrNotRegistered = errors.New("the line is not registered")

// ErrLineLost is what a request in flight gets when the line drops before its answer.
var ErrLineLost = errors.New("the line dropped before the platform answered")

// ErrNoAnswer is what a request gets that the platform has left unanswered for too long.
var ErrNoAnswer = errors.New("the platform did not answer in time")

// ErrNoReportID says that the platform takes no call reports: it gave no call_report_id.
var ErrNoReportID = errors.New("the platform gave no call_report_id, so no call report is uploaded")

// Config of a client. URL and Dialect are required, and Credentials unless Anonymous is set.
type Config struct {
	URL     string // ws:// or wss://
	Region  string // put before the URL's host, as in eu.rtc.telnyx.com; "" and "auto" mean the nearest
	Canary  bool   // asks for the platform's servers under trial
	Query   url.Values
	Dialect Dialect
	TLS     *tls.Config
	// UserAgent is name/version.
	UserAgent string
	// Credentials is asked before each login. An error that wraps ErrRefused makes the line refused; any other is
	// retried like a lost connection.
	Credentials func(ctx context.Context) (Credentials, error)
	// Refused is called when the platform refused the credentials, so that a cached token is dropped. May be nil.
	Refused func()
	// Anonymous logs in without credentials, to talk to the target alone. Nil is the ordinary login.
	Anonymous *Target
	// Variables go with the login, for the platform's own use.
	Variables map[string]any
	// Pong is how pings are answered; "" is PongRequest.
	Pong Pong
	// Dial opens the connection; nil is a WebSocket with TLS.
	Dial func(ctx context.Context, url string) (Conn, error)
	// Rand gives numbers in [0,1) for jitter; nil is math/rand/v2.
	Rand   func() float64
	Logger *slog.Logger
}

// Target is whom an anonymous login may talk to.
type Target struct {
	Type           string         // "ai_assistant"
	ID             string         // of the assistant
	Version        string         // of the assistant; "" is its main one
	ConversationID string         // of a conversation to go on with; "" begins a new one
	Params         map[string]any // passed on to the assistant as they are
}

// Pong is a way of answering a ping. Platforms take all of them.
type Pong string

// Ways of answering a ping.
const (
	PongRequest Pong = "request" // as browsers: a ping of our own, whose answer proves the way there and back
	PongEcho    Pong = "echo"    // as iOS and Android: the platform's frame, sent back
	PongResult  Pong = "result"  // as JSON-RPC has it, and Flutter nearly
)

// Event is a change of the line (Status), something that went wrong or is well again (Condition), or a message of the
// platform (Method).
type Event struct {
	Status     *Status
	Condition  *Condition
	Method     string            // without the dialect's prefix; "" for the two above
	Call       *ServerCallParams // nil for punt, clientReady and ai_conversation
	Reattached []string          // with clientReady: the calls that the platform kept over a reconnect
	AI         *AIMessage        // with ai_conversation
}

// Session names what the platform knows us by.
type Session struct {
	Registered   bool
	SessID       string
	VoiceSDKID   string
	CallReportID string
	Region, DC   string // where the platform says it serves us from
}

// Conn is one connection that carries text frames. Read may run beside Write and Close. Close is bounded: it ends
// within a second, whatever the network does, and makes a blocked Read return.
type Conn interface {
	Read(ctx context.Context) ([]byte, error)
	Write(ctx context.Context, frame []byte) error
	Close(code int, reason string) error
}

// Client keeps one line registered. One goroutine, Run, owns the connection and all state; everything else asks it.
type Client struct {
	cfg Config

	// in
	asked chan func(*line) // what Run is asked to do; none of it blocks
	// out
	events chan Event
	done   chan struct{} // closed when Run has ended

	mu         sync.Mutex // guards what Run publishes
	started    bool
	session    Session
	status     Status
	conditions []Condition
}

// NewClient makes a client; Run brings it to life.
func NewClient(cfg Config) *Client {
	if cfg.Rand == nil {
		cfg.Rand = rand.Float64
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Dial == nil {
		cfg.Dial = dialWebSocket(cfg.TLS, cfg.UserAgent)
	}
	return &Client{
		cfg:    cfg,
		asked:  make(chan func(*line)),
		events: make(chan Event),
		done:   make(chan struct{}),
		status: Status{State: Down},
	}
}

// Run keeps the line until ctx ends, and returns nil then. Any other error is one of the configuration. It may be
// called once.
func (c *Client) Run(ctx context.Context) error {
	c.mu.Lock()
	again := c.started
	c.started = true
	c.mu.Unlock()
	if again {
		return errors.New("the line runs already: Run is called once")
	}
	defer close(c.done)
	defer close(c.events)
	if c.cfg.Credentials == nil && c.cfg.Anonymous == nil {
		return errors.New("the line has no source of credentials")
	}
	base, err := baseURL(&c.cfg)
	if err != nil {
		return err
	}
	newLine(ctx, c, base).run()
	return nil
}

// Events gives what the line has to say; closed when Run has ended. Nothing is lost: while a reader is slow, events
// queue up, and at maxQueued of them Run stops reading from the platform, so that the network holds the rest back.
// A reader that stays away makes the line go silent and be renewed, but never stops Run and never piles up memory.
func (c *Client) Events() <-chan Event { return c.events }

// Call sends a request about a call and waits for its answer. The method is named without prefix; sessid and
// User-Agent are filled in, and custom headers take the dialect's form. An invite needs a registered line; whatever
// belongs to a call that lives needs only a connection that is logged in. Errors: ErrNotRegistered, ErrLineLost,
// ErrNoAnswer, ctx's, errors.ErrUnsupported for what the dialect does not have, or an *Error when the platform refused.
func (c *Client) Call(ctx context.Context, method string, p ClientCallParams) (CallResult, error) {
	r, err := wait(ctx, c, func(l *line, reply func(CallResult, error)) { l.call(method, p, reply) })
	if err != nil {
		return r, fmt.Errorf("%s: %w", method, err)
	}
	return r, nil
}

// Healthy tells whether signalling is alive: logged in, and a frame came within the last 3 s, or one comes within 5 s
// of asking for it. Without this, nobody can tell a bad media path from a bad network.
func (c *Client) Healthy(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	ok, err := wait(ctx, c, func(l *line, reply func(bool, error)) {
		l.healthy(func(ok bool) { reply(ok, nil) })
	})
	return ok && err == nil
}

// Refresh logs in again on the same connection with fresh credentials; calls are not disturbed. When they are refused,
// the error says so (an *Error, or one that wraps ErrRefused), Config.Refused is called once, and the line stays until
// the old login ends: only then is it refused. Without a connection there is nothing to refresh, and no error: the
// next login takes the fresh credentials; a line that was refused tries again soon, a minute after its last try at the
// earliest.
func (c *Client) Refresh(ctx context.Context) error {
	_, err := wait(ctx, c, func(l *line, reply func(struct{}, error)) {
		l.refresh(func(err error) { reply(struct{}{}, err) })
	})
	if err != nil {
		return fmt.Errorf("refresh of the login: %w", err)
	}
	return nil
}

// NetworkChanged tells that this machine's addresses are these now, and that some way that was there may be gone. It ends
// a back-off, replaces a connection whose own address is gone, and asks over any other for a sign of life: until it is
// there, Healthy says nothing; without it the connection is replaced. Call it while there is an address to talk from.
func (c *Client) NetworkChanged(ctx context.Context, addresses []netip.Addr) error {
	return c.ask(ctx, func(l *line) { l.networkChanged(addresses) })
}

// TokenExpiring says that the login ends soon and that its source has nothing newer, as detail has it. That is condition
// 34001, told once until a login holds again, whoever notices it first: this client watches the end of its login too.
func (c *Client) TokenExpiring(ctx context.Context, detail string) error {
	return c.ask(ctx, func(l *line) { l.raise(CodeTokenExpiring, detail) })
}

// Renew replaces the connection now, without waiting for time-outs or the end of a back-off: for when the network has
// changed, or media could not be mended over this line. The platform offers live calls again on the new one. A line
// that was refused stays so.
func (c *Client) Renew(ctx context.Context, why string) error {
	return c.ask(ctx, func(l *line) { l.renew(why) })
}

// Alive returns nil once Run has taken note: it does not hang.
func (c *Client) Alive(ctx context.Context) error { return c.ask(ctx, func(*line) {}) }

// ask has Run do something, which must not block.
func (c *Client) ask(ctx context.Context, do func(*line)) error {
	select {
	case c.asked <- do:
		return nil
	case <-c.done:
		return fmt.Errorf("%w: it has been shut down", ErrNotRegistered)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wait has Run do something and waits for its reply, which Run gives once, sooner or later.
func wait[T any](ctx context.Context, c *Client, do func(l *line, reply func(T, error))) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1) // Run never waits for somebody who went away
	err := c.ask(ctx, func(l *line) {
		do(l, func(v T, err error) { answers <- answer{v, err} })
	})
	var none T
	if err != nil {
		return none, err
	}
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// Session tells what the platform knows us by now. Ids of the last session stay known while the line is down.
func (c *Client) Session() Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// Status tells how the line is now.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Conditions lists what is wrong with the line now, oldest first; empty when all is well.
func (c *Client) Conditions() []Condition {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.conditions)
}

// publish makes the line's state visible to other goroutines.
func (c *Client) publish(status Status, session Session, conditions []Condition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status, c.session, c.conditions = status, session, conditions
}
