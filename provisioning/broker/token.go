package broker

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// MaxTokenLife is how long a token lives at most (Telnyx: 24 hours, or until its credential expires).
const MaxTokenLife = 24 * time.Hour

// Words in the claims of our tokens.
const (
	tokenIssuer   = "sidetone_telephony"
	tokenAudience = "sidetone_telephony"
	tokenType     = "access"
	maxToken      = 8 << 10
)

// ErrRefused is in every error of Authenticate.
var ErrRefused = errors.New("login refused")

// claims of a token. Subject is the credential's name.
type claims struct {
	jwt.RegisteredClaims
	Type         string `json:"typ"`
	CredentialID string `json:"credential_id"`
}

// Token gives a token for the newest active credential of that name, and when it ends. A name that has none gets a new
// credential that does not expire.
func (s *Service) Token(name string) (token string, expires time.Time, err error) {
	if name == "" {
		return "", time.Time{}, &invalidError{"/name", "name must not be empty"}
	}
	c, ok := s.newest(name)
	if !ok {
		if c, err = s.create(Credential{Name: name}); err != nil {
			return "", time.Time{}, err
		}
	}
	return s.mint(c.ID)
}

// mint signs a token for the credential with that id.
func (s *Service) mint(id string) (token string, expires time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.find(id)
	if err != nil {
		return "", time.Time{}, err
	}
	now := s.cfg.Now()
	if c.expired(now) {
		return "", time.Time{}, ErrExpired
	}
	expires = now.Add(s.cfg.TokenLife)
	if c.ExpiresAt != nil && c.ExpiresAt.Before(expires) {
		expires = *c.ExpiresAt
	}
	expires = expires.UTC().Truncate(time.Second) // NumericDate, RFC 7519 section 2
	token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    tokenIssuer,
			Subject:   c.Name,
			Audience:  jwt.ClaimStrings{tokenAudience},
			ExpiresAt: jwt.NewNumericDate(expires),
			IssuedAt:  jwt.NewNumericDate(now),
			ID:        uuid.NewString(),
		},
		Type:         tokenType,
		CredentialID: c.ID,
	}).SignedString(s.state.SigningKey)
	return token, expires, err
}

// Authenticate checks a login, either by a token or by SIP user name and password, and gives the name of its client and
// the id of its credential. Whatever is wrong, the error wraps ErrRefused and says why without repeating the secret.
func (s *Service) Authenticate(token, user, password string) (name, credentialID string, err error) {
	var c Credential
	if token != "" {
		c, err = s.checkToken(token)
	} else {
		c, err = s.checkPassword(user, password)
	}
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return c.Name, c.ID, nil
}

func (s *Service) checkToken(token string) (Credential, error) {
	if len(token) > maxToken {
		return Credential{}, fmt.Errorf("token of %d bytes is longer than %d", len(token), maxToken)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	parser := jwt.NewParser(
		jwt.WithStrictDecoding(), // one token, one spelling
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithIssuer(tokenIssuer),
		jwt.WithAudience(tokenAudience),
		jwt.WithTimeFunc(s.cfg.Now),
	)
	var cl claims
	if _, err := parser.ParseWithClaims(token, &cl, func(*jwt.Token) (any, error) { return s.state.SigningKey, nil }); err != nil {
		return Credential{}, err
	}
	if cl.Type != tokenType {
		return Credential{}, errors.New("token is not an access token")
	}
	c, err := s.find(cl.CredentialID)
	switch {
	case err != nil:
		return Credential{}, errors.New("the credential of the token was deleted")
	case c.Name != cl.Subject:
		return Credential{}, errors.New("the token's subject is not its credential's name")
	case c.expired(s.cfg.Now()):
		return Credential{}, errors.New("the credential of the token has expired")
	}
	return *c, nil
}

func (s *Service) checkPassword(user, password string) (Credential, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Every credential is compared, so that the time taken says nothing about which user names exist.
	var found *Credential
	for _, c := range s.state.Credentials {
		if sameUser, samePassword := SameSecret(c.SIPUsername, user), SameSecret(c.SIPPassword, password); sameUser && samePassword {
			found = c
		}
	}
	switch {
	case found == nil:
		return Credential{}, errors.New("user name or password is wrong")
	case found.expired(s.cfg.Now()):
		return Credential{}, errors.New("the credential has expired")
	}
	return *found, nil
}
