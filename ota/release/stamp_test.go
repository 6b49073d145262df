package release

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

var key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

// desk is an operator's repository with one key for all, and images to release.
type desk struct {
	Repository
	t   *testing.T
	dir string
}

func newDesk(t *testing.T) desk {
	d := desk{t: t, dir: t.TempDir()}
	d.Repository = Repository{Dir: filepath.Join(d.dir, "updates"), ChunkSize: 64 << 10}
	keys := Keys{Public: []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}}
	d.must(d.Root(keys, keys, keys, later(), key))
	return d
}

func later() time.Time { return time.Now().Add(time.Hour) }

func (d desk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d desk) add(version string) error {
	image := filepath.Join(d.dir, version)
	if err := os.WriteFile(image, []byte(version), 0o600); err != nil {
		return err
	}
	_, _, err := d.Add(Release{Board: "rpi4", Version: version, Image: image, Expires: later()}, key)
	return err
}

func (d desk) is(release string, share float64) {
	d.t.Helper()
	if t, err := d.Current("rpi4"); err != nil || t.Release != release || t.Share != share {
		d.t.Errorf("%s is offered to %g, want %s to %g: %v", t.Release, t.Share, release, share, err)
	}
}

// A release is offered when somebody says whom to, and not because somebody else stamps, or changes the share of another.
func TestOffer(t *testing.T) {
	d := newDesk(t)
	d.must(d.add("v1.0.0"))
	offer := func(o Offer) (left []error, err error) { return d.Offer(map[string]Offer{"rpi4": o}, later(), key) }
	if left, err := d.Offer(nil, later(), key); err != nil || len(left) != 1 || !errors.Is(left[0], ErrNotOffered) {
		t.Errorf("%v, %v", left, err)
	}
	_, err := offer(Offer{Share: 0.1})
	d.must(err)
	d.is("v1.0.0", 0.1)
	one, err := d.Current("rpi4")
	d.must(err)

	d.must(d.add("v2.0.0"))
	if left, err := d.Offer(nil, later(), key); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
	d.is("v1.0.0", 0.1)
	_, err = offer(Offer{Share: 0.5, Version: one.Version})
	d.must(err)
	d.is("v1.0.0", 0.5)
	if left, err := offer(Offer{Share: 0.2}); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	d.is("v2.0.0", 0.2)
	if _, err := offer(Offer{Share: 1, Version: one.Version}); err == nil {
		t.Error("what was replaced is offered again")
	}
	d.is("v2.0.0", 0.2)
	if _, err := d.Offer(nil, time.Now(), key); err == nil {
		t.Error("a stamp that has expired")
	}
}

// Operators who work at once wait for one another: nothing that one has signed is lost by another's.
func TestTogether(t *testing.T) {
	d := newDesk(t)
	const each = 10
	var all sync.WaitGroup
	for n := range each {
		all.Go(func() {
			if err := d.add(fmt.Sprintf("v1.0.%d", n)); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			if _, err := d.Offer(nil, later(), key); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if boards, err := d.boards(); err != nil || len(boards["rpi4"]) != each {
		t.Errorf("%v, %v", boards, err)
	}
	if stamp, err := d.Timestamp(); err != nil || stamp.Version != each {
		t.Errorf("stamp %d, %v", stamp.Version, err)
	}
}
