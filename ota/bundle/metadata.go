package bundle

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/mod/semver"
)

// Role is what a key may sign. (TUF specification, section 2.1.)
type Role string

// Roles.
const (
	RootRole      Role = "root"
	TimestampRole Role = "timestamp"
	TargetsRole   Role = "targets"
)

// Reasons to refuse metadata. None of them changes anything on the device.
var (
	ErrSignature = errors.New("not signed as it must be")
	ErrExpired   = errors.New("expired")
	ErrRollback  = errors.New("older than what was seen before")
	ErrMismatch  = errors.New("not what the metadata above it says")
	ErrBoard     = errors.New("for another board")
	ErrDowngrade = errors.New("older than what runs")
)

// Common opens every kind of metadata.
type Common struct {
	Type    Role      `json:"_type"`
	Version int64     `json:"version"` // grows with each that is signed
	Expires time.Time `json:"expires"`
}

func (c Common) checkAs(want Role) error {
	switch {
	case c.Type != want:
		return fmt.Errorf("%w: it is %q", ErrMismatch, c.Type)
	case c.Version < 1:
		return fmt.Errorf("version: %d", c.Version)
	}
	return nil
}

// Root says which keys sign what. It is signed by the root keys, which live offline.
type Root struct {
	Common
	Keys  map[string]ed25519.PublicKey `json:"keys"` // by KeyID
	Roles map[Role]Keys                `json:"roles"`
}

// Keys are those of a role, and how many of them have to sign.
type Keys struct {
	KeyIDs    []string `json:"keyids"`
	Threshold int      `json:"threshold"`
}

// Has says whether the key of that name is one of them.
func (k Keys) Has(id string) bool { return slices.Contains(k.KeyIDs, id) }

// Check says what makes the root useless, whoever signed it.
func (r *Root) Check() error {
	if err := r.Common.checkAs(RootRole); err != nil {
		return err
	}
	for id, key := range r.Keys {
		if len(key) != ed25519.PublicKeySize || KeyID(key) != id {
			return fmt.Errorf("keys: %s is not the name of its key", id)
		}
	}
	for _, role := range []Role{RootRole, TimestampRole, TargetsRole} {
		keys := r.Roles[role]
		ids := slices.Compact(slices.Sorted(slices.Values(keys.KeyIDs)))
		ids = slices.DeleteFunc(ids, func(id string) bool { return r.Keys[id] == nil })
		if keys.Threshold < 1 || keys.Threshold > len(ids) {
			return fmt.Errorf("roles: %s needs %d of %d keys", role, keys.Threshold, len(ids))
		}
	}
	return nil
}

// Timestamp says which targets file of each board is current. It expires within days.
type Timestamp struct {
	Common
	Targets map[string]Meta `json:"targets"` // by board
}

// Meta describes another file of metadata.
type Meta struct {
	Version int64   `json:"version"`
	Length  int64   `json:"length"` // bytes
	SHA256  []byte  `json:"sha256"`
	Share   float64 `json:"share"` // of the fleet, 0 to 1: who the release is offered to
}

// Targets is the release for a board: the manifest of an update.
type Targets struct {
	Common
	Board          string  `json:"board"`
	Release        string  `json:"release"`         // semantic version, as v1.2.3
	MinimumVersion string  `json:"minimum_version"` // what has to run to take it, or empty
	Image          Image   `json:"image"`
	Deltas         []Delta `json:"deltas,omitempty"`
	Summary        string  `json:"summary,omitempty"` // for people, a line
	URL            string  `json:"url,omitempty"`     // where people read more

	// Share of the fleet that it is offered to, 0 to 1, as the timestamp says. It stands there, so that a roll-out goes on
	// and stops without the key that signs releases, and Version, which gives a condemned release another chance, stays.
	Share float64 `json:"-"`
}

// Image is the whole of a slot. Its chunks are all of one size but for the last.
type Image struct {
	Path      string   `json:"path"`       // below the server's URL
	Size      int64    `json:"size"`       // bytes
	SHA256    []byte   `json:"sha256"`     // of the whole
	ChunkSize int64    `json:"chunk_size"` // bytes
	Chunks    [][]byte `json:"chunks"`     // SHA-256 of each
}

