// Package quality turns what a call measured into what a person or a fleet wants to know: a sample each second,
// warnings while the call is live, and one report at its end. It is pure: no clock, no network, no pion.
package quality

import "time"

// Sample is everything measured of a call at one moment. Counters are cumulative since the start of the media, named
// as in W3C webrtc-stats. A nil pointer means "not known", and stays absent in the report.
type Sample struct {
	Time           time.Time
	Outbound       *Outbound
	Inbound        *Inbound
	Remote         *RemoteInbound
	RemoteOutbound *RemoteOutbound
	Path           *Path
	Pair           *Pair
	Traffic        *Traffic
	Device         SoundDevice
	// Held and Muted tell why silence may be meant.
	Held, Muted bool
}

// SoundDevice is what went wrong with the sound card.
type SoundDevice struct {
	Overruns  uint64 `json:"overruns"`  // how often captured samples were lost
	Underruns uint64 `json:"underruns"` // how often the loudspeaker got silence, because nothing came in time
	Reopened  uint64 `json:"reopened"`  // how often it stopped and was opened again
}

// Minus gives what went wrong since then.
func (d SoundDevice) Minus(then SoundDevice) SoundDevice {
	return SoundDevice{d.Overruns - then.Overruns, d.Underruns - then.Underruns, d.Reopened - then.Reopened}
}

// Outbound is what we sent (RTCOutboundRtpStreamStats, RTCAudioSourceStats).
type Outbound struct {
	PacketsSent          uint64  `json:"packetsSent"`
	BytesSent            uint64  `json:"bytesSent"`
	HeaderBytesSent      uint64  `json:"headerBytesSent"`
	NackCount            uint32  `json:"nackCount"`
	TotalPacketSendDelay float64 `json:"totalPacketSendDelay"`    // seconds that packets waited before they left
	TargetBitrate        float64 `json:"targetBitrate,omitempty"` // bit/s
	Active               bool    `json:"active"`                  // sound may leave: connected and not held
	Codec                *Codec  `json:"codec,omitempty"`

	// Of the source; an Entry has them under mediaSource.
	TotalAudioEnergy     float64 `json:"-"`
	TotalSamplesDuration float64 `json:"-"`
}

// Inbound is what we received and played (RTCInboundRtpStreamStats, RTCAudioPlayoutStats).
type Inbound struct {
	PacketsReceived uint64 `json:"packetsReceived"`
	BytesReceived   uint64 `json:"bytesReceived"`
	PacketsLost     int64  `json:"packetsLost"`
	// Jitter is the interarrival jitter of RFC 3550, in seconds.
	Jitter *float64 `json:"jitter,omitempty"`
	Codec  *Codec   `json:"codec,omitempty"`

	JitterBufferDelay              float64 `json:"jitterBufferDelay"`
	JitterBufferTargetDelay        float64 `json:"jitterBufferTargetDelay"`
	JitterBufferMinimumDelay       float64 `json:"jitterBufferMinimumDelay"`
	JitterBufferEmittedCount       uint64  `json:"jitterBufferEmittedCount"`
	TotalSamplesReceived           uint64  `json:"totalSamplesReceived"`
	ConcealedSamples               uint64  `json:"concealedSamples"`
	SilentConcealedSamples         uint64  `json:"silentConcealedSamples"`
	ConcealmentEvents              uint64  `json:"concealmentEvents"`
	InsertedSamplesForDeceleration uint64  `json:"insertedSamplesForDeceleration"`
	RemovedSamplesForAcceleration  uint64  `json:"removedSamplesForAcceleration"`
	FECPacketsReceived             uint64  `json:"fecPacketsReceived"`
	FECPacketsDiscarded            uint64  `json:"fecPacketsDiscarded"`
	PacketsDiscarded               uint64  `json:"packetsDiscarded"`
	TotalProcessingDelay           float64 `json:"totalProcessingDelay"`
	TotalAudioEnergy               float64 `json:"totalAudioEnergy"`
	TotalSamplesDuration           float64 `json:"totalSamplesDuration"`
	// BurstRatio is BurstR of ITU-T G.107, measured at the playout.
	BurstRatio float64 `json:"burstRatio,omitempty"`
}

