//go:build update

package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sidetone/board/boardtest"
	"sidetone/ota/release"
)

// TestUpdateFactory has a new card update itself by what its image says: where from, whom to trust, where to keep state, which
// watchdog to feed. Its own config says nothing of these, and wants no whole image: the delta has to fit what the card was
// made with, of which nothing is written anywhere.
func TestUpdateFactory(t *testing.T) {
	t.Parallel()
	if outside(t, "qemu-system-aarch64", "fdtput", "mcopy", "genimage") {
		return
	}
	l := startBoardLab(t)
	keys, err := release.PrivateKeys(l.Update.Keys)
	if err != nil {
		t.Fatal(err)
	}
	u := &updated{t: t, lab: l, w: l.subscribe(t, "door1"), repo: release.Repository{Dir: l.Update.Repo}, keys: keys}
	data := l.onData(t, "door1")
	mine := string(data["sidetone.toml"])
	from := regexp.MustCompile(`(?s)\[update\].*?\nurl = '(.*?)'`).FindStringSubmatch(mine)
	if from == nil {
		t.Fatalf("the lab's config says nothing of updates:\n%s", mine)
	}
	system := "(?m)^(state_dir|root_file|watchdog|url = '" + regexp.QuoteMeta(from[1]) + "').*\n"
	config := regexp.MustCompile(system).ReplaceAllString(mine, "")
	if n := strings.Count(mine, "\n") - strings.Count(config, "\n"); n != 4 {
		t.Fatalf("%d settings are the system's, want 4; the config is\n%s", n, mine)
	}
	data["sidetone.toml"] = []byte(strings.Replace(config, "[update]\n", "[update]\nnever_full_download = true\n", 1))

	root := filepath.Join(t.TempDir(), "1.root.json")
	writeFile(t, root, data["updates/metadata/1.root.json"], 0o644)
	delete(data, "updates/metadata/1.root.json")
	made := map[string]string{}
	for _, version := range []string{oldVersion, newVersion} {
		made[version] = t.TempDir()
		program := abs(t, filepath.Join(fmt.Sprintf(imageOf, version), "sidetone"))
		cmd := exec.Command("../../buildroot/image-qemu.sh", program, made[version])
		cmd.Env = append(os.Environ(), "UPDATE_URL="+from[1], "UPDATE_ROOT="+root)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	card := filepath.Join(made[oldVersion], "sdcard.img")
	dir := t.TempDir()
	for name, b := range data {
		writeFile(t, filepath.Join(dir, "data", name), b, 0o600)
	}
	if out, err := exec.Command("mcopy", "-s", "-i", card+"@@1M", filepath.Join(dir, "data"), "::").CombinedOutput(); err != nil {
		t.Fatalf("mcopy: %v: %s", err, out)
	}

	u.Raspberry = boardtest.PowerOn(t, card)
	u.registered()
	targets := u.put(newVersion, filepath.Join(made[newVersion], "slot.img"), filepath.Join(made[oldVersion], "slot.img"))
	t.Logf("the delta has %d bytes, the image %d", targets.Deltas[0].Size, targets.Image.Size)
	u.do("check")
	u.await("it is committed", func(s updateState) bool { return s.Phase == "committed" && s.Installed == newVersion })
	u.runs(3)
	// Longer than any watchdog waits: one that nobody feeds would have reset the board.
	at := u.Boots()[1]
	time.Sleep(time.Until(at.Began.Add(40 * time.Second)))
	if boots := u.Boots(); len(boots) != 2 || !boots[1].Tryboot {
		t.Errorf("the board has booted %d times, want twice", len(boots))
	}
}
