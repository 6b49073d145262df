package lab

import (
	"encoding/json"

	"sidetone/cmd/sidetone-lab/internal/web"
	"sidetone/rtc/quality"
)

// maxPoints bounds what is kept of one device's measurements: two minutes by the second.
const maxPoints = 120

// live is what one device measured in its current call, or in its last one.
type live struct {
	callID string
	prev   quality.InboundFrame
	points []web.Point
}

// measured takes up/stats/live, whose counters are since the start of the call: a point is what is new in them.
func (l *live) measured(payload []byte) {
	var in struct {
		CallID string `json:"call_id"`
		quality.Frame
	}
	if json.Unmarshal(payload, &in) != nil || in.CallID == "" || in.Inbound == nil {
		return
	}
	if in.CallID != l.callID {
		*l = live{callID: in.CallID}
	}
	now, was := *in.Inbound, l.prev
	if now.TotalSamplesReceived < was.TotalSamplesReceived || now.PacketsReceived < was.PacketsReceived {
		was = quality.InboundFrame{} // other media, which counts anew
	}
	l.prev = now
	p := web.Point{Time: in.Time, MOS: in.MOS, RTT: milliseconds(in.RTT)}
	if n := float64(now.JitterBufferEmittedCount) - float64(was.JitterBufferEmittedCount); n > 0 {
		p.Buffer = ratio(now.JitterBufferDelay-was.JitterBufferDelay, n/1000)
		p.Target = ratio(now.JitterBufferTargetDelay-was.JitterBufferTargetDelay, n/1000)
	}
	lost := max(0, float64(now.PacketsLost-was.PacketsLost))
	p.Loss = ratio(100*lost, lost+float64(now.PacketsReceived-was.PacketsReceived))
	p.Concealed = ratio(100*(float64(now.ConcealedSamples)-float64(was.ConcealedSamples)), float64(now.TotalSamplesReceived-was.TotalSamplesReceived))
	if len(l.points) == maxPoints {
		l.points = l.points[1:]
	}
	l.points = append(l.points[:len(l.points):len(l.points)], p) // a State may hold the points there were
}

// ratio is nil where there is nothing to measure against.
func ratio(part, whole float64) *float64 {
	if whole <= 0 {
		return nil
	}
	r := max(0, part/whole)
	return &r
}

func milliseconds(seconds *float64) *float64 {
	if seconds == nil {
		return nil
	}
	return ratio(*seconds, 1e-3)
}
