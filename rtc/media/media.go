// Package media carries one call's sound: ICE, DTLS-SRTP, RTP and RTCP by pion, told everything it needs to connect
// fast, to stay on TURN when asked, and never to freeze.
//
// What pion does untold, and what is done about it here (all measured):
//
//   - it waits 2 s before it uses a relayed path: the waits are 0;
//   - it waits for every server to answer before an SDP is complete, minutes for one that swallows SYNs: the SDP goes out
//     as soon as it is of use, and what comes later is told by a Candidate event (gather.go);
//   - it writes to TURN over TCP with no time-limit, and freezes when that path dies: the dialer is ours (dialer.go),
//     packets are written by a goroutine of their own from a short queue (send.go), and Close cuts the sockets;
//   - it takes an SDP without a=mid, as FreeSWITCH writes it, and then never gives a track: normalize.go;
//   - it trusts only the system's roots for turns:, and sends turns: in clear through a proxy dialer: dialer.go does the TLS.
package media

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sidetone/audio"
	"sidetone/rtc/quality"
)

// ICE policies.
const (
	PolicyAll   = "all"   // every way is tried
	PolicyAuto  = "auto"  // as PolicyAll, and whoever owns the call moves it to a session with PolicyRelay when that fails
	PolicyRelay = "relay" // no packet goes to the other side but through TURN
)

// ICEServer is one STUN or TURN server, as RTCIceServer.
type ICEServer struct {
	URLs       []string // stun:, turn: and turns: URLs (RFC 7064, RFC 7065)
	Username   string
	Credential string
}

// Config is what all sessions share.
type Config struct {
	Policy  string // PolicyAll, PolicyAuto or PolicyRelay; empty is PolicyAll
	Servers []ICEServer
	// RootCAs are trusted for turns: besides the system's roots. May be nil.
	RootCAs *x509.CertPool
	// Now is the time by which certificates are verified. Nil: time.Now.
	Now func() time.Time
	// Loopback keeps media on the loopback interface, and only there: for labs on one machine.
	Loopback bool
	Logger   *slog.Logger // nil: nothing is logged
}

// SessionConfig is what one call adds.
type SessionConfig struct {
	// Receiver takes the packets that come in. Nil drops them.
	Receiver audio.Receiver
	// CaptureStats tells of the sending pipeline for Sample. May be nil.
	CaptureStats func() audio.CaptureStats
	Servers      []ICEServer // nil: the engine's
	// Fresh is asked at each ICE restart for the servers as they are then: users and passwords of TURN may have run out
	// since the call began. Only those that Servers has are used. May be nil.
	Fresh  func(context.Context) []ICEServer
	Policy string // empty: the engine's
	// Why says in a word or two why this policy was taken, where it is not the configured one; it becomes quality.Path.Why.
	Why string
	// Codecs in order of preference: "opus", "PCMU", "PCMA". Nil: all, in this order. PCMU is always added.
	Codecs []string
	// BandwidthKbps goes into our SDP as b=AS (RFC 8866, section 5.8); 0 leaves it out.
	BandwidthKbps int
	// Trickle: Offer, Answer and Restart do not wait for candidates; all of them are told by Candidate events.
	Trickle bool
	// Prefetch gathers candidates from the start (an ICE candidate pool of 1), as for a call that rings.
	Prefetch bool
	// Standby: no sound passes, either way, until a Trunk uses the session; it may share its Receiver with the session whose
	// place it is to take.
	Standby bool
	// Sends and Receives are told the codec of each direction before its first packet, and when it changes. They are called
	// from the goroutine that found it, and must neither wait nor call the session. Without both only Opus is negotiated.
	Sends, Receives func(Codec)
	// Reported is told what each receiver report of the far side says of our stream (RFC 3550, section 6.4.1): the share lost
	// since the one before, of 256, and the extended highest sequence number received. It is called from the goroutine that
	// read it, and must not wait. May be nil.
	Reported func(fractionLost uint8, highest uint32)
	// Notify is told what happens, in order and from one goroutine; it must not wait for Close of the same session.
	// May be nil.
	Notify func(Event)
}

// EventKind says what happened to a session.
type EventKind string

// Events of a session.
const (
	Connected           EventKind = "connected"             // ICE and DTLS are up: sound can flow; comes again after Disconnected
	Disconnected        EventKind = "disconnected"          // the path is silent; it may come back
	Failed              EventKind = "failed"                // the path is gone for good
	Digit               EventKind = "digit"                 // the far side pressed a key, by RFC 4733
	FirstPacketSent     EventKind = "first_packet_sent"     // the first packet of sound left
	FirstPacketReceived EventKind = "first_packet_received" // the first packet of sound came
	// Candidate is one of our candidates that came too late for the SDP. A line that can trickle sends it on; an empty
	// one ends them.
	Candidate EventKind = "candidate"
	// Warned tells how the search for our candidates went: Code is quality.GatheringTimeout when it is not over after 15 s,
	// quality.OnlyHostCandidates when servers are configured and none of them gave any, and, while trickling,
	// quality.GatheringEmpty when there is none at all: else that is the error of who waits for the SDP.
	Warned EventKind = "warned"
)

// Event is one thing that happened.
type Event struct {
	Kind      EventKind
	Time      time.Time
	Digit     string // of Digit: one of 0-9 * # A-D; told when the key goes down
	Candidate string // of Candidate: "candidate:…" (RFC 8839, section 5.1), with Mid and MLine
	Mid       string
	MLine     uint16
	Err       error // of Failed: what went wrong, for a person
	Code      int   // of Warned
	// Gap, of FirstPacketReceived: how long ago the last packet of sound came by the session whose place this one took. 0
	// when it took none's.
	Gap time.Duration
}

// Engine makes sessions.
type Engine struct {
	cfg Config
	log *slog.Logger
}

// NewEngine checks c. Servers that cannot be used are no error here: a session says so in the log, and fails only when
// the policy leaves it no way at all.
func NewEngine(c Config) (*Engine, error) {
	if c.Policy == "" {
		c.Policy = PolicyAll
	}
	if err := checkPolicy(c.Policy); err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Engine{cfg: c, log: c.Logger}, nil
}

func checkPolicy(policy string) error {
	if policy != PolicyAll && policy != PolicyAuto && policy != PolicyRelay {
		return fmt.Errorf("media: ICE policy %q is not known; it is %q, %q or %q", policy, PolicyAll, PolicyAuto, PolicyRelay)
	}
	return nil
}

// Errors that callers may want to tell apart.
var (
	ErrClosed       = errors.New("media: the session is closed")
	ErrNotConnected = errors.New("media: not connected yet")
	// ErrNoCandidates: there is no way in or out; the text names the policy and what to check.
	ErrNoCandidates error = &quality.Error{Code: quality.GatheringEmpty, Text: "media: no ICE candidate was found"}
	// ErrNoDTMF: the far side does not take RFC 4733; send the digits by the line (info) instead.
	ErrNoDTMF = errors.New("media: the far side takes no telephone-event (RFC 4733); send digits over the line")
)