// Delta makes the image out of another that a device may have.
type Delta struct {
	From     []byte `json:"from"`      // SHA-256 of that image
	FromSize int64  `json:"from_size"` // bytes of that image
	Path     string `json:"path"`      // below the server's URL
	Size     int64  `json:"size"`      // bytes
	SHA256   []byte `json:"sha256"`    // of the delta
}

// Bounds of what is taken: nothing that a server says makes a device run out of memory.
const (
	maxMetadata = 4 << 20  // bytes of one file
	minChunk    = 64 << 10 // bytes
	maxChunk    = 8 << 20
	maxImage    = 16 << 30
)

// Check says what makes the release useless, whoever signed it.
func (t *Targets) Check() error {
	if err := t.Common.checkAs(TargetsRole); err != nil {
		return err
	}
	if !semver.IsValid(t.Release) {
		return fmt.Errorf("release: %q is no version like v1.2.3", t.Release)
	}
	if t.MinimumVersion != "" && !semver.IsValid(t.MinimumVersion) {
		return fmt.Errorf("minimum_version: %q is no version like v1.2.3", t.MinimumVersion)
	}
	i := t.Image
	switch {
	case !safePath(i.Path):
		return fmt.Errorf("image: path %q", i.Path)
	case i.Size < 1 || i.Size > maxImage || len(i.SHA256) != sha256.Size:
		return fmt.Errorf("image: %d bytes, a hash of %d", i.Size, len(i.SHA256))
	case i.ChunkSize < minChunk || i.ChunkSize > maxChunk:
		return fmt.Errorf("image: chunks of %d bytes, want %d to %d", i.ChunkSize, minChunk, maxChunk)
	case int64(len(i.Chunks)) != (i.Size+i.ChunkSize-1)/i.ChunkSize:
		return fmt.Errorf("image: %d chunks of %d bytes are not %d bytes", len(i.Chunks), i.ChunkSize, i.Size)
	}
	for n, sum := range i.Chunks {
		if len(sum) != sha256.Size {
			return fmt.Errorf("image: chunk %d has a hash of %d bytes", n, len(sum))
		}
	}
	for n, d := range t.Deltas {
		if !safePath(d.Path) || len(d.From) != sha256.Size || len(d.SHA256) != sha256.Size ||
			d.Size < 1 || d.Size > i.Size || d.FromSize < 1 || d.FromSize > maxImage {
			return fmt.Errorf("deltas: number %d is none", n)
		}
	}
	return nil
}

// safePath says whether a path stays below where it begins.
func safePath(p string) bool {
	if p == "" {
		return false
	}
	for _, c := range p {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' || c == '/' || c == '+') {
			return false
		}
	}
	return fs.ValidPath(p)
}

// Chunk gives where the n-th chunk lies, and its size.
func (i Image) Chunk(n int) (offset, size int64) {
	offset = int64(n) * i.ChunkSize
	return offset, min(i.ChunkSize, i.Size-offset)
}

// CheckChunk compares a chunk that came with its hash.
func (i Image) CheckChunk(n int, b []byte) error {
	sum := sha256.Sum256(b)
	if _, size := i.Chunk(n); int64(len(b)) != size || !slices.Equal(sum[:], i.Chunks[n]) {
		return fmt.Errorf("%w: chunk %d of the image", ErrMismatch, n)
	}
	return nil
}

// Describe reads an image and makes its description.
func Describe(path string, r io.Reader, chunkSize int64) (Image, error) {
	i := Image{Path: path, ChunkSize: chunkSize}
	whole := sha256.New()
	b := make([]byte, chunkSize)
	for {
		n, err := io.ReadFull(r, b)
		if n > 0 {
			sum := sha256.Sum256(b[:n])
			i.Chunks, i.Size = append(i.Chunks, sum[:]), i.Size+int64(n)
			whole.Write(b[:n])
		}
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			i.SHA256 = whole.Sum(nil)
			return i, nil
		}
		if err != nil {
			return i, err
		}
	}
}
