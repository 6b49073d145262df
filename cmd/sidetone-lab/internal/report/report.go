// Package report reads what the lab shows of a call report: the body that devices publish on up/stats/call and upload
// to /call_report. Whatever a report lacks is nil or empty, never zero by guess.
package report

import (
	"encoding/json"
	"fmt"
	"time"
)

// Report is a call report, as far as it is shown.
type Report struct {
	Device      string     `json:"device,omitempty"` // who sent it; not in the report itself
	CallID      string     `json:"call_id"`
	Parts       int        `json:"parts"`             // that it came in; 1 where it came whole
	Missing     int        `json:"missing,omitempty"` // parts that did not come, or not yet
	Intervals   int        `json:"intervals"`         // of stats, a second each in short calls
	Lines       int        `json:"log_lines"`         // of the log
	Direction   string     `json:"direction,omitempty"`
	Destination string     `json:"destination,omitempty"`
	Caller      string     `json:"caller,omitempty"`
	Ended       *time.Time `json:"ended,omitempty"`
	Seconds     float64    `json:"seconds"` // answered
	Cause       string     `json:"cause,omitempty"`
	CauseCode   int        `json:"cause_code,omitempty"`

	Codec     string   `json:"codec,omitempty"` // opus/48000/2
	MOS       *float64 `json:"mos,omitempty"`
	RFactor   *float64 `json:"r_factor,omitempty"`
	Path      string   `json:"path,omitempty"` // as "relay over tcp"
	RTT       *float64 `json:"rtt_ms,omitempty"`
	Jitter    *float64 `json:"jitter_ms,omitempty"`
	Loss      *float64 `json:"loss_percent,omitempty"`
	Concealed *float64 `json:"concealed_percent,omitempty"`
	Buffer    *float64 `json:"buffer_ms,omitempty"` // mean wait in the playout buffer
}

// body is the wire form: a Telnyx call report with quality and path besides.
type body struct {
	Summary struct {
		CallID            string     `json:"callId"`
		Direction         string     `json:"direction"`
		DestinationNumber string     `json:"destinationNumber"`
		CallerNumber      string     `json:"callerNumber"`
		EndTimestamp      *time.Time `json:"endTimestamp"`
		DurationSeconds   float64    `json:"durationSeconds"`
		Cause             string     `json:"cause"`
		CauseCode         int        `json:"causeCode"`
	} `json:"summary"`
	Segment     *int              `json:"segment"`
	FlushReason json.RawMessage   `json:"flushReason"`
	Stats       []entry           `json:"stats"`
	Logs        []json.RawMessage `json:"logs"`
	Quality     *struct {
		RFactor *float64 `json:"r_factor"`
		MOS     *float64 `json:"mos"`
	} `json:"quality"`
	Path *struct {
		Local struct {
			CandidateType string `json:"candidateType"`
			Protocol      string `json:"protocol"`
		} `json:"local"`
		RelayProtocol string `json:"relayProtocol"`
	} `json:"path"`
}

// entry is one interval; counters are cumulative.
type entry struct {
	Audio struct {
		Inbound *struct {
			PacketsReceived          *float64 `json:"packetsReceived"`
			PacketsLost              *float64 `json:"packetsLost"`
			JitterBufferDelay        *float64 `json:"jitterBufferDelay"` // seconds
			JitterBufferEmittedCount *float64 `json:"jitterBufferEmittedCount"`
			TotalSamplesReceived     *float64 `json:"totalSamplesReceived"`
			ConcealedSamples         *float64 `json:"concealedSamples"`
			JitterAvg                *float64 `json:"jitterAvg"` // milliseconds
			Codec                    *codec   `json:"codec"`
		} `json:"inbound"`
		Outbound *struct {
			Codec *codec `json:"codec"`
		} `json:"outbound"`
	} `json:"audio"`
	Connection struct {
		RoundTripTimeAvg     *float64 `json:"roundTripTimeAvg"` // seconds
		CurrentRoundTripTime *float64 `json:"currentRoundTripTime"`
	} `json:"connection"`
}

