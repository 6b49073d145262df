package playout

import (
	"fmt"

	"sidetone/audio"
	"sidetone/audio/voice"
)

// encoder is a sender's encoder that can be told what the far side loses.
type encoder interface {
	voice.Encoder
	SetPacketLoss(percent int) error
}

// codec makes both ends of a codec.
type codec struct {
	encoder func(Config) (encoder, error)
	decoder func() (voice.Decoder, error)
	// lookAhead is by how many samples what is decoded lags behind what was encoded.
	lookAhead int
}

// codecs by name. Opus is there where the program was built with cgo.
var codecs = map[string]codec{
	"pcm": {
		encoder: func(Config) (encoder, error) { return pcm{}, nil },
		decoder: func() (voice.Decoder, error) { return pcm{}, nil },
	},
}

// pcm is L16 (RFC 3551, section 4.5.11): samples as they are, most significant byte first. It conceals with silence and
// has no FEC. The same packets give the same samples on every machine.
type pcm struct{}

func (pcm) Encode(f *audio.Frame, buf []byte) (int, error) {
	for i, v := range f {
		buf[2*i], buf[2*i+1] = byte(uint16(v)>>8), byte(v)
	}
	return 2 * len(f), nil
}

func (pcm) SetPacketLoss(int) error { return nil }

func (pcm) Samples(payload []byte) (int, error) {
	if len(payload)%2 != 0 {
		return 0, fmt.Errorf("%d bytes are no samples of L16", len(payload))
	}
	return len(payload) / 2, nil
}

func (pcm) Decode(payload []byte, out []int16) (int, error) {
	n := min(len(payload)/2, len(out))
	for i := range out[:n] {
		out[i] = int16(uint16(payload[2*i])<<8 | uint16(payload[2*i+1]))
	}
	return n, nil
}

func (pcm) HasFEC([]byte) bool { return false }

func (pcm) DecodeFEC([]byte, []int16) error { return fmt.Errorf("L16 has no FEC") }

func (pcm) DecodePLC(out []int16) error {
	clear(out)
	return nil
}
