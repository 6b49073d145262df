package update

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"sidetone/ota/bundle"
	"sidetone/ota/disk"
)

// trust is what is known of a repository's metadata, on disk.
type trust struct {
	file disk.Record
	root string // path of the first root of trust, which the system brings
	log  *slog.Logger
}

// seen is the content of file. From says which first root it goes back to: with another one the device has another
// repository, whose numbers begin anew.
type seen struct {
	bundle.Trust
	From []byte `json:"from"` // SHA-256
}

// load gives what was saved last. What cannot be read, or verified, is no trust: then it begins with the first root.
func (t trust) load() (bundle.Trust, error) {
	var s seen
	is, err := read(t.file, &s)
	if is && err == nil {
		_, err = bundle.FirstRoot(s.Root)
	}
	first, from, rootErr := t.first()
	switch {
	case is && err == nil && rootErr == nil && !bytes.Equal(s.From, from):
		err = errors.New("update.root_file is another one")
	case is && err == nil:
		return s.Trust, nil
	}
	if err != nil {
		t.log.Warn("what was known of the update server is forgotten: it begins with update.root_file", "err", err)
	}
	return bundle.Trust{Root: first}, rootErr
}

// save has it on the disk when it returns.
func (t trust) save(known bundle.Trust) error {
	_, from, _ := t.first() // one that is missing is not asked for again
	return write(t.file, seen{known, from})
}

func (t trust) first() (root, sum []byte, err error) {
	b, err := os.ReadFile(t.root)
	if err != nil {
		return nil, nil, fmt.Errorf("update.root_file: %w", err)
	}
	s := sha256.Sum256(b)
	return b, s[:], nil
}
