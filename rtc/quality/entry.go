package quality

import (
	"math"
	"time"
)

// Entry is what was measured in one interval, a second or, far back in a long call, more. Counters are those of the
// interval's end, since the start of the media; averages are of the interval, rounded to 4 decimals. What is not known is
// absent.
type Entry struct {
	Start      time.Time        `json:"intervalStartUtc"`
	End        time.Time        `json:"intervalEndUtc"`
	Audio      AudioEntry       `json:"audio"`
	Connection *ConnectionEntry `json:"connection,omitempty"`
	ICE        *ICEEntry        `json:"ice,omitempty"`
	Transport  *TransportEntry  `json:"transport,omitempty"`
	Playout    *PlayoutEntry    `json:"mediaPlayout,omitempty"`
	RemoteRTCP *RemoteRTCPEntry `json:"remoteRtcp,omitempty"`
	Device     *SoundDevice     `json:"soundDevice,omitempty"` // absent while nothing went wrong with it
}

// AudioEntry holds both directions.
type AudioEntry struct {
	Outbound *OutboundEntry `json:"outbound,omitempty"`
	Inbound  *InboundEntry  `json:"inbound,omitempty"`
}

// OutboundEntry is what we sent.
type OutboundEntry struct {
	Outbound
	MediaSource   MediaSource `json:"mediaSource"`
	LocalTrack    LocalTrack  `json:"localTrack"`
	AudioLevelAvg *float64    `json:"audioLevelAvg,omitempty"` // 0..1: root of energy over duration
	BitrateAvg    *float64    `json:"bitrateAvg,omitempty"`    // bit/s
}

// MediaSource is what was captured (RTCAudioSourceStats).
type MediaSource struct {
	TotalAudioEnergy     float64 `json:"totalAudioEnergy"`
	TotalSamplesDuration float64 `json:"totalSamplesDuration"`
}

// LocalTrack is the microphone as the call has it (MediaStreamTrack): enabled is false while it is muted.
type LocalTrack struct {
	Kind    string `json:"kind"`
	Enabled bool   `json:"enabled"`
}

// InboundEntry is what we received and played.
type InboundEntry struct {
	Inbound
	AudioLevelAvg *float64 `json:"audioLevelAvg,omitempty"`
	BitrateAvg    *float64 `json:"bitrateAvg,omitempty"`
	JitterAvg     *float64 `json:"jitterAvg,omitempty"` // ms
}

// ConnectionEntry is how long the way is, in seconds, and what went over it.
type ConnectionEntry struct {
	RoundTripTimeAvg     *float64 `json:"roundTripTimeAvg,omitempty"`
	CurrentRoundTripTime *float64 `json:"currentRoundTripTime,omitempty"`
	// RoundTripTimeSource is where RoundTripTimeAvg is from: "remote-inbound-rtp" (RTCP) or "candidate-pair" (STUN).
	RoundTripTimeSource string `json:"roundTripTimeSource,omitempty"`
	*Traffic
}

// ICEEntry is the selected pair.
type ICEEntry struct {
	*Pair
	Local  LocalCandidate `json:"local"`
	Remote Candidate      `json:"remote"`
}

// LocalCandidate is our end of the pair, and how its TURN server is reached.
type LocalCandidate struct {
	Candidate
	RelayProtocol string `json:"relayProtocol,omitempty"`
}

// TransportEntry is the state of ICE and DTLS.
type TransportEntry struct {
	ICEState                     string `json:"iceState,omitempty"`
	DTLSState                    string `json:"dtlsState,omitempty"`
	SRTPCipher                   string `json:"srtpCipher,omitempty"`
	TLSVersion                   string `json:"tlsVersion,omitempty"`
	SelectedCandidatePairChanges uint32 `json:"selectedCandidatePairChanges"`
}

// PlayoutEntry is what went to the loudspeaker (RTCAudioPlayoutStats).
type PlayoutEntry struct {
	Kind                 string  `json:"kind"`
	TotalSamplesDuration float64 `json:"totalSamplesDuration"` // seconds
	TotalSamplesCount    uint64  `json:"totalSamplesCount"`
}

// RemoteRTCPEntry is what the far side reports. As in Telnyx's report its jitter is in ms, not in s.
type RemoteRTCPEntry struct {
	Inbound  *RemoteInbound  `json:"inbound,omitempty"`
	Outbound *RemoteOutbound `json:"outbound,omitempty"`
}

