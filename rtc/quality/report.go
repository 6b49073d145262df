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
	// Client says how this device was set up, without anything secret; its shape is the client's own affair.
	Client any `json:"clientSummary,omitempty"`
}

// Mark is one moment of a call.
type Mark struct {
	Event string    `json:"event"`
	Time  time.Time `json:"ts"`
	TMs   int64     `json:"t_ms"` // since the first mark
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
	Summary Summary    `json:"summary"`
	Stats   []Entry    `json:"stats"` // never null
	Logs    []LogEntry `json:"logs,omitempty"`
	// Segment counts the parts that a long call's report is uploaded in, from 0; nil in a report that is whole.
	Segment     *int         `json:"segment,omitempty"`
	FlushReason *FlushReason `json:"flushReason,omitempty"` // of a part that is not the last
	// Timeline is how the call came about and what became of its connection.
	Timeline []Mark    `json:"timeline,omitempty"`
	Quality  *Quality  `json:"quality,omitempty"` // absent when no media came
	Path     *Path     `json:"path,omitempty"`    // the last one taken; absent when media never connected
	Warnings []Warning `json:"warnings,omitempty"`
	// WarningsDropped counts those beyond the first maxWarnings.
	WarningsDropped int `json:"warningsDropped,omitempty"`
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
