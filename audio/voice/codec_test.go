package voice

import (
	"encoding/binary"
	"errors"

	"sidetone/audio"
)

// pcmCodec codes samples as they are, and with fec each packet also carries the frame before it. It conceals with a
// constant, so that a test sees what was concealed: one louder than a pause.
type pcmCodec struct {
	fec  bool
	last audio.Frame
	seen int // calls of Encode
}

const guessed = 1000

func (c *pcmCodec) Encode(f *audio.Frame, buf []byte) (int, error) {
	c.seen++
	buf[0] = 0xff
	n := 1
	// One sample in four is enough to know a frame by, and fits the sender's buffer.
	put := func(f *audio.Frame) {
		for i := 0; i < len(f); i += 4 {
			binary.LittleEndian.PutUint16(buf[n:], uint16(f[i]))
			n += 2
		}
	}
	put(f)
	if c.fec {
		put(&c.last)
	}
	c.last = *f
	return n, nil
}

const pcmSize = 1 + audio.FrameSamples/4*2

var errPCM = errors.New("no PCM packet")

func (c *pcmCodec) Samples(payload []byte) (int, error) {
	if len(payload) != pcmSize && !c.HasFEC(payload) {
		return 0, errPCM
	}
	return audio.FrameSamples, nil
}

func (c *pcmCodec) HasFEC(payload []byte) bool { return len(payload) == 2*pcmSize-1 }

func (c *pcmCodec) Decode(payload []byte, pcm []int16) (int, error) {
	if _, err := c.Samples(payload); err != nil {
		return 0, err
	}
	return audio.FrameSamples, get(payload[1:], pcm)
}

func (c *pcmCodec) DecodeFEC(payload []byte, pcm []int16) error {
	if !c.HasFEC(payload) {
		return errPCM
	}
	return get(payload[pcmSize:], pcm)
}

func (c *pcmCodec) DecodePLC(pcm []int16) error {
	for i := range pcm {
		pcm[i] = guessed
	}
	return nil
}

func get(payload []byte, pcm []int16) error {
	for i := range audio.FrameSamples {
		pcm[i] = int16(binary.LittleEndian.Uint16(payload[i/4*2:]))
	}
	return nil
}
