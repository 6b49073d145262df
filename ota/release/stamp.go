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
	"sidetone/ota/disk"

	"golang.org/x/sys/unix"
)

// Offer says whom a release of a board is offered to.
type Offer struct {
	Share   float64 // of the fleet, 0 to 1
	Version int64   // of the metadata, which has to be what is out; 0: that of the newest release
}

// Stamp signs the timestamp anew: what was added since is current and offered to everybody, and all of it stays so until
// expires. Shares of the fleet stay as they are.
func (r Repository) Stamp(expires time.Time, signers ...ed25519.PrivateKey) error {
	_, err := r.stamp(nil, true, expires, signers)
	return err
}

// Offer signs the timestamp anew, with offers by board. For the other boards what is out stays out, as it is offered: nobody
// stamps by the clock what somebody has yet to offer. A release that devices would refuse, for its signatures or its age,
// stays out, and the one before it in; left says which, and why. For a board with an offer that is an error.
func (r Repository) Offer(offers map[string]Offer, expires time.Time, signers ...ed25519.PrivateKey) (left []error, err error) {
	return r.stamp(offers, false, expires, signers)
}

// ErrNotOffered is why a release is left that nobody has offered yet.
var ErrNotOffered = errors.New("nobody has said whom it is offered to")

func (r Repository) stamp(offers map[string]Offer, all bool, expires time.Time, signers []ed25519.PrivateKey) (left []error, err error) {
	unlock, err := r.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
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
	if !time.Now().Before(expires) {
		return nil, fmt.Errorf("%w on %s: devices would take nothing any more", bundle.ErrExpired, expires.Format(time.DateTime))
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
		offer, offered := offers[board]
		was := last.Targets[board]
		if offer.Version != 0 && offer.Version != was.Version {
			return left, fmt.Errorf("%s has another release for %s now", r.Dir, board)
		}
		for _, n := range slices.Backward(versions) {
			if offer.Version != 0 && n != offer.Version {
				continue
			}
			meta, err := r.describe(root, board, n)
			if err == nil && n > was.Version && !offered && !all {
				err = ErrNotOffered
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", r.metadata(targetsName(n, board)), err)
				if offered {
					return left, err
				}
				left = append(left, err)
				continue
			}
			if meta.Share = 1; offered {
				meta.Share = offer.Share
			} else if n == was.Version {
				meta.Share = was.Share
			}
			next.Targets[board] = meta
			break
		}
	}
	for board, offer := range offers {
		if _, is := next.Targets[board]; !is {
			return left, fmt.Errorf("%s has no release for board %q: it has them for %q", r.Dir, board, slices.Sorted(maps.Keys(next.Targets)))
		}
		if !(offer.Share >= 0 && offer.Share <= 1) {
			return left, fmt.Errorf("a share of %g: it is 0 to 1", offer.Share)
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
	return left, write(r.metadata("timestamp.json"), e)
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
	if len(keys) == 0 {
		return e, nil
	}
	for _, k := range keys {
		id := bundle.KeyID(k.Public().(ed25519.PublicKey))
		e.Signatures = slices.DeleteFunc(e.Signatures, func(s bundle.Signature) bool { return s.KeyID == id })
		e.Add(k)
	}
	return e, write(path, &e)
}

// write puts an envelope in place of what the file held: a server shows the old file or the new one.
func write(path string, e *bundle.Envelope) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return disk.Replace(disk.OS, path, b, 0o644)
}

// lock waits until nobody else changes the repository: what is signed follows from what is there.
func (r Repository) lock() (unlock func(), err error) {
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.Open(r.Dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		dir.Close()
		return nil, fmt.Errorf("locking %s: %w", r.Dir, err)
	}
	return func() { dir.Close() }, nil
}

// payload reads metadata of our own, which stands on our own disk.
func payload(b []byte, to any) error {
	var e bundle.Envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return err
	}
	return json.Unmarshal(e.Payload, to)
}
