package bundle

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/mod/semver"
)

// Trust is what a device remembers of the metadata it has seen, so that nobody shows it older ones. It is written to disk
// as JSON after each Refresh that succeeds, and holds no secret.
type Trust struct {
	Root      []byte           `json:"root"`                // the envelope of the newest root; at first the one built in
	Timestamp int64            `json:"timestamp,omitempty"` // version
	Targets   map[string]int64 `json:"targets,omitempty"`   // versions by board
}

// Fetcher gets a file of metadata by name, at most so many bytes of it. A file that is not there is fs.ErrNotExist.
type Fetcher func(name string, limit int64) ([]byte, error)

// maxRotations is how many new roots are followed in one go. (TUF specification, section 5.3.3 and following.)
const maxRotations = 64

// Refresh fetches and verifies metadata in the order of the TUF specification, section 5.3: roots, timestamp, targets.
// It gives the release for the board, and what to remember from now on: with an error, too, for a root that was verified
// counts whatever comes after it (5.3.8). t itself does not change. now may be early, never late: a device without a clock
// takes the newest time it knows of.
func (t Trust) Refresh(fetch Fetcher, board string, now time.Time) (*Targets, Trust, error) {
	root, seen, err := t.root(fetch)
	if err != nil {
		return nil, seen, fmt.Errorf("root: %w", err)
	}
	if !now.Before(root.Expires) {
		return nil, seen, fmt.Errorf("root: %w on %s", ErrExpired, root.Expires.Format(time.DateOnly))
	}

	var stamp Timestamp
	b, err := fetch("timestamp.json", maxMetadata)
	if err == nil {
		err = Open(b, root, TimestampRole, &stamp)
	}
	if err == nil {
		err = stamp.checkAs(TimestampRole)
	}
	switch {
	case err != nil:
		return nil, seen, fmt.Errorf("timestamp: %w", err)
	case stamp.Version < seen.Timestamp:
		return nil, seen, fmt.Errorf("timestamp: %w: version %d, seen %d", ErrRollback, stamp.Version, seen.Timestamp)
	case !now.Before(stamp.Expires):
		return nil, seen, fmt.Errorf("timestamp: %w on %s: the server shows old news", ErrExpired, stamp.Expires.Format(time.DateTime))
	}
	next := seen
	next.Timestamp = stamp.Version

	meta, is := stamp.Targets[board]
	if !is {
		return nil, next, nil // no release for this board
	}
	targets, err := readTargets(fetch, root, board, meta)
	switch {
	case err != nil:
		return nil, seen, fmt.Errorf("targets of %s: %w", board, err)
	case targets.Version < seen.Targets[board]:
		return nil, seen, fmt.Errorf("targets of %s: %w: version %d, seen %d", board, ErrRollback, targets.Version, seen.Targets[board])
	case !now.Before(targets.Expires):
		return nil, seen, fmt.Errorf("targets of %s: %w on %s", board, ErrExpired, targets.Expires.Format(time.DateOnly))
	}
	next.Targets[board], targets.Share = targets.Version, meta.Share
	return targets, next, nil
}

// root follows the chain of roots from the one that is trusted: each is signed by the one before it, and by itself. With an
// error, next is as far as it came.
func (t Trust) root(fetch Fetcher) (_ *Root, next Trust, err error) {
	next = Trust{Root: t.Root, Timestamp: t.Timestamp, Targets: map[string]int64{}}
	for board, version := range t.Targets {
		next.Targets[board] = version
	}
	first, err := FirstRoot(t.Root)
	if err != nil {
		return nil, next, fmt.Errorf("the one that this device trusts: %w", err)
	}
	root := *first
	for range maxRotations {
		b, err := fetch(fmt.Sprintf("%d.root.json", root.Version+1), maxMetadata)
		if errors.Is(err, fs.ErrNotExist) {
			return &root, next, nil
		}
		if err != nil {
			return nil, next, err
		}
		newer, err := root.Next(b)
		if err != nil {
			return nil, next, err
		}
		// A timestamp key that was lost may have signed a version that no honest one reaches. (Section 5.3.11.)
		if !slices.Equal(root.Roles[TimestampRole].KeyIDs, newer.Roles[TimestampRole].KeyIDs) {
			next.Timestamp = 0
		}
		if !slices.Equal(root.Roles[TargetsRole].KeyIDs, newer.Roles[TargetsRole].KeyIDs) {
			clear(next.Targets)
		}
		root, next.Root = *newer, b
	}
	return nil, next, fmt.Errorf("more than %d new ones", maxRotations)
}

