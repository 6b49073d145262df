// Package release makes and signs what devices update from: a directory that any static host can serve.
//
//	metadata/N.root.json     which keys sign what; each signed by the one before it too
//	metadata/timestamp.json  what is current; signed again every few days
//	metadata/N.BOARD.json    the releases of each board
//	targets/BOARD/...        images, and deltas between them
package release

import (
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"sidetone/ota/bundle"
	"sidetone/ota/delta"
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

// Keys of a role, and how many have to sign.
type Keys struct {
	Public    []ed25519.PublicKey
	Threshold int
}

// Root makes the next root: version 1 where there is none yet. It is signed by signers, who have to be enough for the root
// before it and for itself; more can sign the file later.
func (r Repository) Root(root, targets, timestamp Keys, expires time.Time, signers ...ed25519.PrivateKey) (version int64, err error) {
	version = 1
	if _, last, err := r.root(); err == nil {
		version = last.Version + 1
	} else if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	next := bundle.Root{
		Common: bundle.Common{Type: bundle.RootRole, Version: version, Expires: expires.UTC()},
		Keys:   map[string]ed25519.PublicKey{}, Roles: map[bundle.Role]bundle.Keys{},
	}
	for role, keys := range map[bundle.Role]Keys{bundle.RootRole: root, bundle.TargetsRole: targets, bundle.TimestampRole: timestamp} {
		ids := bundle.Keys{Threshold: keys.Threshold}
		for _, k := range keys.Public {
			next.Keys[bundle.KeyID(k)] = k
			ids.KeyIDs = append(ids.KeyIDs, bundle.KeyID(k))
		}
		next.Roles[role] = ids
	}
	if err := next.Check(); err != nil {
		return 0, err
	}
	_, err = r.sign(fmt.Sprintf("%d.root.json", version), next, signers)
	return version, err
}

// root reads the newest root.
func (r Repository) root() ([]byte, bundle.Root, error) {
	var newest []byte
	var root bundle.Root
	for n := 1; ; n++ {
		b, err := os.ReadFile(r.metadata(fmt.Sprintf("%d.root.json", n)))
		if errors.Is(err, fs.ErrNotExist) && n > 1 {
			return newest, root, nil
		}
		if err != nil {
			return nil, root, err
		}
		if err := payload(b, &root); err != nil {
			return nil, root, err
		}
		newest = b
	}
}

// First is the root that devices are built with: the first of all, from which they follow the others.
func (r Repository) First() ([]byte, error) { return os.ReadFile(r.metadata("1.root.json")) }

// Release describes a new image for a board.
type Release struct {
	Board          string
	Version        string   // as v1.2.3
	MinimumVersion string   // what has to run to take it, or empty
	Image          string   // path of the file
	From           []string // paths of older images that deltas are made from
	Summary, URL   string
	Expires        time.Time
}

// Add puts an image and its deltas below targets/, and signs what describes them. Devices see it after the next Stamp.
func (r Repository) Add(rel Release, signers ...ed25519.PrivateKey) (bundle.Targets, error) {
	t := bundle.Targets{
		Common: bundle.Common{Type: bundle.TargetsRole, Version: 1, Expires: rel.Expires.UTC()},
		Board:  rel.Board, Release: rel.Version, MinimumVersion: rel.MinimumVersion, Summary: rel.Summary, URL: rel.URL,
	}
	stamp, err := r.stamp()
	if err != nil {
		return t, err
	}
	if old, is := stamp.Targets[rel.Board]; is {
		t.Version = old.Version + 1
	}
	image, err := os.Open(rel.Image)
	if err != nil {
		return t, err
	}
	defer image.Close()
	name := path.Join(rel.Board, rel.Version+".img")
	if t.Image, err = bundle.Describe(name, image, r.chunk()); err != nil {
		return t, err
	}
	if err := r.copy(name, image); err != nil {
		return t, err
	}
	for _, from := range rel.From {
		d, err := r.delta(rel, from, image, t.Image.Size)
		if err != nil {
			return t, fmt.Errorf("the delta from %s: %w", from, err)
		}
		t.Deltas = append(t.Deltas, d)
	}
	if err := t.Check(); err != nil {
		return t, err
	}
	b, err := r.sign(fmt.Sprintf("%d.%s.json", t.Version, rel.Board), t, signers)
	if err != nil {
		return t, err
	}
	// What the next timestamp says is remembered beside the metadata, where no device looks.
	sum := sha256.Sum256(b)
	if stamp.Targets == nil {
		stamp.Targets = map[string]bundle.Meta{}
	}
	stamp.Targets[rel.Board] = bundle.Meta{Version: t.Version, Length: int64(len(b)), SHA256: sum[:]}
	next, err := json.Marshal(stamp.Targets)
	if err != nil {
		return t, err
	}
	return t, os.WriteFile(filepath.Join(r.Dir, "next.json"), next, 0o644)
}

func (r Repository) copy(name string, from *os.File) error {
	if _, err := from.Seek(0, 0); err != nil {
		return err
	}
	to, err := r.create(name)
	if err != nil {
		return err
	}
	_, err = to.ReadFrom(from)
	return errors.Join(err, to.Close())
}

func (r Repository) create(name string) (*os.File, error) {
	p := filepath.Join(r.Dir, "targets", filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		return nil, err
	}
	return os.Create(p)
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
	d := bundle.Delta{From: was.SHA256, Path: path.Join(rel.Board, rel.Version+"-from-"+hex.EncodeToString(was.SHA256[:6])+".delta")}
	to, err := r.create(d.Path)
	if err != nil {
		return d, err
	}
	err = delta.Make(to, old, was.Size, image, size, chunksPerSegment*r.chunk())
	if err := errors.Join(err, to.Close()); err != nil {
		return d, err
	}
	made, err := os.ReadFile(to.Name())
	if err != nil {
		return d, err
	}
	sum := sha256.Sum256(made)
	d.Size, d.SHA256 = int64(len(made)), sum[:]
	return d, nil
}

// Stamp signs the timestamp anew: what was added since is current, and all of it stays so until expires.
func (r Repository) Stamp(expires time.Time, signers ...ed25519.PrivateKey) error {
	stamp, err := r.stamp()
	if err != nil {
		return err
	}
	stamp.Type, stamp.Version, stamp.Expires = bundle.TimestampRole, stamp.Version+1, expires.UTC()
	_, err = r.sign("timestamp.json", stamp, signers)
	return err
}

// stamp reads the timestamp that is out, with what was added since in it.
func (r Repository) stamp() (bundle.Timestamp, error) {
	var stamp bundle.Timestamp
	b, err := os.ReadFile(r.metadata("timestamp.json"))
	if err == nil {
		err = payload(b, &stamp)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return stamp, err
	}
	b, err = os.ReadFile(filepath.Join(r.Dir, "next.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return stamp, nil
	}
	if err != nil {
		return stamp, err
	}
	return stamp, json.Unmarshal(b, &stamp.Targets)
}

func (r Repository) metadata(name string) string { return filepath.Join(r.Dir, "metadata", name) }

func (r Repository) sign(name string, metadata any, signers []ed25519.PrivateKey) ([]byte, error) {
	e, err := bundle.Sign(metadata, signers...)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(r.Dir, "metadata"), 0o755); err != nil {
		return nil, err
	}
	temp := r.metadata("." + name)
	if err := os.WriteFile(temp, b, 0o644); err != nil {
		return nil, err
	}
	return b, os.Rename(temp, r.metadata(name)) // a server shows the old file or the new one
}

// payload reads metadata of our own, which stands on our own disk.
func payload(b []byte, to any) error {
	var e bundle.Envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return err
	}
	return json.Unmarshal(e.Payload, to)
}
