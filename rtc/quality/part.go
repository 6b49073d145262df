package quality

import (
	"encoding/json"
	"fmt"
	"time"
)

// Bounds of a report's parts, as Telnyx's SDK has them (@telnyx/webrtc 2.27.10, CallReportCollector).
const (
	maxLogs    = 1000 // lines of a call; the oldest go first
	partStats  = 300  // entries that make a part due
	partLogs   = 800  // lines that make a part due
	maxMarks   = 200
	maxMessage = 1 << 10 // bytes of a line's message, and of each value beside it
)

// Types of a FlushReason. A part that is sent because its time has come is a BufferLimit too.
const (
	FlushBufferLimit = "buffer-limit"
	FlushManual      = "manual"
	FlushSocketClose = "socket-close"
	FlushSocketError = "socket-error"
)

// FlushReason says why a part was sent before the call's end.
type FlushReason struct {
	Type        string       `json:"type"`
	SocketClose *SocketClose `json:"socketClose,omitempty"`
}

// SocketClose is how the line's WebSocket ended.
type SocketClose struct {
	Code     int    `json:"code,omitempty"` // RFC 6455, section 7.4
	CodeName string `json:"codeName,omitempty"`
	Reason   string `json:"reason,omitempty"`
	WasClean bool   `json:"wasClean"`
	Error    string `json:"error,omitempty"`
}

// part is what came since the last part was made.
type part struct {
	entries []Entry
	logs    ring
}

// add takes an entry. Whoever lets parts become overdue gets them more coarsely.
func (p *part) add(e Entry) {
	if len(p.entries) >= 2*partStats {
		p.entries = halve(p.entries)
	}
	p.entries = append(p.entries, e)
}

// Log adds a line to the call's log. Its texts are cut to a kilobyte each.
func (c *Collector) Log(e LogEntry) {
	e.Timestamp = e.Timestamp.UTC()
	e.Message = cut(e.Message)
	for k, v := range e.Context {
		if s, ok := v.(string); ok && len(s) > maxMessage {
			e.Context[k] = cut(s)
		}
	}
	c.logs.add(e)
	c.part.logs.add(e)
}

// Mark adds a moment to the call's timeline.
func (c *Collector) Mark(event string, at time.Time) {
	if len(c.marks) >= maxMarks {
		return
	}
	m := Mark{Event: event, Time: at.UTC()}
	if len(c.marks) > 0 {
		m.TMs = at.Sub(c.marks[0].Time).Milliseconds()
	}
	c.marks = append(c.marks, m)
}

// PartDue tells that so much has come that a part should be made.
func (c *Collector) PartDue() bool {
	return len(c.part.entries) >= partStats || len(c.part.logs.lines) >= partLogs
}

// Part gives what came since the last part, as an intermediate part of the report; nil when nothing did.
func (c *Collector) Part(s Summary, why FlushReason) *Report {
	if len(c.part.entries) == 0 && len(c.part.logs.lines) == 0 {
		return nil
	}
	r := c.next(&Report{Summary: s, FlushReason: &why})
	c.parts++
	return r
}

// Last gives the end of the report for the platform: what came since the last part, or all where none was made.
func (c *Collector) Last(s Summary) *Report {
	r := c.Report(s)
	if c.parts == 0 {
		return r
	}
	return c.next(r)
}

// next fills r with what came since the last part.
func (c *Collector) next(r *Report) *Report {
	n := c.parts
	r.Segment, r.Stats, r.Logs = &n, append([]Entry{}, c.part.entries...), c.part.logs.all()
	c.part = part{}
	return r
}

// ring keeps the last maxLogs lines.
type ring struct {
	lines []LogEntry
	at    int // of the oldest, once full
}

func (r *ring) add(e LogEntry) {
	if len(r.lines) < maxLogs {
		r.lines = append(r.lines, e)
		return
	}
	r.lines[r.at] = e
	r.at = (r.at + 1) % maxLogs
}

// all gives a copy, the oldest first; nil when there is none.
func (r *ring) all() []LogEntry {
	return append(append([]LogEntry(nil), r.lines[r.at:]...), r.lines[:r.at]...)
}

func cut(s string) string {
	if len(s) > maxMessage {
		return s[:maxMessage] + "…"
	}
	return s
}

// Fit gives the report as JSON in at most limit bytes. What does not fit is told more coarsely: the oldest half of the
// log goes, or neighbours among the stats are merged, whichever is larger, as often as it takes.
func (r *Report) Fit(limit int) ([]byte, error) {
	small := *r
	small.Stats = append([]Entry{}, r.Stats...)
	for {
		b, err := json.Marshal(&small)
		if err != nil || len(b) <= limit {
			return b, err
		}
		stats, logs := sizeOf(small.Stats), sizeOf(small.Logs)
		switch {
		case logs >= stats && len(small.Logs) > 0:
			small.Logs = small.Logs[(len(small.Logs)+1)/2:]
		case len(small.Stats) > 1:
			small.Stats = halve(small.Stats)
		default:
			return nil, fmt.Errorf("the call report has %d bytes; %d are allowed", len(b), limit)
		}
	}
}

func sizeOf(v any) int { b, _ := json.Marshal(v); return len(b) }
