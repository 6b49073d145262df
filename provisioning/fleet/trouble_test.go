package fleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/hooks/auth"
)

// A path that swallows everything is left for a new connection, and what was under way is said again.
func TestNoProgressMakesANewConnection(t *testing.T) {
	withBrokers(t, func(t *testing.T, b broker) {
		o := observe(t, b)
		p := newProxy(t, b.address())
		c := config(p.address())
		c.Dir = t.TempDir()
		d := agent(t, c)
		d.timing.ack = 500 * time.Millisecond
		d.run()
		n := o.says(0, "up/status", "online")
		d.flush()
		p.freeze(true)
		d.State("call", callState{"active"})
		if err := d.CallReport("c1", map[string]int{}); err != nil {
			t.Fatal(err)
		}
		d.Reply("r1", Reply{OK: true})
		d.eventually("no progress is seen", func() bool { return strings.Contains(d.log.String(), errNoProgress.Error()) })
		p.cut()
		p.freeze(false)
		d.flush()
		n = o.says(n, "up/status", "online")
		o.says(n, "up/state/call", `{"state":"active"}`)
		o.says(0, "up/reply/r1", `{"ok":true}`)
		o.until(0, "the report", func(h heard) bool { return h.topic == "up/stats/call" })
		d.stop()
	})
}

func TestShutdownIsBoundedWhenThePathIsDead(t *testing.T) {
	withBrokers(t, func(t *testing.T, b broker) {
		o := observe(t, b)
		p := newProxy(t, b.address())
		d := agent(t, config(p.address())).run()
		n := o.says(0, "up/status", "online")
		d.flush()
		p.freeze(true)
		d.State("call", callState{"active"})
		began := time.Now()
		d.stop()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
		p.cut()
		p.freeze(false)
		o.says(n, "up/status", "offline") // by the last will
	})
}

// With a broker that takes the connection and says nothing, there is an end to waiting too.
func TestSilentBroker(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := agent(t, config(l.Addr().String()))
	d.timing.connect = 200 * time.Millisecond
	d.run()
	d.eventually("an error", func() bool { return d.Status().Error != "not connected yet" })
	d.timing.connect = time.Hour
	began := time.Now()
	d.stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	d.eventually("Commands is closed", func() bool {
		select {
		case _, ok := <-d.Commands():
			return !ok
		default:
			return false
		}
	})
}

func TestRefusedLogin(t *testing.T) {
	b := &mochiBroker{ledger: &auth.Ledger{Auth: auth.AuthRules{{Username: "door1", Password: "right", Allow: true}}}}
	b.start(t)
	t.Cleanup(b.stop)
	c := config(b.address())
	c.Username = "door1"
	password, mu := "canary-wrong", sync.Mutex{}
	c.Password = func() (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if password == "" {
			return "", errAlways
		}
		return password, nil
	}
	set := func(p string) {
		mu.Lock()
		defer mu.Unlock()
		password = p
	}
	d := agent(t, c).run()
	d.eventually("the refusal is told", func() bool {
		return strings.Contains(d.Status().Error, `refuses user "door1"`) && strings.Contains(d.Status().Error, "check mqtt.username and mqtt.password_file")
	})
	time.Sleep(500 * time.Millisecond) // several tries
	if n := strings.Count(d.log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, d.log)
	}
	set("")
	d.eventually("the password's error is told", func() bool { return strings.Contains(d.Status().Error, "password: always") })
	set("right")
	d.eventually("it is let in", func() bool { return d.Status().Connected })
	d.stop()
	if strings.Contains(d.log.String(), "canary") {
		t.Errorf("the password shows:\n%s", d.log)
	}
}

// certificate makes a CA and a server certificate of it for the given address.
func certificate(t *testing.T, host string) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.ParseIP(host)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestTLS(t *testing.T) {
	pool, cert := certificate(t, "127.0.0.1")
	wrongName, wrongCert := certificate(t, "127.0.0.2")
	for name, test := range map[string]struct {
		server *tls.Config
		roots  *x509.CertPool
		scheme string
		want   string // "" for a connection
	}{
		"good":         {&tls.Config{Certificates: []tls.Certificate{cert}}, pool, "mqtts", ""},
		"unknown CA":   {&tls.Config{Certificates: []tls.Certificate{cert}}, wrongName, "mqtts", "unknown authority"},
		"wrong name":   {&tls.Config{Certificates: []tls.Certificate{wrongCert}}, wrongName, "mqtts", "127.0.0.1"},
		"TLS 1.1 only": {&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11}, pool, "mqtts", "protocol version"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &mochiBroker{tls: test.server}
			b.start(t)
			t.Cleanup(b.stop)
			c := config(b.address())
			c.URL = test.scheme + "://" + b.address()
			c.RootCAs = test.roots
			d := agent(t, c).run()
			d.eventually("decided", func() bool { return d.Status().Connected || d.Status().Error != "not connected yet" })
			if s := d.Status(); s.Connected != (test.want == "") || !strings.Contains(s.Error, test.want) {
				t.Errorf("%+v, want %q", s, test.want)
			}
			d.stop()
		})
	}
	t.Run("plain broker", func(t *testing.T) {
		b := &mochiBroker{}
		b.start(t)
		t.Cleanup(b.stop)
		c := config(b.address())
		c.URL, c.RootCAs = "mqtts://"+b.address(), pool
		d := agent(t, c)
		d.timing.connect = 2 * time.Second
		d.run()
		d.eventually("decided", func() bool { return d.Status().Connected || d.Status().Error != "not connected yet" })
		if d.Status().Connected {
			t.Error("connected without TLS")
		}
		d.stop()
	})
}

func TestACLThatRefusesSubscriptionsIsWarnedOf(t *testing.T) {
	b := &mochiBroker{ledger: &auth.Ledger{
		Auth: auth.AuthRules{{Allow: true}},
		ACL:  auth.ACLRules{{Client: "door1", Filters: auth.Filters{"sidetone/v1/home/door1/up/#": auth.WriteOnly}}, {Filters: auth.Filters{"#": auth.ReadWrite}}},
	}}
	b.start(t)
	t.Cleanup(b.stop)
	o := observe(t, b)
	d := agent(t, config(b.address())).run()
	o.says(0, "up/status", "online")
	d.eventually("a warning", func() bool { return strings.Contains(d.log.String(), "ACL refuses a subscription") })
	d.stop()
}

func TestPause(t *testing.T) {
	a := &Agent{timing: defaultTiming}
	for failures := range 100 {
		most := min(time.Minute, time.Second<<min(failures, 20))
		for range 20 {
			if d := a.pause(failures, errAlways); d < most/2 || d > most {
				t.Fatalf("pause %d is %v", failures, d)
			}
		}
		if d := a.pause(failures, fmt.Errorf("x: %w", &refusedError{errAlways})); d < 5*time.Second || d > 5*time.Minute {
			t.Fatalf("pause %d after a refusal is %v", failures, d)
		}
	}
}
