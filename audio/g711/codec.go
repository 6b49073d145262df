package g711

import (
	"errors"
	"fmt"

	"sidetone/audio"
)

// frameBytes is one frame at 8 kHz, a byte a sample.
const frameBytes = audio.FrameSamples / ratio

// Encoder turns frames into packets of 160 bytes. It is not safe for concurrent use.
type Encoder struct {
	table  *tables
	filter *lowPass
	down   down
}

// NewEncoder makes an encoder.
func NewEncoder(law Law) *Encoder { return &Encoder{table: lawTables[law](), filter: filter()} }

// Encode writes f as one packet into buf, and returns its length: always 160.
func (e *Encoder) Encode(f *audio.Frame, buf []byte) (int, error) {
	if len(buf) < frameBytes {
		return 0, fmt.Errorf("g711: a frame takes %d bytes, and there is room for %d", frameBytes, len(buf))
	}
	e.down.frame(e.filter, f[:], func(i int, s int16) { buf[i] = e.table.code(s) })
	return frameBytes, nil
}

// Errors of a Decoder.
var (
	ErrEmpty = errors.New("g711: an empty packet")
	ErrShort = errors.New("g711: no room for the samples")
	ErrNoFEC = errors.New("g711: packets say nothing of the one before")
	ErrNoPLC = errors.New("g711: nothing was decoded yet that could be repeated")
)

// Decoder turns packets into samples of 48 kHz. It is not safe for concurrent use.
type Decoder struct {
	table  *tables
	filter *lowPass
	up     up
	guess  guess

	spare  [ratio]int16 // of a guess whose length was no multiple of six
	spared int
}

// NewDecoder makes a decoder.
func NewDecoder(law Law) *Decoder { return &Decoder{table: lawTables[law](), filter: filter()} }

// Samples tells how many samples of 48 kHz payload decodes to.
func (d *Decoder) Samples(payload []byte) (int, error) {
	if len(payload) == 0 {
		return 0, ErrEmpty
	}
	return len(payload) * ratio, nil
}

// Decode writes payload's samples into pcm and returns how many they are.
func (d *Decoder) Decode(payload []byte, pcm []int16) (int, error) {
	n, err := d.Samples(payload)
	if err != nil {
		return 0, err
	}
	if n > len(pcm) {
		return 0, ErrShort
	}
	d.spared = 0
	for i, code := range payload {
		d.up.put(d.filter, d.guess.heard(d.table.expand[code]), pcm[i*ratio:])
	}
	return n, nil
}

// HasFEC is false: G.711 has no redundancy.
func (d *Decoder) HasFEC([]byte) bool { return false }

// DecodeFEC always fails.
func (d *Decoder) DecodeFEC([]byte, []int16) error { return ErrNoFEC }

// DecodePLC fills pcm with a guess of what was lost.
func (d *Decoder) DecodePLC(pcm []int16) error {
	if !d.guess.ready() {
		return ErrNoPLC
	}
	n := copy(pcm, d.spare[ratio-d.spared:])
	d.spared -= n
	for len(pcm) > n {
		d.up.put(d.filter, d.guess.next(), d.spare[:])
		m := copy(pcm[n:], d.spare[:])
		n += m
		d.spared = ratio - m
	}
	return nil
}
