package relay

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/rtc/gateway/internal/pionlog"

	"github.com/pion/turn/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loopback = net.IPv4(127, 0, 0, 1)

var transports = []string{UDP, TCP, TLS}

func TestRelaysAndCounts(t *testing.T) {
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			s := start(t, Config{})
			cred := s.Credentials("door1", time.Minute)
			c := dial(t, s, transport, cred.Username, cred.Password)
			relayed := allocate(t, c)
			if !relayed.LocalAddr().(*net.UDPAddr).IP.Equal(loopback) {
				t.Errorf("relayed address %v, want one of %v", relayed.LocalAddr(), loopback)
			}

			payload := make([]byte, 137)
			echoed(t, relayed, echoPeer(t), payload)
			got := s.Stats(nil)["door1"][transport]
			if want := (Traffic{Sent: 137, Received: 137}); got != want {
				t.Errorf("counted %+v, want %+v", got, want)
			}
			if n := len(s.Stats(nil)["door1"]); n != 1 {
				t.Errorf("%d transports counted, want 1", n)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	s := start(t, Config{})
	good := s.Credentials("door1", time.Minute)
	expired := s.Credentials("door1", -time.Second)
	for _, c := range []struct{ what, user, password string }{
		{"a wrong password", good.Username, "wrong"},
		{"expired credentials", expired.Username, expired.Password},
		{"a user without expiry", "door1", s.password("door1")},
		{"a user without name", "9999999999", s.password("9999999999")},
	} {
		if _, err := dial(t, s, UDP, c.user, c.password).Allocate(); err == nil {
			t.Errorf("%s were let in", c.what)
		}
	}
}

func TestNamesMayHaveColons(t *testing.T) {
	s := start(t, Config{})
	cred := s.Credentials("a:b", time.Minute)
	relayed := allocate(t, dial(t, s, UDP, cred.Username, cred.Password))
	echoed(t, relayed, echoPeer(t), []byte("x"))
	if s.Stats(nil)["a:b"][UDP].Sent != 1 {
		t.Errorf("counted %v, want a:b", s.Stats(nil))
	}
}

func TestCredentialsExpireForNewAllocationsOnly(t *testing.T) {
	s := start(t, Config{})
	cred := s.Credentials("door1", 3*time.Second)
	relayed := allocate(t, dial(t, s, UDP, cred.Username, cred.Password))
	time.Sleep(time.Until(cred.Expires))
	if _, err := dial(t, s, UDP, cred.Username, cred.Password).Allocate(); err == nil {
		t.Error("expired credentials made another allocation")
	}
	// A new peer needs a new permission, which is authenticated.
	echoed(t, relayed, echoPeer(t), []byte("still here"))
}

func TestRelaysToTheLabOnly(t *testing.T) {
	s := start(t, Config{Peers: []net.IP{net.IPv4(127, 0, 0, 2)}})
	cred := s.Credentials("door1", time.Minute)
	c := dial(t, s, UDP, cred.Username, cred.Password)
	allocate(t, c)
	if err := c.CreatePermission(&net.UDPAddr{IP: loopback, Port: 9}); err == nil {
		t.Error("a peer outside of the lab was permitted")
	}
	if err := c.CreatePermission(&net.UDPAddr{IP: net.IPv4(127, 0, 0, 2), Port: 9}); err != nil {
		t.Errorf("a peer of the lab was refused: %v", err)
	}
}

func TestURLs(t *testing.T) {
	s := start(t, Config{})
	urls := s.URLs("lab.example")
	if len(urls) != 3 || !strings.HasPrefix(urls[0], "turn:lab.example:") || !strings.HasSuffix(urls[0], "?transport=udp") ||
		!strings.HasSuffix(urls[1], "?transport=tcp") || !strings.HasPrefix(urls[2], "turns:lab.example:") {
		t.Errorf("URLs are %q", urls)
	}
}

// The path goes silent: nothing passes, nobody is told, and when it is back the stream goes on.
func TestBlackhole(t *testing.T) {
	for _, transport := range []string{UDP, TCP} {
		t.Run(transport, func(t *testing.T) {
			s := start(t, Config{})
			cred := s.Credentials("door1", time.Minute)
			relayed := allocate(t, dial(t, s, transport, cred.Username, cred.Password))
			peer := echoPeer(t)
			echoed(t, relayed, peer, []byte("before"))
			before := s.Stats(nil)["door1"][transport]

			blackhole(t, s, transport, true)
			if _, err := relayed.WriteTo([]byte("lost"), peer); err != nil {
				t.Errorf("writing into the hole: %v, want silence", err)
			}
			if got := read(relayed, 300*time.Millisecond); got != "" {
				t.Errorf("%q came out of the hole", got)
			}
			if got := s.Stats(nil)["door1"][transport]; got != before {
				t.Errorf("counted %+v in the hole, had %+v", got, before)
			}
			blackhole(t, s, transport, false)
			echoed(t, relayed, peer, []byte("after"))
		})
	}
}

func TestBlackholeFillsTheClientsBuffer(t *testing.T) {
	for _, transport := range []string{TCP, TLS} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := start(t, Config{})
			conn := dialStream(t, s, transport)
			blackhole(t, s, transport, true)
			raw := conn.(interface{ NetConn() net.Conn }).NetConn().(*net.TCPConn)
			_ = raw.SetWriteBuffer(4096)
			_ = conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
			var written int
			for {
				n, err := conn.Write(make([]byte, 1000))
				written += n
				if errors.Is(err, os.ErrDeadlineExceeded) {
					break
				}
				if err != nil {
					t.Fatalf("write failed with %v, want it to block", err)
				}
				if written > 8<<20 {
					t.Fatal("the relay still reads")
				}
			}
			t.Logf("blocked after %d bytes", written)
		})
	}
}

