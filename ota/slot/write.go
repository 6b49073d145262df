package slot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Head is how much of a slot's begin is written last of all: without it nothing boots from a slot.
const Head = 1 << 20

// Writer writes an image into a slot so that what could boot is whole, whenever the power goes:
//
//	Begin     the head is zeroed and synced
//	Write     all that follows the head, in order; Sync from time to time
//	Verify    the body is read back from the disk and compared
//	Finish    the head is written, synced, and the whole image read back and compared
//
// The hash of the body does not survive a cut: Verify reads it anew.
type Writer struct {
	dev  Device
	size int64 // of the image
}

// ErrTooSmall says that a slot has no room for an image.
var ErrTooSmall = errors.New("the image does not fit")

// NewWriter writes an image of size bytes. A slot that is too small is ErrTooSmall.
func NewWriter(dev Device, size int64) (*Writer, error) {
	room, err := dev.Size()
	if err != nil {
		return nil, err
	}
	if size > room {
		return nil, fmt.Errorf("%w: it has %d bytes, the slot only %d", ErrTooSmall, size, room)
	}
	return &Writer{dev: dev, size: size}, nil
}

// Begin makes sure that the slot cannot boot.
func (w *Writer) Begin() error {
	if f, is := w.dev.(interface{ Resize(size int64) error }); is { // a file of its own
		if err := f.Resize(w.size); err != nil {
			return err
		}
	}
	if _, err := w.dev.WriteAt(make([]byte, min(Head, w.size)), 0); err != nil {
		return fmt.Errorf("zeroing the slot's head: %w", err)
	}
	return w.dev.Sync()
}

// WriteAt writes a part of the body, which has been verified. What would lie in the head is left out: it is for Finish.
func (w *Writer) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > w.size {
		return 0, fmt.Errorf("bytes %d to %d of an image of %d", off, off+int64(len(p)), w.size)
	}
	skip := int(min(max(0, Head-off), int64(len(p))))
	if skip == len(p) {
		return len(p), nil
	}
	n, err := w.dev.WriteAt(p[skip:], off+int64(skip))
	return skip + n, err
}

// Sync has all that was written on the disk when it returns.
func (w *Writer) Sync() error { return w.dev.Sync() }

// Verify reads the body back from the disk, and compares it, with head before it, to the SHA-256 of the whole image.
func (w *Writer) Verify(ctx context.Context, head []byte, sum []byte) error {
	if int64(len(head)) != min(Head, w.size) {
		return fmt.Errorf("a head of %d bytes", len(head))
	}
	h := sha256.New()
	h.Write(head)
	return w.compare(ctx, h, int64(len(head)), sum)
}

// Finish writes the head, and compares the whole to its SHA-256. When that fails the head is zeroed again.
func (w *Writer) Finish(ctx context.Context, head []byte, sum []byte) error {
	if err := w.Verify(ctx, head, sum); err != nil {
		return err
	}
	_, err := w.dev.WriteAt(head, 0)
	if err == nil {
		err = w.dev.Sync()
	}
	if err == nil {
		err = w.compare(ctx, sha256.New(), 0, sum)
	}
	if err != nil {
		_ = w.Begin() // it cannot be trusted, and the error that counts is the first
	}
	return err
}

// compare hashes the slot from a byte on to the image's end, and compares.
func (w *Writer) compare(ctx context.Context, h hash.Hash, from int64, sum []byte) error {
	if err := w.dev.DropCache(); err != nil {
		return err
	}
	if err := Hash(ctx, h, w.dev, from, w.size); err != nil {
		return fmt.Errorf("reading the slot back: %w", err)
	}
	if got := h.Sum(nil); !bytes.Equal(got, sum) {
		return fmt.Errorf("the slot holds something else than was written: SHA-256 %x, want %x", got, sum)
	}
	return nil
}

// Hash adds the bytes of a slot from one place to another to a hash; a slot that ends before that is io.EOF. It ends with
// ctx: nobody waits for it when the device shuts down.
func Hash(ctx context.Context, h hash.Hash, d io.ReaderAt, from, to int64) error {
	_, err := io.CopyN(h, reader{io.NewSectionReader(d, from, to-from), ctx}, to-from)
	return err
}

type reader struct {
	io.Reader
	ctx context.Context
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
