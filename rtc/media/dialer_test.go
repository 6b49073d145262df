package media

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// TestClientTLSRefuses: trusting one more CA must not mean trusting anything.
func TestClientTLSRefuses(t *testing.T) {
	cert, roots := certificate(t)
	_, others := certificate(t)
	for _, c := range []struct {
		name  string
		host  string
		roots *x509.CertPool
		now   func() time.Time
		ok    bool
	}{
		{"right CA", "127.0.0.1", roots, nil, true},
		{"right CA, wrong host", "127.0.0.2", roots, nil, false},
		{"right CA, wrong name", "turn.example.com", roots, nil, false},
		{"wrong CA", "127.0.0.1", others, nil, false},
		{"system's only", "127.0.0.1", nil, nil, false},
		{"in 1970", "127.0.0.1", roots, func() time.Time { return time.Unix(0, 0) }, false},
		{"long over", "127.0.0.1", roots, func() time.Time { return time.Now().AddDate(100, 0, 0) }, false},
	} {
		l, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
		must(t, err)
		var wg sync.WaitGroup
		wg.Go(func() {
			if a, err := l.Accept(); err == nil {
				_ = a.(*tls.Conn).Handshake()
				a.Close()
			}
		})
		b, err := net.Dial("tcp4", l.Addr().String())
		must(t, err)
		err = tls.Client(b, clientTLS(c.host, c.roots, c.now)).Handshake()
		b.Close()
		l.Close()
		wg.Wait()
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestDialIsLimited(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	addr := silentTCP(t)
	d := &turnDialer{ctx: ctx, tls: map[string]bool{addr: true}, sockets: &sockets{}, log: testLog(t)}
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := d.Dial("tcp4", addr); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestCutSocketsStayCut(t *testing.T) {
	var s sockets
	a, b := net.Pipe()
	defer b.Close()
	s.conn(a)
	s.cutAll()
	if _, err := a.Write([]byte{1}); err == nil {
		t.Error("still open")
	}
	c, d := net.Pipe()
	defer d.Close()
	s.conn(c)
	if _, err := c.Write([]byte{1}); err == nil {
		t.Error("opened after the cut")
	}
}

func TestPlanServers(t *testing.T) {
	p := planServers([]ICEServer{
		{URLs: []string{"stun:stun.example.com"}},
		{URLs: []string{"turn:a.example.com", "turn:a.example.com?transport=tcp", "turns:a.example.com:443", "turn:a.example.com:443?transport=tcp"}, Username: "u", Credential: "c"},
	}, PolicyAll, testLog(t))
	if !p.wantSrflx || !p.wantRelay || len(p.servers) != 4 || !p.tls["a.example.com:443"] || p.tls["a.example.com:3478"] {
		t.Errorf("%+v", p)
	}
	if u := p.urlOf("tls"); u != "turns:a.example.com:443" {
		t.Error(u)
	}
	p = planServers([]ICEServer{{URLs: []string{"turn:a", "turn:b", "stun:c"}, Username: "u", Credential: "c"}}, PolicyRelay, testLog(t))
	if p.wantSrflx || len(p.servers) != 2 || p.urlOf("udp") != "" {
		t.Errorf("%+v", p)
	}
}
