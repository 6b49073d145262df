package atomicfile

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, mode := range []os.FileMode{0o600, 0o644} {
		if err := Write(path, []byte(mode.String()), mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if b, _ := os.ReadFile(path); err != nil || info.Mode() != mode || string(b) != mode.String() {
			t.Errorf("%v %s, %v", info.Mode(), b, err)
		}
	}
	// A directory cannot be replaced: nothing is left behind.
	taken := filepath.Join(dir, "taken")
	if err := os.Mkdir(taken, 0o700); err != nil {
		t.Fatal(err)
	}
	if Write(taken, nil, 0o600) == nil || Write(filepath.Join(dir, "none", "a"), nil, 0o600) == nil {
		t.Error("it was written where nothing can be")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("left: %v, %v", left, err)
	}
}