// RemoteInbound is what the other side reports of our stream (RTCRemoteInboundRtpStreamStats), from RTCP.
type RemoteInbound struct {
	PacketsReceived           uint64   `json:"packetsReceived"`
	PacketsLost               int64    `json:"packetsLost"`
	FractionLost              float64  `json:"fractionLost"`
	Jitter                    *float64 `json:"jitter,omitempty"`        // seconds
	RoundTripTime             *float64 `json:"roundTripTime,omitempty"` // seconds
	TotalRoundTripTime        float64  `json:"totalRoundTripTime"`      // seconds
	RoundTripTimeMeasurements uint64   `json:"roundTripTimeMeasurements"`
}

// RemoteOutbound is what the other side says that it sent us (RTCRemoteOutboundRtpStreamStats), from RTCP.
type RemoteOutbound struct {
	PacketsSent     uint64    `json:"packetsSent"`
	BytesSent       uint64    `json:"bytesSent"`
	ReportsSent     uint64    `json:"reportsSent"`
	RemoteTimestamp time.Time `json:"remoteTimestamp,omitzero"` // the other side's clock
}

// Pair is the selected candidate pair (RTCIceCandidatePairStats).
type Pair struct {
	ID                string `json:"id"`
	LocalCandidateID  string `json:"localCandidateId"`
	RemoteCandidateID string `json:"remoteCandidateId"`
	State             string `json:"state"`
	Nominated         bool   `json:"nominated"`
	RequestsSent      uint64 `json:"requestsSent"`
	RequestsReceived  uint64 `json:"requestsReceived"`
	ResponsesSent     uint64 `json:"responsesSent"`
	ResponsesReceived uint64 `json:"responsesReceived"`
}

// Traffic is all that went over the selected pair: sound, RTCP and checks.
type Traffic struct {
	PacketsSent     uint64 `json:"packetsSent"`
	PacketsReceived uint64 `json:"packetsReceived"`
	BytesSent       uint64 `json:"bytesSent"`
	BytesReceived   uint64 `json:"bytesReceived"`
}

// Codec names what was negotiated (RTCCodecStats).
type Codec struct {
	CodecID     string `json:"codecId,omitempty"`
	MimeType    string `json:"mimeType"`
	ClockRate   uint32 `json:"clockRate"`
	Channels    uint16 `json:"channels,omitempty"`
	PayloadType uint8  `json:"payloadType"`
	SDPFmtpLine string `json:"sdpFmtpLine,omitempty"`
}

// Path is the way that media took: the selected candidate pair and its transport.
type Path struct {
	Local  Candidate `json:"local"`
	Remote Candidate `json:"remote"`
	// RelayProtocol is how we reach our TURN server: udp, tcp or tls; empty when the local candidate is no relay.
	RelayProtocol string `json:"relayProtocol,omitempty"`
	// Policy is the ICE policy in force, and Why says why this path was taken where that is not plain.
	Policy string `json:"policy,omitempty"`
	Why    string `json:"why,omitempty"`
	// RoundTripTime of the last STUN check, in seconds.
	RoundTripTime *float64 `json:"currentRoundTripTime,omitempty"`
	DTLSState     string   `json:"dtlsState,omitempty"`
	ICEState      string   `json:"iceState,omitempty"`
	// SRTPCipher is the protection profile by its name in IANA's registry (RFC 5764, section 4.1.2).
	SRTPCipher string `json:"srtpCipher,omitempty"`
	// TLSVersion is the version of DTLS as it stands on the wire, in hex: FEFD is 1.2.
	TLSVersion string `json:"tlsVersion,omitempty"`
	Changes    uint32 `json:"selectedCandidatePairChanges"`
}

// Candidate is one end of a path (RTCIceCandidateStats).
type Candidate struct {
	CandidateType string `json:"candidateType"`
	Protocol      string `json:"protocol"`
	Address       string `json:"address"`
	Port          int    `json:"port"`
	URL           string `json:"url,omitempty"`
	// NetworkType is the kind of interface of a local candidate: ethernet, wifi, cellular or vpn.
	NetworkType string `json:"networkType,omitempty"`
}

// Warning is a condition worth telling while the call is live, with Telnyx's code and name.
type Warning struct {
	Code    int       `json:"code"`
	Name    string    `json:"name"`
	Message string    `json:"message"`
	Time    time.Time `json:"ts"`
}
