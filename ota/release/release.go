// Package release makes and signs what devices update from: a directory that any static host can serve.
//
//	metadata/N.root.json     which keys sign what; each signed by the one before it too
//	metadata/timestamp.json  what is current; signed again every few days
//	metadata/N.BOARD.json    the releases of each board
//	targets/BOARD/...        images, and deltas between them
package release

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"time"

	"sidetone/ota/bundle"
	"sidetone/ota/delta"
	"sidetone/ota/disk"
)

// What releases are verified by and deltas are made of, where nothing else is asked for.
const (
	defaultChunk     = 256 << 10 // bytes
	chunksPerSegment = 16
)

// Repository is a directory with metadata and targets.
type Repository struct {
	Dir       string
	ChunkSize int64 // bytes that are verified, fetched again and kept at once; 0: 256 KiB. A delta's segments have 16 times as much
}

func (r Repository) chunk() int64 { return cmp.Or(r.ChunkSize, defaultChunk) }

// Release describes a new image for a board.
type Release struct {
	Board          string
	Version        string   // as v1.2.3
	MinimumVersion string   // what has to run to take it, or empty
	Image          string   // path of the file
	From           []string // paths of older images that deltas are made from, where that saves something
	Summary, URL   string
	Expires        time.Time
}

// Add puts an image and its deltas below targets/, and what describes them beside the metadata of older releases, signed by
// those signers that the root names for releases. Devices see it after the next Stamp that finds enough signatures.
func (r Repository) Add(rel Release, signers ...ed25519.PrivateKey) (t bundle.Targets, file string, err error) {
	if !targetsFile.MatchString(targetsName(1, rel.Board)) || rel.Board == string(bundle.RootRole) {
		return t, "", fmt.Errorf("board %q: names of boards have small letters, digits and hyphens", rel.Board)
	}
	unlock, err := r.lock()
	if err != nil {
		return t, "", err
	}
	defer unlock()
	root, err := r.CurrentRoot()
	if err != nil {
		return t, "", err
	}
	if signers, err = signersOf(root, bundle.TargetsRole, signers); err != nil {
		return t, "", err
	}
	boards, err := r.boards()
	if err != nil {
		return t, "", err
	}
	t = bundle.Targets{
		Common: bundle.Common{Type: bundle.TargetsRole, Version: 1, Expires: rel.Expires.UTC()},
		Board:  rel.Board, Release: rel.Version, MinimumVersion: rel.MinimumVersion, Summary: rel.Summary, URL: rel.URL,
	}
	if old := boards[rel.Board]; len(old) > 0 {
		t.Version = old[len(old)-1] + 1
	}
	image, err := os.Open(rel.Image)
	if err != nil {
		return t, "", err
	}
	defer image.Close()
	name := path.Join(rel.Board, rel.Version+".img")
	if t.Image, err = bundle.Describe(name, image, r.chunk()); err != nil {
		return t, "", err
	}
	if err := t.Check(); err != nil { // before the compression, which takes its time
		return t, "", err
	}
	if err := r.keep(t.Image, image); err != nil {
		return t, "", err
	}
	for _, from := range rel.From {
		d, err := r.delta(rel, from, image, t.Image.Size)
		if err != nil {
			return t, "", fmt.Errorf("the delta from %s: %w", from, err)
		}
		if d.Size >= t.Image.Size { // it saves nothing
			if err := os.Remove(filepath.Join(r.Dir, "targets", filepath.FromSlash(d.Path))); err != nil {
				return t, "", err
			}
			continue
		}
		t.Deltas = append(t.Deltas, d)
	}
	if err := t.Check(); err != nil {
		return t, "", err
	}
	e, err := bundle.Sign(t, signers...)
	if err != nil {
		return t, "", err
	}
	file = r.metadata(targetsName(t.Version, rel.Board))
	return t, file, write(file, e)
}

// put writes a file below targets/, which is there whole or not at all.
func (r Repository) put(name string, fill func(*os.File) error) (path string, err error) {
	path = filepath.Join(r.Dir, "targets", filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	f, err := os.Create(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)))
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(fill(f), f.Sync(), f.Close()); err != nil {
		return "", err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return "", err
	}
	return path, disk.OS.SyncDir(filepath.Dir(path))
}

// keep puts an image below targets/. One that is there never changes: devices may be reading it.
func (r Repository) keep(i bundle.Image, from *os.File) error {
	there, err := os.Open(filepath.Join(r.Dir, "targets", filepath.FromSlash(i.Path)))
	if err == nil {
		defer there.Close()
		was, err := bundle.Describe(i.Path, there, i.ChunkSize)
		if err == nil && !bytes.Equal(was.SHA256, i.SHA256) {
			err = fmt.Errorf("%s is there already, and is another image: a release never changes, give this one another version", there.Name())
		}
		return err
	}
	_, err = r.put(i.Path, func(to *os.File) error {
		if _, err := from.Seek(0, 0); err != nil {
			return err
		}
		_, err := to.ReadFrom(from)
		return err
	})
	return err
}

func (r Repository) delta(rel Release, from string, image *os.File, size int64) (bundle.Delta, error) {
	old, err := os.Open(from)
	if err != nil {
		return bundle.Delta{}, err
	}
	defer old.Close()
	was, err := bundle.Describe("old", old, r.chunk())
	if err != nil {
		return bundle.Delta{}, err
	}
	d := bundle.Delta{From: was.SHA256, FromSize: was.Size, Path: path.Join(rel.Board, rel.Version+"-from-"+hex.EncodeToString(was.SHA256[:6])+".delta")}
	file, err := r.put(d.Path, func(to *os.File) error {
		return delta.Make(to, old, was.Size, image, size, chunksPerSegment*r.chunk())
	})
	if err != nil {
		return d, err
	}
	made, err := os.ReadFile(file)
	if err != nil {
		return d, err
	}
	sum := sha256.Sum256(made)
	d.Size, d.SHA256 = int64(len(made)), sum[:]
	return d, nil
}
