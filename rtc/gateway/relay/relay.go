// Package relay is the lab's TURN server (RFC 8656, by pion/turn): over UDP, TCP and TLS, with credentials that
// expire, a count of what each client relayed, and trouble on demand.
package relay

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"sidetone/rtc/gateway/internal/pionlog"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

// Transports between a client and the relay.
const (
	UDP = "udp"
	TCP = "tcp"
	TLS = "tls"
)

// Config says where the relay listens and for whom it relays.
type Config struct {
	// IP is the relayed address as clients and peers are told it.
	IP net.IP
	// ListenIP is the local address of the relay's sockets; nil is IP. Give another only where IP is not local.
	ListenIP net.IP
	// UDP, TCP and TLS are what clients connect to; a nil one is opened on a free port of ListenIP. TLS takes plain
	// TCP connections, TLSConfig is put on top; without TLSConfig there is no TLS. All are closed by Close.
	UDP       net.PacketConn
	TCP, TLS  net.Listener
	TLSConfig *tls.Config
	// Secret is shared by whoever makes credentials; empty makes a random one, so that only Credentials can.
	Secret string
	// Realm of the long-term credentials; empty is "sidetone".
	Realm string
	// Peers are the addresses to which the relay relays; empty is IP alone. A lab's relay must not be a way into
	// other networks.
	Peers  []net.IP
	Logger *slog.Logger // nil: slog.Default()
}

// Credentials are what a TURN client logs in with, as the TURN REST API hands them out
// (draft-uberti-behave-turn-rest-00).
type Credentials struct {
	Username string    `json:"username"`
	Password string    `json:"credential"`
	Expires  time.Time `json:"expires_at"`
}

// Server is a running relay.
type Server struct {
	cfg     Config
	servers []*turn.Server
	gates   map[string]*gate
	addrs   map[string]net.Addr
	meter   meter
}

// local is where we and our neighbours on this machine are reached when IP does not lead here; nil when it does.
func (c Config) local() net.IP {
	switch {
	case c.ListenIP.Equal(c.IP):
		return nil
	case c.ListenIP.IsUnspecified():
		return net.IPv4(127, 0, 0, 1)
	}
	return c.ListenIP
}

