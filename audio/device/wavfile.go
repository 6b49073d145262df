package device

import (
	"encoding/binary"
	"errors"
	"fmt"
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

// decodeWAV gives the sound in a WAV file, mixed to one channel, and its rate in Hz. The chunks are walked here because
// go-audio/wav takes neither floating point nor the sizes that stand in files written to a pipe.
func decodeWAV(b []byte) (pcm []int16, rate int, err error) {
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return nil, 0, errors.New("not a WAV file: it does not begin with RIFF and WAVE")
	}
	// A size that lacks what follows was never filled in, as in files written to a pipe or by a program that was killed.
	unfinished := uint64(binary.LittleEndian.Uint32(b[4:]))+8 != uint64(len(b))
	var f waveFormat
	for b = b[12:]; len(b) >= 8; {
		id, size := string(b[:4]), binary.LittleEndian.Uint32(b[4:])
		b = b[8:]
		body := b[:min(uint64(size), uint64(len(b)))]
		switch {
		case id == "fmt ":
			if f, err = parseFormat(body); err != nil {
				return nil, 0, err
			}
		case id == "data" && f.channels == 0:
			return nil, 0, errors.New("broken WAV file: sound comes before its format")
		case id == "data":
			if size == 0 && unfinished {
				body = b // all the rest is sound
			}
			if len(body) < f.width*f.channels {
				return nil, 0, errors.New("the WAV file holds no sound")
			}
			return f.mono(body), f.rate, nil
		}
		// Chunks begin at even places.
		b = b[min(len(body)+len(body)&1, len(b)):]
	}
	return nil, 0, errors.New("broken WAV file: no sound in it")
}

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

// mono decodes samples and mixes them to one channel. It may keep b: what is as this machine has it is not copied, since
// all of a file stays in memory as long as a call may need it.
func (f waveFormat) mono(b []byte) []int16 {
	block := f.width * f.channels
	if littleEndian := binary.NativeEndian.Uint16([]byte{1, 0}) == 1; littleEndian && block == 2 && f.format == formatPCM && f.channels == 1 {
		return samples(b)
	}
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
