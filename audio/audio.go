// Package audio holds the words in which sound travels through the device: a frame of 20 ms, who gives frames,
// who takes them, and the two ends of a call as the network sees them. How they work lives in the packages below.
package audio

import (
	"context"
	"time"

	"github.com/pion/rtp"
)

const (
	// SampleRate of all sound inside the device, in Hz. Opus is always 48 kHz on the wire (RFC 7587, section 4.1).
	SampleRate = 48000
	// FrameDuration is the length of one frame.
	FrameDuration = 20 * time.Millisecond
	// FrameSamples is the number of samples in one frame: 20 ms at 48 kHz, mono.
	FrameSamples = SampleRate / 50
)

// Frame is 20 ms of mono sound, signed 16 bit.
type Frame [FrameSamples]int16

// Source gives frames on demand of the playback clock. A source that has nothing to say gives silence.
type Source interface {
	// PullFrame fills f with the next 20 ms. It must not block.
	PullFrame(f *Frame)
}

// Sink takes frames at the pace of the capture clock.
type Sink interface {
	// PushFrame takes the 20 ms in f and reports whether they were taken. A live source drops what is not taken;
	// a file waits, so that its first sample goes out with the first packet. It must not keep f, and must not block.
	PushFrame(f *Frame) bool
}

// Duplex is a sound device: it captures and plays.
type Duplex interface {
	// Run moves sound until ctx ends: it pulls what is to be played from speaker and pushes what was captured into mic,
	// each at the device's own clock. It returns nil when ctx ended, else what went wrong with the device.
	Run(ctx context.Context, speaker Source, mic Sink) error
}

// Receiver is the network's end of a playout pipeline: packets go in here, frames come out of its Source side.
type Receiver interface {
	// PushRTP takes a packet that arrived at the given time. The packet's payload is not kept after the call.
	PushRTP(p *rtp.Packet, arrival time.Time)
	// PlayoutStats tells what was heard so far. Safe to call from any goroutine.
	PlayoutStats() PlayoutStats
}

// PacketWriter is where a sending pipeline puts its packets.
type PacketWriter interface {
	// WriteRTP takes one packet; SSRC and payload type are filled in by the writer. It reports false while the packet
	// cannot leave (no connection yet), never blocks, and keeps neither p nor its payload.
	WriteRTP(p *rtp.Packet) bool
}

// PlayoutStats are counters since the start of a stream. Names, meanings and units are those of W3C webrtc-stats
// (RTCInboundRtpStreamStats and RTCAudioPlayoutStats): delays are sums in seconds over emitted samples.
type PlayoutStats struct {
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
	// Energy of what was played, as in webrtc-stats: sum of (level^2 * duration), level 1.0 being full scale.
	TotalAudioEnergy     float64 `json:"totalAudioEnergy"`
	TotalSamplesDuration float64 `json:"totalSamplesDuration"`
	// BurstRatio is the measured BurstR of ITU-T G.107: mean length of runs of lost frames over the length expected
	// from random loss. 1 when nothing was lost.
	BurstRatio float64 `json:"burstRatio"`
}

// CaptureStats are counters of a sending pipeline since its start.
type CaptureStats struct {
	// Energy of what was captured, after mute, as in RTCAudioSourceStats.
	TotalAudioEnergy     float64 `json:"totalAudioEnergy"`
	TotalSamplesDuration float64 `json:"totalSamplesDuration"`
	FramesEncoded        uint64  `json:"framesEncoded"`
}