// New starts a relay. It runs until Close.
func New(c Config) (_ *Server, err error) {
	if c.IP == nil {
		return nil, errors.New("relay: Config.IP is missing: give the address that clients reach the relay by")
	}
	if c.ListenIP == nil {
		c.ListenIP = c.IP
	}
	if c.Secret == "" {
		c.Secret = rand.Text()
	}
	if c.Realm == "" {
		c.Realm = "sidetone"
	}
	if len(c.Peers) == 0 {
		c.Peers = []net.IP{c.IP}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	s := &Server{cfg: c, gates: map[string]*gate{}, addrs: map[string]net.Addr{}}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if err := s.listenUDP(); err != nil {
		return nil, err
	}
	if err := s.listenStream(TCP, c.TCP, nil); err != nil {
		return nil, err
	}
	if c.TLSConfig == nil {
		if c.TLS != nil {
			return nil, errors.New("relay: Config.TLS needs Config.TLSConfig")
		}
		return s, nil
	}
	if err := s.listenStream(TLS, c.TLS, c.TLSConfig); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) listenUDP() (err error) {
	pc := s.cfg.UDP
	if pc == nil {
		if pc, err = net.ListenPacket("udp", net.JoinHostPort(s.cfg.ListenIP.String(), "0")); err != nil {
			return fmt.Errorf("relay: cannot listen for TURN over UDP: %w", err)
		}
	}
	g := newGate()
	return s.start(UDP, pc.LocalAddr(), g, turn.ServerConfig{PacketConnConfigs: []turn.PacketConnConfig{{
		PacketConn:            &gatedPacketConn{PacketConn: pc, gate: g},
		RelayAddressGenerator: s.allocator(UDP, g),
		PermissionHandler:     s.permit,
	}}}, pc.Close)
}

func (s *Server) listenStream(transport string, l net.Listener, conf *tls.Config) (err error) {
	if l == nil {
		if l, err = net.Listen("tcp", net.JoinHostPort(s.cfg.ListenIP.String(), "0")); err != nil {
			return fmt.Errorf("relay: cannot listen for TURN over %s: %w", transport, err)
		}
	}
	g := newGate()
	addr := l.Addr()
	// Closing the listener does not end pion's connections: the gate does, it knows them all.
	var gated net.Listener = &gatedListener{Listener: l, gate: g}
	if conf != nil {
		g.framed = true
		gated = tls.NewListener(gated, conf)
	}
	return s.start(transport, addr, g, turn.ServerConfig{ListenerConfigs: []turn.ListenerConfig{{
		Listener:              gated,
		RelayAddressGenerator: s.allocator(transport, g),
		PermissionHandler:     s.permit,
	}}}, l.Close)
}

func (s *Server) start(transport string, addr net.Addr, g *gate, c turn.ServerConfig, closeListener func() error) error {
	c.Realm = s.cfg.Realm
	c.AuthHandler = s.authenticate
	c.LoggerFactory = pionlog.Factory{Logger: s.cfg.Logger}
	ts, err := turn.NewServer(c)
	if err != nil {
		_ = closeListener()
		return fmt.Errorf("relay: cannot start TURN over %s: %w", transport, err)
	}
	s.servers = append(s.servers, ts)
	s.gates[transport], s.addrs[transport] = g, addr
	return nil
}

// Addr is where the relay listens for clients over a transport; nil when it does not.
func (s *Server) Addr(transport string) net.Addr { return s.addrs[transport] }

// URLs are the relay's TURN URLs (RFC 7065) in the order UDP, TCP, TLS, for clients that reach it by host.
func (s *Server) URLs(host string) []string {
	var urls []string
	for _, t := range []string{UDP, TCP, TLS} {
		addr := s.addrs[t]
		if addr == nil {
			continue
		}
		_, port, _ := net.SplitHostPort(addr.String())
		hostport := net.JoinHostPort(host, port)
		switch t {
		case TLS:
			urls = append(urls, "turns:"+hostport+"?transport=tcp")
		default:
			urls = append(urls, "turn:"+hostport+"?transport="+t)
		}
	}
	return urls
}

// Credentials lets the client of that name in for the time given. What it relays is counted under its name.
func (s *Server) Credentials(name string, ttl time.Duration) Credentials {
	expires := time.Now().Add(ttl).Truncate(time.Second)
	username := strconv.FormatInt(expires.Unix(), 10) + ":" + name
	return Credentials{Username: username, Password: s.password(username), Expires: expires}
}

// password is base64(HMAC-SHA1(secret, username)), as the TURN REST API says.
func (s *Server) password(username string) string {
	mac := hmac.New(sha1.New, []byte(s.cfg.Secret))
	mac.Write([]byte(username))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// authenticate answers with the key of a user and the name its allocations belong to.
func (s *Server) authenticate(ra *turn.RequestAttributes) (name string, key []byte, ok bool) {
	expiry, name, _ := strings.Cut(ra.Username, ":")
	seconds, err := strconv.ParseInt(expiry, 10, 64)
	if err != nil || name == "" {
		return "", nil, false
	}
	// Credentials let a client in; what is allocated lives on, so that no call is cut when they expire.
	if ra.Method == stun.MethodAllocate && time.Now().Unix() >= seconds {
		s.cfg.Logger.Info("TURN credentials have expired", "client", name, "from", ra.SrcAddr.String())
		return "", nil, false
	}
	return name, turn.GenerateAuthKey(ra.Username, ra.Realm, s.password(ra.Username)), true
}

// permit tells whether a client may exchange packets with a peer.
func (s *Server) permit(client net.Addr, peer net.IP) bool {
	for _, ip := range s.cfg.Peers {
		if ip.Equal(peer) {
			return true
		}
	}
	s.cfg.Logger.Debug("TURN peer refused: it is not of this lab", "client", client.String(), "peer", peer.String())
	return false
}

// Close ends every allocation and connection. It does not wait for the network.
func (s *Server) Close() error {
	var errs []error
	for _, ts := range s.servers {
		errs = append(errs, ts.Close())
	}
	for _, g := range s.gates {
		g.close()
	}
	return errors.Join(errs...)
}
