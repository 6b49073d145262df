package slot

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newBinary(t *testing.T) (Binary, *int) {
	dir := t.TempDir()
	for _, slot := range []string{"a", "b"} {
		if err := errors.Join(os.Mkdir(filepath.Join(dir, slot), 0o755), os.WriteFile(filepath.Join(dir, slot, "sidetone"), []byte(slot), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a", filepath.Join(dir, "current")); err != nil {
		t.Fatal(err)
	}
	restarts := new(int)
	return Binary{Dir: dir, Program: "sidetone", Restart: func() error { *restarts++; return nil }}, restarts
}

// starts gives the slot that Guard starts.
func (c Binary) starts(t *testing.T) string {
	t.Helper()
	path, err := c.Guard()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(filepath.Dir(path))
}

func TestBinary(t *testing.T) {
	if _, err := (Binary{Dir: t.TempDir()}).Status(); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "sidetone start --slots ") {
		t.Errorf("nothing was ever started: %v", err)
	}
	c, restarts := newBinary(t)
	if s, err := c.Status(); err != nil || s != (Status{Running: "a", Other: "b"}) || c.starts(t) != "a" {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := errors.Join(c.Commit(), c.Revert()); !errors.Is(err, ErrNoTrial) {
		t.Error(err)
	}
	dev, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	room, err := dev.Size()
	if err != nil || room < 1<<20 {
		t.Errorf("room for %d bytes, %v", room, err)
	}
	if err := errors.Join(second(dev.WriteAt([]byte("new"), 0)), dev.Sync(), dev.DropCache(), dev.Close()); err != nil {
		t.Error(err)
	}
	if err := c.Try(); err != nil || *restarts != 1 {
		t.Fatal(err)
	}
	if s, err := c.Status(); err != nil || s != (Status{Running: "b", Other: "a", Trial: true}) || c.starts(t) != "b" {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := c.Try(); !errors.Is(err, ErrTrial) {
		t.Errorf("a trial in a trial: %v", err)
	}
	if _, err := c.Open(); !errors.Is(err, ErrTrial) {
		t.Errorf("what comes back is open for writing: %v", err)
	}
	if err := c.Revert(); err != nil || *restarts != 2 || c.starts(t) != "a" {
		t.Fatal(err)
	}
	if err := errors.Join(c.Try(), c.Commit()); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Status(); err != nil || s != (Status{Running: "b", Other: "a"}) {
		t.Errorf("%+v, %v", s, err)
	}
}

// What an older, longer program leaves behind is cut off, and what runs is not touched.
func TestBinaryWriter(t *testing.T) {
	c, _ := newBinary(t)
	program, sum := image(Head + 500)
	other := filepath.Join(c.Dir, "b", c.Program)
	if err := os.WriteFile(other, make([]byte, 2*Head), 0o755); err != nil {
		t.Fatal(err)
	}
	dev, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWriter(dev, int64(len(program)))
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(w.Begin(), second(w.WriteAt(program, 0)), w.Sync(), w.Finish(t.Context(), program[:Head], sum), dev.Close())
	if b, _ := os.ReadFile(other); err != nil || !bytes.Equal(b, program) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	dev, err = c.OpenRunning()
	if err != nil {
		t.Fatal(err)
	}
	if b := make([]byte, 1); errors.Join(second(dev.ReadAt(b, 0)), dev.Close()) != nil || string(b) != "a" {
		t.Errorf("what runs begins with %q", b)
	}
}

// A version that never stays up is given up after its starts.
func TestBinaryCrashLoop(t *testing.T) {
	c, _ := newBinary(t)
	if err := c.Try(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 5 {
		got = append(got, c.starts(t))
	}
	if s := strings.Join(got, ""); s != "bbbaa" {
		t.Errorf("started %s", s)
	}
	if s, err := c.Status(); err != nil || s.Trial {
		t.Errorf("%+v, %v", s, err)
	}
}

// What a cut can leave behind: the trial is noted, but the link is not changed; the note is spoilt.
func TestBinaryCuts(t *testing.T) {
	c, _ := newBinary(t)
	note := filepath.Join(c.Dir, "trial")
	_ = os.WriteFile(note, []byte(`{"back":"a","starts":0}`), 0o600)
	if s, err := c.Status(); err != nil || s.Trial || c.starts(t) != "a" {
		t.Errorf("%+v, %v", s, err)
	}
	if err := c.Try(); err != nil {
		t.Error(err)
	}
	_ = os.WriteFile(note, []byte(`{"ba`), 0o600)
	if got := c.starts(t); got != "a" {
		t.Errorf("a spoilt note: started %s", got)
	}
	_ = os.Remove(filepath.Join(c.Dir, "current"))
	_ = os.Symlink("elsewhere", filepath.Join(c.Dir, "current"))
	if _, err := c.Guard(); err == nil || !strings.Contains(err.Error(), "neither a nor b") {
		t.Error(err)
	}
}

// A disk that does not take the link back takes the note no more either: what is on trial would stay.
func TestBinaryLinkFails(t *testing.T) {
	c, _ := newBinary(t)
	if err := c.Try(); err != nil {
		t.Fatal(err)
	}
	inTheWay := filepath.Join(c.Dir, ".current")
	if err := errors.Join(os.Mkdir(inTheWay, 0o700), os.Mkdir(filepath.Join(inTheWay, "d"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if c.Revert() == nil {
		t.Error("it went back without a link")
	}
	for n := range 5 {
		path, err := c.Guard()
		if want := map[bool]string{true: "b", false: "a"}[n < 3]; filepath.Base(filepath.Dir(path)) != want || (err == nil) != (n < 3) {
			t.Errorf("start %d: %s, %v", n, path, err)
		}
	}
	if s, err := c.Status(); err != nil || !s.Trial {
		t.Errorf("%+v, %v", s, err)
	}
	if err := os.RemoveAll(inTheWay); err != nil {
		t.Fatal(err)
	}
	if s := c.starts(t); s != "a" {
		t.Errorf("started %s", s)
	}
	if s, err := c.Status(); err != nil || s != (Status{Running: "a", Other: "b"}) {
		t.Errorf("%+v, %v", s, err)
	}
}

// A disk that does not let the starts be counted ends the trial; what is started instead does not speak for the other.
func TestBinaryNoteFails(t *testing.T) {
	c, _ := newBinary(t)
	if err := c.Try(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(c.Dir, ".trial.new"), 0o700); err != nil { // where the next note is written
		t.Fatal(err)
	}
	if path, err := c.Guard(); path != c.path("a") || err == nil {
		t.Errorf("%s, %v", path, err)
	}
	if s, err := c.Status(); err != nil || s != (Status{Running: "a", Other: "b"}) {
		t.Errorf("%+v, %v", s, err)
	}
	c.Started = "b"
	if _, err := c.Status(); err == nil || c.Commit() == nil || c.Try() == nil {
		t.Errorf("slot a is current, and the program of b speaks for it: %v", err)
	}
}

// FuzzNote starts one of two programs, whatever stands in the note of a trial, and does not try for ever.
func FuzzNote(f *testing.F) {
	f.Add([]byte(`{"back":"a","starts":1}`))
	f.Add([]byte(`{"back":"a","starts":-9}`))
	dir := f.TempDir()
	c := Binary{Dir: dir, Program: "sidetone"}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := errors.Join(c.link("b"), os.WriteFile(filepath.Join(dir, "trial"), b, 0o600)); err != nil {
			t.Fatal(err)
		}
		last := ""
		for range MaxStarts + 2 {
			if last = c.starts(t); last != "a" && last != "b" {
				t.Fatalf("%q: starts %s", b, last)
			}
		}
		if s, err := c.Status(); err != nil || s.Trial {
			t.Errorf("%q: still on trial: %+v, %v", b, s, err)
		}
	})
}

// What somebody installs becomes the current one, in place of what is on trial, too.
func TestBinaryInstall(t *testing.T) {
	c := Binary{Dir: t.TempDir(), Program: "sidetone"}
	for _, want := range []string{"a", "b", "a"} {
		if err := c.Install(strings.NewReader("program " + want)); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(c.path(want)); c.starts(t) != want || string(b) != "program "+want {
			t.Errorf("%q, %v", b, err)
		}
		c.Restart = func() error { return nil }
		if want == "b" {
			if err := c.Try(); err != nil {
				t.Fatal(err)
			}
			if err := c.Install(strings.NewReader("over a trial")); err != nil || c.starts(t) != "b" {
				t.Error(err)
			}
		}
		if s, err := c.Status(); err != nil || s.Trial {
			t.Errorf("%+v, %v", s, err)
		}
	}
}
