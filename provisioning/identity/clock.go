package identity

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"sync"
	"time"
)

// Clock knows how early it can be at the least: a device without a battery wakes up in 1970.
type Clock struct {
	mu    sync.Mutex
	floor time.Time
}

// NewClock gives a clock that cannot be earlier than when the program was built, if that is known. Tokens and what
// is on disk lift that floor further.
func NewClock(built time.Time) *Clock { return &Clock{floor: built} }

// Certificates lifts the floor to the beginning of the newest certificate in these PEM files: what the device was given
// had been made by then. A file that cannot be read is its user's to complain about.
func (c *Clock) Certificates(files ...string) {
	for _, file := range files {
		data, _ := os.ReadFile(file)
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
				c.saw(cert.NotBefore)
			}
		}
	}
}

// Now is the time, or the floor when the clock stands below it: for the verification of certificates (tls.Config.Time).
func (c *Clock) Now() time.Time {
	now := time.Now()
	if floor := c.bottom(); now.Before(floor) {
		return floor
	}
	return now
}

// Plausible tells whether the clock stands above its floor. If not, it says nothing about what has expired.
func (c *Clock) Plausible(now time.Time) bool { return !now.Before(c.bottom()) }

func (c *Clock) bottom() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.floor
}

// saw lifts the floor: it is not earlier than that.
func (c *Clock) saw(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if sane(t) && t.After(c.floor) {
		c.floor = t
	}
}
