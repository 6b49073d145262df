package broker

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestTokenClaims(t *testing.T) {
	f := newFixture(t)
	c := f.make(t, `{"name":"door1"}`)
	token := f.token(t, c.ID)
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatal(err)
	}
	if got["sub"] != "door1" || got["typ"] != "access" || got["credential_id"] != c.ID || got["jti"] == "" {
		t.Errorf("claims %v", got)
	}
	if int64(got["iat"].(float64)) != noon.Unix() || int64(got["exp"].(float64)) != noon.Add(MaxTokenLife).Unix() {
		t.Errorf("iat %v, exp %v", got["iat"], got["exp"])
	}
	if other := f.token(t, c.ID); other == token {
		t.Error("two tokens are the same")
	}
}

func TestTokenEndsWithItsCredential(t *testing.T) {
	f := newFixture(t)
	c := f.make(t, `{"name":"door1","expires_at":"2026-03-01T13:00:00Z"}`)
	token, expires, err := f.Token("door1")
	if err != nil || !expires.Equal(*c.ExpiresAt) {
		t.Fatalf("expires %v, %v", expires, err)
	}
	f.clock.pass(59 * time.Minute)
	if _, _, err := f.Authenticate(token, "", ""); err != nil {
		t.Error(err)
	}
	f.clock.pass(time.Minute)
	if _, _, err := f.Authenticate(token, "", ""); !errors.Is(err, ErrRefused) {
		t.Errorf("error %v", err)
	}
}

func TestTokenLife(t *testing.T) {
	for life, want := range map[time.Duration]time.Duration{time.Minute: time.Minute, 0: MaxTokenLife, 48 * time.Hour: MaxTokenLife} {
		s, err := New(Config{Dir: t.TempDir(), TokenLife: life, Now: func() time.Time { return noon }})
		if err != nil {
			t.Fatal(err)
		}
		if _, expires, err := s.Token("door1"); err != nil || !expires.Equal(noon.Add(want)) {
			t.Errorf("life %v: a token ends at %v, %v", life, expires, err)
		}
	}
}

func TestTokenMakesACredentialOnce(t *testing.T) {
	f := newFixture(t)
	for range 2 {
		token, _, err := f.Token("newcomer")
		if err != nil {
			t.Fatal(err)
		}
		if name, _, err := f.Authenticate(token, "", ""); name != "newcomer" || err != nil {
			t.Errorf("%s, %v", name, err)
		}
	}
	if n := len(f.state.Credentials); n != 1 {
		t.Errorf("%d credentials", n)
	}
	if _, _, err := f.Token(""); err == nil {
		t.Error("a token for nobody")
	}
}

// flip changes the character at i to another of base64url.
func flip(s string, i int) string {
	c := "A"
	if s[i] == 'A' {
		c = "B"
	}
	return s[:i] + c + s[i+1:]
}

