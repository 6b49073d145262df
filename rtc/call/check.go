package call

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"sidetone/rtc/quality"
)

// Invalid is the error of a call that was asked for with parameters that cannot be: code 44002.
type Invalid struct{ Err error }

func (e *Invalid) Error() string { return e.Err.Error() }

// Unwrap gives the reason.
func (e *Invalid) Unwrap() error { return e.Err }

// Condition is what Telnyx's SDKs call it.
func (e *Invalid) Condition() quality.Condition {
	c, _ := quality.Lookup(codeInvalidParameters)
	return c
}

func invalid(format string, args ...any) error { return &Invalid{fmt.Errorf(format, args...)} }

// Bounds of what goes into an invite. SIP proxies cut longer headers.
const (
	maxDestination = 256
	maxHeaders     = 32
	maxHeader      = 1024
	maxClientState = 4096
)

var (
	// E.164: a country code, which does not begin with 0, and 15 digits at most in all.
	e164 = regexp.MustCompile(`^\+[1-9][0-9]{2,14}$`)
	// RFC 3261, section 25.1, without passwords, headers and escapes of which no dial plan knows.
	sipURI = regexp.MustCompile(`^(?i:sips?):[A-Za-z0-9\-_.!~*'()&=+$,;?/%#]+@` + sipHost + `(;[A-Za-z0-9\-_.!~*'=%\[\]/:&+$]+)*$`)
	// What platforms route by themselves: an extension, a service code, a name, or user@domain.
	name = regexp.MustCompile(`^[A-Za-z0-9*#_][A-Za-z0-9*#_.\-]*(@` + sipHost + `)?$`)
)

const sipHost = `(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9.\-]*[A-Za-z0-9])?)(:[0-9]{1,5})?`

// ValidDestination tells why something cannot be dialled: nil for an E.164 number (+ and 3 to 15 digits), a SIP URI, and
// an extension or name as platforms have them.
func ValidDestination(s string) error {
	switch {
	case s == "":
		return invalid("there is no destination to call")
	case len(s) > maxDestination:
		return invalid("the destination is longer than %d characters", maxDestination)
	case s[0] == '+':
		if !e164.MatchString(s) {
			return invalid("%q is no phone number: write it as + with country code and digits only, like +15550100", s)
		}
	case strings.HasPrefix(strings.ToLower(s), "sip:"), strings.HasPrefix(strings.ToLower(s), "sips:"):
		if !sipURI.MatchString(s) {
			return invalid("%q is no SIP URI: write it like sip:user@example.com", s)
		}
	case !name.MatchString(s):
		return invalid("%q cannot be dialled: give a number like +15550100, a SIP URI, or an extension or name without spaces", s)
	}
	return nil
}

// validHeaders checks headers that are to go out.
func validHeaders(headers []Header) error {
	if len(headers) > maxHeaders {
		return invalid("%d headers are too many: %d at most", len(headers), maxHeaders)
	}
	for _, h := range headers {
		if err := h.valid(); err != nil {
			return &Invalid{err}
		}
	}
	return nil
}

func (h Header) valid() error {
	switch {
	case len(h.Name) < 3 || !strings.EqualFold(h.Name[:2], "X-"):
		return fmt.Errorf("header %q: its name must begin with X-", h.Name)
	case strings.ContainsFunc(h.Name, notToken):
		return fmt.Errorf("header %q: its name may have letters, digits and -_. only", h.Name)
	case strings.ContainsFunc(h.Value, unicode.IsControl):
		return fmt.Errorf("header %s: its value has a line break or another control character", h.Name)
	case len(h.Name)+len(h.Value) > maxHeader:
		return fmt.Errorf("header %s is longer than %d bytes", h.Name, maxHeader)
	}
	return nil
}

func notToken(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.", r))
}

// receivable keeps those of the far side's headers that could be ours.
func receivable(headers []Header) []Header {
	var kept []Header
	for _, h := range headers {
		if len(kept) < maxHeaders && h.valid() == nil {
			kept = append(kept, h)
		}
	}
	return kept
}

func (r DialRequest) valid() error {
	if err := ValidDestination(r.Destination); err != nil {
		return err
	}
	if err := validHeaders(r.Headers); err != nil {
		return err
	}
	if _, err := base64.StdEncoding.DecodeString(r.ClientState); err != nil || len(r.ClientState) > maxClientState {
		return invalid("the client state must be base64, %d characters at most", maxClientState)
	}
	for _, s := range []string{r.CallerName, r.CallerNumber, r.Group} {
		if strings.ContainsFunc(s, unicode.IsControl) || len(s) > maxDestination {
			return &Invalid{errors.New("the caller's name or number has control characters or is too long")}
		}
	}
	return nil
}