func TestNewConnectionsFallIntoTheHole(t *testing.T) {
	s := start(t, Config{})
	blackhole(t, s, TLS, true)
	conn, err := net.Dial("tcp", s.Addr(TLS).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tc := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	_ = tc.SetDeadline(time.Now().Add(300 * time.Millisecond))
	if err := tc.Handshake(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("handshake in the hole: %v, want silence", err)
	}
}

func TestUnknownTransport(t *testing.T) {
	if err := start(t, Config{}).Blackhole("pigeon", true); err == nil {
		t.Error("a transport that is not there was taken")
	}
}

func TestCloseIsQuickInTheHole(t *testing.T) {
	s := start(t, Config{})
	for _, transport := range transports {
		cred := s.Credentials("door1", time.Minute)
		relayed := allocate(t, dial(t, s, transport, cred.Username, cred.Password))
		peer := echoPeer(t)
		echoed(t, relayed, peer, []byte("before"))
		blackhole(t, s, transport, true)
		_, _ = relayed.WriteTo([]byte("lost"), peer)
	}
	begin := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("Close took %v", took)
	}
}

func start(t *testing.T, c Config) *Server {
	t.Helper()
	c.IP, c.TLSConfig, c.Logger = loopback, certificate(t), logger(t)
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func blackhole(t *testing.T, s *Server, transport string, on bool) {
	t.Helper()
	if err := s.Blackhole(transport, on); err != nil {
		t.Fatal(err)
	}
}

// netConn lets a plain connection be asked for its socket as a TLS one can.
type netConn struct{ net.Conn }

func (c netConn) NetConn() net.Conn { return c.Conn }

func dialStream(t *testing.T, s *Server, transport string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr(transport).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if transport == TCP {
		return netConn{conn}
	}
	tc := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	return tc
}

func dial(t *testing.T, s *Server, transport, user, password string) *turn.Client {
	t.Helper()
	var pc net.PacketConn
	var err error
	if transport == UDP {
		if pc, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	} else {
		pc = turn.NewSTUNConn(dialStream(t, s, transport))
	}
	addr := s.Addr(transport).String()
	c, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: addr, TURNServerAddr: addr, Conn: pc, Username: user, Password: password,
		RTO: 100 * time.Millisecond, LoggerFactory: pionlog.Factory{Logger: logger(t)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); _ = pc.Close() })
	return c
}

func allocate(t *testing.T, c *turn.Client) net.PacketConn {
	t.Helper()
	relayed, err := c.Allocate()
	if err != nil {
		t.Fatalf("allocate: %v", err)
	}
	t.Cleanup(func() { go relayed.Close() }) // in the hole its last message waits for an answer
	return relayed
}

// echoPeer sends back what it gets.
func echoPeer(t *testing.T) net.Addr {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			n, addr, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(b[:n], addr)
		}
	}()
	t.Cleanup(func() { _ = pc.Close(); <-done })
	return pc.LocalAddr()
}

func echoed(t *testing.T, relayed net.PacketConn, peer net.Addr, payload []byte) {
	t.Helper()
	if _, err := relayed.WriteTo(payload, peer); err != nil {
		t.Fatalf("relay %q: %v", payload, err)
	}
	for {
		got := read(relayed, 5*time.Second)
		if got == string(payload) {
			return
		}
		if got == "" {
			t.Fatalf("%q did not come back", payload)
		}
	}
}

func read(pc net.PacketConn, wait time.Duration) string {
	b := make([]byte, 1500)
	_ = pc.SetReadDeadline(time.Now().Add(wait))
	n, _, err := pc.ReadFrom(b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

func certificate(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{loopback}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func logger(t *testing.T) *slog.Logger {
	if slices.Contains(os.Args, "-test.v=true") {
		return slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	return slog.New(slog.DiscardHandler)
}
