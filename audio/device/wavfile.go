package device

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"sidetone/audio"
	"sidetone/audio/dsp"
)

// Formats of samples in a WAV file, by their registered numbers (RFC 2361).
const (
	formatPCM        = 1
	formatFloat      = 3
	formatExtensible = 0xfffe // the true format follows in the chunk
)

// ReadWAV reads a WAV file as 48 kHz mono: PCM of 8 to 32 bits or floating point, any number of channels, any rate.
func ReadWAV(path string) ([]int16, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pcm, rate, err := decodeWAV(b)
	if err == nil && rate != audio.SampleRate {
		pcm, err = dsp.Resample(pcm, rate, audio.SampleRate)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return pcm, nil
}

// waveFormat is a WAV file's fmt chunk.
type waveFormat struct {
	format, channels, rate int
	width                  int // bytes of one sample of one channel
}

// decodeWAV gives the sound in a WAV file, mixed to one channel, and its rate in Hz.
func decodeWAV(b []byte) (pcm []int16, rate int, err error) {
	f, at, size, err := findSound(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, 0, err
	}
	return f.mono(b[at : at+size]), f.rate, nil
}

// findSound tells the format of the WAV file r of length bytes, and where in it its samples are: from at on, size bytes.
// The chunks are walked here because go-audio/wav takes neither floating point nor the sizes that stand in files written to
// a pipe.
func findSound(r io.ReaderAt, length int64) (f waveFormat, at, size int64, err error) {
	var head [12]byte
	if _, err := r.ReadAt(head[:], 0); err != nil && err != io.EOF {
		return f, 0, 0, err
	}
	if string(head[:4]) != "RIFF" || string(head[8:]) != "WAVE" {
		return f, 0, 0, errors.New("not a WAV file: it does not begin with RIFF and WAVE")
	}
	// A size that lacks what follows was never filled in, as in files written to a pipe or by a program that was killed.
	unfinished := int64(binary.LittleEndian.Uint32(head[4:]))+8 != length
	for at = 12; at+8 <= length; {
		if _, err := r.ReadAt(head[:8], at); err != nil {
			return f, 0, 0, err
		}
		at += 8
		id, said := string(head[:4]), int64(binary.LittleEndian.Uint32(head[4:]))
		size = min(said, length-at)
		switch {
		case id == "fmt ":
			b := make([]byte, min(size, maxFormat))
			if _, err := r.ReadAt(b, at); err != nil {
				return f, 0, 0, err
			}
			if f, err = parseFormat(b); err != nil {
				return f, 0, 0, err
			}
		case id == "data" && f.channels == 0:
			return f, 0, 0, errors.New("broken WAV file: sound comes before its format")
		case id == "data":
			if said == 0 && unfinished {
				size = length - at // all the rest is sound
			}
			if size < int64(f.width*f.channels) {
				return f, 0, 0, errors.New("the WAV file holds no sound")
			}
			return f, at, size, nil
		}
		at += size + size&1 // chunks begin at even places
	}
	return f, 0, 0, errors.New("broken WAV file: no sound in it")
}

// maxFormat is what is looked at of a fmt chunk, in bytes.
const maxFormat = 40

func parseFormat(b []byte) (waveFormat, error) {
	if len(b) < 16 {
		return waveFormat{}, errors.New("broken WAV file: its format is cut short")
	}
	f := waveFormat{
		format:   int(binary.LittleEndian.Uint16(b)),
		channels: int(binary.LittleEndian.Uint16(b[2:])),
		rate:     int(binary.LittleEndian.Uint32(b[4:])),
		width:    (int(binary.LittleEndian.Uint16(b[14:])) + 7) / 8,
	}
	if f.format == formatExtensible && len(b) >= 40 {
		f.format = int(binary.LittleEndian.Uint16(b[24:]))
	}
	if f.channels == 0 || f.rate < 1000 || f.rate > 768000 {
		return f, fmt.Errorf("broken WAV file: %d channels at %d Hz", f.channels, f.rate)
	}
	if block := int(binary.LittleEndian.Uint16(b[12:])); block != f.width*f.channels {
		return f, fmt.Errorf("broken WAV file: %d channels of %d bytes in blocks of %d", f.channels, f.width, block)
	}
	switch {
	case f.format == formatPCM && f.width >= 1 && f.width <= 4:
	case f.format == formatFloat && (f.width == 4 || f.width == 8):
	default:
		return f, fmt.Errorf("the WAV file has samples of format %d and %d bits; PCM of 8 to 32 bits and floating point are known", f.format, 8*f.width)
	}
	return f, nil
}

// plain tells whether samples stand in the file as they do in this machine's memory, and as they are wanted.
func (f waveFormat) plain() bool {
	littleEndian := binary.NativeEndian.Uint16([]byte{1, 0}) == 1
	return littleEndian && f.width == 2 && f.format == formatPCM && f.channels == 1
}

// mono decodes samples and mixes them to one channel. It may keep b: what is plain is not copied.
func (f waveFormat) mono(b []byte) []int16 {
	if f.plain() {
		return samples(b)
	}
	block := f.width * f.channels
	out := make([]int16, len(b)/block)
	for i := range out {
		sum := 0.0
		for c := range f.channels {
			sum += f.sample(b[i*block+c*f.width:])
		}
		v := math.Round(sum / float64(f.channels))
		if !math.IsNaN(v) { // which a file of floating point may hold
			out[i] = int16(max(math.MinInt16, min(v, math.MaxInt16)))
		}
	}
	return out
}

// sample decodes one sample to the scale of 16 bits.
func (f waveFormat) sample(b []byte) float64 {
	switch {
	case f.format == formatFloat && f.width == 4:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b))) * (math.MaxInt16 + 1)
	case f.format == formatFloat:
		return math.Float64frombits(binary.LittleEndian.Uint64(b)) * (math.MaxInt16 + 1)
	case f.width == 1:
		return (float64(b[0]) - 128) * 256
	case f.width == 2:
		return float64(int16(binary.LittleEndian.Uint16(b)))
	case f.width == 3:
		return float64(int32(b[0])<<8|int32(b[1])<<16|int32(b[2])<<24) / (1 << 16)
	default:
		return float64(int32(binary.LittleEndian.Uint32(b))) / (1 << 16)
	}
}
