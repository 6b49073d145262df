package media

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
	"golang.org/x/sys/unix"
)

const (
	dialTimeout = 4 * time.Second // TCP and TLS together; pion has no limit
	// A write to a TURN server that takes longer means that the path is dead; measured: untold, pion freezes after 8-12 s.
	writeTimeout = 2 * time.Second
	// A small send buffer makes a dead path show after about a second of sound instead of after half a minute.
	sendBuffer = 16 << 10
)

// turnDialer reaches TURN servers over TCP, and over TLS where the configured URL is turns:. pion is given it as its
// proxy dialer: that is the only seam for a custom CA, and then the TLS is ours to do.
type turnDialer struct {
	ctx     context.Context  // ends with the session
	tls     map[string]bool  // host:port that speak TLS
	roots   *x509.CertPool   // besides the system's; may be nil
	now     func() time.Time // by which certificates are verified; nil: time.Now
	sockets *sockets
	log     *slog.Logger
}

// Dial implements proxy.Dialer.
func (d *turnDialer) Dial(network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(d.ctx, dialTimeout)
	defer cancel()
	c, err := d.dial(ctx, network, addr)
	if err != nil && d.ctx.Err() == nil {
		d.log.Warn("TURN server not reached", "addr", addr, "tls", d.tls[addr], "err", err)
	}
	return c, err
}

func (d *turnDialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	raw, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("media: dial TURN server: %w", err)
	}
	mark(raw.(*net.TCPConn))
	if err := tune(raw.(*net.TCPConn)); err != nil {
		raw.Close()
		return nil, fmt.Errorf("media: set up the socket to the TURN server: %w", err)
	}
	conn := d.sockets.conn(&limitedConn{Conn: raw})
	if !d.tls[addr] {
		return conn, nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	secure := tls.Client(conn, clientTLS(host, d.roots, d.now))
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("media: TLS with the TURN server (is its CA in ice.ca_file?): %w", err)
	}
	return secure, nil
}

func tune(c *net.TCPConn) error {
	if err := c.SetWriteBuffer(sendBuffer); err != nil {
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(writeTimeout.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt", ignoreNoProto(set))
}

// ignoreNoProto lets kernels without TCP_USER_TIMEOUT pass; the write deadline still holds.
func ignoreNoProto(err error) error {
	if err == syscall.ENOPROTOOPT {
		return nil
	}
	return err
}

// clientTLS trusts the system's roots and extra. Go cannot join two pools, so with extra both are tried by hand, by the
// same rules that crypto/tls itself applies.
func clientTLS(host string, extra *x509.CertPool, now func() time.Time) *tls.Config {
	c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, Time: now}
	if extra == nil {
		return c
	}
	c.InsecureSkipVerify = true // VerifyConnection below does it
	c.VerifyConnection = func(s tls.ConnectionState) error {
		o := x509.VerifyOptions{DNSName: host, Roots: extra, Intermediates: x509.NewCertPool()}
		if now != nil {
			o.CurrentTime = now()
		}
		for _, cert := range s.PeerCertificates[1:] {
			o.Intermediates.AddCert(cert)
		}
		_, err := s.PeerCertificates[0].Verify(o)
		if err == nil {
			return nil
		}
		o.Roots = nil // the system's
		if _, system := s.PeerCertificates[0].Verify(o); system == nil {
			return nil
		}
		return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
	}
	return c
}

// limitedConn gives each write a time-limit. A write that failed leaves half a message behind, so the connection is of
// no use any more: it is closed, and whoever else waits to write is let go.
type limitedConn struct{ net.Conn }

func (c *limitedConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	if err != nil {
		c.Conn.Close()
	}
	return n, err
}

// sockets knows every socket to a TURN server, so that Close can cut them when pion hangs in one.
type sockets struct {
	mu   sync.Mutex
	open map[io.Closer]struct{}
	cut  bool
}

// conn tracks c, as a connection that forgets itself when closed.
func (s *sockets) conn(c net.Conn) net.Conn { s.add(c); return &trackedConn{c, s} }

func (s *sockets) add(c io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		c.Close()
		return
	}
	if s.open == nil {
		s.open = map[io.Closer]struct{}{}
	}
	s.open[c] = struct{}{}
}

func (s *sockets) forget(c io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// cutAll closes what is open, and whatever is still to come.
func (s *sockets) cutAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
	for c := range s.open {
		c.Close()
	}
	s.open = nil
}

type trackedConn struct {
	net.Conn
	sockets *sockets
}

func (c *trackedConn) Close() error { c.sockets.forget(c.Conn); return c.Conn.Close() }

type trackedPacketConn struct {
	net.PacketConn
	sockets *sockets
}

func (c *trackedPacketConn) Close() error {
	c.sockets.forget(c.PacketConn)
	return c.PacketConn.Close()
}

// sessionNet is the network as one session sees it: with the interfaces of when refresh was called last (pion's own copy
// would be that of the program's start), with TURN over UDP tracked, and with every socket marked.
type sessionNet struct {
	*stdnet.Net // for everything but its list of interfaces
	now         atomic.Pointer[stdnet.Net]
	sockets     *sockets
}

func newSessionNet(s *sockets) (*sessionNet, error) {
	n := &sessionNet{sockets: s}
	if err := n.refresh(); err != nil {
		return nil, err
	}
	n.Net = n.now.Load()
	return n, nil
}

// refresh lists the interfaces and their addresses anew.
func (n *sessionNet) refresh() error {
	now, err := stdnet.NewNet()
	if err != nil {
		return fmt.Errorf("media: list the network interfaces: %w", err)
	}
	n.now.Store(now)
	return nil
}

// Interfaces implements transport.Net.
func (n *sessionNet) Interfaces() ([]*transport.Interface, error) { return n.now.Load().Interfaces() }

// InterfaceByIndex implements transport.Net.
func (n *sessionNet) InterfaceByIndex(i int) (*transport.Interface, error) {
	return n.now.Load().InterfaceByIndex(i)
}

// InterfaceByName implements transport.Net.
func (n *sessionNet) InterfaceByName(name string) (*transport.Interface, error) {
	return n.now.Load().InterfaceByName(name)
}

// ListenUDP implements transport.Net; pion calls it for host candidates and those by STUN.
func (n *sessionNet) ListenUDP(network string, addr *net.UDPAddr) (transport.UDPConn, error) {
	c, err := net.ListenUDP(network, addr)
	if err != nil {
		return nil, err
	}
	mark(c)
	return c, nil
}

// DialUDP implements transport.Net; pion calls it for TURN over DTLS.
func (n *sessionNet) DialUDP(network string, local, remote *net.UDPAddr) (transport.UDPConn, error) {
	c, err := net.DialUDP(network, local, remote)
	if err != nil {
		return nil, err
	}
	mark(c)
	return c, nil
}

// ListenPacket implements transport.Net; pion calls it for TURN over UDP.
func (n *sessionNet) ListenPacket(network, addr string) (net.PacketConn, error) {
	c, err := n.Net.ListenPacket(network, addr)
	if err != nil {
		return nil, err
	}
	if s, ok := c.(syscall.Conn); ok {
		mark(s)
	}
	n.sockets.add(c)
	return &trackedPacketConn{c, n.sockets}, nil
}
