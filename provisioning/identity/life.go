package identity

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Bounds of a token's life and of the tries to replace it.
const (
	refreshAt     = 0.80             // of its life
	refreshSpread = 0.05             // of its life, to both sides: a fleet started at once does not ask at once
	refreshPause  = 10 * time.Second // at least, after the last
	longLife      = 5 * time.Hour    // above it, refreshed no later than
	longReserve   = time.Hour        // before its end
	warnAt        = 0.90             // of its life, but
	warnReserve   = time.Hour        // no more than this before its end
	cacheReserve  = 0.10             // of its life must be left at a cold start
	retryFirst    = time.Second
	retryMost     = 5 * time.Minute
)

// refreshAfter gives when to replace a token that has so long to live.
func refreshAfter(left time.Duration) time.Duration {
	at := refreshAt + refreshSpread*(2*rand.Float64()-1)
	after := time.Duration(float64(left) * at)
	if left > longLife {
		after = min(after, left-longReserve)
	}
	return after
}

// warnAfter gives when to say that a token is near its end.
func warnAfter(left time.Duration) time.Duration {
	return max(time.Duration(float64(left)*warnAt), left-warnReserve)
}

// retryAfter is full jitter: anything up to a bound that doubles with each failure.
func retryAfter(failures int) time.Duration {
	bound := retryMost
	if n := failures - 1; n < 10 { // 2^10 s are more than the most
		bound = min(bound, retryFirst<<max(0, n))
	}
	return rand.N(bound) + 1
}

// life is what a JWT says of its own time, by its issuer's clock. Zero times are not known.
type life struct{ issued, expires time.Time }

// readLife reads iat and exp (RFC 7519, section 4.1). The signature is not verified: that is the platform's matter,
// whose key the device does not have. What is no JWT has no known life.
func readLife(token string) life {
	claims := jwt.MapClaims{}
	// The error is of no interest: an algorithm that is not known, say, leaves the claims readable.
	_, _, _ = jwt.NewParser().ParseUnverified(token, claims)
	var l life
	if t, err := claims.GetExpirationTime(); err == nil && t != nil && sane(t.Time) {
		l.expires = t.Time
	}
	if t, err := claims.GetIssuedAt(); err == nil && t != nil && sane(t.Time) {
		l.issued = t.Time
	}
	return l
}

// sane keeps out numbers that are no time of a token: their sums would overflow.
func sane(t time.Time) bool { return t.Unix() > 0 && t.Year() < 2200 }

// holds tells whether t can be a moment at which the token was handed out alive.
func (l life) holds(t time.Time) bool {
	return sane(t) && !t.Before(l.issued) && (l.expires.IsZero() || t.Before(l.expires))
}

// measured is how long a grant lives from the moment it came. What is not known is zero.
type measured struct {
	left    time.Duration // of the token
	known   bool
	expired time.Duration // since when, if a clock that can be believed says so
	servers time.Duration // of the TURN servers; 0: as long as the token
}

// measure compares what a grant says of its end with the issuer's time: as its answer had it, else by our clock where
// that can be right, else as of the token's issue.
func measure(g grant, now time.Time, plausible bool) measured {
	l := readLife(g.Token.Reveal())
	if l.expires.IsZero() && sane(g.expires) {
		l.expires = g.expires
	}
	plausible = plausible && !now.Before(l.issued)
	var m measured
	var at time.Time
	switch {
	case l.holds(g.issuersTime):
		at = g.issuersTime
	case plausible && l.holds(now):
		at = now
	case !l.issued.IsZero():
		at = l.issued
	}
	if plausible && !l.expires.IsZero() && !now.Before(l.expires) {
		m.expired = max(1, now.Sub(l.expires))
	}
	if at.IsZero() {
		return m
	}
	if !l.expires.IsZero() && l.expires.After(at) {
		m.left, m.known = l.expires.Sub(at), true
	}
	if sane(g.serversExpire) && g.serversExpire.After(at) {
		m.servers = g.serversExpire.Sub(at)
	}
	return m
}

// inWords gives a duration as people say it.
func inWords(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}
