package disk

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestRecord(t *testing.T) {
	r := Record{Path: filepath.Join(t.TempDir(), "state")}
	if b, err := r.Load(); b != nil || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	// What a cut left beside it, longer than what comes.
	if err := os.WriteFile(filepath.Join(filepath.Dir(r.Path), ".state.new"), make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two"} {
		if err := r.Save([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if b, err := r.Load(); string(b) != text || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(r.Path)); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
	if (Record{Path: "/none/state"}).Save(nil) == nil {
		t.Error("saved where nothing can be")
	}
}

func TestOS(t *testing.T) {
	dir := t.TempDir()
	f, err := OS.Open(filepath.Join(dir, "f"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("abcdef"), 2)
	if err := errors.Join(err, f.Truncate(5), f.Sync(), f.DropCache()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	_, err = f.ReadAt(b, 0)
	size, err2 := f.Size()
	if err := errors.Join(err, err2, f.Close()); err != nil || size != 5 || !bytes.Equal(b, []byte("\x00\x00abc")) {
		t.Errorf("%d, %q, %v", size, b, err)
	}
	if err := errors.Join(OS.Symlink("f", dir+"/l"), OS.Rename(dir+"/l", dir+"/m"), OS.Mkdir(dir+"/d", 0o700), OS.SyncDir(dir), OS.Remove(dir+"/d")); err != nil {
		t.Error(err)
	}
	if to, err := OS.Readlink(dir + "/m"); to != "f" || err != nil {
		t.Errorf("%s, %v", to, err)
	}
	if n, err := OS.Free(dir); n < 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := OS.Free(dir + "/none"); err == nil {
		t.Error("room where nothing is")
	}
}
