package quality

import (
	"fmt"
	"time"
)

// Rules of the warnings, as Telnyx's SDK has them (@telnyx/webrtc 2.27.10, CallReportCollector).
const (
	warnAfter  = 3                // samples in a row
	warnRepeat = 15 * time.Second // while the condition lasts

	rttLimit    = 0.4   // s
	jitterLimit = 30.0  // ms
	lossLimit   = 1.0   // percent of an interval
	mosLimit    = 3.5   // by warningMOS
	silence     = 0.001 // audio level
	// A microphone that was heard before may be quiet for this long; a person listens now and then.
	quietMicrophone = 30 * time.Second
	// Shorter intervals (the last sample of a call) say nothing of packets that come each 20 ms.
	shortest = 0.5 // s
)

// rule looks at one interval. It reports false in ok when it has nothing to say of it, as when the value is unknown.
type rule struct {
	code int
	bad  func(s Sample, d delta) (bad, ok bool, what string)
}

var rules = []rule{
	{HighRTT, func(_ Sample, d delta) (bool, bool, string) {
		if d.rtt == nil {
			return false, false, ""
		}
		return *d.rtt > rttLimit, true, fmt.Sprintf("round trip %.0f ms", *d.rtt*1000)
	}},
	{HighJitter, func(_ Sample, d delta) (bool, bool, string) {
		if d.jitter == nil {
			return false, false, ""
		}
		return *d.jitter*1000 > jitterLimit, true, fmt.Sprintf("jitter %.0f ms", *d.jitter*1000)
	}},
	{HighPacketLoss, func(_ Sample, d delta) (bool, bool, string) {
		loss := d.loss()
		return loss > lossLimit, d.inbound, fmt.Sprintf("%.1f %% of the last second's packets", loss)
	}},
	{LowMOS, func(_ Sample, d delta) (bool, bool, string) {
		if d.jitter == nil || !d.inbound {
			return false, false, ""
		}
		rtt := 0.0
		if d.rtt != nil {
			rtt = *d.rtt * 1000
		}
		mos := warningMOS(*d.jitter*1000, rtt, d.loss())
		return mos < mosLimit, true, fmt.Sprintf("MOS %.1f", mos)
	}},
	{LowLocalAudio, func(s Sample, d delta) (bool, bool, string) {
		if d.levelOut == nil || s.Muted {
			return false, false, ""
		}
		return *d.levelOut <= silence, true, fmt.Sprintf("level %.4f", *d.levelOut)
	}},
	{LowInboundAudio, func(s Sample, d delta) (bool, bool, string) {
		if d.levelIn == nil || s.Held {
			return false, false, ""
		}
		return *d.levelIn <= silence, true, fmt.Sprintf("level %.4f", *d.levelIn)
	}},
	{LowBytesReceived, func(s Sample, d delta) (bool, bool, string) {
		return d.bytesIn == 0, d.inbound && !s.Held, ""
	}},
	{LowBytesSent, func(s Sample, d delta) (bool, bool, string) {
		// Unlike a browser, whose microphone goes on while the platform holds the call, we send nothing then.
		return d.bytesOut == 0, d.outbound && !s.Held, ""
	}},
}

// watch turns intervals into warnings.
type watch struct {
	conditions map[int]*running
	heard      bool // the microphone gave real sound once
}

// running is a condition that lasts.
type running struct {
	samples int
	since   time.Time
	told    time.Time // last; zero before
}

func (w *watch) look(s Sample, d delta) []Warning {
	if !d.known || d.seconds < shortest {
		return nil
	}
	if w.conditions == nil {
		w.conditions = map[int]*running{}
	}
	if d.levelOut != nil && *d.levelOut > silence {
		w.heard = true
	}
	var due []Warning
	for _, r := range rules {
		bad, ok, what := r.bad(s, d)
		if !bad || !ok {
			delete(w.conditions, r.code)
			continue
		}
		c := w.conditions[r.code]
		if c == nil {
			c = &running{since: s.Time.Add(-time.Duration(d.seconds * float64(time.Second)))}
			w.conditions[r.code] = c
		}
		c.samples++
		if !w.due(r.code, c, s.Time) {
			continue
		}
		c.told = s.Time
		k, _ := Lookup(r.code)
		if what != "" {
			what = " (" + what + ")"
		}
		due = append(due, Warning{Code: k.Code, Name: k.Name, Message: k.Message + what, Time: s.Time})
	}
	return due
}

func (w *watch) due(code int, c *running, now time.Time) bool {
	if !c.told.IsZero() {
		return now.Sub(c.told) >= warnRepeat
	}
	if code == LowLocalAudio && w.heard {
		return now.Sub(c.since) >= quietMicrophone
	}
	return c.samples >= warnAfter
}
