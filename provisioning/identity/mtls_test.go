package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sidetone/provisioning/config"
)

// authority signs client certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "devices"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// device gives a certificate and its key as PEM.
func (a *authority) device(t *testing.T, name string, until time.Time) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func TestBrokerThatKnowsUsByACertificate(t *testing.T) {
	devices := newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(devices.cert)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "" {
					t.Error("there is no secret to send")
				}
				json.NewEncoder(w).Encode(map[string]string{"token": "for-" + r.TLS.PeerCertificates[0].Subject.CommonName})
			}))
			server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: version, MaxVersion: version}
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0) // handshakes fail on purpose
			server.StartTLS()
			defer server.Close()
			ca := file(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))

			cert, key := devices.device(t, "door1", time.Now().Add(time.Hour))
			line := config.Line{TokenURL: server.URL, CAFile: ca, ClientCertFile: file(t, cert), ClientKeyFile: file(t, key)}
			s := source(t, line, nil)
			if c := must(t, s); c.Token.Reveal() != "for-door1" {
				t.Errorf("%q", c.Token.Reveal())
			}

			// Renewed files are taken without a restart.
			cert, key = devices.device(t, "door2", time.Now().Add(time.Hour))
			put(t, line.ClientCertFile, cert)
			put(t, line.ClientKeyFile, key)
			if c := must(t, source(t, line, nil)); c.Token.Reveal() != "for-door2" {
				t.Errorf("%q", c.Token.Reveal())
			}

			strange, strangeKey := newAuthority(t).device(t, "door1", time.Now().Add(time.Hour))
			expired, expiredKey := devices.device(t, "door1", time.Now().Add(-time.Minute))
			for name, test := range map[string]struct {
				line    config.Line
				refused bool
				want    string
			}{
				"none":          {config.Line{TokenKeyFile: file(t, canary)}, version == tls.VersionTLS13, "remote error: tls"}, // TLS 1.2 has no word for it
				"of a stranger": {config.Line{ClientCertFile: file(t, strange), ClientKeyFile: file(t, strangeKey)}, true, "certificate"},
				"expired":       {config.Line{ClientCertFile: file(t, expired), ClientKeyFile: file(t, expiredKey)}, true, "certificate"},
				"wrong key":     {config.Line{ClientCertFile: file(t, cert), ClientKeyFile: file(t, strangeKey)}, false, "line.client_key_file"},
				"no file":       {config.Line{ClientCertFile: "/nonexistent/x", ClientKeyFile: file(t, key)}, false, "client certificate /nonexistent/x: no such file"},
				"no PEM":        {config.Line{ClientCertFile: file(t, canary), ClientKeyFile: file(t, key)}, false, "line.client_cert_file"},
			} {
				test.line.TokenURL, test.line.CAFile = line.TokenURL, line.CAFile
				_, err := source(t, test.line, nil).Credentials(t.Context())
				if err == nil || errors.Is(err, ErrRefused) != test.refused || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), canary) {
					t.Errorf("%s: %v; want %q, refused %v", name, err, test.want, test.refused)
				}
			}
		})
	}
}

// The broker's own certificate is verified even by a device that woke up before that was made: by its build time.
func TestCertificateIsVerifiedByTheClocksFloor(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"token":"t"}`)) }))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.StartTLS()
	defer server.Close()
	line := config.Line{
		TokenURL: server.URL, TokenKeyFile: file(t, canary),
		CAFile: file(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))),
	}
	k, err := newKeeper(Config{Line: line, Clock: NewClock(server.Certificate().NotAfter.Add(time.Hour))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Credentials(t.Context()); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("a certificate that was over when the device was built: %v", err)
	}
}
