// Package voice is what a call and the bench both drive: a Receiver that turns packets of any timing into frames at the
// playback clock, and a Sender that turns captured frames into packets.
package voice

import (
	"math"

	"sidetone/audio"
)

// Decoder turns packets into samples of 48 kHz mono. audio/opus has one.
type Decoder interface {
	// Decode writes a packet's samples into pcm and returns how many they are.
	Decode(payload []byte, pcm []int16) (int, error)
	// DecodeFEC fills pcm with what payload, the packet after a lost one, says of the lost one.
	DecodeFEC(payload []byte, pcm []int16) error
	// DecodePLC fills pcm with a guess of what was lost, from what was decoded before.
	DecodePLC(pcm []int16) error
	// HasFEC reports whether payload says anything of the packet before it.
	HasFEC(payload []byte) bool
	// Samples tells how many samples payload decodes to.
	Samples(payload []byte) (int, error)
}

// Encoder turns frames into packets. audio/opus has one.
type Encoder interface {
	// Encode writes f as one packet into buf and returns the packet's length. A packet of at most two bytes is
	// discontinuous transmission's word for silence (RFC 7587, section 3.1.3).
	Encode(f *audio.Frame, buf []byte) (int, error)
}

// Adaptive is an Encoder that can follow the network from one frame to the next. audio/opus has one.
type Adaptive interface {
	Encoder
	// Bitrate is what it was made for, in bit/s.
	Bitrate() int
	SetBitrate(bps int) error
	// SetPacketLoss tells it how much the far side loses, in percent.
	SetPacketLoss(percent int) error
}

// energy is the sum of squares of pcm, full scale being 1.
func energy(pcm []int16) float64 {
	var sum int64
	for _, v := range pcm {
		sum += int64(v) * int64(v)
	}
	return float64(sum) / (math.MaxInt16 * math.MaxInt16)
}

// maxSamples is the longest packet that Opus has: 120 ms (RFC 6716, section 2).
const maxSamples = 6 * audio.FrameSamples
