package quality

import "time"

// Summary is what a report says of the call besides its sound: the summary of Telnyx's call report, and why it ended.
type Summary struct {
	CallID            string    `json:"callId"`
	DestinationNumber string    `json:"destinationNumber,omitempty"`
	CallerNumber      string    `json:"callerNumber,omitempty"`
	Direction         string    `json:"direction,omitempty"` // inbound or outbound
	State             string    `json:"state,omitempty"`
	TelnyxSessionID   string    `json:"telnyxSessionId,omitempty"`
	TelnyxLegID       string    `json:"telnyxLegId,omitempty"`
	SDKVersion        string    `json:"sdkVersion,omitempty"`
	StartTimestamp    time.Time `json:"startTimestamp,omitzero"`
	ActiveTimestamp   time.Time `json:"activeTimestamp,omitzero"` // when it was answered; zero if it never was
	EndTimestamp      time.Time `json:"endTimestamp,omitzero"`
	// DurationSeconds from active to end; Report fills it in where it is 0 and both times are known.
	DurationSeconds float64 `json:"durationSeconds"`
	Cause           string  `json:"cause,omitempty"`
	CauseCode       int     `json:"causeCode,omitempty"`
	SIPCode         int     `json:"sipCode,omitempty"`
	SIPReason       string  `json:"sipReason,omitempty"`
}

// LogEntry is one line of a report's log.
type LogEntry struct {
	Timestamp time.Time      `json:"timestamp"`
	Level     string         `json:"level"`
	Message   string         `json:"message"`
	Context   map[string]any `json:"context,omitempty"`
}

// Report is the call report: the body of Telnyx's upload (summary, stats, logs), and what we add to it.
type Report struct {
	Summary  Summary    `json:"summary"`
	Stats    []Entry    `json:"stats"` // never null
	Logs     []LogEntry `json:"logs,omitempty"`
	Quality  *Quality   `json:"quality,omitempty"` // absent when no media came
	Path     *Path      `json:"path,omitempty"`    // the last one taken; absent when media never connected
	Warnings []Warning  `json:"warnings,omitempty"`
	// WarningsDropped counts those beyond the first maxWarnings.
	WarningsDropped int `json:"warningsDropped,omitempty"`
}

// Entry is what was measured in one interval, a second or, far back in a long call, more. Counters are those of the
// interval's end, since the start of the media; averages are of the interval, rounded to 4 decimals. What is not known is
// absent.
type Entry struct {
	Start      time.Time        `json:"intervalStartUtc"`
	End        time.Time        `json:"intervalEndUtc"`
	Audio      AudioEntry       `json:"audio"`
	Connection *ConnectionEntry `json:"connection,omitempty"`
	ICE        *ICEEntry        `json:"ice,omitempty"`
	Transport  *TransportEntry  `json:"transport,omitempty"`
	RemoteRTCP *RemoteRTCPEntry `json:"remoteRtcp,omitempty"`
}

// AudioEntry holds both directions.
type AudioEntry struct {
	Outbound *OutboundEntry `json:"outbound,omitempty"`
	Inbound  *InboundEntry  `json:"inbound,omitempty"`
}

// OutboundEntry is what we sent.
type OutboundEntry struct {
	Outbound
	AudioLevelAvg *float64 `json:"audioLevelAvg,omitempty"` // 0..1: root of energy over duration
	BitrateAvg    *float64 `json:"bitrateAvg,omitempty"`    // bit/s
}

// InboundEntry is what we received and played.
type InboundEntry struct {
	Inbound
	AudioLevelAvg *float64 `json:"audioLevelAvg,omitempty"`
	BitrateAvg    *float64 `json:"bitrateAvg,omitempty"`
	JitterAvg     *float64 `json:"jitterAvg,omitempty"` // ms
}

// ConnectionEntry is how long the way is. Seconds.
type ConnectionEntry struct {
	RoundTripTimeAvg     float64 `json:"roundTripTimeAvg"`
	CurrentRoundTripTime float64 `json:"currentRoundTripTime"`
	// RoundTripTimeSource is "remote-inbound-rtp" (RTCP) or "candidate-pair" (STUN).
	RoundTripTimeSource string `json:"roundTripTimeSource"`
}

// ICEEntry is the selected pair.
type ICEEntry struct {
	Local  LocalCandidate `json:"local"`
	Remote Candidate      `json:"remote"`
}

// LocalCandidate is our end of the pair, and how its TURN server is reached.
type LocalCandidate struct {
	Candidate
	RelayProtocol string `json:"relayProtocol,omitempty"`
}

// TransportEntry is the state of ICE and DTLS.
type TransportEntry struct {
	ICEState                     string `json:"iceState,omitempty"`
	DTLSState                    string `json:"dtlsState,omitempty"`
	SRTPCipher                   string `json:"srtpCipher,omitempty"`
	SelectedCandidatePairChanges uint32 `json:"selectedCandidatePairChanges"`
}

// RemoteRTCPEntry is what the far side reports.
type RemoteRTCPEntry struct {
	Inbound RemoteInboundEntry `json:"inbound"`
}

// RemoteInboundEntry is how our stream arrives over there. As in Telnyx's report jitter is in ms, not in s.
type RemoteInboundEntry struct {
	PacketsLost   int64    `json:"packetsLost"`
	FractionLost  float64  `json:"fractionLost"`
	Jitter        *float64 `json:"jitter,omitempty"`        // ms
	RoundTripTime *float64 `json:"roundTripTime,omitempty"` // s
}

// Quality is how the call sounded to us, with everything it was computed from.
type Quality struct {
	Model   string  `json:"model"`
	Version string  `json:"version"`
	RFactor float64 `json:"r_factor"`
	MOS     float64 `json:"mos"`
	// MOSTelnyx is the score by Telnyx's own formula, as its portal shows it; absent while jitter or round trip are unknown.
	MOSTelnyx *float64 `json:"mos_telnyx,omitempty"`

	Ta          float64  `json:"ta_ms"`               // mouth to ear, one way: rtt/2 + buffer + packet + codec + device
	RTT         *float64 `json:"rtt_ms,omitempty"`    // mean; where absent, Ta lacks it
	Jitter      *float64 `json:"jitter_ms,omitempty"` // mean
	BufferDelay float64  `json:"buffer_delay_ms"`     // mean of the playout buffer
	DeviceDelay float64  `json:"device_delay_ms"`     // of the sound card, where measured
	PacketDelay float64  `json:"packet_delay_ms"`
	CodecDelay  float64  `json:"codec_delay_ms"`
	Ppl         float64  `json:"ppl"`     // percent concealed after FEC
	BurstR      float64  `json:"burst_r"` // G.107
	Bpl         float64  `json:"bpl"`
	Ie          float64  `json:"ie"`
	NetworkLoss float64  `json:"network_loss"` // percent of packets lost on the way, before FEC
	Seconds     float64  `json:"seconds"`      // of sound that all this is about
}
