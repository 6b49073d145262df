package verto

import (
	"fmt"
	"slices"
	"time"

	"sidetone/rtc/quality"
)

// LineState says how far the line is.
type LineState string

// Line states.
const (
	Down        LineState = "down"        // no connection; retrying by back-off
	Connecting  LineState = "connecting"  // fetching credentials, opening the connection
	Registering LineState = "registering" // logging in, waiting for REGED
	Registered  LineState = "registered"  // calls are possible
	Refused     LineState = "refused"     // credentials refused; slow retries, 1 min doubling to 30 min, change nothing of it
)

// Codes of rtc/quality's table that a line gives.
const (
	CodeByeFailed          = 44003 // BYE_SEND_FAILED
	CodeConnectFailed      = 45001 // WEBSOCKET_CONNECTION_FAILED
	CodeWebSocket          = 45002 // WEBSOCKET_ERROR
	CodeExhausted          = 45003 // RECONNECTION_EXHAUSTED: others give up here; we say so and go on
	CodeGatewayFailed      = 45004 // GATEWAY_FAILED
	CodeLoginFailed        = 46001 // LOGIN_FAILED
	CodeInvalidCredentials = 46002 // INVALID_CREDENTIALS
	CodeLoginRequired      = 46003 // AUTHENTICATION_REQUIRED
	CodeOffline            = 48001 // NETWORK_OFFLINE
	CodeTokenExpiring      = 34001 // TOKEN_EXPIRING_SOON
	CodeUnknownReattached  = 35002 // UNKNOWN_REATTACHED_SESSION
	CodeRecovery           = 36003 // SIGNALING_RECOVERY_REQUIRED
)

// Status is what there is to know of the line.
type Status struct {
	State        LineState `json:"state"`
	GatewayState string    `json:"gateway_state,omitempty"` // as the platform names it: REGED, NOREG, …
	Code         int       `json:"code,omitempty"`          // 46001 and the like, when something is wrong
	Name         string    `json:"name,omitempty"`          // LOGIN_FAILED and the like
	Message      string    `json:"message,omitempty"`       // what happened, and what to do
	Since        time.Time `json:"since,omitzero"`          // when State was entered
	RetryAt      time.Time `json:"retry_at,omitzero"`       // when the next connection is tried
	// Socket is how the connection ended, where it was not we who ended it; for call reports.
	Socket *quality.SocketClose `json:"-"`
}

// String describes the line for a person.
func (s Status) String() string {
	text := string(s.State)
	if s.Code != 0 {
		text += fmt.Sprintf(", %d %s", s.Code, s.Name)
	}
	if s.Message != "" {
		text += ": " + s.Message
	}
	if !s.RetryAt.IsZero() {
		text += "; next try at " + s.RetryAt.Format(time.TimeOnly)
	}
	return text
}

// Condition is something wrong with the line, by its entry in the table of rtc/quality.
type Condition struct {
	quality.Condition
	Detail  string    `json:"detail,omitempty"`  // what exactly, this time
	Since   time.Time `json:"since"`             // when it began
	Cleared bool      `json:"cleared,omitempty"` // in events: it is over
}

// NewCondition is what has begun now, by its code. detail says what exactly, and may be empty.
func NewCondition(code int, detail string) Condition {
	c, ok := quality.Lookup(code)
	if !ok {
		c = quality.Condition{Code: code, Name: "UNKNOWN"}
	}
	return Condition{Condition: c, Detail: detail, Since: time.Now()}
}

// raise notes what is wrong from now on, and says so once; a new detail of it replaces the old one quietly.
func (l *line) raise(code int, detail string) {
	for i := range l.conditions {
		if l.conditions[i].Code == code {
			l.conditions = slices.Clone(l.conditions) // published: see line.publish
			l.conditions[i].Detail = detail
			l.publish()
			return
		}
	}
	c := NewCondition(code, detail)
	l.conditions = append(slices.Clone(l.conditions), c)
	l.publish()
	l.tell(Event{Condition: &c})
}

// warn says that something went wrong once, and is over.
func (l *line) warn(code int, detail string) {
	c := NewCondition(code, detail)
	l.log.Warn("the line: "+c.Message, "code", c.Code, "name", c.Name, "detail", detail)
	l.tell(Event{Condition: &c})
}

// clear notes that things are well again.
func (l *line) clear(codes ...int) {
	var over []Condition
	var left []Condition
	for _, c := range l.conditions {
		if slices.Contains(codes, c.Code) {
			c.Cleared = true
			over = append(over, c)
		} else {
			left = append(left, c)
		}
	}
	if len(over) == 0 {
		return
	}
	l.conditions = left
	l.publish()
	for _, c := range over {
		l.tell(Event{Condition: &c})
	}
}

// setStatus publishes a status and queues it as an event when it says something new.
func (l *line) setStatus(s Status) {
	old := l.status
	s.Since = old.Since
	if s.State != old.State {
		s.Since = time.Now()
	}
	l.status = s
	l.publish()
	if s == old {
		return
	}
	if n := len(l.queue); n >= maxQueued && l.queue[n-1].Status != nil {
		l.queue[n-1] = Event{Status: &s} // nobody reads: only the newest matters
		return
	}
	l.tell(Event{Status: &s})
}

// trying tells how far a connection has come. A line that was refused stays so until a login leads to registration, or
// there is no connection to be had: its tries are no news.
func (l *line) trying(s Status) {
	if l.status.State != Refused {
		l.setStatus(s)
	}
}

// publish shows the line's state to other goroutines. The list of conditions is never changed once published.
func (l *line) publish() {
	l.c.publish(l.status, Session{
		Registered: l.status.State == Registered, SessID: l.sessid, VoiceSDKID: l.sdkID, CallReportID: l.reportID,
		Region: l.region, DC: l.dc,
	}, l.conditions)
}

// tell queues an event. When nobody reads, what is wrong is left to Conditions.
func (l *line) tell(e Event) {
	if e.Condition != nil && len(l.queue) >= maxQueued {
		return
	}
	l.queue = append(l.queue, e)
}
