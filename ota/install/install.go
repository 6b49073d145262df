// Package install brings a release from a server into a slot: metadata is verified before the first write, each chunk
// before it is written, the whole by reading it back. A download goes on at its byte; a delta is used where there is one.
package install

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"sidetone/ota"
	"sidetone/ota/bundle"
	"sidetone/ota/delta"
	"sidetone/ota/disk"
	"sidetone/ota/slot"
)

// Source is where releases come from.
type Source interface {
	Metadata(ctx context.Context, name string, limit int64) ([]byte, error) // fs.ErrNotExist where there is none
	Open(ctx context.Context, path string, from int64) (io.ReadCloser, error)
}

// Installer implements ota.Installer for one board. Its methods are called one at a time.
type Installer struct {
	Source  Source
	Board   string
	Device  string // its name in the fleet: whether a roll-out has come to it depends on it
	Running string // version that runs, as v1.2.3
	Slot    slot.Control
	Trust   func() (bundle.Trust, error) // as it was saved last, or the built-in root
	Save    func(bundle.Trust) error     // on the disk when it returns
	Head    string                       // path of a file on the data partition for the image's head
	FS      disk.FS                      // where Head is; disk.OS if nil
	Now     func() time.Time             // may be early, never late
	Log     *slog.Logger

	// NeverFull is for links that are paid by the byte: without a delta that fits there is no update.
	NeverFull bool

	// Patience is how long a server that went away is waited for in one fetch, and Pause the first wait.
	Patience, Pause time.Duration

	targets *bundle.Targets // verified by the last Check
	Bytes   int64           // fetched of images and deltas
}

// Check implements ota.Installer.
func (i *Installer) Check(ctx context.Context, forced bool) (*ota.Release, error) {
	i.targets = nil
	trust, err := i.Trust()
	if err != nil {
		return nil, err
	}
	fetch := func(name string, limit int64) ([]byte, error) { return i.Source.Metadata(ctx, name, limit) }
	targets, seen, err := trust.Refresh(fetch, i.Board, i.Now())
	if err == nil || !bytes.Equal(seen.Root, trust.Root) {
		err = errors.Join(err, i.Save(seen))
	}
	if err != nil {
		return nil, err
	}
	if targets == nil {
		return nil, nil
	}
	switch err := targets.Offers(i.Running); {
	case errors.Is(err, bundle.ErrCurrent):
		return nil, nil
	case errors.Is(err, bundle.ErrDowngrade):
		return nil, ota.Permanent{Err: err}
	case err != nil: // a version in between is missing: if that is what the slot holds, it serves
		return nil, err
	case !forced && !targets.Includes(i.Device):
		return nil, nil
	}
	i.targets = targets
	return &ota.Release{Version: targets.Release, Serial: targets.Version, SHA256: hex.EncodeToString(targets.Image.SHA256), Size: targets.Image.Size,
		Summary: targets.Summary, URL: targets.URL}, nil
}

// image is what the last Check has verified, if it is the release.
func (i *Installer) image(r ota.Release) (bundle.Image, error) {
	if i.targets == nil || hex.EncodeToString(i.targets.Image.SHA256) != r.SHA256 {
		return bundle.Image{}, errors.New("the release has not been verified since the start")
	}
	return i.targets.Image, nil
}

// write opens the other slot for a release.
func (i *Installer) write(r ota.Release, do func(bundle.Image, *slot.Writer) error) error {
	image, err := i.image(r)
	if err != nil {
		return err
	}
	dev, err := i.Slot.Open()
	if err != nil {
		return err
	}
	w, err := slot.NewWriter(dev, image.Size)
	if errors.Is(err, slot.ErrTooSmall) {
		err = ota.Permanent{Err: err}
	}
	if err != nil {
		return errors.Join(err, dev.Close())
	}
	return errors.Join(do(image, w), dev.Close())
}

// syncEvery is how many chunks are written before they are synced and told of: what a cut costs at most.
const syncEvery = 16

