package device

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"

	"sidetone/audio"
)

const (
	wavHeader   = 44                     // bytes
	frameBytes  = 2 * audio.FrameSamples // bytes
	flushFrames = 50                     // how often the file is brought up to date: each second
)

// recording is a WAV file of 48 kHz mono 16 bit under way. A nil one takes sound and keeps none.
type recording struct {
	file    *os.File
	frames  int64  // in the file
	pending []byte // sound that comes after them
}

// record starts a recording, in place of what path held; or goes on with the one that is there. Without a path there is
// none.
func record(path string, again bool) (*recording, error) {
	if path == "" {
		return nil, nil
	}
	how := os.O_RDWR | os.O_CREATE
	if !again {
		how |= os.O_TRUNC
	}
	f, err := os.OpenFile(path, how, 0o666)
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("recording: %w", err)
	}
	r := &recording{file: f, frames: max(0, info.Size()-wavHeader) / frameBytes, pending: make([]byte, 0, flushFrames*frameBytes)}
	if err := r.flush(); err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// write adds a frame.
func (r *recording) write(f *audio.Frame) error {
	if r == nil {
		return nil
	}
	for _, v := range f {
		r.pending = binary.LittleEndian.AppendUint16(r.pending, uint16(v))
	}
	if len(r.pending) == cap(r.pending) {
		return r.flush()
	}
	return nil
}

// skip adds frames of silence, as a hole in the file.
func (r *recording) skip(frames int) error {
	if r == nil || frames == 0 {
		return nil
	}
	if err := r.flush(); err != nil {
		return err
	}
	r.frames += int64(frames)
	if err := r.file.Truncate(wavHeader + r.frames*frameBytes); err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	return r.flush()
}

// flush brings the file up to date: first the sound, then the header that counts it.
func (r *recording) flush() error {
	_, err := r.file.WriteAt(r.pending, wavHeader+r.frames*frameBytes)
	if err == nil {
		r.frames += int64(len(r.pending) / frameBytes)
		r.pending = r.pending[:0]
		_, err = r.file.WriteAt(header(r.frames*frameBytes), 0)
	}
	if err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	return nil
}

// header is that of a file with so many bytes of sound.
func header(size int64) []byte {
	size = min(size, math.MaxUint32-wavHeader) // beyond 4 GiB, after 12 hours, it can only say "much"
	b := append(make([]byte, 0, wavHeader), "RIFF"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(size+wavHeader-8))
	b = append(b, "WAVEfmt "...)
	b = binary.LittleEndian.AppendUint32(b, 16)
	b = binary.LittleEndian.AppendUint16(b, formatPCM)
	b = binary.LittleEndian.AppendUint16(b, 1) // channel
	b = binary.LittleEndian.AppendUint32(b, audio.SampleRate)
	b = binary.LittleEndian.AppendUint32(b, 2*audio.SampleRate) // bytes a second
	b = binary.LittleEndian.AppendUint16(b, 2)                  // bytes a sample
	b = binary.LittleEndian.AppendUint16(b, 16)                 // bits a sample
	b = append(b, "data"...)
	return binary.LittleEndian.AppendUint32(b, uint32(size))
}

// close finishes the file.
func (r *recording) close() error {
	if r == nil {
		return nil
	}
	return errors.Join(r.flush(), r.file.Close())
}
