package identity

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sidetone/provisioning/config"
)

// tokens is a token broker.
type tokens struct {
	asked   atomic.Int32
	status  atomic.Int32
	answer  func() any
	header  http.Header   // more to answer with
	entered chan struct{} // when not nil, told of each question
	release chan struct{} // when not nil, waited for
}

func (b *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.asked.Add(1)
	if b.entered != nil {
		b.entered <- struct{}{}
		<-b.release
	}
	if status := b.status.Load(); status != 0 {
		if status/100 == 3 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(int(status))
		return
	}
	if r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer "+canary {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	maps.Copy(w.Header(), b.header)
	json.NewEncoder(w).Encode(b.answer())
}

func TestBrokerOverTLS(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	jwt := token(t, now, now.Add(time.Hour))
	b := &tokens{answer: func() any {
		return map[string]any{
			"token":                 jwt,
			"expires_at":            now.Add(time.Hour),
			"iceServers":            []any{map[string]any{"urls": []string{"turn:a", "turns:b"}, "username": "u", "credential": "c"}, map[string]any{"urls": "stun:c"}},
			"iceServers_expires_at": now.Add(2 * time.Hour),
			"more":                  1,
		}
	}}
	server := httptest.NewUnstartedServer(b)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0) // handshakes fail on purpose
	server.StartTLS()
	defer server.Close()
	ca := file(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	line := config.Line{TokenURL: server.URL + "/t", TokenKeyFile: file(t, canary+"\n"), CAFile: ca}

	s := source(t, line, nil)
	c, err := s.Credentials(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c.Token.Reveal() != jwt || c.Expires.Sub(now.Add(time.Hour)).Abs() > time.Minute || len(c.ICEServers) != 2 {
		t.Errorf("%+v", c)
	}
	if i := c.ICEServers[0]; len(i.URLs) != 2 || i.Username != "u" || i.Credential.Reveal() != "c" {
		t.Errorf("%+v", i)
	}
	if i := c.ICEServers[1]; len(i.URLs) != 1 || i.URLs[0] != "stun:c" || !i.Credential.IsZero() {
		t.Errorf("%+v", i)
	}
	if _, err := s.Credentials(t.Context()); err != nil || b.asked.Load() != 1 {
		t.Errorf("asked %d times, %v; the first token is fresh", b.asked.Load(), err)
	}

	for name, change := range map[string]func(*config.Line){
		"unknown CA": func(l *config.Line) { l.CAFile = "" },
		"wrong name": func(l *config.Line) { l.TokenURL = strings.Replace(l.TokenURL, "127.0.0.1", "localhost", 1) },
		"no TLS":     func(l *config.Line) { l.TokenURL = strings.Replace(l.TokenURL, "https", "http", 1) },
	} {
		l := line
		change(&l)
		asked := b.asked.Load()
		c, err := source(t, l, nil).Credentials(t.Context())
		if err == nil || errors.Is(err, ErrRefused) || b.asked.Load() != asked || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v, %v; want a temporary error", name, c, err)
		}
	}

	for status, refused := range map[int32]bool{401: true, 403: true, 302: false, 404: false, 429: false, 500: false} {
		b.status.Store(status)
		_, err := source(t, line, nil).Credentials(t.Context())
		if err == nil || errors.Is(err, ErrRefused) != refused || !strings.Contains(err.Error(), fmt.Sprint(status)) || strings.Contains(err.Error(), canary) {
			t.Errorf("status %d: %v; want refused %v", status, err, refused)
		}
	}
}

// inMemory brings requests to a handler without a socket, so that synctest's time can pass.
type inMemory struct{ http.Handler }

func (h inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// kept by a broker in memory; what cfg lacks is filled in.
func brokerKeeper(t *testing.T, b *tokens, cfg Config) *keeper {
	t.Helper()
	if cfg.Line.TokenURL == "" {
		cfg.Line = config.Line{TokenURL: "https://broker.test/t", TokenKeyFile: file(t, canary)}
	}
	cfg.Transport = inMemory{b}
	k, err := newKeeper(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