// Fetch implements ota.Installer.
func (i *Installer) Fetch(ctx context.Context, r ota.Release, offset int64, progress func(int64)) error {
	return i.write(r, func(image bundle.Image, w *slot.Writer) error {
		n := int(offset / image.ChunkSize) // a chunk that is half there comes again
		if offset == image.Size {
			n = len(image.Chunks)
		}
		if n == 0 || !i.hasHead(image, n) {
			n = 0
			if err := w.Begin(); err != nil {
				return err
			}
			if err := disk.Replace(disk.Or(i.FS), i.Head, nil, 0o600); err != nil {
				return err
			}
		}
		put := &chunks{image: image, next: n, synced: int64(n) * image.ChunkSize, write: func(at int64, b []byte) error {
			if err := i.keepHead(at, b); err != nil {
				return err
			}
			_, err := w.WriteAt(b, at)
			return err
		}, sync: w.Sync, progress: progress}
		if put.done() { // a cut came when all of it was there
			return nil
		}
		err := i.fetchDelta(ctx, put)
		switch {
		case err == nil || ctx.Err() != nil || errors.Is(err, errStore):
			return err
		case i.NeverFull:
			return fmt.Errorf("the whole image must not be fetched over this link: %w", err)
		case !errors.Is(err, errNoDelta):
			i.Log.Warn("the delta does not serve, the whole image is fetched", "err", err)
		}
		return i.fetchWhole(ctx, put)
	})
}

// chunks takes an image's bytes in order, and writes each chunk once it is verified.
type chunks struct {
	image    bundle.Image
	next     int   // chunk
	synced   int64 // bytes
	write    func(at int64, b []byte) error
	sync     func() error
	progress func(int64)
}

func (c *chunks) done() bool    { return c.next == len(c.image.Chunks) }
func (c *chunks) offset() int64 { return min(int64(c.next)*c.image.ChunkSize, c.image.Size) }

// put verifies and writes the next chunk.
func (c *chunks) put(b []byte) error {
	if err := c.image.CheckChunk(c.next, b); err != nil {
		return err
	}
	if err := c.write(c.offset(), b); err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	c.next++
	if at := c.offset(); at-c.synced >= syncEvery*c.image.ChunkSize || c.done() {
		if err := c.sync(); err != nil {
			return fmt.Errorf("%w: %w", errStore, err)
		}
		c.synced = at
		c.progress(at)
	}
	return nil
}

// errStore marks what the disk says, which no other try of the network mends.
var errStore = errors.New("writing the slot")

// patient reads on where it was as long as the server comes back.
func (i *Installer) patient(ctx context.Context, c *chunks, read func() error) error {
	wait, waited := i.Pause, time.Duration(0)
	for {
		before := c.next
		err := read()
		if c.next > before {
			wait, waited = i.Pause, 0
		}
		var permanent ota.Permanent
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errStore), errors.Is(err, errNoDelta), errors.As(err, &permanent), waited >= i.Patience:
			return err
		}
		i.Log.Info("the download broke off, it goes on", "offset", c.offset(), "in", wait, "err", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		waited += wait
		wait = min(2*wait, time.Minute)
	}
}

// fetchWhole fetches the image from the next chunk on. A chunk that is wrong is asked for once more, for that may be the
// line's fault.
func (i *Installer) fetchWhole(ctx context.Context, c *chunks) error {
	wrong := -1
	return i.patient(ctx, c, func() error {
		for {
			err := i.read(ctx, c)
			switch {
			case !errors.Is(err, bundle.ErrMismatch):
				return err
			case c.next == wrong:
				return ota.Permanent{Err: err}
			}
			wrong = c.next
			i.Log.Info("what was downloaded is wrong, it is asked for again", "offset", c.offset(), "err", err)
		}
	})
}

