package quality

import (
	"math"
)

const (
	// defaultEntries keeps a report under the 2 MB that Telnyx takes, however long the call: five minutes by the second.
	defaultEntries = 300
	maxWarnings    = 200
)

// CollectorConfig is what does not change during a call. The zero value works.
type CollectorConfig struct {
	// MaxEntries bounds the stats kept, one for each sample. When they are full neighbours are merged two by two, so a
	// long call is told in full, its past more coarsely. 0 is 300: five minutes by the second, hours by the minute.
	MaxEntries int
	// DeviceDelay is what the sound card's buffers add to the way from mouth to ear, in seconds, where measured.
	DeviceDelay float64
}

// Collector gathers the samples of one call. It has no clock: time is that of the samples. It is not safe for concurrent
// use.
type Collector struct {
	cfg      CollectorConfig
	entries  []Entry
	logs     ring
	marks    []Mark
	part     part
	parts    int // made so far
	warnings []Warning
	dropped  int
	watch    watch
	prev     *Sample
	last     delta // to prev
	path     *Path

	// Over the whole call, also across media that was set up anew and counts from 0 again.
	received, lost            float64 // packets
	bufferDelay, emitted      float64 // seconds, samples
	concealed, played         float64 // samples
	fec                       float64
	burstR                    float64
	rttSum, rttN              float64 // seconds
	jitterSum, jitterN, spans float64 // seconds
}

// NewCollector makes a collector for one call.
func NewCollector(c CollectorConfig) *Collector {
	if c.MaxEntries <= 0 {
		c.MaxEntries = defaultEntries
	}
	c.MaxEntries = max(c.MaxEntries, 2)
	if !finite(c.DeviceDelay) || c.DeviceDelay < 0 {
		c.DeviceDelay = 0
	}
	return &Collector{cfg: c}
}

// Add takes the next sample, one a second and one at the end, and returns the warnings that are due now. It keeps nothing
// of s that the caller may change.
func (c *Collector) Add(s Sample) []Warning {
	s = clean(s)
	if c.prev != nil && s.Time.Before(c.prev.Time) {
		s.Time = c.prev.Time // the clock was set back; intervals never are negative
	}
	i := interval(c.prev, s)
	c.sum(s, i)
	if c.prev != nil {
		e := newEntry(s, i)
		c.keep(e)
		c.part.add(e)
	}
	if s.Path != nil {
		c.path = s.Path
	}
	due := c.watch.look(s, i)
	for _, w := range due {
		c.Warn(w)
	}
	c.prev, c.last = &s, i
	return due
}

// Warn keeps a warning for the report that the samples do not tell of.
func (c *Collector) Warn(w Warning) {
	if len(c.warnings) >= maxWarnings {
		c.dropped++
		return
	}
	c.warnings = append(c.warnings, w)
}

func (c *Collector) keep(e Entry) {
	if len(c.entries) >= c.cfg.MaxEntries {
		c.entries = halve(c.entries)
	}
	c.entries = append(c.entries, e)
}

func (c *Collector) sum(s Sample, i delta) {
	c.received += i.received
	c.lost += i.lost
	c.bufferDelay += i.bufferDelay
	c.emitted += i.emitted
	c.concealed += i.concealed
	c.played += i.played
	c.fec += i.fec
	if s.Inbound != nil && s.Inbound.BurstRatio > 0 {
		c.burstR = s.Inbound.BurstRatio
	}
	if i.rtt != nil {
		c.rttSum, c.rttN = c.rttSum+*i.rtt, c.rttN+1
	}
	if i.jitter != nil {
		c.jitterSum, c.jitterN = c.jitterSum+*i.jitter, c.jitterN+1
	}
	c.spans += i.seconds
}

// Report sums the whole call up. It may be called again as more samples come.
func (c *Collector) Report(s Summary) *Report {
	if s.DurationSeconds == 0 && !s.ActiveTimestamp.IsZero() && s.EndTimestamp.After(s.ActiveTimestamp) {
		s.DurationSeconds = s.EndTimestamp.Sub(s.ActiveTimestamp).Seconds()
	}
	s.DurationSeconds = orZero(s.DurationSeconds)
	r := &Report{
		Summary: s, Stats: append([]Entry{}, c.entries...), Logs: c.logs.all(), Quality: c.quality(),
		Timeline: append([]Mark(nil), c.marks...),
		Warnings: append([]Warning(nil), c.warnings...), WarningsDropped: c.dropped,
	}
	if c.path != nil {
		p := *c.path
		r.Path = &p
	}
	return r
}