func TestAuthenticate(t *testing.T) {
	f := newFixture(t)
	good := f.make(t, `{"name":"door1"}`)
	deleted := f.make(t, `{"name":"deleted"}`)
	deletedToken := f.token(t, deleted.ID)
	f.do(t, "DELETE", "/v2/telephony_credentials/"+deleted.ID, f.APIKey(), "")
	short := f.make(t, `{"name":"short"}`)
	shortToken := f.token(t, short.ID)
	f.do(t, "PATCH", "/v2/telephony_credentials/"+short.ID, f.APIKey(), `{"expires_at":"2026-03-01T11:59:00Z"}`)
	renamed := f.make(t, `{"name":"before"}`)
	renamedToken := f.token(t, renamed.ID)
	f.do(t, "PATCH", "/v2/telephony_credentials/"+renamed.ID, f.APIKey(), `{"name":"after"}`)

	token := f.token(t, good.ID)
	sign := func(method jwt.SigningMethod, key any, change func(*claims)) string {
		cl := claims{
			RegisteredClaims: jwt.RegisteredClaims{
				Issuer: tokenIssuer, Subject: "door1", Audience: jwt.ClaimStrings{tokenAudience},
				ExpiresAt: jwt.NewNumericDate(noon.Add(time.Hour)), IssuedAt: jwt.NewNumericDate(noon),
			},
			Type: tokenType, CredentialID: good.ID,
		}
		change(&cl)
		s, err := jwt.NewWithClaims(method, cl).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	ours := func(change func(*claims)) string { return sign(jwt.SigningMethodHS256, f.state.SigningKey, change) }
	nothing := func(*claims) {}
	parts := strings.Split(token, ".")

	for _, c := range []struct {
		name, token, user, password string
		want                        string // "" refused
	}{
		{name: "token", token: token, want: "door1"},
		{name: "token signed here", token: ours(nothing), want: "door1"},
		{name: "SIP user and password", user: good.SIPUsername, password: good.SIPPassword, want: "door1"},
		{name: "nothing"},
		{name: "no token", token: "not-a-token"},
		{name: "wrong password", user: good.SIPUsername, password: good.SIPPassword + "x"},
		{name: "no password", user: good.SIPUsername},
		{name: "unknown user", user: "gencredX", password: good.SIPPassword},
		{name: "another's password", user: good.SIPUsername, password: renamed.SIPPassword},
		{name: "password of a deleted credential", user: deleted.SIPUsername, password: deleted.SIPPassword},
		{name: "password of an expired credential", user: short.SIPUsername, password: short.SIPPassword},
		{name: "token of a deleted credential", token: deletedToken},
		{name: "token of an expired credential", token: shortToken},
		{name: "token of a renamed credential", token: renamedToken},
		{name: "tampered payload", token: parts[0] + "." + flip(parts[1], 10) + "." + parts[2]},
		{name: "tampered signature", token: parts[0] + "." + parts[1] + "." + flip(parts[2], 0)},
		{name: "no signature", token: parts[0] + "." + parts[1] + "."},
		{name: "alg none", token: sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nothing)},
		{name: "another algorithm", token: sign(jwt.SigningMethodHS512, f.state.SigningKey, nothing)},
		{name: "another key", token: sign(jwt.SigningMethodHS256, []byte("a key of thirty-two bytes, or so"), nothing)},
		{name: "expired", token: ours(func(c *claims) { c.ExpiresAt = jwt.NewNumericDate(noon.Add(-time.Second)) })},
		{name: "no expiry", token: ours(func(c *claims) { c.ExpiresAt = nil })},
		{name: "from the future", token: ours(func(c *claims) { c.IssuedAt = jwt.NewNumericDate(noon.Add(time.Hour)) })},
		{name: "not yet valid", token: ours(func(c *claims) { c.NotBefore = jwt.NewNumericDate(noon.Add(time.Hour)) })},
		{name: "wrong subject", token: ours(func(c *claims) { c.Subject = "door2" })},
		{name: "no subject", token: ours(func(c *claims) { c.Subject = "" })},
		{name: "wrong audience", token: ours(func(c *claims) { c.Audience = jwt.ClaimStrings{"another"} })},
		{name: "wrong issuer", token: ours(func(c *claims) { c.Issuer = "another" })},
		{name: "wrong type", token: ours(func(c *claims) { c.Type = "refresh" })},
		{name: "no credential", token: ours(func(c *claims) { c.CredentialID = "" })},
		{name: "too long", token: strings.Repeat("a", maxToken+1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			name, _, err := f.Authenticate(c.token, c.user, c.password)
			if name != c.want || (err == nil) != (c.want != "") {
				t.Fatalf("name %q, error %v", name, err)
			}
			if err == nil {
				return
			}
			if !errors.Is(err, ErrRefused) {
				t.Errorf("%v does not wrap ErrRefused", err)
			}
			for _, secret := range []string{c.token, c.password} {
				if len(secret) > 8 && strings.Contains(err.Error(), secret) {
					t.Errorf("the error repeats the secret: %v", err)
				}
			}
		})
	}
}

// FuzzAuthenticate: whatever a client sends as a token, it neither panics nor gets in.
func FuzzAuthenticate(f *testing.F) {
	fx := newFixture(f)
	c := fx.make(f, `{"name":"door1"}`)
	token := fx.token(f, c.ID)
	parts := strings.Split(token, ".")
	f.Add(token + "x")
	f.Add(parts[0] + "." + parts[1] + ".")
	f.Add("eyJhbGciOiJub25lIn0." + parts[1] + ".")
	f.Add("..")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if s == token {
			return
		}
		if name, _, err := fx.Authenticate(s, "", ""); err == nil && !sameToken(s, token) {
			t.Errorf("%q came in as %s", s, name)
		}
	})
}

// sameToken tells whether two spellings are the same token: base64 has spare bits in its last character.
func sameToken(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	if len(x) != 3 || x[0] != y[0] || x[1] != y[1] {
		return false
	}
	p, err := base64.RawURLEncoding.DecodeString(x[2])
	q, _ := base64.RawURLEncoding.DecodeString(y[2])
	return err == nil && string(p) == string(q)
}
