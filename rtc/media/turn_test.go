package media

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"
	"github.com/pion/webrtc/v4"
)

const (
	turnUser     = "door1"
	turnPassword = "correct horse"
)

// turnLab is a real TURN server on loopback over UDP, TCP and TLS, which counts what comes in by each.
type turnLab struct {
	udp, tcp, tls counter
	roots         *x509.CertPool
	urlUDP        string
	urlTCP        string
	urlTLS        string
	addrTCP       string
	password      atomic.Pointer[string] // nil: turnPassword
}

type counter struct {
	bytes atomic.Int64
	mu    sync.Mutex
	first [][]byte // the first two bytes of each connection
}

func (l *turnLab) servers(urls ...string) []ICEServer {
	return []ICEServer{{URLs: urls, Username: turnUser, Credential: turnPassword}}
}

func newTURNLab(t *testing.T) *turnLab {
	t.Helper()
	l := &turnLab{}
	cert, roots := certificate(t)
	l.roots = roots
	u, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	c, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	s, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	l.urlUDP = "turn:" + u.LocalAddr().String()
	l.urlTCP = "turn:" + c.Addr().String() + "?transport=tcp"
	l.urlTLS = "turns:" + s.Addr().String()
	l.addrTCP = c.Addr().String()
	relay := &turn.RelayAddressGeneratorStatic{RelayAddress: net.IPv4(127, 0, 0, 1), Address: "127.0.0.1"}
	f := logging.NewDefaultLoggerFactory()
	f.DefaultLogLevel = logging.LogLevelDisabled
	server, err := turn.NewServer(turn.ServerConfig{
		Realm: "sidetone", LoggerFactory: f,
		AuthHandler: func(r *turn.RequestAttributes) (string, []byte, bool) {
			password := turnPassword
			if p := l.password.Load(); p != nil {
				password = *p
			}
			return r.Username, turn.GenerateAuthKey(r.Username, r.Realm, password), r.Username == turnUser
		},
		PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: countedPackets{u, &l.udp}, RelayAddressGenerator: relay}},
		ListenerConfigs: []turn.ListenerConfig{
			{Listener: countedListener{c, &l.tcp}, RelayAddressGenerator: relay},
			{Listener: tls.NewListener(countedListener{s, &l.tls}, &tls.Config{Certificates: []tls.Certificate{cert}}), RelayAddressGenerator: relay},
		},
	})
	must(t, err)
	t.Cleanup(func() { server.Close() })
	return l
}

type countedPackets struct {
	net.PacketConn
	c *counter
}

func (p countedPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	n, a, err := p.PacketConn.ReadFrom(b)
	p.c.bytes.Add(int64(n))
	return n, a, err
}

type countedListener struct {
	net.Listener
	c *counter
}

func (l countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: c, c: l.c}, nil
}

type countedConn struct {
	net.Conn
	c    *counter
	seen bool
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.c.bytes.Add(int64(n))
	if !c.seen && n >= 2 {
		c.seen = true
		c.c.mu.Lock()
		c.c.first = append(c.c.first, append([]byte(nil), b[:2]...))
		c.c.mu.Unlock()
	}
	return n, err
}

// certificate makes a CA and a certificate for 127.0.0.1 under it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	must(t, err)
	caCert, err := x509.ParseCertificate(caDER)
	must(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "turn"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, caCert, &key.PublicKey, caKey)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(caCert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// tap is a TCP proxy that can stop reading: the path is dead, and nobody says so.
type tap struct {
	addr string
	shut chan struct{} // closed: nothing moves any more
	end  chan struct{}
}

func newTap(t *testing.T, to string) *tap {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	p := &tap{addr: l.Addr().String(), shut: make(chan struct{}), end: make(chan struct{})}
	var wg sync.WaitGroup
	t.Cleanup(func() { close(p.end); l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			in.(*net.TCPConn).SetReadBuffer(8 << 10)
			out, err := net.Dial("tcp4", to)
			if err != nil {
				in.Close()
				continue
			}
			wg.Go(func() { <-p.end; in.Close(); out.Close() })
			wg.Go(func() { p.copy(out, in) })
			wg.Go(func() { p.copy(in, out) })
		}
	})
	return p
}

func (p *tap) copy(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		select {
		case <-p.shut:
			<-p.end
			return
		default:
		}
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *tap) blackhole() { close(p.shut) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The far side's good-bye closes pion before the last sample is taken: the way is still told whole.
func TestPathAfterGoodbye(t *testing.T) {
	lab := newTURNLab(t)
	a := newPeer(t, Config{Loopback: true, Policy: PolicyRelay, Servers: lab.servers(lab.urlTCP)})
	b := newPeer(t, loopback)
	call(t, a, b, nil)
	waitFor(t, "statistics", func() bool { return a.Sample().Pair != nil })
	before := a.Sample().Path
	must(t, b.Close())
	waitFor(t, "the end", func() bool { return a.pc.ConnectionState() == webrtc.PeerConnectionStateClosed })
	if p := a.Sample().Path; p == nil || p.RelayProtocol != "tcp" || p.Local != before.Local || p.Why != before.Why {
		t.Errorf("path %+v, was %+v", p, before)
	}
}
