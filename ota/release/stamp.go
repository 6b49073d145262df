package release

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"sidetone/ota/bundle"
)

// Stamp signs the timestamp anew: what was added since is current, and all of it stays so until expires. The shares of the
// fleet stay as they are; what is new is offered to everybody.
func (r Repository) Stamp(expires time.Time, signers ...ed25519.PrivateKey) error {
	_, err := r.Offer(nil, expires, signers...)
	return err
}

// Offer is Stamp, with shares of the fleet by board, 0 to 1: whom its newest release is offered to from now on. A release
// that devices would refuse, for its signatures or its age, stays out, and the one before it in; left says which, and why.
// For a board with a share that is an error.
func (r Repository) Offer(shares map[string]float64, expires time.Time, signers ...ed25519.PrivateKey) (left []error, err error) {
	root, err := r.CurrentRoot()
	if err != nil {
		return nil, err
	}
	if signers, err = signersOf(root, bundle.TimestampRole, signers); err != nil {
		return nil, err
	}
	last, err := r.Timestamp()
	if err != nil {
		return nil, err
	}
	next := bundle.Timestamp{
		Common:  bundle.Common{Type: bundle.TimestampRole, Version: last.Version + 1, Expires: expires.UTC()},
		Targets: map[string]bundle.Meta{},
	}
	boards, err := r.boards()
	if err != nil {
		return nil, err
	}
	for board, versions := range boards {
		for _, n := range slices.Backward(versions) {
			meta, err := r.describe(root, board, n)
			if err != nil {
				err = fmt.Errorf("%s: %w", r.metadata(targetsName(n, board)), err)
				if _, is := shares[board]; is {
					return left, err
				}
				left = append(left, err)
				continue
			}
			was, is := last.Targets[board]
			if meta.Share = 1; is && n == was.Version {
				meta.Share = was.Share
			}
			if share, is := shares[board]; is {
				meta.Share = share
			}
			next.Targets[board] = meta
			break
		}
	}
	for board, share := range shares {
		if _, is := next.Targets[board]; !is {
			return left, fmt.Errorf("%s has no release for board %q: it has them for %q", r.Dir, board, slices.Sorted(maps.Keys(next.Targets)))
		}
		if !(share >= 0 && share <= 1) {
			return left, fmt.Errorf("a share of %g: it is 0 to 1", share)
		}
	}
	e, err := bundle.Sign(next, signers...)
	if err != nil {
		return left, err
	}
	b, err := json.Marshal(e)
	if err == nil {
		err = bundle.Open(b, root, bundle.TimestampRole, &bundle.Timestamp{})
	}
	if err != nil {
		return left, fmt.Errorf("timestamp: %w", err)
	}
	_, err = write(r.metadata("timestamp.json"), e)
	return left, err
}

// Timestamp is the one that is out; without one it is the zero Timestamp.
func (r Repository) Timestamp() (bundle.Timestamp, error) {
	var stamp bundle.Timestamp
	b, err := os.ReadFile(r.metadata("timestamp.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return stamp, nil
	}
	if err != nil {
		return stamp, err
	}
	return stamp, payload(b, &stamp)
}

// Current is the release that the timestamp names for a board.
func (r Repository) Current(board string) (bundle.Targets, error) {
	var t bundle.Targets
	stamp, err := r.Timestamp()
	if err != nil {
		return t, err
	}
	meta, is := stamp.Targets[board]
	if !is {
		return t, fmt.Errorf("%s has no release for board %q: it has them for %q", r.Dir, board, slices.Sorted(maps.Keys(stamp.Targets)))
	}
	b, err := os.ReadFile(r.metadata(targetsName(meta.Version, board)))
	if err != nil {
		return t, err
	}
	t.Share = meta.Share
	return t, payload(b, &t)
}

// describe says what a device would take of a release that is there.
func (r Repository) describe(root *bundle.Root, board string, version int64) (bundle.Meta, error) {
	b, err := os.ReadFile(r.metadata(targetsName(version, board)))
	if err != nil {
		return bundle.Meta{}, err
	}
	sum := sha256.Sum256(b)
	meta := bundle.Meta{Version: version, Length: int64(len(b)), SHA256: sum[:]}
	var t bundle.Targets
	if err := bundle.Open(b, root, bundle.TargetsRole, &t); err != nil {
		return meta, err
	}
	if err := t.Check(); err != nil {
		return meta, err
	}
	switch {
	case t.Version != version || t.Board != board:
		return meta, fmt.Errorf("%w: it is version %d of %s", bundle.ErrMismatch, t.Version, t.Board)
	case !time.Now().Before(t.Expires):
		return meta, fmt.Errorf("%w on %s: release it once more", bundle.ErrExpired, t.Expires.Format(time.DateOnly))
	}
	return meta, nil
}

func targetsName(version int64, board string) string {
	return fmt.Sprintf("%d.%s.json", version, board)
}

var targetsFile = regexp.MustCompile(`^([1-9][0-9]*)\.([a-z0-9-]+)\.json$`)

// boards gives the versions of targets that are there, by board, the newest last.
func (r Repository) boards() (map[string][]int64, error) {
	files, err := os.ReadDir(r.metadata(""))
	if err != nil {
		return nil, err
	}
	all := map[string][]int64{}
	for _, f := range files {
		m := targetsFile.FindStringSubmatch(f.Name())
		if m == nil || m[2] == string(bundle.RootRole) {
			continue
		}
		if n, err := strconv.ParseInt(m[1], 10, 64); err == nil {
			all[m[2]] = append(all[m[2]], n)
		}
	}
	for _, versions := range all {
		slices.Sort(versions)
	}
	return all, nil
}

func (r Repository) metadata(name string) string { return filepath.Join(r.Dir, "metadata", name) }

// Sign adds signatures to a file of metadata, which may be on a machine that has nothing else of the repository. Who has
// signed it already does so no second time.
func Sign(path string, keys ...ed25519.PrivateKey) (bundle.Envelope, error) {
	var e bundle.Envelope
	b, err := os.ReadFile(path)
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(b, &e); err != nil || len(e.Payload) == 0 {
		return e, fmt.Errorf("%s is no metadata", path)
	}
	for _, k := range keys {
		id := bundle.KeyID(k.Public().(ed25519.PublicKey))
		e.Signatures = slices.DeleteFunc(e.Signatures, func(s bundle.Signature) bool { return s.KeyID == id })
		e.Add(k)
	}
	_, err = write(path, &e)
	return e, err
}

// write puts an envelope in place of what the file held: a server shows the old file or the new one.
func write(path string, e *bundle.Envelope) ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(temp, b, 0o644); err != nil {
		return nil, err
	}
	return b, os.Rename(temp, path)
}

// payload reads metadata of our own, which stands on our own disk.
func payload(b []byte, to any) error {
	var e bundle.Envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return err
	}
	return json.Unmarshal(e.Payload, to)
}
