package broker

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"regexp"
	"slices"
	"time"

	"golang.org/x/time/rate"
)

// DeviceSecrets are what a device proves itself with. They are given out once; only hashes are kept.
type DeviceSecrets struct {
	TokenKey     string // bearer at the token broker
	MQTTPassword string // its password at the fleet's MQTT broker
}

// deviceSecrets are the hashes: SHA-256 is enough, because the secrets are 32 random bytes, not words.
type deviceSecrets struct {
	TokenKey     []byte `json:"token_key_sha256"`
	MQTTPassword []byte `json:"mqtt_password_sha256"`
}

var deviceName = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// ValidDeviceName tells whether a device may have that name: it is the device's place in MQTT topics.
func ValidDeviceName(name string) bool { return deviceName.MatchString(name) }

// Enroll makes fresh secrets for a device, in place of those it had, and a credential of its name if it has no active one.
func (s *Service) Enroll(name string) (DeviceSecrets, error) {
	if !ValidDeviceName(name) {
		return DeviceSecrets{}, &invalidError{"/name", "a device's name has only a-z, 0-9 and -"}
	}
	fresh := DeviceSecrets{TokenKey: "DEV" + randomText(32), MQTTPassword: randomText(32)}
	if err := s.ensureCredential(name); err != nil {
		return DeviceSecrets{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, had := s.state.Devices[name]
	s.state.Devices[name] = deviceSecrets{TokenKey: hash(fresh.TokenKey), MQTTPassword: hash(fresh.MQTTPassword)}
	err := s.changed(func() {
		delete(s.state.Devices, name)
		if had {
			s.state.Devices[name] = old
		}
	})
	return fresh, err
}

// Keep tells whether these are the device's secrets still, and sees to it that the device has an active credential.
func (s *Service) Keep(name string, have DeviceSecrets) (bool, error) {
	if !s.checkDevice(name, func(d deviceSecrets) []byte { return d.TokenKey }, have.TokenKey) || !s.CheckMQTT(name, have.MQTTPassword) {
		return false, nil
	}
	return true, s.ensureCredential(name)
}

// CheckMQTT tells whether a device may log in at the fleet's MQTT broker.
func (s *Service) CheckMQTT(name, password string) bool {
	return s.checkDevice(name, func(d deviceSecrets) []byte { return d.MQTTPassword }, password)
}

// IsDevice tells whether a device of that name is enrolled.
func (s *Service) IsDevice(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.state.Devices[name]
	return ok
}

// Devices gives the names of all enrolled devices, sorted.
func (s *Service) Devices() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(s.state.Devices))
	for name := range s.state.Devices {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (s *Service) checkDevice(name string, which func(deviceSecrets) []byte, secret string) bool {
	s.mu.Lock()
	d := s.state.Devices[name] // the zero value has no hash that anything equals
	s.mu.Unlock()
	return subtle.ConstantTimeCompare(which(d), hash(secret)) == 1
}

func (s *Service) ensureCredential(name string) error {
	if _, ok := s.newest(name); ok {
		return nil
	}
	_, err := s.create(Credential{Name: name, Tag: "device"})
	return err
}

// deviceAnswer is what a device gets.
type deviceAnswer struct {
	Token             string      `json:"token"`
	ExpiresAt         time.Time   `json:"expires_at"`
	ICEServers        []ICEServer `json:"iceServers"`
	ICEServersExpires time.Time   `json:"iceServers_expires_at,omitzero"`
}

// handleDeviceToken answers 401 to a wrong secret, 403 when the device's credential was deleted or has expired (which
// only the account's owner can change), and 429 to a device that asks in a loop.
func (s *Service) handleDeviceToken(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if !s.checkDevice(name, func(d deviceSecrets) []byte { return d.TokenKey }, bearer(r)) {
		if !s.strange.AllowN(s.cfg.Now(), 1) {
			retryAfter(w, time.Second)
			return
		}
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, "10009", "Authentication failed", "This is not the secret of device "+name+".", "")
		return
	}
	if !s.limit(name).AllowN(s.cfg.Now(), 1) {
		retryAfter(w, time.Second)
		return
	}
	c, ok := s.newest(name)
	s.count(name, ok)
	if !ok {
		refuse(w, http.StatusForbidden, "10010", "Authorization failed",
			"The credential of device "+name+" was deleted or has expired.", "")
		return
	}
	token, expires, err := s.mint(c.ID)
	if err != nil {
		s.answer(w, 0, Credential{}, err)
		return
	}
	servers, until := s.cfg.ICEServers(name)
	writeJSON(w, http.StatusOK, deviceAnswer{Token: token, ExpiresAt: expires, ICEServers: servers, ICEServersExpires: until.UTC()})
}

// TokenRequests is how an enrolled device fared at the token broker.
type TokenRequests struct {
	Granted int         `json:"granted"`
	Refused []time.Time `json:"refused"` // the newest ones, for want of a credential
}

const maxRefused = 100 // in TokenRequests

// Requests tells of a device's requests for tokens since the service was started.
func (s *Service) Requests(name string) TokenRequests {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.requests[name]
	r.Refused = slices.Clone(r.Refused)
	return r
}

func (s *Service) count(name string, granted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.requests[name]
	if granted {
		r.Granted++
	} else {
		r.Refused = append(r.Refused, s.cfg.Now())
		r.Refused = r.Refused[max(0, len(r.Refused)-maxRefused):]
	}
	s.requests[name] = r
}

// limit is the rate limiter of an enrolled device: two a second, thirty at once. A device asks once in hours.
func (s *Service) limit(name string) *rate.Limiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.limits[name]
	if l == nil {
		l = rate.NewLimiter(2, 30)
		s.limits[name] = l
	}
	return l
}

func hash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
