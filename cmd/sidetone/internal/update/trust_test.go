package update

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sidetone/ota/bundle"
	"sidetone/ota/disk"
)

func firstRoot(t *testing.T) []byte {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := bundle.Keys{KeyIDs: []string{bundle.KeyID(public)}, Threshold: 1}
	e, err := bundle.Sign(bundle.Root{
		Common: bundle.Common{Type: bundle.RootRole, Version: 1, Expires: time.Now().Add(time.Hour)},
		Keys:   map[string]ed25519.PublicKey{bundle.KeyID(public): public},
		Roles:  map[bundle.Role]bundle.Keys{bundle.RootRole: keys, bundle.TargetsRole: keys, bundle.TimestampRole: keys},
	}, private)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What was seen counts, until the disk has spoilt it, or the system brings another first root.
func TestTrust(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "trust.json")
	tr := trust{disk.Record{Path: file}, filepath.Join(dir, "root.json"), slog.New(slog.DiscardHandler)}
	put := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	has := func(what string, root []byte, timestamp int64) {
		t.Helper()
		if got, err := tr.load(); err != nil || !bytes.Equal(got.Root, root) || got.Timestamp != timestamp {
			t.Errorf("%s: timestamp %d, root %.40s, %v", what, got.Timestamp, got.Root, err)
		}
	}
	if _, err := tr.load(); err == nil {
		t.Error("trust out of nothing")
	}
	root, newer, other := firstRoot(t), firstRoot(t), firstRoot(t)
	put("root.json", root)
	has("at first", root, 0)
	if err := tr.save(bundle.Trust{Root: newer, Timestamp: 9}); err != nil {
		t.Fatal(err)
	}
	has("saved", newer, 9)
	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string][]byte{
		"cut": kept[:len(kept)/2], "empty": nil, "no root": []byte("{}"),
		"a flipped bit in the root": bytes.Replace(kept, []byte("A"), []byte("B"), 1),
	} {
		put("trust.json", b)
		has(what, root, 0)
	}
	put("trust.json", kept)
	put("root.json", other)
	has("another first root", other, 0)
	put("root.json", root)
	has("the same again", newer, 9)
	if err := os.Remove(tr.root); err != nil {
		t.Fatal(err)
	}
	has("the first root is gone", newer, 9)
	if err := tr.save(bundle.Trust{Root: newer, Timestamp: 10}); err != nil {
		t.Error(err)
	}
	has("and saved", newer, 10)
}
