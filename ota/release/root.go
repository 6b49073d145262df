package release

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sidetone/ota/bundle"
)

// Keys of a role, and how many of them have to sign. Without a key they stay as they are, without a threshold it does; at
// first it is 1.
type Keys struct {
	Public    []ed25519.PublicKey
	Threshold int
}

// Root makes the next root and puts it where devices follow it: version 1 where there is none yet. It is signed by those
// signers that it or the root before it names, who have to be enough for both.
func (r Repository) Root(root, targets, timestamp Keys, expires time.Time, signers ...ed25519.PrivateKey) error {
	draft, err := r.DraftRoot(root, targets, timestamp, expires, signers...)
	if err != nil {
		return err
	}
	return r.PublishRoot(draft)
}

// DraftRoot makes the next root beside the metadata, where no device looks: a root with too few signatures would keep
// devices from all that comes after it. More signers may Sign it, one after the other.
func (r Repository) DraftRoot(root, targets, timestamp Keys, expires time.Time, signers ...ed25519.PrivateKey) (path string, err error) {
	unlock, err := r.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	next := bundle.Root{
		Common: bundle.Common{Type: bundle.RootRole, Version: 1, Expires: expires.UTC()},
		Keys:   map[string]ed25519.PublicKey{}, Roles: map[bundle.Role]bundle.Keys{},
	}
	last, err := r.CurrentRoot()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		last = &bundle.Root{}
	case err != nil:
		return "", err
	}
	next.Version = last.Version + 1
	for role, keys := range map[bundle.Role]Keys{bundle.RootRole: root, bundle.TargetsRole: targets, bundle.TimestampRole: timestamp} {
		was := last.Roles[role]
		if len(keys.Public) == 0 {
			if len(was.KeyIDs) == 0 {
				return "", fmt.Errorf("the first root needs a key for %s", role)
			}
			for _, id := range was.KeyIDs {
				keys.Public = append(keys.Public, last.Keys[id])
			}
		}
		ids := bundle.Keys{Threshold: cmp.Or(keys.Threshold, was.Threshold, 1)}
		for _, k := range keys.Public {
			next.Keys[bundle.KeyID(k)] = k
			ids.KeyIDs = append(ids.KeyIDs, bundle.KeyID(k))
		}
		next.Roles[role] = ids
	}
	if err := next.Check(); err != nil {
		return "", err
	}
	var of []ed25519.PrivateKey
	for _, s := range signers {
		if id := bundle.KeyID(s.Public().(ed25519.PublicKey)); next.Roles[bundle.RootRole].Has(id) || last.Roles[bundle.RootRole].Has(id) {
			of = append(of, s)
		}
	}
	e, err := bundle.Sign(next, of...)
	if err != nil {
		return "", err
	}
	path = filepath.Join(r.Dir, fmt.Sprintf("%d.root.json", next.Version))
	return path, write(path, e)
}

// PublishRoot puts a draft where devices follow it, once it has the signatures that they ask for: else it says what is
// missing, by bundle.ErrSignature.
func (r Repository) PublishRoot(draft string) error {
	unlock, err := r.lock()
	if err != nil {
		return err
	}
	defer unlock()
	b, err := os.ReadFile(draft)
	if err != nil {
		return err
	}
	var next *bundle.Root
	switch last, err := r.CurrentRoot(); {
	case errors.Is(err, fs.ErrNotExist):
		next, err = bundle.FirstRoot(b)
		if err != nil {
			return err
		}
		if next.Version != 1 {
			return fmt.Errorf("%s is version %d, and %s has no root yet", draft, next.Version, r.Dir)
		}
	case err != nil:
		return err
	default:
		if next, err = last.Next(b); err != nil {
			return err
		}
	}
	if !time.Now().Before(next.Expires) {
		return fmt.Errorf("%w on %s: devices would take nothing any more", bundle.ErrExpired, next.Expires.Format(time.DateOnly))
	}
	if err := os.MkdirAll(r.metadata(""), 0o755); err != nil {
		return err
	}
	return os.Rename(draft, r.metadata(fmt.Sprintf("%d.root.json", next.Version)))
}

// CurrentRoot follows the roots as a device does, and gives the last one. Where there is none, the error is fs.ErrNotExist.
func (r Repository) CurrentRoot() (*bundle.Root, error) {
	b, err := r.First()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no root yet: make one with: sidetonectl root (%w)", r.Dir, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	root, err := bundle.FirstRoot(b)
	for err == nil {
		b, err = os.ReadFile(r.metadata(fmt.Sprintf("%d.root.json", root.Version+1)))
		if errors.Is(err, fs.ErrNotExist) {
			return root, nil
		}
		if err == nil {
			root, err = root.Next(b)
		}
	}
	return nil, fmt.Errorf("the roots of %s: %w", r.Dir, err)
}

// First is the root that devices are built with: the first of all, from which they follow the others.
func (r Repository) First() ([]byte, error) { return os.ReadFile(r.metadata("1.root.json")) }

// signersOf gives those keys that a root names for a role. None of them is an error.
func signersOf(root *bundle.Root, role bundle.Role, keys []ed25519.PrivateKey) (of []ed25519.PrivateKey, err error) {
	for _, k := range keys {
		if root.Roles[role].Has(bundle.KeyID(k.Public().(ed25519.PublicKey))) {
			of = append(of, k)
		}
	}
	if len(of) == 0 {
		return nil, fmt.Errorf("%w: none of the %d keys given is one that root version %d names for %s: %s",
			bundle.ErrSignature, len(keys), root.Version, role, root.Roles[role].KeyIDs)
	}
	return of, nil
}
