package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"
)

// Status of a credential.
type Status string

// Statuses. Expired is terminal, as Telnyx documents: such a credential can only be deleted.
const (
	Active  Status = "active"
	Expired Status = "expired"
	Deleted Status = "deleted"
)

// Credential is one telephony credential.
type Credential struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"` // the name of its client at the gateway
	Tag         string     `json:"tag,omitempty"`
	ResourceID  string     `json:"resource_id"` // "connection:" and the connection's id
	SIPUsername string     `json:"sip_username"`
	SIPPassword string     `json:"sip_password"`
	ExpiresAt   *time.Time `json:"expires_at"` // nil: never
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
}

func (c *Credential) expired(now time.Time) bool {
	return c.ExpiresAt != nil && !now.Before(*c.ExpiresAt)
}

func (c *Credential) status(now time.Time) Status {
	if c.expired(now) {
		return Expired
	}
	return Active
}

// Errors of the credentials API.
var (
	// ErrNotFound: there is no such credential, or no more.
	ErrNotFound = errors.New("there is no such credential")
	// ErrExpired: the credential has expired, which cannot be undone.
	ErrExpired = errors.New("can't update credentials in expired status")
)

// invalidError is a value that the API does not take.
type invalidError struct{ pointer, detail string }

func (e *invalidError) Error() string { return e.detail }

// create adds a credential; an empty name becomes its SIP user name.
func (s *Service) create(c Credential) (Credential, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.ID = uuid.NewString()
	// Telnyx's user names start so, and have only letters and digits.
	c.SIPUsername = "gencred" + strings.NewReplacer("-", "A", "_", "B").Replace(randomText(18))
	c.SIPPassword = strings.ReplaceAll(uuid.NewString(), "-", "")
	if c.Name == "" {
		c.Name = c.SIPUsername
	}
	if err := checkName(c.Name); err != nil {
		return Credential{}, err
	}
	if c.ResourceID == "" {
		c.ResourceID = "connection:" + s.state.ConnectionID
	}
	c.CreatedAt = s.cfg.Now().UTC()
	c.UpdatedAt = c.CreatedAt
	s.state.Credentials = append(s.state.Credentials, &c)
	err := s.changed(func() { s.state.Credentials = s.state.Credentials[:len(s.state.Credentials)-1] })
	return c, err
}

// checkName refuses what cannot be a destination at the gateway.
func checkName(name string) error {
	if len(name) > 128 || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return &invalidError{"/name", "name must be at most 128 printable characters"}
	}
	return nil
}

// find gives the credential with that id. Called with mu held.
func (s *Service) find(id string) (*Credential, error) {
	for _, c := range s.state.Credentials {
		if c.ID == id {
			return c, nil
		}
	}
	return nil, ErrNotFound
}

// newest gives the active credential of that name made last; ok is false when there is none.
func (s *Service) newest(name string) (c Credential, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	for _, c := range slices.Backward(s.state.Credentials) {
		if c.Name == name && !c.expired(now) {
			return *c, true
		}
	}
	return Credential{}, false
}

// Known tells whether there is an active credential of that name.
func (s *Service) Known(name string) bool {
	_, ok := s.newest(name)
	return ok
}

// get gives a copy of the credential with that id.
func (s *Service) get(id string) (Credential, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.find(id)
	if err != nil {
		return Credential{}, err
	}
	return *c, nil
}

// update changes a credential by change, unless it has expired.
func (s *Service) update(id string, change func(*Credential)) (Credential, error) {
	c, revoked, err := s.updateLocked(id, change)
	if revoked {
		s.cfg.Revoked(id)
	}
	return c, err
}

func (s *Service) updateLocked(id string, change func(*Credential)) (c Credential, revoked bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	kept, err := s.find(id)
	if err != nil {
		return Credential{}, false, err
	}
	if kept.expired(now) {
		return Credential{}, false, ErrExpired
	}
	old := *kept
	c = old
	change(&c)
	if err := checkName(c.Name); err != nil {
		return Credential{}, false, err
	}
	if c.Name == "" {
		return Credential{}, false, &invalidError{"/name", "name must not be empty"}
	}
	c.UpdatedAt = now.UTC()
	*kept = c
	if err := s.changed(func() { *kept = old }); err != nil {
		return Credential{}, false, err
	}
	if c.expired(now) {
		s.reported[c.ID] = true
		return c, true, nil
	}
	return c, c.Name != old.Name, nil
}

// remove deletes a credential for good; tokens made of it are worth nothing from now on.
func (s *Service) remove(id string) (Credential, error) {
	s.mu.Lock()
	c, err := s.find(id)
	if err == nil {
		old := s.state.Credentials
		s.state.Credentials = slices.DeleteFunc(slices.Clone(old), func(x *Credential) bool { return x == c })
		err = s.changed(func() { s.state.Credentials = old })
	}
	if err == nil {
		delete(s.reported, id)
	}
	s.mu.Unlock()
	if err != nil {
		return Credential{}, err
	}
	s.cfg.Logger.Info("credential deleted", "name", c.Name, "id", id)
	s.cfg.Revoked(c.ID)
	return *c, nil
}

// parseTime reads an ISO 8601 time; one without a zone is UTC, as in Telnyx's examples.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, &invalidError{"/expires_at", fmt.Sprintf("expires_at %q is not an ISO 8601 time, such as 2030-01-31T12:00:00Z", s)}
}
