// Package identity gives the credentials that the device shows to its voice platform: a token from a file, a program
// or a broker, or a login with its password from a file. It keeps tokens fresh, over restarts too.
package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"sidetone/provisioning/config"
)

// ErrRefused is wrapped by errors that asking again at once will not cure: the credential was revoked or has expired.
var ErrRefused = errors.New("credentials refused")

// Credentials are a Token, or User and Password; and the TURN servers that came with the token.
type Credentials struct {
	Token      Secret
	User       string
	Password   Secret
	ICEServers []ICEServer // nil when the source knows none, or they have expired
	Expires    time.Time   // by our clock; zero when not known
}

// ICEServer is as RTCIceServer of the W3C.
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential Secret   `json:"credential,omitzero"`
}

// Source gives credentials. It is safe for use by several goroutines.
type Source interface {
	// Credentials gives what to log in with now: what is in hand while it lives, else what the source gives. An error
	// that wraps ErrRefused will not go away by itself; any other is worth another try.
	Credentials(ctx context.Context) (Credentials, error)
	// Invalidate says that the platform refused what Credentials gave last. An older token is replaced at once, for it
	// may merely have been stale; after a fresh one Credentials gives ErrRefused for a minute, doubling to 30 as long as
	// what follows is refused too.
	Invalidate()
	// Refreshed tells, coalesced, that a newer token than the one given before is there to log in with.
	Refreshed() <-chan struct{}
	// Run keeps what Credentials gives fresh until ctx ends. Credentials works without it, but then a token is
	// replaced only when it is over.
	Run(ctx context.Context)
}

// Warning is about a token near its end.
type Warning struct {
	Message string    // for a person
	Expires time.Time // by our clock
}

// Config of a source. Line is required.
type Config struct {
	Line      config.Line
	StateDir  string            // where a token outlives a restart; empty: it does not
	Transport http.RoundTripper // to a broker; nil: HTTP of its own, with TLS by Roots, Clock and the line's certificate
	Roots     *x509.CertPool    // trusted for a broker's TLS; nil: the system's and those of line.ca_file
	Clock     *Clock            // nil: one that knows no build time
	Warn      func(Warning)     // called by Run, once for a token that is near its end and could not be replaced; may be nil
	Logger    *slog.Logger
}

// New gives the source that the line's config asks for: token_file wins over token_command, that over token_url, and
// that over login. Files are read when credentials are asked for, not here.
func New(cfg Config) (Source, error) { return newKeeper(cfg) }

func newKeeper(cfg Config) (*keeper, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = NewClock(time.Time{})
	}
	line, log := cfg.Line, cfg.Logger.With("part", "identity")
	files := NewSecretFiles(log)
	k := &keeper{
		clock: cfg.Clock, warn: cfg.Warn, log: log,
		refreshed: make(chan struct{}, 1), wake: make(chan struct{}, 1),
	}
	var origin []string // what a token on disk must have come from
	switch {
	case line.TokenFile != "":
		k.name, k.issuer, k.local = "line.token_file", &tokenFile{path: line.TokenFile, files: files}, true
	case len(line.TokenCommand) > 0:
		k.name, k.issuer = "line.token_command", &command{argv: line.TokenCommand, timeout: commandTimeout}
		origin = line.TokenCommand
	case line.TokenURL != "":
		b, err := newBroker(line, cfg.Roots, files, cfg.Clock, log)
		if err != nil {
			return nil, err
		}
		if cfg.Transport != nil {
			b.client.Transport = cfg.Transport
		}
		k.name, k.issuer = "line.token_url", b
		origin = []string{line.TokenURL, line.TokenKeyFile, line.ClientCertFile}
	case line.Login != "":
		k.name, k.issuer, k.local = "line.login", &login{user: line.Login, path: line.PasswordFile, files: files}, true
	default:
		return nil, errors.New("the line has no credentials: set line.token_file, line.token_command, line.token_url or line.login")
	}
	if origin != nil && cfg.StateDir != "" {
		k.disk = &disk{path: filepath.Join(cfg.StateDir, "token.json"), origin: fingerprint(append([]string{k.name, line.URL}, origin...))}
	}
	return k, nil
}

// issuer is where credentials come from.
type issuer interface {
	// issue gives the newest there are. An error that wraps ErrRefused means that there will be none without somebody's
	// doing.
	issue(ctx context.Context) (grant, error)
}

// grant is what an issuer gives.
type grant struct {
	Credentials             // but for Expires
	expires       time.Time // what the issuer says of a token that does not say it itself
	serversExpire time.Time // of Credentials.ICEServers
	issuersTime   time.Time // the issuer's clock when it gave this
	file          string    // where somebody writes a newer one; empty: the issuer makes them itself
}

// key is what makes two grants the same.
func (g grant) key() string {
	return strings.Join([]string{g.Token.Reveal(), g.User, g.Password.Reveal()}, "\x00")
}
