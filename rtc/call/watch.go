package call

import (
	"time"

	"sidetone/rtc/quality"
)

const (
	disconnectPatience = 3 * time.Second // as Telnyx's iOS SDK waits: most come back by themselves
	badAgain           = 5 * time.Second // how often bad media is told while it stays so
	silentSamples      = 3               // as Telnyx's LOW_BYTES warnings
	micAlive           = 0.5             // s of sound captured between two samples: the microphone works
)

// flow judges by the samples of one media session whether sound goes both ways. It is pure. What is not measured is taken
// to be well.
type flow struct {
	in, out   uint64  // packets
	captured  float64 // seconds
	quietIn   int     // samples in a row
	quietOut  int
	grew, bad bool // what the last sample said
	base      bool // the next sample tells what was before something happened, and proves nothing
}

func (f *flow) add(s quality.Sample, held, muted bool) {
	f.grew, f.bad = false, false
	if s.Inbound == nil {
		return
	}
	f.quietIn++
	switch n := s.Inbound.PacketsReceived; {
	case n > f.in:
		f.in, f.quietIn, f.grew = n, 0, true
	case n > 0 && n < f.in: // counted anew
		f.in = n
	}
	if o := s.Outbound; o != nil {
		live := o.TotalSamplesDuration-f.captured >= micAlive
		if f.quietOut++; o.PacketsSent != f.out || muted || !live {
			f.quietOut = 0
		}
		f.out, f.captured = o.PacketsSent, o.TotalSamplesDuration
	}
	if held {
		f.quietIn, f.quietOut = 0, 0
	}
	f.grew = f.grew && f.quietOut == 0 && !f.base
	f.base = false
	f.bad = f.quietIn >= silentSamples || f.quietOut >= silentSamples
}

// watch tells the machine what the last sample of the call's session says.
func (m *Manager) watch(c *live, s *session) {
	if s != c.media || c.info.State != Active && c.info.State != Held {
		return
	}
	switch {
	case s.flow.grew && (c.info.mend != mendNone || c.info.renewed):
		m.step(c, Input{Kind: OnFlowing})
	case s.flow.bad && c.info.State == Active && c.info.Media == "connected":
		m.step(c, Input{Kind: OnSilent})
	}
}

// networkChanged tells every call that the device's ways into the network are others now.
func (m *Manager) networkChanged(in Input) {
	name := "network_changed"
	if in.On {
		name = "network_lost"
	}
	for _, c := range m.list() {
		c.collector.Mark(name, m.cfg.Now())
		if c.media != nil {
			c.media.flow.base = true // what it received before proves nothing
		}
		m.step(c, in)
	}
}
