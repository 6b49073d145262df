package door

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"
)

// Code opens one relay.
type Code struct {
	Name         string // whose it is; the audit has it
	Relay        string // empty: the first
	Secret       Secret
	DTMF, Keypad bool // where it counts
	Hours        Hours
}

// Secret is a code's digits, as a salted hash: the digits themselves are not kept. The zero value matches nothing.
type Secret struct{ salt, sum []byte }

// Bounds of a code's length, in digits.
const (
	MinDigits = 1
	MaxDigits = 16
)

const hashed = "sha256:"

// NewSecret hashes digits with a salt of its own.
func NewSecret(digits string) (Secret, error) {
	if len(digits) < MinDigits || len(digits) > MaxDigits || strings.Trim(digits, "0123456789ABCD") != "" {
		return Secret{}, errors.New("a code is 1 to 16 of the digits 0-9 and A-D") // without the code
	}
	s := Secret{salt: make([]byte, 16)}
	rand.Read(s.salt) // never fails
	s.sum = s.hash(digits)
	return s, nil
}

// ParseSecret reads what stands in a file: the digits, or what Text gave.
func ParseSecret(text string) (Secret, error) {
	text = strings.TrimSpace(text)
	rest, ok := strings.CutPrefix(text, hashed)
	if !ok {
		return NewSecret(text)
	}
	salt, sum, _ := strings.Cut(rest, ":")
	var s Secret
	var err1, err2 error
	s.salt, err1 = hex.DecodeString(salt)
	s.sum, err2 = hex.DecodeString(sum)
	if err1 != nil || err2 != nil || len(s.sum) != sha256.Size {
		return Secret{}, errors.New("a hashed code is sha256:SALT:HASH, as `sidetone door hash` prints it")
	}
	return s, nil
}

// Text is what ParseSecret reads again.
func (s Secret) Text() string {
	return hashed + hex.EncodeToString(s.salt) + ":" + hex.EncodeToString(s.sum)
}

// String shows nothing.
func (Secret) String() string { return "[code]" }

// GoString shows nothing.
func (Secret) GoString() string { return "[code]" }

func (s Secret) hash(digits string) []byte {
	h := hmac.New(sha256.New, s.salt)
	h.Write([]byte(digits))
	return h.Sum(nil)
}

// is 1 when these are the digits, after a time that does not tell how much of them is right.
func (s Secret) is(digits string) int { return subtle.ConstantTimeCompare(s.hash(digits), s.sum) }

// find gives the code that these digits are, by trying every one of them.
func (c *Config) find(way Way, digits string) (Code, bool) {
	found := -1
	for i, code := range c.Codes {
		counts := 0
		if way == ByDTMF && code.DTMF || way == ByKeypad && code.Keypad {
			counts = 1
		}
		found = subtle.ConstantTimeSelect(code.Secret.is(digits)&counts, i, found)
	}
	if found < 0 {
		return Code{}, false
	}
	return c.Codes[found], true
}

// Hours are when a code counts. The zero value is always, and needs no clock.
type Hours struct {
	From, Until time.Time // wall clock; zero: no limit
	Days        []time.Weekday
	// Begin and End are times of the day, by the location of the time asked for. An End that is not after Begin is
	// that of the next day, and Days are those of Begin.
	Begin, End time.Duration
}

// refuse says why a code does not count at now; "" when it does.
func (h Hours) refuse(now time.Time, clockGood bool) Reason {
	limited := !h.From.IsZero() || !h.Until.IsZero() || len(h.Days) > 0 || h.Begin != h.End
	if !limited {
		return ""
	}
	now = now.Round(0) // by the wall clock
	switch {
	case !clockGood:
		return NoClock
	case now.Before(h.From):
		return NotYet
	case !h.Until.IsZero() && !now.Before(h.Until):
		return Expired
	case !h.on(now):
		return OffHours
	}
	return ""
}

func (h Hours) on(now time.Time) bool {
	at := time.Duration(now.Hour())*time.Hour + time.Duration(now.Minute())*time.Minute + time.Duration(now.Second())*time.Second
	today, yesterday := now.Weekday(), (now.Weekday()+6)%7
	if h.Begin < h.End {
		return at >= h.Begin && at < h.End && h.day(today)
	}
	return at >= h.Begin && h.day(today) || at < h.End && h.day(yesterday)
}

func (h Hours) day(d time.Weekday) bool { return len(h.Days) == 0 || slices.Contains(h.Days, d) }