// quality scores the call; nil when no media came.
func (c *Collector) quality() *Quality {
	if c.received == 0 {
		return nil
	}
	q := &Quality{
		Model: Model, Version: ModelVersion, Bpl: bplPlain, BurstR: max(c.burstR, 1),
		PacketDelay: packetDelay, CodecDelay: codecDelay, DeviceDelay: orZero(c.cfg.DeviceDelay * 1000),
		Seconds: orZero(c.spans),
	}
	q.RTT = mean(c.rttSum*1000, c.rttN)
	q.Jitter = mean(c.jitterSum*1000, c.jitterN)
	q.NetworkLoss = orZero(share(c.lost, c.lost+c.received))
	q.Ppl = q.NetworkLoss // of a receiver that does not tell what it concealed
	if c.played > 0 {
		q.Ppl = orZero(share(c.concealed, c.played))
	}
	if c.emitted > 0 {
		q.BufferDelay = orZero(c.bufferDelay / c.emitted * 1000)
	}
	if c.fec > 0 {
		q.Bpl = bplFEC
	}
	q.Ta = q.BufferDelay + q.PacketDelay + q.CodecDelay + q.DeviceDelay
	if q.RTT != nil {
		q.Ta += *q.RTT / 2
	}
	q.Ta = orZero(q.Ta)
	q.BurstR = orZero(q.BurstR)
	// From the rounded inputs, so that whoever reads the report gets the same figure.
	r := max(0, defaultR-delayImpairment(q.Ta)-lossImpairment(q.Ie, q.Ppl, q.BurstR, q.Bpl)) // R has no meaning below 0
	q.RFactor, q.MOS = orZero(r), orZero(mosOf(r))
	if q.Jitter != nil && q.RTT != nil {
		q.MOSTelnyx = round(telnyxMOS(*q.Jitter, *q.RTT, q.NetworkLoss))
	}
	return q
}

// delta is what happened between two samples. Counters that went back belong to media that was set up anew: they count
// from 0.
type delta struct {
	seconds                 float64
	known                   bool // there was a sample before
	received, lost, bytesIn float64
	sent, bytesOut          float64
	bufferDelay, emitted    float64
	concealed, played, fec  float64
	levelIn, levelOut       *float64
	rtt, jitter             *float64 // seconds
	rttSource               string
	inbound, outbound       bool // the stream was there at both ends of the interval
}

func interval(prev *Sample, s Sample) delta {
	var d delta
	before := Sample{}
	if prev != nil {
		before, d.known = *prev, true
		d.seconds = s.Time.Sub(before.Time).Seconds()
	}
	if s.Inbound != nil {
		a, b := Inbound{}, *s.Inbound
		if before.Inbound != nil {
			a = *before.Inbound
		}
		d.inbound = d.known && before.Inbound != nil
		if b.PacketsReceived < a.PacketsReceived || b.BytesReceived < a.BytesReceived {
			a = Inbound{}
		}
		d.received = grown(float64(a.PacketsReceived), float64(b.PacketsReceived))
		d.bytesIn = grown(float64(a.BytesReceived), float64(b.BytesReceived))
		d.lost = float64(b.PacketsLost) - float64(a.PacketsLost) // below 0 where a late packet took a loss back
		d.bufferDelay = grown(a.JitterBufferDelay, b.JitterBufferDelay)
		d.emitted = grown(float64(a.JitterBufferEmittedCount), float64(b.JitterBufferEmittedCount))
		d.played = grown(float64(a.TotalSamplesReceived), float64(b.TotalSamplesReceived))
		d.concealed = min(d.played, grown(float64(a.ConcealedSamples), float64(b.ConcealedSamples)))
		d.fec = grown(float64(a.FECPacketsReceived), float64(b.FECPacketsReceived))
		d.levelIn = level(a.TotalAudioEnergy, a.TotalSamplesDuration, b.TotalAudioEnergy, b.TotalSamplesDuration)
		d.jitter = b.Jitter
	}
	if s.Outbound != nil {
		a, b := Outbound{}, *s.Outbound
		if before.Outbound != nil {
			a = *before.Outbound
		}
		d.outbound = d.known && before.Outbound != nil
		if b.PacketsSent < a.PacketsSent || b.BytesSent < a.BytesSent {
			a = Outbound{}
		}
		d.sent = grown(float64(a.PacketsSent), float64(b.PacketsSent))
		d.bytesOut = grown(float64(a.BytesSent), float64(b.BytesSent))
		d.levelOut = level(a.TotalAudioEnergy, a.TotalSamplesDuration, b.TotalAudioEnergy, b.TotalSamplesDuration)
	}
	switch {
	case s.Remote != nil && s.Remote.RoundTripTime != nil:
		d.rtt, d.rttSource = s.Remote.RoundTripTime, "remote-inbound-rtp"
	case s.Path != nil && s.Path.RoundTripTime != nil:
		d.rtt, d.rttSource = s.Path.RoundTripTime, "candidate-pair"
	}
	return d
}

// loss of the interval, in percent.
func (d delta) loss() float64 { lost := max(0, d.lost); return share(lost, lost+d.received) }

func grown(from, to float64) float64 {
	if to < from {
		return to
	}
	return to - from
}

// level is the root of energy over duration, as webrtc-stats defines the audio level of an interval; nil when nothing
// was captured or played in it.
func level(e0, t0, e1, t1 float64) *float64 {
	if t1 < t0 || e1 < e0 {
		e0, t0 = 0, 0
	}
	if t1 <= t0 {
		return nil
	}
	v := math.Sqrt((e1 - e0) / (t1 - t0))
	return &v
}
