package gateway

import "time"

// Stats is what the gateway knows of its clients, by name. Times that did not come yet are zero, and absent in JSON.
type Stats struct {
	Clients map[string]ClientStats `json:"clients"`
	// RefusedLogins are the times of the newest ones, of whomever: a refused login says nothing sure about who it is.
	RefusedLogins []time.Time `json:"refused_logins"`
}

// ClientStats is what is known of one client. Lists are bounded and begin with the oldest.
type ClientStats struct {
	Registered   bool           `json:"registered"`
	Sessions     []SessionStats `json:"sessions"`
	Candidates   []Candidate    `json:"candidates"`
	Calls        []CallStats    `json:"calls"`
	Reports      []ReportStats  `json:"reports"`
	DebugReports int            `json:"debug_reports,omitempty"` // debug_report_* frames taken
}

// SessionStats is one registered socket. The last one gets the name's calls.
type SessionStats struct {
	VoiceSDKID string    `json:"voice_sdk_id"`
	Remote     string    `json:"remote"` // address and port
	UserAgent  string    `json:"user_agent,omitempty"`
	Since      time.Time `json:"since"`
	Logins     int       `json:"logins"` // the one that registered it, and its renewals
}

// Candidate is an ICE candidate that the gateway saw from a client, in its SDP or trickled.
type Candidate struct {
	CallID string `json:"call_id"`
	Type   string `json:"type"` // host, srflx, prflx or relay
	Line   string `json:"line"` // as it came: candidate:…
}

// Call states, as the gateway sees them.
const (
	CallTrying  = "trying"  // invited
	CallRinging = "ringing" // the far side has been told
	CallActive  = "active"  // answered
	CallEnded   = "ended"
)

// CallStats is one client's side of a call. Inbound and outbound are as the client sees it.
type CallStats struct {
	ID          string    `json:"id"`
	Direction   string    `json:"direction"`
	Destination string    `json:"destination"` // who was called
	Caller      string    `json:"caller"`
	State       string    `json:"state"`
	Started     time.Time `json:"started"`
	Answered    time.Time `json:"answered,omitzero"`
	Ended       time.Time `json:"ended,omitzero"`
	Cause       string    `json:"cause,omitempty"`
	CauseCode   int       `json:"causeCode,omitempty"`
	SIPCode     int       `json:"sipCode,omitempty"`
}

// ReportStats is one call report, or one part of a long call's, that was taken in.
type ReportStats struct {
	CallID string    `json:"call_id"`
	Time   time.Time `json:"time"`
	File   string    `json:"file"` // path
	Bytes  int       `json:"bytes"`
	MOS    *float64  `json:"mos,omitempty"` // quality.mos of the report
	// Segment counts the parts of a long call's report, from 0; nil where it is whole. Final is true of the last.
	Segment *int `json:"segment,omitempty"`
	Final   bool `json:"final"`
}
