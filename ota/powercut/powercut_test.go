package powercut

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"flag"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/ota/release"
	"sidetone/ota/slot"
)

var (
	cuts = flag.Int("cuts", 0, "power cuts; 0: 500, or 100000 where SIDETONE_LONG is set")
	seed = flag.Uint64("seed", 1, "of the first life; each that follows has the next")
)

const (
	chunk    = 64 << 10
	size     = slot.Head + 6*chunk + 777 // of an image
	slotSize = 2 * slot.Head
)

// images by version: no sector of one is as in the other, but a delta between them is small.
var images = func() map[string][]byte {
	r := rand.New(rand.NewPCG(0, 5))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	all := map[string][]byte{}
	for n, v := range []string{v1, v2, v3} {
		at := n * 1000
		all[v] = slices.Concat(b[at:], b[:at])
	}
	return all
}()

// shown is what the server shows: the second version, then that it was withdrawn, then a new root and the third.
var shown = sync.OnceValues(func() ([]world, error) {
	dir, err := os.MkdirTemp("", "powercut")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	keys := release.Keys{Public: []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}, Threshold: 1}
	repo := release.Repository{Dir: filepath.Join(dir, "server"), ChunkSize: chunk}
	late := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	var worlds []world
	show := func(offers string) error {
		w := world{files: map[string][]byte{}, offers: offers}
		worlds = append(worlds, w)
		return fs.WalkDir(os.DirFS(repo.Dir), ".", func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				w.files[path], err = os.ReadFile(filepath.Join(repo.Dir, path))
			}
			return err
		})
	}
	var older []string
	for _, v := range []string{v1, v2, v3} {
		image := filepath.Join(dir, v)
		if err := os.WriteFile(image, images[v], 0o600); err != nil {
			return nil, err
		}
		if older = append(older, image); v == v1 {
			continue
		}
		err := repo.Root(keys, keys, keys, late, key)
		if err == nil {
			_, _, err = repo.Add(release.Release{Board: "rpi4", Version: v, Image: image, From: older[:len(older)-1], Expires: late}, key)
		}
		if err := errors.Join(err, repo.Stamp(late, key)); err != nil {
			return nil, err
		}
		if err := show(v); err != nil {
			return nil, err
		}
		if v == v2 {
			_, err := repo.Offer(map[string]release.Offer{"rpi4": {Share: 0}}, late, key)
			if err := errors.Join(err, show("")); err != nil {
				return nil, err
			}
		}
	}
	return worlds, nil
})

// lifeOf lives a whole life. It gives how often the power went, at what, and what must never be or "".
func lifeOf(t *testing.T, seed uint64, kind string, skip func(op, path string) bool) (l *life, violation string) {
	t.Helper()
	worlds, err := shown()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(*testing.T) {
		l = newLife(seed, kind, worlds)
		if skip != nil {
			l.skip = skip
		}
		violation = l.live()
	})
	return l, violation
}

// TestPowerCuts cuts the power at random points of the whole procedure: 0 bricks, 0 half-written slots accepted.
func TestPowerCuts(t *testing.T) {
	want := *cuts
	if want == 0 {
		want = 500
		if os.Getenv("SIDETONE_LONG") != "" {
			want = 100_000
		}
	}
	at, kinds, by, ends, fetched := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
	done, lives, withdrawn := 0, 0, 0
	begin := time.Now()
	for s := *seed; done < want && !t.Failed(); s++ {
		kind := choose(s)
		l, violation := lifeOf(t, s, kind, nil)
		if violation != "" {
			t.Errorf("%s, -seed %d, after %d cuts: %s", kind, s, l.cuts, violation)
		}
		done, lives = done+l.cuts, lives+1
		kinds[kind] += l.cuts
		by[l.link] += l.cuts
		withdrawn += len(l.withdrawn)
		for what, n := range l.fetched {
			fetched[what] += n
		}
		ends[l.running]++
		for what, n := range l.at {
			at[what] += n
		}
	}
	t.Logf("%d cuts in %d lives (-seed %d to %d, %.1f s): %v, %v; what ran in the end: %v; fetched: %v; withdrawn when ready: %d", done, lives, *seed, *seed+uint64(lives)-1, time.Since(begin).Seconds(), kinds, by, ends, fetched, withdrawn)
	if by["metered"] == 0 || by["deltas"] == 0 || fetched[".delta"] == 0 {
		t.Error("no life updates by deltas")
	}
	if done >= 5000 && withdrawn == 0 {
		t.Error("nothing was withdrawn in time")
	}
	for _, what := range slices.Sorted(maps.Keys(at)) {
		t.Logf("%6d cuts in %s", at[what], what)
	}
	for _, what := range []string{"sync /data/.state.new", "rename /data/state", "syncdir /data", "sync /data/.trust.new", "write " + autoboot, "write " + envAt,
		"rename " + slotsAt + "/current", "write /dev/3/sidetone", "sync /dev/2/sidetone", "rest healthy", "rest metadata"} {
		if done >= 5000 && at[what] == 0 {
			t.Errorf("no cut in %s", what)
		}
	}
}

// TestPowerCutsFindMutants leaves out each flush in turn: the cuts must find that out.
func TestPowerCutsFindMutants(t *testing.T) {
	is := func(op string, paths ...string) func(string, string) bool {
		return func(o, p string) bool { return o == op && slices.Contains(paths, p) }
	}
	part := func(part string) func(string, string) bool {
		return func(o, p string) bool { return o == "sync" && strings.HasSuffix(p, "/"+program+part) }
	}
	for _, tt := range []struct {
		name, kind string
		seed       uint64 // where the search begins: not far from where it ends
		skip       func(op, path string) bool
	}{
		{"the state is not synced", "tryboot", 1, is("sync", "/data/.state.new")},
		{"the trust is not synced", "tryboot", 1, is("sync", "/data/.trust.new")},
		{"names are not synced", "tryboot", 1, is("syncdir", "/data")},
		{"the zeroed head is not synced", "tryboot", 20, part(":begin")},
		{"the body is not synced", "tryboot", 225, part(":body")},
		{"the head is not synced", "tryboot", 1, part(":head")},
		{"the cache is not dropped", "tryboot", 1, func(op, _ string) bool { return op == "drop" }},
		{"autoboot.txt is not synced", "tryboot", 1, is("sync", autoboot)},
		{"the environment is not synced", "uboot", 1, is("sync", envAt)},
		{"the program is not synced", "binary", 1, func(op, p string) bool {
			return op == "sync" && strings.Contains(p, "/"+program+":")
		}},
		{"the program's name is not synced", "binary", 200, is("syncdir", slotsAt+"/b")},
		{"the installed program is not synced", "binary", 1, is("sync", slotsAt+"/a/"+program+".new")},
		{"the installed program's name is not synced", "binary", 1, is("syncdir", slotsAt+"/a")},
		{"the slot's name is not synced", "binary", 1, func(op, p string) bool { return op == "syncdir" && p == slotsAt }},
		{"the note of a trial is not synced", "binary", 30, is("sync", slotsAt+"/.trial.new")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			done := 0
			for s := tt.seed; done < 5000; s++ {
				l, violation := lifeOf(t, s, tt.kind, tt.skip)
				done += l.cuts
				if violation != "" {
					t.Logf("-seed %d, found after %d cuts: %s", s, done, violation)
					return
				}
			}
			t.Errorf("not found in %d cuts", done)
		})
	}
}
