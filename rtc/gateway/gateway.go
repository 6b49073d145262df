package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sidetone/rtc/verto"
)

// Identity is who logged in, and by which of the credentials of that name.
type Identity struct{ Name, Credential string }

// ErrNotRegistered says that a client is not logged in.
var ErrNotRegistered = errors.New("not registered: the client is not logged in")

// Config is what a gateway needs to know. Zero durations have the defaults named.
type Config struct {
	// Authenticate tells who a login is, or refuses it with an error. The error is logged, not sent. It is asked once
	// more when the login is known to Kick: a credential that is withdrawn meanwhile lets nobody in.
	Authenticate func(verto.LoginParams) (Identity, error)
	// Known tells whether a name that is not logged in exists; it makes a call's 480 out of a 404. Nil: whoever has
	// logged in once.
	Known func(name string) bool
	// IP is the address of the gateway's ICE candidates, as clients reach it.
	IP net.IP
	// ListenIP is the local address that media is bound to; nil is IP, and unspecified is every address.
	ListenIP net.IP
	// ReportDir is where call reports go; empty refuses them.
	ReportDir  string
	Assistants map[string]string // targets of anonymous_login, and the built-in destination that speaks for each
	MaxReports int               // kept in ReportDir, the oldest go first; default 500

	PingInterval  time.Duration // default and maximum 14 s
	IdlePing      time.Duration // of the freeswitch personality: silence after which it pings; default 30 s
	RingTimeout   time.Duration // of an unanswered call; default 60 s
	DetachTimeout time.Duration // of an answered call whose client's socket is gone; default 120 s
	Logger        *slog.Logger  // nil: slog.Default()
}

// maxPing keeps clients on the line: Telnyx's SDKs expect a ping each 15 s, and take 20 s of silence for a dead line.
const maxPing = 14 * time.Second

// detachTimeout is how long FreeSWITCH keeps an answered call whose client is away.
const detachTimeout = 120 * time.Second

func (c *Config) complete() error {
	switch {
	case c.Authenticate == nil:
		return errors.New("gateway: Config.Authenticate is missing")
	case c.IP == nil:
		return errors.New("gateway: Config.IP is missing: give the address that clients reach the gateway by")
	}
	if c.ListenIP == nil {
		c.ListenIP = c.IP
	}
	if c.PingInterval <= 0 || c.PingInterval > maxPing {
		c.PingInterval = maxPing
	}
	if c.IdlePing <= 0 {
		c.IdlePing = idlePing
	}
	if c.RingTimeout <= 0 {
		c.RingTimeout = 60 * time.Second
	}
	if c.DetachTimeout <= 0 {
		c.DetachTimeout = detachTimeout
	}
	if c.MaxReports <= 0 {
		c.MaxReports = 500
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}

// Gateway is an http.Handler; see the package comment.
type Gateway struct {
	cfg     Config
	log     *slog.Logger
	peers   *peerFactory
	fsPeers *peerFactory // of the freeswitch personality
	reports *reportStore
	away    atomic.Bool // reports are refused, as by a platform in trouble
	changed chan struct{}
	stop    chan struct{}  // closed by Close: calls end
	calls   sync.WaitGroup // counts legs
	sockets sync.WaitGroup

	mu sync.Mutex
	registry
}

// New makes a gateway. It has no sockets of its own but those of media, and runs until Close.
func New(c Config) (*Gateway, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	peers, err := newPeerFactory(c, supported)
	if err != nil {
		return nil, err
	}
	fsPeers, err := newPeerFactory(c, freeSWITCHCodecs)
	if err != nil {
		return nil, err
	}
	fsPeers.fs = true
	reports, err := newReportStore(c.ReportDir, c.MaxReports)
	if err != nil {
		return nil, err
	}
	return &Gateway{
		cfg: c, log: c.Logger, peers: peers, fsPeers: fsPeers, reports: reports,
		changed: make(chan struct{}, 1), stop: make(chan struct{}), registry: newRegistry(),
	}, nil
}

// ServeHTTP serves WebSockets on any path, and POST and OPTIONS on /call_report.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == reportPath {
		g.serveReport(w, r)
		return
	}
	g.serveSocket(w, r)
}

// Ring makes the built-in destination from (echo, tone, concierge) call the client and returns at once with the call's
// id, or ErrNotRegistered.
func (g *Gateway) Ring(ctx context.Context, name, from string) (callID string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	d := destinations[from]
	if d.run == nil {
		return "", fmt.Errorf("no built-in destination %q: say echo, tone, pcmu or concierge", from)
	}
	c := g.newCall()
	c.app, c.callerName, c.calleeName = d, from, name
	if c.ringing, err = g.legsTo(name, c); err != nil {
		return "", err
	}
	callID = c.ringing[0].id // the call's goroutine has them from here on
	g.run(c, c.ringClient)
	return callID, nil
}

func (g *Gateway) peersFor(l *leg) *peerFactory {
	if l.fs {
		return g.fsPeers
	}
	return g.peers
}

// Kick ends the calls and the sockets of whoever is logged in by a credential, as when that was deleted. It waits at
// most a second for the calls to end.
func (g *Gateway) Kick(credential string) {
	g.mu.Lock()
	var legs []*leg
	var sessions []*session
	for _, c := range g.clients {
		for _, s := range c.sessions {
			if s.credential == credential {
				sessions = append(sessions, s)
			}
		}
		for _, l := range c.legs {
			if l.credential == credential {
				legs = append(legs, l)
			}
		}
	}
	g.mu.Unlock()
	limit := time.After(time.Second)
	for _, l := range legs {
		l.call.post(func() { l.call.end(normalClearing, nil) })
	}
	for _, l := range legs {
		select {
		case <-l.call.done:
		case <-limit:
		}
	}
	for _, s := range sessions {
		s.close(closePolicy, "the credential was withdrawn")
	}
}

// Changes tells, by a value, that Stats changed since the last one; several changes make one.
func (g *Gateway) Changes() <-chan struct{} { return g.changed }

func (g *Gateway) notify() {
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// Close ends every call with a bye, then every socket, and returns when all is gone or ctx has ended.
func (g *Gateway) Close(ctx context.Context) error {
	g.mu.Lock()
	if !g.closed {
		g.closed = true
		close(g.stop)
	}
	sessions := make([]*session, 0, len(g.sessions))
	for s := range g.sessions {
		sessions = append(sessions, s)
	}
	g.mu.Unlock()

	if err := wait(ctx, &g.calls); err != nil {
		return fmt.Errorf("gateway: calls did not end: %w", err)
	}
	for _, s := range sessions {
		s.close(closeGoingAway, "the gateway is shutting down")
	}
	if err := wait(ctx, &g.sockets); err != nil {
		return fmt.Errorf("gateway: sockets did not close: %w", err)
	}
	return nil
}

func wait(ctx context.Context, wg *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
