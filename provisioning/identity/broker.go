package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sidetone/provisioning/config"
)

const brokerTimeout = 15 * time.Second

// broker is a token broker: it knows this device by a secret or a client certificate of its own, and hands out
// short-lived JWTs and TURN servers.
type broker struct {
	url     string
	keyFile string // "": the client certificate says who we are
	files   *SecretFiles
	client  *http.Client
}

func newBroker(line config.Line, roots *x509.CertPool, files *SecretFiles, clock *Clock, logger *slog.Logger) (*broker, error) {
	u, err := url.Parse(line.TokenURL)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("line.token_url must be https://HOST/PATH, not %q", line.TokenURL)
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme != "https" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		logger.Warn("the token broker is asked in clear: everyone on the way can read this device's secret", "url", line.TokenURL)
	}
	if roots == nil {
		if roots, err = config.Roots(line.CAFile); err != nil {
			return nil, err
		}
	}
	secure := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, Time: clock.Now}
	if line.ClientCertFile != "" {
		secure.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return clientCertificate(line.ClientCertFile, line.ClientKeyFile, files)
		}
	}
	return &broker{
		url:     line.TokenURL,
		keyFile: line.TokenKeyFile,
		files:   files,
		client: &http.Client{
			Timeout: brokerTimeout,
			Transport: &http.Transport{
				Proxy:                  http.ProxyFromEnvironment,
				TLSClientConfig:        secure,
				DisableKeepAlives:      true, // one request an hour
				MaxResponseHeaderBytes: 64 << 10,
			},
			// The secret goes nowhere but where the config says.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// clientCertificate is read for each handshake, so that a renewed one needs no restart.
func clientCertificate(certFile, keyFile string, files *SecretFiles) (*tls.Certificate, error) {
	cert, err := files.content("client certificate", certFile, "write it there as PEM")
	if err != nil {
		return nil, err
	}
	key, err := files.Content("client key", keyFile, "write it there as PEM")
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("line.client_cert_file %s and line.client_key_file %s: %w", certFile, keyFile, err)
	}
	return &pair, nil
}

func (b *broker) issue(ctx context.Context) (grant, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url, nil)
	if err != nil {
		return grant{}, fmt.Errorf("token broker: %w", err)
	}
	if b.keyFile != "" {
		key, err := b.files.Read("token key file", b.keyFile, "write this device's secret at the token broker there")
		if err != nil {
			return grant{}, err
		}
		req.Header.Set("Authorization", "Bearer "+key.Reveal())
	}
	req.Header.Set("Accept", "application/json")
	resp, err := b.client.Do(req)
	if err != nil {
		if certificateRefused(err) {
			return grant{}, fmt.Errorf("%w: the token broker %s does not take the certificate in line.client_cert_file: %w", ErrRefused, b.url, err)
		}
		return grant{}, fmt.Errorf("token broker: %w", err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return grant{}, fmt.Errorf("%w: the token broker %s answers %s; check the device's secret or certificate, or whether the device was revoked",
			ErrRefused, b.url, resp.Status)
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated:
		return grant{}, fmt.Errorf("token broker %s answers %s; it will be asked again", b.url, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return grant{}, fmt.Errorf("token broker %s: %w", b.url, err)
	}
	if len(body) > maxAnswer {
		return grant{}, fmt.Errorf("the answer of the token broker %s is larger than %d KiB", b.url, maxAnswer>>10)
	}
	g, err := readAnswer(body)
	if err != nil {
		return grant{}, fmt.Errorf("the answer of the token broker %s %w", b.url, err)
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		g.issuersTime = date
	}
	return g, nil
}

// certificateRefused tells whether the far side ended the handshake because of our certificate: crypto/tls gives the
// alerts of RFC 8446, section 6.2, as text only.
func certificateRefused(err error) bool {
	_, alert, ok := strings.Cut(err.Error(), "remote error: tls: ")
	if !ok {
		return false
	}
	for _, about := range []string{"certificate", "access denied"} {
		if strings.Contains(alert, about) {
			return true
		}
	}
	return false
}
