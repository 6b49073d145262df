// Package audiotest judges sound by its content: which tones are in it, whether it is the speech that was sent, how loud,
// how late, and with which holes. It is for tests and for the lab, and measures 48 kHz mono.
package audiotest

import (
	"errors"
	"fmt"
	"os"

	goaudio "github.com/go-audio/audio"
	"github.com/go-audio/wav"
)

// ReadWAV reads a PCM WAV file of 16 bit. Several channels are mixed to one; rate is in Hz.
func ReadWAV(path string) (pcm []int16, rate int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	d := wav.NewDecoder(f)
	if !d.IsValidFile() || d.BitDepth != 16 {
		return nil, 0, fmt.Errorf("%s is no WAV file of 16 bit PCM", path)
	}
	buf, err := d.FullPCMBuffer()
	if err != nil {
		return nil, 0, fmt.Errorf("reading %s: %w", path, err)
	}
	channels := int(d.NumChans)
	pcm = make([]int16, len(buf.Data)/channels)
	for i := range pcm {
		sum := 0
		for _, v := range buf.Data[i*channels : (i+1)*channels] {
			sum += v
		}
		pcm[i] = int16(sum / channels)
	}
	return pcm, int(d.SampleRate), nil
}

// WriteWAV writes pcm, mono at rate Hz, as a WAV file of 16 bit.
func WriteWAV(path string, pcm []int16, rate int) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	e := wav.NewEncoder(f, rate, 16, 1, 1)
	data := make([]int, len(pcm))
	for i, v := range pcm {
		data[i] = int(v)
	}
	format := &goaudio.Format{NumChannels: 1, SampleRate: rate}
	if err := e.Write(&goaudio.IntBuffer{Format: format, Data: data, SourceBitDepth: 16}); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return e.Close()
}
