package lab

import (
	"crypto/x509"
	"log/slog"
	"net"
	"strings"
	"testing"
)

// elsewhere is an address that is nobody's: TEST-NET-1, RFC 5737.
const elsewhere = "192.0.2.7"

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		name, listen, advertise string
		bind, host, ip          string
		port                    int
		err                     string
	}{
		{name: "nothing said", bind: "127.0.0.1", host: "127.0.0.1", ip: "127.0.0.1", port: 8700},
		{name: "free ports", listen: "127.0.0.1:0", bind: "127.0.0.1", host: "127.0.0.1", ip: "127.0.0.1"},
		{name: "a port", listen: "127.0.0.1:9000", bind: "127.0.0.1", host: "127.0.0.1", ip: "127.0.0.1", port: 9000},
		{name: "IPv6", listen: "[::1]:0", err: "IPv4 only"},
		{name: "every interface", listen: ":0", bind: "0.0.0.0", host: "127.0.0.1", ip: "127.0.0.1"},
		{name: "every interface, in full", listen: "0.0.0.0:0", bind: "0.0.0.0", host: "127.0.0.1", ip: "127.0.0.1"},
		{name: "advertised, ours", advertise: "127.0.0.2", bind: "127.0.0.2", host: "127.0.0.2", ip: "127.0.0.2", port: 8700},
		{name: "advertised, elsewhere", advertise: elsewhere, bind: "0.0.0.0", host: elsewhere, ip: elsewhere, port: 8700},
		{name: "advertised, and where to listen", listen: "127.0.0.1:0", advertise: elsewhere, bind: "127.0.0.1", host: elsewhere, ip: elsewhere},
		{name: "advertised, free ports everywhere", listen: ":0", advertise: elsewhere, bind: "0.0.0.0", host: elsewhere, ip: elsewhere},
		{name: "no port", listen: "127.0.0.1", err: "HOST:PORT"},
		{name: "port too high", listen: "127.0.0.1:65535", err: "up to"},
		{name: "port that is none", listen: "127.0.0.1:http", err: "port"},
		{name: "advertised, nowhere", advertise: "0.0.0.0", err: "no address that others can reach"},
		{name: "advertised, nonsense", advertise: "not an address", err: "--advertise"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := resolve(t.Context(), c.listen, c.advertise)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !a.bind.Equal(net.ParseIP(c.bind)) || a.host != c.host || !a.ip.Equal(net.ParseIP(c.ip)) || a.port != c.port {
				t.Errorf("%+v", a)
			}
		})
	}
}

// TestAdvertise: the address stands in every URL, in the certificate and in relayed addresses.
func TestAdvertise(t *testing.T) {
	l, err := Start(t.Context(), Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Advertise: elsewhere, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	i := l.Info()
	for _, url := range append([]string{i.WS, i.WSS, i.TokenAPI, i.MQTT, i.MQTTS, i.Web}, i.TURN...) {
		if !strings.Contains(url, elsewhere+":") {
			t.Errorf("%s lacks %s", url, elsewhere)
		}
	}
	c := l.deviceConfig(models[0])
	for _, url := range []string{c.Line.URL, c.Line.TokenURL, c.MQTT.URL} {
		if !strings.Contains(url, elsewhere+":") {
			t.Errorf("door1's %s lacks %s", url, elsewhere)
		}
	}
	if c.ICE.Loopback {
		t.Error("door1 would use loopback")
	}
	config, err := l.certificate()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(config.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{elsewhere, "localhost", "127.0.0.1", "::1"} {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots(t, l)}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: "192.0.2.8", Roots: roots(t, l)}); err == nil {
		t.Error("the certificate is good for any address")
	}
}