type codec struct {
	MimeType  string `json:"mimeType"`
	ClockRate uint32 `json:"clockRate"`
	Channels  uint16 `json:"channels"`
}

// Parse reads a report: one body, or all parts of one in any order, where the same part may be there twice. Without its
// last part a report is as far as it is known.
func Parse(parts ...[]byte) (Report, error) {
	in, count, missing, err := merge(parts)
	if err != nil {
		return Report{}, fmt.Errorf("call report: %w", err)
	}
	s := in.Summary
	r := Report{
		Parts: count, Missing: missing, Intervals: len(in.Stats), Lines: len(in.Logs),
		CallID: s.CallID, Direction: s.Direction, Destination: s.DestinationNumber, Caller: s.CallerNumber,
		Ended: s.EndTimestamp, Seconds: s.DurationSeconds, Cause: s.Cause, CauseCode: s.CauseCode,
	}
	if in.Quality != nil {
		r.MOS, r.RFactor = in.Quality.MOS, in.Quality.RFactor
	}
	if p := in.Path; p != nil && p.Local.CandidateType != "" {
		r.Path = p.Local.CandidateType
		if p.RelayProtocol != "" {
			r.Path += " over " + p.RelayProtocol
		} else if p.Local.Protocol != "" {
			r.Path += " over " + p.Local.Protocol
		}
	}
	r.measure(in.Stats)
	return r, nil
}

// measure takes means of what is given per interval, and the last of what is cumulative.
func (r *Report) measure(stats []entry) {
	var rtt, jitter mean
	for _, e := range stats {
		rtt.add(e.Connection.RoundTripTimeAvg, e.Connection.CurrentRoundTripTime)
		if in := e.Audio.Inbound; in != nil {
			jitter.add(in.JitterAvg)
			r.Loss = percent(in.PacketsLost, sum(in.PacketsReceived, in.PacketsLost))
			r.Concealed = percent(in.ConcealedSamples, in.TotalSamplesReceived)
			// W3C webrtc-stats: seconds that samples waited, over samples that left the buffer.
			if v := percent(in.JitterBufferDelay, in.JitterBufferEmittedCount); v != nil {
				ms := *v / 100 * 1000
				r.Buffer = &ms
			}
			r.Codec = in.Codec.orElse(r.Codec)
		}
		if out := e.Audio.Outbound; out != nil && r.Codec == "" {
			r.Codec = out.Codec.orElse("")
		}
	}
	r.RTT, r.Jitter = rtt.times(1000), jitter.times(1)
}

func (c *codec) orElse(s string) string {
	if c == nil || c.MimeType == "" {
		return s
	}
	name := c.MimeType
	if len(name) > 6 && name[:6] == "audio/" {
		name = name[6:]
	}
	name = fmt.Sprintf("%s/%d", name, c.ClockRate)
	if c.Channels > 1 {
		name += fmt.Sprintf("/%d", c.Channels)
	}
	return name
}

// mean of values that may be absent.
type mean struct{ sum, n float64 }

// add takes the first value that is there.
func (m *mean) add(values ...*float64) {
	for _, v := range values {
		if v != nil {
			m.sum += *v
			m.n++
			return
		}
	}
}

func (m *mean) times(factor float64) *float64 {
	if m.n == 0 {
		return nil
	}
	v := m.sum / m.n * factor
	return &v
}

func sum(a, b *float64) *float64 {
	if a == nil || b == nil {
		return nil
	}
	v := *a + *b
	return &v
}

// percent gives a of b, or nil when either is not known or b is nothing.
func percent(a, b *float64) *float64 {
	if a == nil || b == nil || *b <= 0 {
		return nil
	}
	v := *a / *b * 100
	return &v
}