// FirstRoot reads the root that everything begins with. It is trusted for where it comes from; it has to be signed by itself.
func FirstRoot(b []byte) (*Root, error) {
	var root Root
	e, err := parseEnvelope(b)
	if err == nil {
		err = json.Unmarshal(e.Payload, &root)
	}
	if err == nil {
		err = root.Check()
	}
	if err == nil {
		err = e.verify(&root, RootRole)
	}
	return &root, err
}

// Next reads the root after r: signed by r's keys, and by its own.
func (r *Root) Next(b []byte) (*Root, error) {
	var newer Root
	err := Open(b, r, RootRole, &newer)
	if err == nil {
		err = newer.Check()
	}
	if err == nil {
		e, _ := parseEnvelope(b)
		err = e.verify(&newer, RootRole)
	}
	if err == nil && newer.Version != r.Version+1 {
		err = fmt.Errorf("%w: %d.root.json is version %d", ErrMismatch, r.Version+1, newer.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("version %d: %w", r.Version+1, err)
	}
	return &newer, nil
}

func readTargets(fetch Fetcher, root *Root, board string, meta Meta) (*Targets, error) {
	if meta.Length < 1 || meta.Length > maxMetadata {
		return nil, fmt.Errorf("%w: %d bytes", ErrMismatch, meta.Length)
	}
	b, err := fetch(fmt.Sprintf("%d.%s.json", meta.Version, board), meta.Length)
	if err != nil {
		return nil, err
	}
	if !(meta.Share >= 0 && meta.Share <= 1) {
		return nil, fmt.Errorf("share: %g", meta.Share)
	}
	if sum := sha256.Sum256(b); int64(len(b)) != meta.Length || !slices.Equal(sum[:], meta.SHA256) {
		return nil, fmt.Errorf("%w: length or hash", ErrMismatch)
	}
	var t Targets
	if err := Open(b, root, TargetsRole, &t); err != nil {
		return nil, err
	}
	if err := t.Check(); err != nil {
		return nil, err
	}
	switch {
	case t.Version != meta.Version:
		return nil, fmt.Errorf("%w: version %d", ErrMismatch, t.Version)
	case t.Board != board:
		return nil, fmt.Errorf("%w: %s", ErrBoard, t.Board)
	}
	return &t, nil
}

// Open verifies an envelope by a root's keys, and only then reads what is in it.
func Open(b []byte, root *Root, role Role, to any) error {
	e, err := parseEnvelope(b)
	if err != nil {
		return err
	}
	if err := e.verify(root, role); err != nil {
		return err
	}
	return json.Unmarshal(e.Payload, to)
}

// Offers says whether a device that runs a version is to take the release: nil, ErrDowngrade, or ErrCurrent.
func (t *Targets) Offers(running string) error {
	switch {
	case semver.Compare(t.Release, running) == 0:
		return ErrCurrent
	case semver.Compare(t.Release, running) < 0:
		return fmt.Errorf("%w: %s is offered, %s runs", ErrDowngrade, t.Release, running)
	case t.MinimumVersion != "" && semver.Compare(running, t.MinimumVersion) < 0:
		return fmt.Errorf("%s can only be taken by %s or newer, %s runs: an update in between is missing", t.Release, t.MinimumVersion, running)
	}
	return nil
}

// Includes says whether a device belongs to the share of the fleet that the release is offered to. It falls by the device's
// name and the release alone: a share that grows keeps those that were in it, and the next release begins with others.
func (t *Targets) Includes(device string) bool {
	sum := sha256.Sum256(fmt.Append(nil, t.Release, "\n", device))
	return float64(binary.BigEndian.Uint64(sum[:])>>11) < t.Share*(1<<53) // 53 bits are what a float64 has
}

// ErrCurrent is no trouble: what is offered runs already.
var ErrCurrent = errors.New("up to date")
