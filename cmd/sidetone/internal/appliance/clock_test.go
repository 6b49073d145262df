package appliance

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/provisioning/broker"
	"sidetone/provisioning/broker/mqtt"
	"sidetone/provisioning/config"
	"sidetone/rtc/gateway"
	"sidetone/rtc/verto"
)

// TestClockWithoutABattery: a device whose clock stands long before its servers' certificates begin. It is let in by what
// it knows of the time, from its build or a certificate that it was given; and nothing is let in that is not good then.
// The servers live a month ahead of this machine's clock, so that this clock is the one which is too early.
func TestClockWithoutABattery(t *testing.T) {
	month := func(n int) time.Time { return time.Now().AddDate(0, n, 0) }
	old := newAuthority(t, month(-1), month(120))
	ahead := newAuthority(t, month(2), month(120))
	for _, tt := range []struct {
		name  string
		ca    *authority
		built time.Time
		why   string // of its being refused; empty: it is let in
	}{
		{"it knows nothing", old, time.Time{}, "not yet valid"},
		{"built too early", old, month(0), "not yet valid"},
		{"built since", old, month(2), ""},
		{"the roots were made since", ahead, time.Time{}, ""},
		{"built after their end", old, month(4), "expired"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServers(t, tt.ca, month(1), month(3))
			for source, cfg := range s.configs(t) {
				a, err := New(Options{Config: cfg, Version: "test", Solo: true, Built: tt.built, Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				var device part
				device.start(t.Context(), func(ctx context.Context) { _ = a.Run(ctx) })
				limit := time.Now().Add(30 * time.Second)
				done := func() bool {
					line, fleet := a.line.Status(), a.fleet.Status()
					if tt.why == "" {
						return line.State == verto.Registered && fleet.Connected
					}
					return strings.Contains(line.Message, "x509: ") && strings.Contains(fleet.Error, "x509: ")
				}
				for !done() && time.Now().Before(limit) {
					time.Sleep(20 * time.Millisecond)
				}
				line, fleet := a.line.Status(), a.fleet.Status()
				if !done() || !strings.Contains(line.Message, tt.why) || !strings.Contains(fleet.Error, tt.why) {
					t.Errorf("%s: the line is %s; the broker: %+v", source, line, fleet)
				}
				device.stop()
			}
		})
	}
}

// authority is a CA.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T, from, until time.Time) *authority {
	t.Helper()
	a := &authority{}
	a.cert, a.key = signed(t, nil, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "roots"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: from, NotAfter: until, KeyUsage: x509.KeyUsageCertSign,
	})
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
	return a
}

// signed makes a certificate; without an authority it signs itself.
func signed(t *testing.T, by *authority, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if by == nil {
		by = &authority{cert: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// servers are a platform, its token broker and the fleet's MQTT broker, all by TLS.
type servers struct {
	https  *httptest.Server
	mqtts  net.Listener
	tokens *broker.Service
	ca     string
	dir    string
}

func newServers(t *testing.T, ca *authority, from, until time.Time) *servers {
	t.Helper()
	s := &servers{dir: t.TempDir()}
	s.ca = s.write(t, "ca.pem", string(ca.pem))
	cert, key := signed(t, ca, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	secure := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
	var err error
	if s.tokens, err = broker.New(broker.Config{Dir: filepath.Join(s.dir, "tokens")}); err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(gateway.Config{
		IP: net.IPv4(127, 0, 0, 1), ReportDir: s.dir, Logger: slog.New(slog.DiscardHandler),
		Authenticate: func(p verto.LoginParams) (gateway.Identity, error) {
			name, id, err := s.tokens.Authenticate(p.Token, p.User, p.Password)
			return gateway.Identity{Name: name, Credential: id}, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", s.tokens)
	mux.Handle("/v2/", s.tokens)
	mux.Handle("/", g)
	s.https = httptest.NewUnstartedServer(mux)
	s.https.TLS = secure.Clone()
	s.https.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.https.StartTLS()
	clear, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if s.mqtts, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	fleet, err := mqtt.New(mqtt.Config{
		TCP: clear, TLS: s.mqtts, TLSConfig: secure, Admin: "admin",
		Login: s.tokens.CheckMQTT, IsUser: s.tokens.IsDevice,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		fleet.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = g.Close(ctx)
		s.https.Close()
	})
	return s
}

func (s *servers) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// configs are of one device by the source of its credentials: each shows another connection as the line's first.
func (s *servers) configs(t *testing.T) map[string]*config.Config {
	t.Helper()
	secrets, err := s.tokens.Enroll("door1")
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := s.tokens.Token("door1")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*config.Config{}
	for _, source := range []string{"token_url", "token_file"} {
		c := config.Default()
		c.Device.Name, c.Device.StateDir = "door1", filepath.Join(s.dir, source)
		c.Line.URL, c.Line.CAFile = "wss"+strings.TrimPrefix(s.https.URL, "https")+"/", s.ca
		c.MQTT.URL, c.MQTT.CAFile = "mqtts://"+s.mqtts.Addr().String(), s.ca
		c.MQTT.Username, c.MQTT.PasswordFile = "door1", s.write(t, "mqtt.password", secrets.MQTTPassword)
		c.Audio.Capture, c.Audio.Playback = "null", "null"
		if source == "token_url" {
			c.Line.TokenURL = s.https.URL + "/v1/devices/door1/token"
			c.Line.TokenKeyFile = s.write(t, "token.key", secrets.TokenKey)
		} else {
			c.Line.TokenFile = s.write(t, "token.jwt", token)
		}
		all[source] = c
	}
	return all
}
