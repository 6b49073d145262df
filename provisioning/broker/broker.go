// Package broker is the platform's side of provisioning, for the lab and for tests: telephony credentials and their
// tokens with the shape of Telnyx's API, and on top of it a token broker for devices, so that no device ever holds the
// API key.
//
//	POST   /v2/telephony_credentials             {"name","connection_id","expires_at","tag"}   bearer API key
//	GET    /v2/telephony_credentials             page[number], page[size], filter[name|tag|status|…]
//	GET    /v2/telephony_credentials/{id}
//	PATCH  /v2/telephony_credentials/{id}        {"name","expires_at","tag"}
//	DELETE /v2/telephony_credentials/{id}
//	POST   /v2/telephony_credentials/{id}/token  201, text/plain: a JWT
//	POST   /v1/devices/{name}/token              bearer device secret: token and ICE servers
//
// Shapes: developers.telnyx.com, "Telephony credentials" and "Voice SDK authentication via JWTs". One difference is
// meant: the subject of a token is the credential's name, under which the lab's gateway registers a client and finds
// it as a destination; Telnyx puts the credential's own id there and calls it by its SIP user name.
package broker

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Config is what a Service needs.
type Config struct {
	// Dir holds the state: one file, mode 0600, with the API key, the signing key and the credentials. Made if absent.
	Dir string
	// ICEServers gives the TURN servers for a device, and when their password ends. Nil: none.
	ICEServers func(name string) ([]ICEServer, time.Time)
	// Revoked is called, outside every lock, with the id of a credential that was deleted, renamed or has expired:
	// whoever is logged in by it has to go. Nil: nobody is told.
	Revoked func(id string)
	// TokenLife is how long a token lives, if its credential does. Zero: MaxTokenLife, which is also the most.
	TokenLife time.Duration
	// Now is the clock. Nil: time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// ICEServer is as RTCIceServer (W3C webrtc-pc, section 4.2.4).
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

// Service is the credentials API and the token broker. It is an http.Handler, safe for concurrent use.
type Service struct {
	cfg Config
	mux *http.ServeMux
	// wake makes Run look again for the next expiry.
	wake chan struct{}

	mu       sync.Mutex
	state    state
	limits   map[string]*rate.Limiter // by device
	requests map[string]TokenRequests // the same
	strange  *rate.Limiter            // of requests with a secret that is nobody's
	reported map[string]bool          // ids of expired credentials that Revoked knows of
}

// New opens the state in cfg.Dir, or makes it with fresh keys.
func New(cfg Config) (*Service, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.TokenLife <= 0 || cfg.TokenLife > MaxTokenLife {
		cfg.TokenLife = MaxTokenLife
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.ICEServers == nil {
		cfg.ICEServers = func(string) ([]ICEServer, time.Time) { return []ICEServer{}, time.Time{} }
	}
	if cfg.Revoked == nil {
		cfg.Revoked = func(string) {}
	}
	st, err := openState(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Service{
		cfg:      cfg,
		mux:      http.NewServeMux(),
		wake:     make(chan struct{}, 1),
		state:    st,
		limits:   map[string]*rate.Limiter{},
		requests: map[string]TokenRequests{},
		strange:  rate.NewLimiter(5, 50),
		reported: map[string]bool{},
	}
	s.routes()
	return s, nil
}

// ServeHTTP serves both APIs.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// APIKey is the account's bearer key.
func (s *Service) APIKey() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.APIKey
}

// Run tells of credentials as they expire, until ctx ends. Logins by an expired credential are refused without it.
func (s *Service) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-s.wake:
		}
		gone, next := s.expired()
		for _, c := range gone {
			s.cfg.Logger.Info("credential expired", "name", c.Name, "id", c.ID)
			s.cfg.Revoked(c.ID)
		}
		timer.Reset(next)
	}
}

// expired gives the credentials expired since the last look, and how long until the next one will be.
func (s *Service) expired() (gone []Credential, next time.Duration) {
	next = time.Hour
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	for _, c := range s.state.Credentials {
		switch {
		case c.ExpiresAt == nil || s.reported[c.ID]:
		case c.expired(now):
			s.reported[c.ID] = true
			gone = append(gone, *c)
		default:
			// A moment later than the expiry itself, so that the clock has passed it.
			next = min(next, c.ExpiresAt.Sub(now)+time.Millisecond)
		}
	}
	return gone, next
}

// changed saves the state and makes Run look at it. Called with mu held, after a change that undo takes back when it
// cannot be saved.
func (s *Service) changed(undo func()) error {
	if err := s.state.save(s.cfg.Dir); err != nil {
		undo()
		return fmt.Errorf("saving credentials: %w", err)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

// SameSecret compares two secrets in constant time, whatever their lengths.
func SameSecret(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
