package mqtt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// start starts a broker with users admin, door1 and door2, whose passwords are their names and "-secret".
func start(t *testing.T) (b *Broker, tcp, secured string, roots *x509.CertPool) {
	t.Helper()
	plain, secure := listen(t), listen(t)
	cert, roots := certificate(t)
	users := map[string]bool{"admin": true, "door1": true, "door2": true}
	b, err := New(Config{
		TCP: plain, TLS: secure, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		Admin:  "admin",
		Login:  func(user, password string) bool { return users[user] && password == user+"-secret" },
		IsUser: func(name string) bool { return users[name] },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b, "mqtt://" + plain.Addr().String(), "mqtts://" + secure.Addr().String(), roots
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func options(url, user, id string) *paho.ClientOptions {
	return paho.NewClientOptions().AddBroker(url).SetClientID(id).SetUsername(user).SetPassword(user + "-secret").
		SetAutoReconnect(false).SetConnectTimeout(patience).SetProtocolVersion(4)
}

// connect connects, or gives the error.
func connect(t *testing.T, o *paho.ClientOptions) (paho.Client, error) {
	t.Helper()
	c := paho.NewClient(o)
	tok := c.Connect()
	if !tok.WaitTimeout(patience) {
		t.Fatal("no answer to CONNECT")
	}
	if tok.Error() == nil {
		t.Cleanup(func() { c.Disconnect(50) })
	}
	return c, tok.Error()
}

func mustConnect(t *testing.T, o *paho.ClientOptions) paho.Client {
	t.Helper()
	c, err := connect(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// messages subscribes and gives what comes; granted tells whether the broker allowed it.
func messages(t *testing.T, c paho.Client, filter string) (got chan paho.Message, granted bool) {
	t.Helper()
	got = make(chan paho.Message, 16)
	tok := c.Subscribe(filter, 1, func(_ paho.Client, m paho.Message) { got <- m })
	if !tok.WaitTimeout(patience) {
		t.Fatal("no answer to SUBSCRIBE")
	}
	return got, tok.(*paho.SubscribeToken).Result()[filter] < 0x80 // 0x80 is failure
}

func next(t *testing.T, got chan paho.Message) paho.Message {
	t.Helper()
	select {
	case m := <-got:
		return m
	case <-time.After(patience):
		t.Fatal("no message came")
		return nil
	}
}

func TestLogin(t *testing.T) {
	_, plain, secure, roots := start(t)
	for _, c := range []struct {
		name string
		opts *paho.ClientOptions
		ok   bool
	}{
		{"device", options(plain, "door1", "door1"), true},
		{"device, second connection", options(plain, "door1", "door1-call-1"), true},
		{"device over TLS", options(secure, "door1", "door1").SetTLSConfig(&tls.Config{RootCAs: roots}), true},
		{"admin", options(plain, "admin", "anything"), true},
		{"device over TLS, strange CA", options(secure, "door1", "door1").SetTLSConfig(&tls.Config{RootCAs: x509.NewCertPool()}), false},
		{"anonymous", options(plain, "", "door1").SetPassword(""), false},
		{"unknown user", options(plain, "door9", "door9"), false},
		{"wrong password", options(plain, "door1", "door1").SetPassword("door2-secret"), false},
		{"admin, no password", options(plain, "admin", "a").SetPassword(""), false},
		{"another's client id", options(plain, "door1", "door2"), false},
		{"the broker's own client id", options(plain, "admin", "inline"), false},
		{"a will in another's name", options(plain, "door1", "door1").SetWill("sidetone/v1/lab/door2/up/status", "offline", 1, true), false},
		{"a will in its own name", options(plain, "door1", "door1").SetWill("sidetone/v1/lab/door1/up/status", "offline", 1, true), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := connect(t, c.opts)
			if (err == nil) != c.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestDeviceReachesOnlyItsOwn(t *testing.T) {
	_, plain, _, _ := start(t)
	admin := mustConnect(t, options(plain, "admin", "admin"))
	all, granted := messages(t, admin, "#")
	if !granted {
		t.Fatal("admin may not subscribe to everything")
	}
	door1 := mustConnect(t, options(plain, "door1", "door1"))
	for filter, want := range map[string]bool{
		"sidetone/v1/lab/door1/down/#": true, "sidetone/v1/lab/_all/down/#": true, "sidetone/v1/lab/door1/up/status": true,
		"sidetone/v1/lab/door2/down/#": false, "sidetone/v1/#": false, "#": false,
	} {
		if _, granted := messages(t, door1, filter); granted != want {
			t.Errorf("door1 subscribed to %s: granted %t", filter, granted)
		}
	}
	// QoS 0 to another's topic is dropped; what follows on its own arrives alone.
	door1.Publish("sidetone/v1/lab/door2/up/status", 0, false, "fake").WaitTimeout(patience)
	door1.Publish("sidetone/v1/lab/door1/up/status", 1, true, "online").WaitTimeout(patience)
	if m := next(t, all); m.Topic() != "sidetone/v1/lab/door1/up/status" || string(m.Payload()) != "online" {
		t.Errorf("admin got %s %s", m.Topic(), m.Payload())
	}
}

func TestWillIsSentWhenTheDeviceVanishes(t *testing.T) {
	_, plain, _, _ := start(t)
	admin := mustConnect(t, options(plain, "admin", "admin"))
	got, _ := messages(t, admin, "sidetone/v1/+/+/up/status")
	var raw net.Conn
	o := options(plain, "door1", "door1").SetWill("sidetone/v1/lab/door1/up/status", "offline", 1, true)

	o.SetCustomOpenConnectionFn(func(_ *url.URL, _ paho.ClientOptions) (net.Conn, error) {
		c, err := net.Dial("tcp", plain[len("mqtt://"):])
		raw = c
		return c, err
	})
	mustConnect(t, o)
	_ = raw.(*net.TCPConn).SetLinger(0)
	_ = raw.Close()
	if m := next(t, got); string(m.Payload()) != "offline" {
		t.Errorf("got %s %s", m.Topic(), m.Payload())
	}
}

func TestInlinePublishAndSubscribe(t *testing.T) {
	b, plain, _, _ := start(t)
	seen := make(chan Message, 4)
	cancel, err := b.Subscribe("sidetone/v1/+/+/up/#", func(m Message) { seen <- m })
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	door1 := mustConnect(t, options(plain, "door1", "door1"))
	down, _ := messages(t, door1, "sidetone/v1/lab/door1/down/#")
	if err := b.Publish("sidetone/v1/lab/door1/down/cmd/press", []byte(`{"id":"1"}`), false); err != nil {
		t.Fatal(err)
	}
	if m := next(t, down); string(m.Payload()) != `{"id":"1"}` || m.Retained() || m.Qos() != 1 {
		t.Errorf("door1 got %s, retained %t, QoS %d", m.Payload(), m.Retained(), m.Qos())
	}
	door1.Publish("sidetone/v1/lab/door1/up/reply/1", 1, false, `{"ok":true}`)
	select {
	case m := <-seen:
		if m.Topic != "sidetone/v1/lab/door1/up/reply/1" || string(m.Payload) != `{"ok":true}` {
			t.Errorf("got %s %s", m.Topic, m.Payload)
		}
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	// A later subscriber gets what is retained.
	door1.Publish("sidetone/v1/lab/door1/up/status", 1, true, "online").WaitTimeout(patience)
	late := make(chan Message, 4)
	cancelLate, err := b.Subscribe("sidetone/v1/+/+/up/status", func(m Message) { late <- m })
	if err != nil {
		t.Fatal(err)
	}
	defer cancelLate()
	select {
	case m := <-late:
		if string(m.Payload) != "online" {
			t.Errorf("got %s", m.Payload)
		}
	case <-time.After(patience):
		t.Fatal("nothing retained came")
	}
}

// TestClose: also a client that never says CONNECT, and one that never finishes its TLS handshake, do not hold it up.
func TestClose(t *testing.T) {
	b, plain, secure, _ := start(t)
	mustConnect(t, options(plain, "door1", "door1"))
	for _, broker := range []string{plain, secure} {
		_, addr, _ := strings.Cut(broker, "://")
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if broker == secure {
			_, _ = c.Write([]byte{0x16, 0x03})
		}
	}
	start := time.Now()
	b.Close()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
	b.Close()
	if c, err := net.Dial("tcp", plain[len("mqtt://"):]); err == nil {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("still listening: %v", err)
		}
		_ = c.Close()
	}
}
