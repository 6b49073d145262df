package device

import (
	"fmt"
	"io"
	"os"

	"sidetone/audio"
)

// captured is what a file says, as 48 kHz mono. A file that has it in that form is read while it is said; of any other
// all is decoded before.
type captured struct {
	pcm []int16 // all, or what was read last
	at  int64   // where that begins, in samples

	file  *os.File // nil: pcm is all
	sound *io.SectionReader
	buf   []byte // that pcm is in
}

// openCaptured opens a WAV file. An empty path says nothing.
func openCaptured(path string) (*captured, error) {
	if path == "" {
		return &captured{}, nil
	}
	file, sound, plain, err := openSound(path)
	if err != nil {
		return nil, err
	}
	if plain {
		return &captured{file: file, sound: sound, buf: make([]byte, readAhead)}, nil
	}
	file.Close()
	pcm, err := ReadWAV(path)
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	return &captured{pcm: pcm}, nil
}

// openSound finds the sound in a WAV file; plain is true where it is 48 kHz mono as this machine has it in memory.
func openSound(path string) (file *os.File, sound *io.SectionReader, plain bool, err error) {
	if file, err = os.Open(path); err != nil {
		return nil, nil, false, fmt.Errorf("capture: %w", err)
	}
	info, err := file.Stat()
	var f waveFormat
	var at, size int64
	if err == nil {
		f, at, size, err = findSound(file, info.Size())
	}
	if err != nil {
		file.Close()
		return nil, nil, false, fmt.Errorf("capture: %s: %w", path, err)
	}
	return file, io.NewSectionReader(file, at, size), f.plain() && f.rate == audio.SampleRate, nil
}

// readAhead is how much of a file is read at once, in bytes: half a second.
const readAhead = audio.SampleRate

// read copies what is said from the sample at on, and tells how many samples there were: fewer than wanted at the end.
func (c *captured) read(out []int16, at int64) (int, error) {
	if c.file != nil && (at < c.at || at+int64(len(out)) > c.at+int64(len(c.pcm))) {
		n, err := c.sound.ReadAt(c.buf, 2*at)
		if err != nil && err != io.EOF {
			return 0, err
		}
		c.pcm, c.at = samples(c.buf[:n]), at
	}
	return copy(out, c.pcm[min(at-c.at, int64(len(c.pcm))):]), nil
}

func (c *captured) close() {
	if c.file != nil {
		c.file.Close()
	}
}
