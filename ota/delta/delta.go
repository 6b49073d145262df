// Package delta makes an image out of another: the new image is cut into segments, and each is compressed with zstd that
// has the old image around the same place as its dictionary. For programs and file systems that were built anew this needs
// a small part of the whole, where chunks that are found by content gain nothing.
//
// A delta begins with a header, all numbers little endian: the 8 bytes of Magic, the size of the new image (8 bytes), the
// size of a segment (4), and for each segment the size of its zstd frame (4). The frames follow. So a download can go on
// at any segment.
package delta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Magic begins every delta.
const Magic = "SDTNDLT1"

// maxSegment bounds what Apply takes, whoever made it.
const maxSegment = 8 << 20

// fixed part of the header
const headerSize = len(Magic) + 8 + 4

// dictionary says which part of the old image a segment is compressed with: its own place, and a segment to each side.
func dictionary(n int, segment, oldSize int64) (from, to int64) {
	at := int64(n) * segment
	return min(max(0, at-segment), oldSize), min(at+2*segment, oldSize)
}

// Make writes the delta from the old to the new image, in segments of so many bytes: applying one takes about six times as
// much memory.
func Make(w io.Writer, old io.ReaderAt, oldSize int64, image io.ReaderAt, size, segment int64) error {
	count := int((size + segment - 1) / segment)
	header := append([]byte(Magic), make([]byte, 12)...)
	binary.LittleEndian.PutUint64(header[len(Magic):], uint64(size))
	binary.LittleEndian.PutUint32(header[len(Magic)+8:], uint32(segment))
	var frames []byte
	for n := range count {
		part := make([]byte, min(segment, size-int64(n)*segment))
		if _, err := image.ReadAt(part, int64(n)*segment); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		dict, err := readDict(old, n, segment, oldSize)
		if err != nil {
			return err
		}
		options := []zstd.EOption{zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(int(4 * segment))}
		if len(dict) > 0 {
			options = append(options, zstd.WithEncoderDictRaw(0, dict))
		}
		e, err := zstd.NewWriter(nil, options...)
		if err != nil {
			return err
		}
		frame := e.EncodeAll(part, nil)
		header = binary.LittleEndian.AppendUint32(header, uint32(len(frame)))
		frames = append(frames, frame...)
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	_, err := w.Write(frames)
	return err
}

func readDict(old io.ReaderAt, n int, segment, oldSize int64) ([]byte, error) {
	from, to := dictionary(n, segment, oldSize)
	dict := make([]byte, to-from)
	if _, err := old.ReadAt(dict, from); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the old image: %w", err)
	}
	return dict, nil
}

// Header is what a delta says of itself.
type Header struct {
	Size    int64   // of the new image, bytes
	Segment int64   // bytes
	Frames  []int64 // size of each, bytes
}

// ReadHeader reads the begin of a delta that makes an image of so many bytes. It takes no more memory than that is worth,
// whoever wrote it.
func ReadHeader(r io.Reader, image int64) (Header, error) {
	b := make([]byte, headerSize)
	if _, err := io.ReadFull(r, b); err != nil {
		return Header{}, fmt.Errorf("delta: %w", err)
	}
	if string(b[:len(Magic)]) != Magic {
		return Header{}, errors.New("delta: it does not begin as one")
	}
	size, segment := binary.LittleEndian.Uint64(b[len(Magic):]), int64(binary.LittleEndian.Uint32(b[len(Magic)+8:]))
	if size != uint64(image) || segment < 1<<10 || segment > maxSegment {
		return Header{}, fmt.Errorf("delta: segments of %d bytes for an image of %d, which has %d", segment, size, image)
	}
	h := Header{Size: image, Segment: segment}
	count := (h.Size + segment - 1) / segment
	for range count {
		if _, err := io.ReadFull(r, b[:4]); err != nil {
			return Header{}, fmt.Errorf("delta: %w", err)
		}
		frame := int64(binary.LittleEndian.Uint32(b))
		if frame < 1 || frame > 2*segment {
			return Header{}, fmt.Errorf("delta: a frame of %d bytes", frame)
		}
		h.Frames = append(h.Frames, frame)
	}
	return h, nil
}

// Offset of the frame of segment n in the delta, in bytes.
func (h Header) Offset(n int) int64 {
	at := int64(headerSize + 4*len(h.Frames))
	for _, frame := range h.Frames[:n] {
		at += frame
	}
	return at
}

// Apply makes segment n of the new image; r stands at its frame. What comes out is not to be trusted before its hash has
// been compared: any old image and any frame give something, or an error.
func (h Header) Apply(n int, old io.ReaderAt, oldSize int64, r io.Reader) ([]byte, error) {
	frame := make([]byte, h.Frames[n])
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, fmt.Errorf("delta: %w", err)
	}
	dict, err := readDict(old, n, h.Segment, oldSize)
	if err != nil {
		return nil, err
	}
	size := min(h.Segment, h.Size-int64(n)*h.Segment)
	options := []zstd.DOption{zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(uint64(h.Segment)), zstd.WithDecoderMaxWindow(32 << 20)}
	if len(dict) > 0 {
		options = append(options, zstd.WithDecoderDictRaw(0, dict))
	}
	d, err := zstd.NewReader(nil, options...)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	segment, err := d.DecodeAll(frame, make([]byte, 0, size))
	if err != nil {
		return nil, fmt.Errorf("delta: segment %d: %w", n, err)
	}
	if int64(len(segment)) != size {
		return nil, fmt.Errorf("delta: segment %d has %d bytes, want %d", n, len(segment), size)
	}
	return segment, nil
}