func newEntry(s Sample, d delta) Entry {
	e := Entry{Start: s.Time.Add(-time.Duration(math.Round(d.seconds * float64(time.Second)))).UTC(), End: s.Time.UTC()}
	perSecond := func(v float64) *float64 {
		if d.seconds <= 0 {
			return nil
		}
		return round(v / d.seconds)
	}
	if o := s.Outbound; o != nil {
		e.Audio.Outbound = &OutboundEntry{
			Outbound: *o, MediaSource: MediaSource{o.TotalAudioEnergy, o.TotalSamplesDuration},
			LocalTrack: LocalTrack{"audio", !s.Muted}, AudioLevelAvg: times(d.levelOut, 1), BitrateAvg: perSecond(8 * d.bytesOut),
		}
	}
	if i := s.Inbound; i != nil {
		e.Audio.Inbound = &InboundEntry{*i, times(d.levelIn, 1), perSecond(8 * d.bytesIn), times(d.jitter, 1000)}
		e.Playout = &PlayoutEntry{"audio", i.TotalSamplesDuration, i.TotalSamplesReceived}
	}
	if s.Device != (SoundDevice{}) {
		e.Device = &s.Device
	}
	e.Connection = connection(s, d)
	if p := s.Path; p != nil {
		e.ICE = &ICEEntry{s.Pair, LocalCandidate{p.Local, p.RelayProtocol}, p.Remote}
		e.Transport = &TransportEntry{p.ICEState, p.DTLSState, p.SRTPCipher, p.TLSVersion, p.Changes}
	}
	if s.Remote != nil || s.RemoteOutbound != nil {
		e.RemoteRTCP = &RemoteRTCPEntry{Outbound: s.RemoteOutbound}
		if s.Remote != nil {
			r := *s.Remote
			r.FractionLost, r.Jitter, r.RoundTripTime = orZero(r.FractionLost), times(r.Jitter, 1000), times(r.RoundTripTime, 1)
			e.RemoteRTCP.Inbound = &r
		}
	}
	return e
}

func connection(s Sample, d delta) *ConnectionEntry {
	c := ConnectionEntry{RoundTripTimeAvg: times(d.rtt, 1), RoundTripTimeSource: d.rttSource, Traffic: s.Traffic}
	if s.Path != nil {
		c.CurrentRoundTripTime = times(s.Path.RoundTripTime, 1)
	}
	if c == (ConnectionEntry{}) {
		return nil
	}
	return &c
}

// halve merges neighbours two by two.
func halve(all []Entry) []Entry {
	half := all[:0]
	for i := 0; i+1 < len(all); i += 2 {
		half = append(half, merge(all[i], all[i+1]))
	}
	if len(all)%2 == 1 {
		half = append(half, all[len(all)-1])
	}
	clear(all[len(half):])
	return half
}

// merge makes one entry of two neighbours: the later one's counters, and averages by length.
func merge(a, b Entry) Entry {
	wa, wb := a.End.Sub(a.Start).Seconds(), b.End.Sub(b.Start).Seconds()
	avg := func(x, y *float64) *float64 {
		switch {
		case x == nil:
			return y
		case y == nil:
			return x
		case wa+wb <= 0:
			return y
		}
		return round((*x*wa + *y*wb) / (wa + wb))
	}
	// Levels are averaged as energies.
	rms := func(x, y *float64) *float64 {
		m := avg(times(square(x), 1), times(square(y), 1))
		if m == nil {
			return nil
		}
		return round(math.Sqrt(*m))
	}
	m := b
	m.Start = a.Start
	if x, y := a.Audio.Outbound, b.Audio.Outbound; x != nil && y != nil {
		o := *y
		o.AudioLevelAvg, o.BitrateAvg = rms(x.AudioLevelAvg, y.AudioLevelAvg), avg(x.BitrateAvg, y.BitrateAvg)
		m.Audio.Outbound = &o
	}
	if x, y := a.Audio.Inbound, b.Audio.Inbound; x != nil && y != nil {
		i := *y
		i.AudioLevelAvg, i.BitrateAvg, i.JitterAvg = rms(x.AudioLevelAvg, y.AudioLevelAvg), avg(x.BitrateAvg, y.BitrateAvg), avg(x.JitterAvg, y.JitterAvg)
		m.Audio.Inbound = &i
	}
	if x, y := a.Connection, b.Connection; x != nil && y != nil {
		c := *y
		c.RoundTripTimeAvg = avg(x.RoundTripTimeAvg, y.RoundTripTimeAvg)
		m.Connection = &c
	}
	return m
}

func square(x *float64) *float64 {
	if x == nil {
		return nil
	}
	s := *x * *x
	return &s
}
