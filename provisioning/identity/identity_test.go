package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"sidetone/provisioning/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// file writes a secret and returns its path.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// token makes a JWT that lives from issued to expires.
func token(t testing.TB, issued, expires time.Time) string {
	t.Helper()
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iat": issued.Unix(), "exp": expires.Unix(), "sub": "door1"}).SignedString([]byte("k"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func source(t *testing.T, line config.Line, log *slog.Logger) Source {
	t.Helper()
	s, err := New(Config{Line: line, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const canary = "canary-4711-secret"

func TestSecretShowsItselfToNobody(t *testing.T) {
	s := NewSecret(canary)
	type inside struct{ s Secret }
	c := Credentials{Token: s, User: "u", Password: s, ICEServers: []ICEServer{{URLs: []string{"turn:x"}, Username: "u", Credential: s}}}
	var out bytes.Buffer
	for _, v := range []any{s, &s, c, &c, inside{s}, &inside{s}, []Secret{s}, map[string]any{"s": s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
	}
	if strings.Contains(out.String(), canary) || strings.Contains(out.String(), fmt.Sprintf("%x", canary)) {
		t.Errorf("the secret shows:\n%s", out.String())
	}
	if !strings.Contains(out.String(), redacted) {
		t.Error("nothing says that there is a secret")
	}
	if s.Reveal() != canary || s.IsZero() || !NewSecret("").IsZero() || NewSecret("").Reveal() != "" || NewSecret("").String() != "" {
		t.Error("Reveal and IsZero are wrong")
	}
}

func TestTokenFileIsReadEachTime(t *testing.T) {
	now := time.Now()
	first, second := token(t, now, now.Add(time.Hour)), token(t, now, now.Add(2*time.Hour))
	path := file(t, "\n  "+first+"\n")
	// The file wins over whatever else is set.
	s := source(t, config.Line{TokenFile: path, TokenURL: "https://x/t", Login: "u"}, nil)
	c, err := s.Credentials(t.Context())
	if err != nil || c.Token.Reveal() != first || c.Expires.Unix() != now.Add(time.Hour).Unix() {
		t.Fatalf("%v, %v", c, err)
	}
	if err := os.WriteFile(path, []byte(second), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Invalidate()
	if c, err = s.Credentials(t.Context()); err != nil || c.Token.Reveal() != second {
		t.Fatalf("%v, %v", c, err)
	}
	// An opaque token is offered as it is.
	if err := os.WriteFile(path, []byte("opaque"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err = s.Credentials(t.Context()); err != nil || c.Token.Reveal() != "opaque" || !c.Expires.IsZero() {
		t.Fatalf("%v, %v", c, err)
	}
}

func TestExpiredTokenIsKnownBeforeDialling(t *testing.T) {
	now := time.Now()
	path := file(t, token(t, now.Add(-4*time.Hour), now.Add(-3*time.Hour)))
	_, err := source(t, config.Line{TokenFile: path}, nil).Credentials(t.Context())
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "expired 3 h ago at 2") || !strings.Contains(err.Error(), "get a new one") {
		t.Errorf("%v", err)
	}
	// A clock that stands before the token's issue says nothing about its end.
	synctest.Test(t, func(t *testing.T) { // it is the year 2000 here
		path := file(t, token(t, now.Add(-4*time.Hour), now.Add(-3*time.Hour)))
		if _, err := source(t, config.Line{TokenFile: path}, nil).Credentials(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestFilesThatDoNotServeSayWhatToDo(t *testing.T) {
	for name, test := range map[string]struct {
		line config.Line
		want string
	}{
		"no token file": {config.Line{TokenFile: "/nonexistent/x"}, "token file /nonexistent/x: no such file; write the JWT there or set line.token_url"},
		"empty":         {config.Line{TokenFile: file(t, " \n")}, "is empty; write the JWT there"},
		"two lines":     {config.Line{TokenFile: file(t, "a\nb")}, "more than one line"},
		"huge":          {config.Line{TokenFile: file(t, strings.Repeat("a", maxSecret+1))}, "larger than 64 KiB"},
		"directory":     {config.Line{TokenFile: t.TempDir()}, "is a directory"},
		"no password":   {config.Line{Login: "u", PasswordFile: "/nonexistent/x"}, "password file /nonexistent/x: no such file; write the password of line.login there"},
		"no key":        {config.Line{TokenURL: "http://127.0.0.1:1/t", TokenKeyFile: "/nonexistent/x"}, "token key file /nonexistent/x: no such file; write this device's secret"},
	} {
		_, err := source(t, test.line, nil).Credentials(t.Context())
		if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v; want %q", name, err, test.want)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a line without credentials has a source")
	}
}

func TestLogin(t *testing.T) {
	c, err := source(t, config.Line{Login: "u", PasswordFile: file(t, "p w\n")}, nil).Credentials(t.Context())
	if err != nil || c.User != "u" || c.Password.Reveal() != "p w" || !c.Token.IsZero() {
		t.Errorf("%v, %v", c, err)
	}
}

func TestWorldReadableSecretIsWarnedOfOnce(t *testing.T) {
	path := file(t, canary)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s := source(t, config.Line{TokenFile: path}, slog.New(slog.NewTextHandler(&out, nil)))
	for range 3 {
		if _, err := s.Credentials(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Count(out.String(), "0600") != 1 || strings.Contains(out.String(), canary) {
		t.Errorf("log:\n%s", out.String())
	}
}
