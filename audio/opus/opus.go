// Package opus codes frames with libopus: 48 kHz, mono, 20 ms, voice. It adds to the binding what a receiver needs to
// know of a packet before it is decoded.
package opus

import (
	"fmt"

	"sidetone/audio"

	"github.com/hraban/opus"
)

const (
	// MaxPacket is the largest packet that Encode makes, in bytes (RFC 6716, section 3.4: 1275 a frame).
	MaxPacket = 1275
	// maxSamples is the longest packet, 120 ms at 48 kHz (RFC 6716, section 3.2.5).
	maxSamples = 5760
)

// Config of an Encoder. The zero value of each is libopus's own default, but where said.
type Config struct {
	Bitrate           int  // bit/s; 0 is 32000
	Complexity        int  // 0..10
	FEC               bool // in-band FEC (LBRR) for PacketLossPercent
	PacketLossPercent int  // what the far side loses, as a hint
	DTX               bool // send next to nothing in silence
}

// Encoder makes packets of frames. It is not safe for concurrent use.
type Encoder struct {
	enc     *opus.Encoder
	bitrate int
}

// NewEncoder makes an encoder for voice.
func NewEncoder(c Config) (*Encoder, error) {
	enc, err := opus.NewEncoder(audio.SampleRate, 1, opus.AppVoIP)
	if err != nil {
		return nil, fmt.Errorf("opus encoder: %w", err)
	}
	if c.Bitrate == 0 {
		c.Bitrate = 32000
	}
	e := &Encoder{enc, c.Bitrate}
	for _, set := range []struct {
		what string
		err  error
	}{
		{"bitrate", e.SetBitrate(c.Bitrate)},
		{"complexity", enc.SetComplexity(c.Complexity)},
		{"FEC", enc.SetInBandFEC(c.FEC)},
		{"packet loss", e.SetPacketLoss(c.PacketLossPercent)},
		{"DTX", enc.SetDTX(c.DTX)},
	} {
		if set.err != nil {
			return nil, fmt.Errorf("opus encoder: %s: %w", set.what, set.err)
		}
	}
	return e, nil
}

// Bitrate is that of the Config, in bit/s.
func (e *Encoder) Bitrate() int { return e.bitrate }

// SetBitrate changes the bitrate, in bit/s, from the next frame on.
func (e *Encoder) SetBitrate(bps int) error { return e.enc.SetBitrate(bps) }

// SetPacketLoss tells the encoder how much the far side loses, in percent: the more, the more goes into FEC.
func (e *Encoder) SetPacketLoss(percent int) error { return e.enc.SetPacketLossPerc(percent) }

// Encode codes f into buf, which should hold MaxPacket bytes, and returns the packet's length.
func (e *Encoder) Encode(f *audio.Frame, buf []byte) (int, error) {
	return e.enc.Encode(f[:], buf)
}

// Decoder makes samples of packets. It is not safe for concurrent use.
type Decoder struct{ dec *opus.Decoder }

// NewDecoder makes a decoder for 48 kHz mono; stereo packets come out mixed down.
func NewDecoder() (*Decoder, error) {
	dec, err := opus.NewDecoder(audio.SampleRate, 1)
	if err != nil {
		return nil, fmt.Errorf("opus decoder: %w", err)
	}
	return &Decoder{dec}, nil
}

// Decode decodes a packet into pcm, which must have room for all of it (see Samples), and returns the number of
// samples.
func (d *Decoder) Decode(payload []byte, pcm []int16) (int, error) {
	if len(payload) == 0 {
		return 0, errPacket // libopus would take it as a lost one
	}
	return d.dec.Decode(payload, pcm[:len(pcm):len(pcm)]) // the binding decodes up to the capacity
}

// DecodeFEC recovers the packet before payload from payload's in-band FEC, filling pcm, whose length must be that of
// the lost packet.
func (d *Decoder) DecodeFEC(payload []byte, pcm []int16) error {
	if len(payload) == 0 {
		return errPacket
	}
	return d.dec.DecodeFEC(payload, pcm[:len(pcm):len(pcm)])
}

// DecodePLC fills pcm with what may have been in a lost packet, going by what came before.
func (d *Decoder) DecodePLC(pcm []int16) error {
	return d.dec.DecodePLC(pcm[:len(pcm):len(pcm)])
}

// HasFEC is the package's HasFEC, for those that see a decoder only.
func (*Decoder) HasFEC(payload []byte) bool { return HasFEC(payload) }

// Samples is the package's Samples, for those that see a decoder only.
func (*Decoder) Samples(payload []byte) (int, error) { return Samples(payload) }
