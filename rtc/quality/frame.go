package quality

import (
	"math"
	"time"
)

// Frame is a call's quality at one moment, as in the stats frames of Telnyx's SDK: times in seconds, counters since the
// start of the media, and a score over the whole call so far. What is not known is absent.
type Frame struct {
	Time           time.Time       `json:"ts"`
	Jitter         *float64        `json:"jitter,omitempty"`
	RTT            *float64        `json:"rtt,omitempty"`
	MOS            *float64        `json:"mos,omitempty"` // by Telnyx's formula; absent while no packet came
	Quality        string          `json:"quality"`       // excellent, good, fair, poor, bad; unknown without MOS
	Inbound        *InboundFrame   `json:"inboundAudio,omitempty"`
	Outbound       *OutboundFrame  `json:"outboundAudio,omitempty"`
	RemoteInbound  *RemoteInbound  `json:"remoteInboundAudio,omitempty"`
	RemoteOutbound *RemoteOutbound `json:"remoteOutboundAudio,omitempty"`
	Path           *Path           `json:"path,omitempty"`
}

// InboundFrame is what we received and played, and how loud that was in the last second: from 0 to 1.
type InboundFrame struct {
	Inbound
	AudioLevel *float64 `json:"audioLevel,omitempty"`
}

// OutboundFrame is what we sent, and how loud that was in the last second (as in RTCAudioSourceStats): from 0 to 1.
type OutboundFrame struct {
	Outbound
	AudioLevel *float64 `json:"audioLevel,omitempty"`
}

// Frame tells of the last sample; nil before the first.
func (c *Collector) Frame() *Frame {
	if c.prev == nil {
		return nil
	}
	s := c.prev
	d := interval(nil, *s)
	f := &Frame{
		Time: s.Time, Jitter: times(d.jitter, 1), RTT: times(d.rtt, 1), Quality: "unknown",
		RemoteInbound: s.Remote, RemoteOutbound: s.RemoteOutbound, Path: s.Path,
	}
	if s.Inbound != nil {
		f.Inbound = &InboundFrame{*s.Inbound, times(c.last.levelIn, 1)}
	}
	if s.Outbound != nil {
		f.Outbound = &OutboundFrame{*s.Outbound, times(c.last.levelOut, 1)}
	}
	if c.received > 0 && d.jitter != nil {
		rtt := 0.0
		if d.rtt != nil {
			rtt = *d.rtt
		}
		f.MOS = round(telnyxMOS(*d.jitter*1000, rtt*1000, share(c.lost, c.lost+c.received)))
	}
	if f.MOS != nil {
		f.Quality = verdict(*f.MOS)
	}
	return f
}

// verdict names a score. The bounds are Telnyx's, without the gaps between them.
func verdict(mos float64) string {
	switch {
	case math.IsNaN(mos):
		return "unknown"
	case mos > 4.2:
		return "excellent"
	case mos >= 4.1:
		return "good"
	case mos >= 3.7:
		return "fair"
	case mos >= 3.1:
		return "poor"
	}
	return "bad"
}
