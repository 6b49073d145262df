package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sidetone/ota/slot"
)

// asStart has the test's own program be `sidetone start`; what that starts of itself is the installed version.
const asStart = "START_TEST"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(asStart) == "":
		os.Exit(m.Run())
	case os.Getenv(slot.StartedFrom) == "":
		os.Exit(Main(append([]string{"start"}, os.Args[1:]...), os.Stdin, os.Stdout, os.Stderr))
	}
	_, _ = os.Stdout.WriteString("installed in " + os.Getenv(slot.StartedFrom))
}

// versions has two programs that tell their name, and where they think that they stand.
type versions struct {
	t   *testing.T
	dir string
}

func newVersions(t *testing.T) versions {
	v := versions{t, t.TempDir()}
	for _, slot := range []string{"a", "b"} {
		v.must(os.Mkdir(filepath.Join(v.dir, slot), 0o755))
		v.put(slot, "#!/bin/sh\nprintf \"$1 "+slot+" in $SIDETONE_SLOT\"\n")
	}
	v.must(os.Symlink("a", filepath.Join(v.dir, "current")))
	v.must(os.WriteFile(filepath.Join(v.dir, "installed"), []byte(Version), 0o644))
	return v
}

func (v versions) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

func (v versions) put(slot, program string) {
	v.t.Helper()
	v.must(os.WriteFile(filepath.Join(v.dir, slot, "sidetone"), []byte(program), 0o755))
}

// starts gives what was started, and what was said about it.
func (v versions) starts() (started, said string) {
	v.t.Helper()
	cmd := exec.Command("/proc/self/exe", "--slots", v.dir, "run")
	var out, err strings.Builder
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), asStart+"=1"), &out, &err
	v.must(cmd.Run())
	return out.String(), err.String()
}

// There is always something that runs, whatever became of the slots.
func TestStart(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(versions) error
		want   string // one start after the other
	}{
		{"all is well", nil, "run a in a, run a in a"},
		{"the first start", func(v versions) error { return os.RemoveAll(v.dir) }, "installed in a"},
		{"somebody has installed another", func(v versions) error {
			return os.WriteFile(filepath.Join(v.dir, "installed"), []byte("v0"), 0o644)
		}, "installed in b, installed in b"},
		{"nobody can read what was installed", func(v versions) error {
			note := filepath.Join(v.dir, "installed")
			return errors.Join(os.Remove(note), os.Mkdir(note, 0o700))
		}, "run a in a"},
		{"a trial", func(v versions) error { return v.try() }, "run b in b, run b in b, run b in b, run a in a"},
		{"a trial that is no program", func(v versions) error { v.put("b", "\x00"); return v.try() }, "run a in a"},
		{"a trial whose starts cannot be counted", func(v versions) error {
			return errors.Join(v.try(), os.Mkdir(filepath.Join(v.dir, ".trial.new"), 0o700))
		}, "run a in a"},
		{"the program is gone", func(v versions) error { return os.Remove(filepath.Join(v.dir, "a", "sidetone")) }, "installed in b, installed in b"},
		{"the program is spoilt", func(v versions) error { v.put("a", ""); return nil }, "installed in b"},
		{"the link leads nowhere", func(v versions) error { return v.link("elsewhere") }, "installed in a, installed in a"},
		{"the link is a file", func(v versions) error {
			current := filepath.Join(v.dir, "current")
			return errors.Join(os.Remove(current), os.WriteFile(current, nil, 0o600))
		}, "installed in a"},
		{"nothing can be written, and there is no program", func(v versions) error {
			current := filepath.Join(v.dir, "current")
			return errors.Join(os.Remove(current), os.MkdirAll(filepath.Join(current, "in the way"), 0o700))
		}, "installed in none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := newVersions(t)
			if tt.change != nil {
				v.must(tt.change(v))
			}
			var got []string
			said := ""
			for range strings.Split(tt.want, ", ") {
				var started string
				started, said = v.starts()
				if strings.HasPrefix(started, "installed") { // by its bytes: it stands in a slot now
					if b, err := os.ReadFile(filepath.Join(v.dir, "current", "sidetone")); err == nil && len(b) < 1<<20 {
						t.Errorf("%d bytes are current", len(b))
					}
				}
				got = append(got, started)
			}
			if s := strings.Join(got, ", "); s != tt.want {
				t.Errorf("%s, want %s; %s", s, tt.want, said)
			}
		})
	}
}

func (v versions) link(to string) error {
	current := filepath.Join(v.dir, "current")
	return errors.Join(os.Remove(current), os.Symlink(to, current))
}

func (v versions) try() error {
	return slot.Binary{Dir: v.dir, Program: slot.Program, Restart: func() error { return nil }}.Try()
}
