package verto

import (
	"encoding/json"
	"maps"
)

// Methods without their dialect's prefix. The wire name of all but Login, AnonymousLogin and AIConversation is
// Dialect.Prefix + name.
const (
	Login           = "login"
	AnonymousLogin  = "anonymous_login"
	AIConversation  = "ai_conversation"
	ClientReady     = "clientReady"
	GatewayState    = "gatewayState"
	Ping            = "ping"
	Invite          = "invite"
	Ringing         = "ringing"
	Media           = "media"
	Answer          = "answer"
	Attach          = "attach"
	Modify          = "modify"
	Info            = "info"
	Bye             = "bye"
	Display         = "display"
	Candidate       = "candidate"
	EndOfCandidates = "endOfCandidates"
	Punt            = "punt"
)

// Gateway states that mean the line is registered, or never will be by waiting.
const (
	StateRegistered   = "REGED"
	StateRegister     = "REGISTER"
	StateUnregistered = "UNREGED"
	StateNoRegister   = "NOREG"
	StateFailed       = "FAILED"
	StateFailWait     = "FAIL_WAIT"
	StateTimeout      = "TIMEOUT"
)

// Gateway states that say what it is doing, or that it has stopped.
const (
	StateTrying     = "TRYING"
	StateExpired    = "EXPIRED"
	StateUnregister = "UNREGISTER"
	StateDown       = "DOWN"
	StateAttached   = "ATTACHED"
)

// LoginParams are the params of login, by token or by user and password.
type LoginParams struct {
	Token         string          `json:"login_token,omitempty"`
	User          string          `json:"login,omitempty"`
	Password      string          `json:"passwd,omitempty"`
	UserVariables map[string]any  `json:"userVariables,omitempty"`
	Reconnection  bool            `json:"reconnection"`
	LoginParams   map[string]any  `json:"loginParams,omitempty"`
	UserAgent     json.RawMessage `json:"User-Agent,omitempty"` // an object from browsers, a string from phones
	SessID        string          `json:"sessid,omitempty"`
}

// AnonymousLoginParams are the params of anonymous_login, which lets everybody talk to one target.
type AnonymousLoginParams struct {
	TargetType    string          `json:"target_type"`
	TargetID      string          `json:"target_id"`
	TargetVersion string          `json:"target_version_id,omitempty"`
	TargetParams  map[string]any  `json:"target_params,omitempty"` // conversation_id, and what the assistant wants
	UserVariables map[string]any  `json:"userVariables,omitempty"`
	Reconnection  bool            `json:"reconnection"`
	UserAgent     json.RawMessage `json:"User-Agent,omitempty"`
	SessID        string          `json:"sessid,omitempty"`
}

// sessionParams are what the two logins have in common.
type sessionParams struct {
	UserVariables map[string]any
	Reconnection  bool
	UserAgent     json.RawMessage
	SessID        string
}

func (t *Target) params(s sessionParams) AnonymousLoginParams {
	p := AnonymousLoginParams{
		TargetType: t.Type, TargetID: t.ID, TargetVersion: t.Version,
		UserVariables: s.UserVariables, Reconnection: s.Reconnection, UserAgent: s.UserAgent, SessID: s.SessID,
	}
	if len(t.Params) > 0 || t.ConversationID != "" {
		p.TargetParams = maps.Clone(t.Params)
		if p.TargetParams == nil {
			p.TargetParams = map[string]any{}
		}
	}
	if t.ConversationID != "" {
		p.TargetParams["conversation_id"] = t.ConversationID
	}
	return p
}

// bareParams are those of requests that say nothing but who asks.
type bareParams struct {
	SessID string `json:"sessid,omitempty"`
}

// LoginResult answers login.
type LoginResult struct {
	Message string `json:"message"`
	SessID  string `json:"sessid"`
}

// GatewayStateResult answers gatewayState.
type GatewayStateResult struct {
	Params GatewayStateParams `json:"params"`
	SessID string             `json:"sessid,omitempty"`
}

// GatewayStateParams is also what servers push in frames of any name.
type GatewayStateParams struct {
	State        string `json:"state"`
	CallReportID string `json:"call_report_id,omitempty"`
	Region       string `json:"region,omitempty"`
	DC           string `json:"dc,omitempty"`
}

// Header is one custom header; names begin with X-.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Codec is a codec as browsers name it: W3C's RTCRtpCodecCapability.
type Codec struct {
	MimeType  string `json:"mimeType"`
	ClockRate int    `json:"clockRate"` // Hz
	Channels  int    `json:"channels,omitempty"`
}

