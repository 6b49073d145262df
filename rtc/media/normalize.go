package media

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/ice/v4"
	"github.com/pion/sdp/v3"
)

// Errors in the far side's SDP. Nothing was changed by it yet: the session can be closed, or given another SDP.
var (
	ErrBadSDP        = errors.New("media: the far side's SDP cannot be read")
	ErrNoFingerprint = errors.New("media: the far side's SDP has no a=fingerprint: it does not speak DTLS-SRTP, and sound is not sent in clear")
	ErrNoAudio       = errors.New("media: the far side's SDP has no audio")
	ErrNoCodec       = errors.New("media: the far side's SDP has no codec that we speak")
)

// NormalizeOffer makes an offer fit for pion: what FreeSWITCH and older gateways leave out is filled in, and what pion
// stumbles over is taken out. It returns one of the errors above when there is no call to be had from the offer.
//
// Facts behind it were measured with FreeSWITCH 1.11 (mod_verto): neither a=mid nor a=group:BUNDLE, the profile
// RTP/SAVPF, candidates of component 2. Without a=mid pion 4.2 refuses an offer when it is too late to go back.
func NormalizeOffer(offer string) (string, error) {
	d, err := parse(offer)
	if err != nil {
		return "", err
	}
	mids := map[string]bool{}
	for _, m := range d.MediaDescriptions {
		if mid, ok := m.Attribute(sdp.AttrKeyMID); ok && mid != "" {
			mids[mid] = true
		}
	}
	for i, m := range d.MediaDescriptions {
		mid, _ := m.Attribute(sdp.AttrKeyMID)
		if mid == "" {
			mid = strconv.Itoa(i)
			for mids[mid] {
				mid = "m" + mid
			}
			mids[mid] = true
		}
		setAttribute(m, sdp.AttrKeyMID, mid)
	}
	return normalize(d, "actpass")
}

// NormalizeAnswer makes an answer fit for pion, as NormalizeOffer does. offer is our own, whose mids count: pion gives
// no track, and so no sound, for an answer that lacks them. An answer that keeps the ICE user of an earlier one (as
// FreeSWITCH does when ICE restarts) is fine.
func NormalizeAnswer(answer, offer string) (string, error) {
	d, err := parse(answer)
	if err != nil {
		return "", err
	}
	o, err := parse(offer)
	if err != nil {
		return "", fmt.Errorf("our own offer: %w", err)
	}
	if len(d.MediaDescriptions) > len(o.MediaDescriptions) {
		d.MediaDescriptions = d.MediaDescriptions[:len(o.MediaDescriptions)]
	}
	for i, m := range d.MediaDescriptions {
		mid, ok := o.MediaDescriptions[i].Attribute(sdp.AttrKeyMID)
		if !ok || mid == "" {
			mid = strconv.Itoa(i)
		}
		setAttribute(m, sdp.AttrKeyMID, mid)
	}
	return normalize(d, "active")
}

func parse(s string) (*sdp.SessionDescription, error) {
	d := &sdp.SessionDescription{}
	s = strings.ReplaceAll(s, "\r", "") // a stray one would stay in a value; RFC 8866, section 5, allows bare line feeds
	if err := d.UnmarshalString(s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadSDP, err)
	}
	return d, nil
}

// normalize does what offers and answers have in common. setup is what a=setup means where it is absent or, in an
// answer, not allowed (RFC 8842, section 5.3: an answer says active or passive).
func normalize(d *sdp.SessionDescription, setup string) (string, error) {
	audio := slices.IndexFunc(d.MediaDescriptions, func(m *sdp.MediaDescription) bool {
		return m.MediaName.Media == "audio" && m.MediaName.Port.Value != 0
	})
	if audio < 0 {
		return "", ErrNoAudio
	}
	m := d.MediaDescriptions[audio]
	if _, ok := attribute(d, m, "fingerprint"); !ok {
		return "", ErrNoFingerprint
	}
	mapStatic(m)
	if names, ok := codecNames(m); !ok {
		return "", fmt.Errorf("%w: it has %s", ErrNoCodec, strings.Join(names, ", "))
	}

	var bundle []string
	for _, m := range d.MediaDescriptions {
		if strings.Contains(m.MediaName.Media, "audio") || strings.Contains(m.MediaName.Media, "video") {
			m.MediaName.Protos = []string{"UDP", "TLS", "RTP", "SAVPF"} // RTP/SAVPF with a fingerprint is the same thing
		}
		role, _ := attribute(d, m, sdp.AttrKeyConnectionSetup)
		switch {
		case role == "active", role == "passive", role == "actpass" && setup == "actpass":
		default:
			role = setup
		}
		setAttribute(m, sdp.AttrKeyConnectionSetup, role)
		m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
			return a.Key == sdp.AttrKeyCandidate && !usableCandidate(a.Value)
		})
		if m.MediaName.Media == "audio" {
			hideStreams(m)
		}
		if m.MediaName.Port.Value != 0 {
			mid, _ := m.Attribute(sdp.AttrKeyMID)
			bundle = append(bundle, mid)
		}
	}
	d.Attributes = slices.DeleteFunc(d.Attributes, func(a sdp.Attribute) bool {
		return a.Key == sdp.AttrKeyGroup && strings.HasPrefix(a.Value, "BUNDLE")
	})
	d.Attributes = append(d.Attributes, sdp.Attribute{Key: sdp.AttrKeyGroup, Value: "BUNDLE " + strings.Join(bundle, " ")})

	out, err := d.Marshal()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrBadSDP, err)
	}
	return string(out), nil
}