func (i *Installer) read(ctx context.Context, c *chunks) error {
	body, err := i.Source.Open(ctx, c.image.Path, c.offset())
	if err != nil {
		return err
	}
	defer body.Close()
	b := make([]byte, c.image.ChunkSize)
	for !c.done() {
		_, size := c.image.Chunk(c.next)
		n, err := io.ReadFull(body, b[:size])
		i.Bytes += int64(n)
		if err == nil {
			err = c.put(b[:size])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errNoDelta says that there is none from what runs, or none that serves.
var errNoDelta = errors.New("there is no delta from what runs")

// fetchDelta makes the image out of the one that runs, from the next chunk on.
func (i *Installer) fetchDelta(ctx context.Context, c *chunks) error {
	if len(i.targets.Deltas) == 0 {
		return errNoDelta
	}
	old, err := i.Slot.OpenRunning()
	if err != nil {
		return fmt.Errorf("the slot that runs: %w", err)
	}
	defer old.Close()
	d, err := deltaFrom(ctx, old, i.targets.Deltas)
	if err != nil {
		return err
	}
	return i.patient(ctx, c, func() error { return i.apply(ctx, c, d, old) })
}

// deltaFrom gives the delta that is made from what a slot holds. That is read, and not remembered: whoever wrote it, and
// whatever a power cut left, a delta is fetched only where it serves.
func deltaFrom(ctx context.Context, old io.ReaderAt, deltas []bundle.Delta) (bundle.Delta, error) {
	deltas = slices.SortedFunc(slices.Values(deltas), func(a, b bundle.Delta) int { return cmp.Compare(a.FromSize, b.FromSize) })
	h, at := sha256.New(), int64(0)
	for _, d := range deltas {
		switch err := slot.Hash(ctx, h, old, at, d.FromSize); {
		case err == io.EOF: // it is shorter
			return bundle.Delta{}, errNoDelta
		case err != nil:
			return bundle.Delta{}, fmt.Errorf("the slot that runs: %w", err)
		case bytes.Equal(d.From, h.Sum(nil)):
			return d, nil
		}
		at = d.FromSize
	}
	return bundle.Delta{}, errNoDelta
}

// apply reads a delta from the segment on that the next chunk begins in. What is wrong with the delta itself, and not with the
// way here or the slot, is errNoDelta.
func (i *Installer) apply(ctx context.Context, c *chunks, d bundle.Delta, old io.ReaderAt) error {
	body, err := i.Source.Open(ctx, d.Path, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errNoDelta, err)
	}
	if err != nil {
		return err
	}
	defer body.Close()
	counted := &counter{r: io.LimitReader(body, d.Size), n: &i.Bytes}
	wrong := func(err error) error {
		if counted.err != nil || errors.Is(err, errStore) {
			return err
		}
		return fmt.Errorf("%w: %w", errNoDelta, err)
	}
	h, err := delta.ReadHeader(counted, c.image.Size)
	if err != nil {
		return wrong(err)
	}
	first := int(c.offset() / h.Segment)
	if first > 0 {
		body.Close()
		rest, err := i.Source.Open(ctx, d.Path, h.Offset(first))
		if err != nil {
			return err
		}
		defer rest.Close()
		counted.r = io.LimitReader(rest, d.Size)
	}
	var pending []byte // of the image, from offset at on
	at := int64(first) * h.Segment
	for n := first; n < len(h.Frames); n++ {
		segment, err := h.Apply(n, old, d.FromSize, counted)
		if err != nil {
			return wrong(err)
		}
		pending = append(pending, segment...)
		if skip := c.offset() - at; skip > 0 && skip <= int64(len(pending)) { // chunks that are there already
			pending, at = pending[skip:], at+skip
		}
		for !c.done() && at == c.offset() {
			_, size := c.image.Chunk(c.next)
			if int64(len(pending)) < size {
				break
			}
			if err := c.put(pending[:size]); err != nil {
				return wrong(err)
			}
			pending, at = pending[size:], at+size
		}
	}
	if !c.done() {
		return fmt.Errorf("%w: it ends before the image does", errNoDelta)
	}
	return nil
}

// counter counts what comes from a server, and keeps what it broke off with.
type counter struct {
	r   io.Reader
	n   *int64
	err error
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	*c.n += int64(n)
	if err != io.EOF {
		c.err = err
	}
	return n, err
}

// ReadBack implements ota.Installer.
func (i *Installer) ReadBack(ctx context.Context, r ota.Release) error {
	return i.write(r, func(image bundle.Image, w *slot.Writer) error {
		head, err := disk.Or(i.FS).ReadFile(i.Head)
		if err != nil {
			return err
		}
		return w.Verify(ctx, head, image.SHA256)
	})
}

// WriteHead implements ota.Installer.
func (i *Installer) WriteHead(ctx context.Context, r ota.Release) error {
	return i.write(r, func(image bundle.Image, w *slot.Writer) error {
		head, err := disk.Or(i.FS).ReadFile(i.Head)
		if err != nil {
			return err
		}
		return w.Finish(ctx, head, image.SHA256)
	})
}

// keepHead puts aside what belongs to the image's head: it is written to the slot last of all.
func (i *Installer) keepHead(at int64, b []byte) error {
	if at >= slot.Head {
		return nil
	}
	f, err := disk.Or(i.FS).Open(i.Head, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b[:min(int64(len(b)), slot.Head-at)], at)
	return errors.Join(err, f.Sync(), f.Close())
}

// hasHead says whether the head's part of the first n chunks was put aside.
func (i *Installer) hasHead(image bundle.Image, n int) bool {
	head, err := disk.Or(i.FS).ReadFile(i.Head)
	if err != nil {
		return false
	}
	return int64(len(head)) >= min(slot.Head, int64(n)*image.ChunkSize, image.Size)
}