// DialogParams describe a call from the client's side. Unknown keys are ignored by servers, so only what is of use
// is sent: in particular no iceServers, which would leak TURN passwords.
type DialogParams struct {
	CallID               string         `json:"callID"`
	CallIDAndroid        string         `json:"callId,omitempty"` // Android's bye spells it so; read, never sent
	DestinationNumber    string         `json:"destination_number,omitempty"`
	CallerIDName         string         `json:"caller_id_name,omitempty"`
	CallerIDNumber       string         `json:"caller_id_number,omitempty"`
	RemoteCallerIDName   string         `json:"remote_caller_id_name,omitempty"`
	RemoteCallerIDNumber string         `json:"remote_caller_id_number,omitempty"`
	CustomHeaders        []Header       `json:"custom_headers,omitempty"`
	ClientState          string         `json:"clientState,omitempty"`
	PreferredCodecs      []Codec        `json:"preferred_codecs,omitempty"` // best first; the SDP has them in this order too
	Audio                bool           `json:"audio"`
	UserVariables        map[string]any `json:"userVariables,omitempty"`
	TelnyxCallControlID  string         `json:"telnyxCallControlId,omitempty"`
	TelnyxSessionID      string         `json:"telnyxSessionId,omitempty"`
	TelnyxLegID          string         `json:"telnyxLegId,omitempty"`
	Attach               bool           `json:"attach,omitempty"`
}

// ID is the call's id under either spelling.
func (d DialogParams) ID() string {
	if d.CallID != "" {
		return d.CallID
	}
	return d.CallIDAndroid
}

// ClientCallParams are the params of every call method that a client sends.
type ClientCallParams struct {
	SessID          string       `json:"sessid,omitempty"`
	CallID          string       `json:"callID,omitempty"` // only modify updateMedia has it here too
	SDP             string       `json:"sdp,omitempty"`
	UserAgent       string       `json:"User-Agent,omitempty"`
	Trickle         bool         `json:"trickle,omitempty"`
	Action          string       `json:"action,omitempty"`
	Destination     string       `json:"destination,omitempty"`   // modify transfer (FreeSWITCH)
	ReplaceCallID   string       `json:"replaceCallID,omitempty"` // modify replace (FreeSWITCH)
	DTMF            string       `json:"dtmf,omitempty"`
	Cause           string       `json:"cause,omitempty"`
	CauseCode       int          `json:"causeCode,omitempty"`
	SIPCode         int          `json:"sipCode,omitempty"`
	SIPCallID       string       `json:"sip_call_id,omitempty"`
	Candidate       string       `json:"candidate,omitempty"`
	SDPMid          *string      `json:"sdpMid,omitempty"`
	SDPMLineIndex   *uint16      `json:"sdpMLineIndex,omitempty"`
	EndOfCandidates bool         `json:"endOfCandidates,omitempty"`
	Dialog          DialogParams `json:"dialogParams"`
}

// ServerCallParams are the params of every call method that a server sends.
type ServerCallParams struct {
	CallID              string  `json:"callID"`
	SDP                 string  `json:"sdp,omitempty"`
	Action              string  `json:"action,omitempty"` // modify
	CallerIDName        string  `json:"caller_id_name,omitempty"`
	CallerIDNumber      string  `json:"caller_id_number,omitempty"`
	CalleeIDName        string  `json:"callee_id_name,omitempty"`
	CalleeIDNumber      string  `json:"callee_id_number,omitempty"`
	DisplayName         string  `json:"display_name,omitempty"`
	DisplayNumber       string  `json:"display_number,omitempty"`
	DisplayDirection    string  `json:"display_direction,omitempty"`
	TelnyxCallControlID string  `json:"telnyx_call_control_id,omitempty"`
	TelnyxSessionID     string  `json:"telnyx_session_id,omitempty"`
	TelnyxLegID         string  `json:"telnyx_leg_id,omitempty"`
	ClientState         string  `json:"client_state,omitempty"`
	Cause               string  `json:"cause,omitempty"`
	CauseCode           int     `json:"causeCode,omitempty"`
	SIPCode             int     `json:"sipCode,omitempty"`
	SIPReason           string  `json:"sipReason,omitempty"`
	SIPCallID           string  `json:"sip_call_id,omitempty"`
	Candidate           string  `json:"candidate,omitempty"`
	SDPMid              *string `json:"sdpMid,omitempty"`
	SDPMLineIndex       *uint16 `json:"sdpMLineIndex,omitempty"`
	DTMF                string  `json:"dtmf,omitempty"`
	// Dialog has the custom headers. The client puts them here however the dialect carries them.
	Dialog    *DialogParams   `json:"dialogParams,omitempty"`
	Variables json.RawMessage `json:"variables,omitempty"`
}

// CallResult answers the call methods of a client.
type CallResult struct {
	CallID    string `json:"callID,omitempty"`
	Message   string `json:"message,omitempty"`
	Action    string `json:"action,omitempty"`
	HoldState string `json:"holdState,omitempty"`
	SDP       string `json:"sdp,omitempty"`
	Cause     string `json:"cause,omitempty"`
	CauseCode int    `json:"causeCode,omitempty"`
	SessID    string `json:"sessid,omitempty"`
}

// ClientReadyParams come with clientReady.
type ClientReadyParams struct {
	ReattachedSessions []string `json:"reattached_sessions"`
}
