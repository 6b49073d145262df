package call

import (
	"cmp"
	"time"

	"sidetone/rtc/quality"
)

// Log adds a line to the log of a call, which goes out with its report; with an empty callID to the logs of all calls. It
// never blocks.
func (m *Manager) Log(callID string, e quality.LogEntry) {
	if !m.logged.Load() {
		return
	}
	m.inbox.put(func() {
		for _, c := range m.list() {
			if callID == "" || callID == c.info.ID {
				m.write(c, e)
			}
		}
	})
}

// Warn keeps a warning that is not of one call, as the line's, in the reports of all calls. It never blocks.
func (m *Manager) Warn(w quality.Warning) {
	m.inbox.put(func() {
		for _, c := range m.list() {
			m.keep(c, w)
		}
	})
}

// write adds a line to a call's log.
func (m *Manager) write(c *live, e quality.LogEntry) {
	c.collector.Log(e)
	if c.collector.PartDue() {
		m.flush(c, quality.FlushReason{Type: quality.FlushBufferLimit})
	}
}

// note writes down that a call came into a state.
func (m *Manager) note(c *live, info Info) {
	e := quality.LogEntry{Timestamp: m.cfg.Now(), Level: "info", Message: "state " + info.State.String()}
	if info.State == Hangup {
		e.Context = map[string]any{"cause": info.Cause.Cause, "causeCode": info.CauseCode, "endedBy": string(info.EndedBy)}
		if info.Error != "" {
			e.Level = "warn"
			e.Context["error"] = info.Error
		}
	}
	c.collector.Mark(info.State.String(), e.Timestamp)
	m.write(c, e)
}

// mark writes down what media told. A digit is nobody's business, and candidates are too many.
func (m *Manager) mark(c *live, e MediaEvent) {
	name := string(e.Kind)
	switch e.Kind {
	case MediaDigit, MediaCandidate, MediaEndOfCandidates, MediaWarning:
		return
	case MediaConnected, MediaDisconnected, MediaFailed:
		name = "media_" + name
	}
	at := e.Time
	if at.IsZero() {
		at = m.cfg.Now()
	}
	c.collector.Mark(name, at)
}

// keep keeps a warning for the report.
func (m *Manager) keep(c *live, w quality.Warning) {
	c.collector.Warn(w)
	m.write(c, quality.LogEntry{
		Timestamp: w.Time, Level: "warn", Message: w.Name, Context: map[string]any{"code": w.Code, "message": w.Message},
	})
}

// tell gives a warning or an error of the call out, and keeps it for the report.
func (m *Manager) tell(c *live, code int) {
	w, isError := warning(code, m.cfg.Now())
	m.keep(c, w)
	m.log.Debug(w.Message, "code", w.Code, "name", w.Name, "call_id", c.info.ID)
	kind := Warned
	if isError {
		kind = Errored
	}
	m.emit(c, Event{Kind: kind, Warning: &w})
}

func (m *Manager) collect(c *live, of *session, s quality.Sample) {
	if c.info.State == Destroy || of != c.media {
		return // the report is out, or others are measured
	}
	held, muted := c.info.State == Held, c.info.Muted
	s.Held, s.Muted = s.Held || held, s.Muted || muted
	of.flow.add(s, s.Held, s.Muted)
	if p := s.Path; p != nil {
		if c.info.State < Hangup && of.pathChanges > 0 && p.Changes > of.pathChanges {
			m.tell(c, codePathChanged)
		}
		of.pathChanges = p.Changes
	}
	for _, w := range c.collector.Add(s) {
		m.write(c, quality.LogEntry{
			Timestamp: w.Time, Level: "warn", Message: w.Name, Context: map[string]any{"code": w.Code, "message": w.Message},
		})
		if c.info.State < Hangup {
			m.emit(c, Event{Kind: Warned, Warning: &w})
		}
	}
	if c.collector.PartDue() {
		m.flush(c, quality.FlushReason{Type: quality.FlushBufferLimit})
	}
	if c.info.State < Hangup {
		m.emit(c, Event{Kind: Measured, Stats: c.collector.Frame()})
	}
}

// flush gives out what there is of the report since the last part; nothing when nothing came.
func (m *Manager) flush(c *live, why quality.FlushReason) {
	if c.busy || c.info.State >= Destroy {
		return
	}
	if m.cfg.FlushInterval > 0 {
		c.nextPart = time.Now().Add(m.cfg.FlushInterval)
	}
	if r := c.collector.Part(m.summary(c), why); r != nil {
		m.emit(c, Event{Kind: Parted, Report: r})
	}
}

// lineLost gives out what there is of all reports: nobody knows whether the calls will have an end to tell of.
func (m *Manager) lineLost(how *quality.SocketClose) {
	why := quality.FlushReason{Type: quality.FlushSocketError, SocketClose: how}
	if how != nil && how.Code != 0 {
		why.Type = quality.FlushSocketClose
	}
	for _, c := range m.list() {
		c.collector.Mark("line_lost", m.cfg.Now())
		if c.info.State < Hangup {
			m.flush(c, why)
		}
	}
}

// summary says what there is to say of a call at this moment.
func (m *Manager) summary(c *live) quality.Summary {
	caller, destination := cmp.Or(c.info.CallerNumber, m.cfg.CallerNumber), c.info.Destination
	if c.info.Direction == Inbound {
		caller, destination = c.info.RemoteID, m.cfg.CallerNumber
	}
	return quality.Summary{
		CallID: c.info.ID, DestinationNumber: destination, CallerNumber: caller,
		Direction: string(c.info.Direction), State: c.info.State.String(),
		TelnyxSessionID: c.info.TelnyxSessionID, TelnyxLegID: c.info.TelnyxLegID, SDKVersion: m.cfg.SDKVersion,
		StartTimestamp: c.info.Created, ActiveTimestamp: c.info.Active, EndTimestamp: c.info.Ended,
		Cause: c.info.Cause.Cause, CauseCode: c.info.CauseCode, SIPCode: c.info.SIPCode, SIPReason: c.info.SIPReason,
		Client: m.cfg.ClientSummary,
	}
}
