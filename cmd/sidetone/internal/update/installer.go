package update

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"time"

	"sidetone/ota"
	"sidetone/ota/disk"
	"sidetone/ota/install"
	"sidetone/ota/slot"
)

// installer remembers besides what each slot was written with, since deltas are made from that.
type installer struct {
	*install.Installer
	slot    slot.Control
	images  images
	checked func(time.Time)
}

// Check implements ota.Installer.
func (i *installer) Check(ctx context.Context, forced bool) (*ota.Release, error) {
	r, err := i.Installer.Check(ctx, forced)
	if ctx.Err() == nil {
		i.checked(time.Now())
	}
	return r, err
}

// Fetch implements ota.Installer.
func (i *installer) Fetch(ctx context.Context, r ota.Release, offset int64, progress func(int64)) error {
	if err := i.images.set(i.slot, nil); err != nil {
		return err
	}
	i.Slot = hasty{i.slot, ctx}
	return i.Installer.Fetch(ctx, r, offset, progress)
}

// ReadBack implements ota.Installer.
func (i *installer) ReadBack(ctx context.Context, r ota.Release) error {
	i.Slot = hasty{i.slot, ctx}
	return i.Installer.ReadBack(ctx, r)
}

// WriteHead implements ota.Installer.
func (i *installer) WriteHead(ctx context.Context, r ota.Release) error {
	i.Slot = hasty{i.slot, ctx}
	if err := i.Installer.WriteHead(ctx, r); err != nil {
		return err
	}
	return i.images.set(i.slot, &image{r.SHA256, r.Size})
}

// hasty is boot control whose slot is not read any more once ctx ends: nobody waits for a hash when the device shuts down.
type hasty struct {
	slot.Control
	ctx context.Context
}

// Open implements slot.Control.
func (h hasty) Open() (slot.Device, error) {
	d, err := h.Control.Open()
	return hastyDevice{d, h.ctx}, err
}

type hastyDevice struct {
	slot.Device
	ctx context.Context
}

// ReadAt implements io.ReaderAt.
func (d hastyDevice) ReadAt(b []byte, at int64) (int, error) {
	if err := d.ctx.Err(); err != nil {
		return 0, err
	}
	return d.Device.ReadAt(b, at)
}

// old opens what runs. A slot that was not written by an update is taken for an image as large as itself.
func (i *installer) old() (io.ReaderAt, int64, []byte, error) {
	s, err := i.slot.Status()
	if err != nil {
		return nil, 0, nil, err
	}
	f, err := disk.OS.Open(path(i.slot, s.Running), 0, 0)
	if err != nil {
		return nil, 0, nil, err
	}
	known, err := i.images.of(s.Running)
	if err == nil {
		var sum []byte
		if sum, err = hex.DecodeString(known.SHA256); err == nil && len(sum) == sha256.Size {
			return f, known.Size, sum, nil
		}
	}
	h := sha256.New()
	size, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<62))
	if err != nil {
		return nil, 0, nil, errors.Join(err, f.Close())
	}
	return f, size, h.Sum(nil), nil
}

// path is where a slot's contents are.
func path(c slot.Control, name string) string {
	switch c := c.(type) {
	case slot.Tryboot:
		return c.Partition(name)
	case slot.UBoot:
		return c.Path(name)
	case slot.Binary:
		return filepath.Join(c.Dir, name, c.Program)
	}
	return ""
}

// image is what a slot was written with.
type image struct {
	SHA256 string `json:"sha256"` // hex
	Size   int64  `json:"size"`   // bytes
}

// images is what is known of the slots, on disk.
type images struct{ file disk.Record }

func (i images) of(name string) (image, error) {
	all := map[string]image{}
	_, err := read(i.file, &all)
	return all[name], err
}

// set notes what the slot that does not run holds; nil: nobody knows.
func (i images) set(c slot.Control, to *image) error {
	s, err := c.Status()
	if err != nil {
		return err
	}
	all := map[string]image{}
	if _, err := read(i.file, &all); err != nil {
		clear(all) // spoilt: it is but a saving of bytes
	}
	if delete(all, s.Other); to != nil {
		all[s.Other] = *to
	}
	return write(i.file, all)
}

// read decodes a record, if there is one.
func read(file disk.Record, to any) (is bool, err error) {
	b, err := file.Load()
	if err != nil || b == nil {
		return false, err
	}
	return true, json.Unmarshal(b, to)
}

func write(file disk.Record, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return file.Save(b)
}