// hideStreams takes the names of streams out: any stream that comes is ours to read (streams.go). Left to itself pion reads
// those that are declared and no others, or, where none is, invents a transceiver for each that comes, which would be a
// second m-line in our next offer.
func hideStreams(m *sdp.MediaDescription) {
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
		return a.Key == sdp.AttrKeySSRC || a.Key == sdp.AttrKeySSRCGroup || a.Key == "rid" || a.Key == "simulcast"
	})
	m.Attributes = append(m.Attributes, sdp.Attribute{Key: sdp.AttrKeySSRC, Value: "any"}) // declared, but not to be read
}

// usableCandidate drops what pion would refuse the whole SDP for, component 2 (we multiplex RTCP, RFC 8035), and
// names of mDNS, which is off.
func usableCandidate(value string) bool {
	c, err := ice.UnmarshalCandidate(value)
	if err != nil {
		return false
	}
	return c.Component() == ice.ComponentRTP && !strings.HasSuffix(c.Address(), ".local")
}

// static are payload types that need no rtpmap (RFC 3551, section 6), as far as they are of use.
var static = map[string]string{"0": "PCMU/8000", "8": "PCMA/8000"}

// mapStatic writes the rtpmap lines that may be left out, and takes out formats that nothing is said of.
func mapStatic(m *sdp.MediaDescription) {
	known := map[string]bool{}
	for _, a := range m.Attributes {
		if format, _, ok := strings.Cut(a.Value, " "); ok && a.Key == "rtpmap" {
			known[format] = true
		}
	}
	m.MediaName.Formats = slices.DeleteFunc(m.MediaName.Formats, func(f string) bool {
		if codec, ok := static[f]; ok && !known[f] {
			m.Attributes = slices.Insert(m.Attributes, 0, sdp.Attribute{Key: "rtpmap", Value: f + " " + codec})
			known[f] = true
		}
		return !known[f]
	})
}

// codecNames gives the names in a's rtpmap lines, and whether one of them is ours.
func codecNames(m *sdp.MediaDescription) (names []string, ok bool) {
	for _, a := range m.Attributes {
		if a.Key != "rtpmap" {
			continue
		}
		_, codec, _ := strings.Cut(a.Value, " ")
		name, _, _ := strings.Cut(codec, "/")
		names = append(names, name)
		ok = ok || speaks(name)
	}
	return names, ok
}

// attribute looks in m, then in the session.
func attribute(d *sdp.SessionDescription, m *sdp.MediaDescription, key string) (string, bool) {
	if v, ok := m.Attribute(key); ok {
		return v, true
	}
	return d.Attribute(key)
}

func setAttribute(m *sdp.MediaDescription, key, value string) {
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool { return a.Key == key })
	m.Attributes = append(m.Attributes, sdp.Attribute{Key: key, Value: value})
}

// relayedOnly leaves what the far side may see of us under the policy relay: relayed candidates only, and of those not the
// address behind them (as browsers do; RFC 8828, section 5.2, mode 4).
func relayedOnly(m *sdp.MediaDescription) {
	kept := m.Attributes[:0]
	for _, a := range m.Attributes {
		if a.Key == sdp.AttrKeyCandidate {
			var err error
			if a.Value, err = maskRelay(a.Value); err != nil {
				continue
			}
		}
		kept = append(kept, a)
	}
	m.Attributes = kept
}

var errNotRelay = errors.New("media: not a relayed candidate")

// maskRelay blanks raddr and rport of a relayed candidate.
func maskRelay(candidate string) (string, error) {
	f := strings.Fields(candidate)
	if len(f) < 8 || f[7] != "relay" {
		return "", errNotRelay
	}
	for i := 8; i+1 < len(f); i += 2 {
		switch f[i] {
		case "raddr":
			f[i+1] = "0.0.0.0"
		case "rport":
			f[i+1] = "0"
		}
	}
	return strings.Join(f, " "), nil
}
