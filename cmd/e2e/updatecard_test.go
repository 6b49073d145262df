//go:build update

package e2e_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidetone/board/boardtest"
	"sidetone/ota/bundle"
	"sidetone/ota/release"
)

// What `make test-update` has made: the same system with two versions of the program.
const (
	oldVersion, newVersion = "v1.0.0", "v1.10.0"
	imageOf                = "../../build/image-%s"
	updateBoard            = "qemu"
)

// What the Makefile says, by the environment, which outside hands on.
var (
	kills = fromEnv("SIDETONE_KILLS", 0) // power cuts in TestUpdateKills
	seed  = fromEnv("SIDETONE_SEED", 1)  // of what is left to chance
)

func fromEnv(variable string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return n
	}
	return otherwise
}

// updatePatience is for what an emulated board does from power on, or for a whole download: software plays the CPU, on a
// machine that may have other work.
const updatePatience = 4 * time.Minute

// updated is a board that updates from the lab.
type updated struct {
	*boardtest.Raspberry
	t    *testing.T
	lab  *lab
	w    *watch
	repo release.Repository
	keys []ed25519.PrivateKey
	from int // messages of the device's state that have been seen
}

// updateState is up/state/update.
type updateState struct {
	Installed  string `json:"installed_version"`
	Latest     string `json:"latest_version"`
	Percentage *int   `json:"update_percentage"`
	Phase      string `json:"phase"`
	Reason     string `json:"reason"`
}

const updateTopic = "up/state/update"

// newUpdated boots a new card with the old version.
func newUpdated(t *testing.T) *updated {
	t.Helper()
	l := startBoardLab(t)
	keys, err := release.PrivateKeys(l.Update.Keys)
	if err != nil {
		t.Fatal(err)
	}
	u := &updated{t: t, lab: l, w: l.subscribe(t, "door1"), repo: release.Repository{Dir: l.Update.Repo}, keys: keys}
	u.powerOn()
	return u
}

func (u *updated) powerOn() {
	u.t.Helper()
	u.Raspberry = boardtest.PowerOn(u.t, newCard(u.t, u.lab.onData(u.t, "door1")))
	u.registered()
	u.t.Logf("from power on to registered, with a new card: %s", time.Since(u.Boots()[0].Began).Round(10*time.Millisecond))
}

// newCard copies the image of a card, with data, by path, for its first boot.
func newCard(t *testing.T, data map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	card := filepath.Join(dir, "sdcard.img")
	if out, err := exec.Command("cp", "--sparse=always", filepath.Join(fmt.Sprintf(imageOf, oldVersion), "sdcard.img"), card).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, b := range data {
		writeFile(t, filepath.Join(dir, "data", name), b, 0o600)
	}
	// The first partition begins at 1 MiB.
	if out, err := exec.Command("mcopy", "-s", "-i", card+"@@1M", filepath.Join(dir, "data"), "::").CombinedOutput(); err != nil {
		t.Fatalf("mcopy: %v: %s", err, out)
	}
	return card
}

func writeFile(t *testing.T, file string, b []byte, mode os.FileMode) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, b, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// onData gives a device's config, and the files that it needs, for a data partition.
func (l *lab) onData(t *testing.T, device string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, name := range []string{device + ".toml", "ca.pem", "devices/" + device + "/token.key", "devices/" + device + "/mqtt.password", "updates/metadata/1.root.json"} {
		b, err := os.ReadFile(filepath.Join(l.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = b
	}
	config := strings.NewReplacer(
		l.dir+"/"+device+".sock", "/run/sidetone.sock", l.dir, "/data",
		"[update]\n", "[update]\nboard = '"+updateBoard+"'\nwindow = ''\nprobation = '6s'\ninterval = '1h'\n",
	).Replace(string(files[device+".toml"]))
	delete(files, device+".toml")
	files["sidetone.toml"] = []byte(config + "\n[board]\nwatchdog = '/dev/watchdog'\n[audio]\ncapture = 'null'\nplayback = 'null'\n")
	return files
}

// registered waits until the device of the last boot is there.
func (u *updated) registered() {
	u.t.Helper()
	eventually(u.t, updatePatience, "the board is registered", func() bool { return u.lab.stats(u.t)["door1"].Registered })
}

// do asks the device; what it then says of its updates is news.
func (u *updated) do(act string) {
	u.t.Helper()
	u.from = len(u.w.all(updateTopic))
	u.w.command(u.t, "update-"+act, "{}")
}

// await waits for news that are right.
func (u *updated) await(what string, right func(updateState) bool) updateState {
	u.t.Helper()
	var s updateState
	eventually(u.t, updatePatience, what, func() bool {
		news := u.w.all(updateTopic)[u.from:]
		for _, m := range news {
			s = updateState{}
			if err := json.Unmarshal(m.payload, &s); err != nil {
				u.t.Fatalf("%s: %v", m.payload, err)
			}
			if right(s) {
				return true
			}
		}
		return false
	})
	return s
}

// refuses checks that what the server shows now is not taken.
func (u *updated) refuses(phase, reason string) {
	u.t.Helper()
	u.do("check")
	u.await(fmt.Sprintf("%s: %s", phase, reason), func(s updateState) bool {
		return s.Phase == phase && strings.Contains(s.Reason, reason) && s.Installed == oldVersion
	})
}

// put puts a release on the server, with deltas from other images.
func (u *updated) put(version, image string, from ...string) bundle.Targets {
	u.t.Helper()
	targets, _, err := u.repo.Add(release.Release{
		Board: updateBoard, Version: version, Image: image, From: from, Expires: time.Now().AddDate(0, 1, 0),
	}, u.keys...)
	if err == nil {
		err = u.repo.Stamp(time.Now().AddDate(0, 0, 1), u.keys...)
	}
	if err != nil {
		u.t.Fatal(err)
	}
	return targets
}

// sign writes metadata of the server, whatever it says.
func (u *updated) sign(name string, metadata any) []byte {
	u.t.Helper()
	e, err := bundle.Sign(metadata, u.keys...)
	if err != nil {
		u.t.Fatal(err)
	}
	b, err := json.Marshal(e)
	if err != nil {
		u.t.Fatal(err)
	}
	writeFile(u.t, u.metadata(name), b, 0o644)
	return b
}

func (u *updated) metadata(name string) string { return filepath.Join(u.repo.Dir, "metadata", name) }

// stamp signs a timestamp that was changed.
func (u *updated) stamp(change func(*bundle.Timestamp)) {
	u.t.Helper()
	s, err := u.repo.Timestamp()
	if err != nil {
		u.t.Fatal(err)
	}
	s.Version, s.Expires = s.Version+1, time.Now().AddDate(0, 0, 1)
	change(&s)
	u.sign("timestamp.json", s)
}

// publish signs a release that was changed.
func (u *updated) publish(change func(*bundle.Targets)) {
	u.t.Helper()
	t, err := u.repo.Current(updateBoard)
	if err != nil {
		u.t.Fatal(err)
	}
	t.Version++
	change(&t)
	b := u.sign(fmt.Sprintf("%d.%s.json", t.Version, updateBoard), t)
	sum := sha256.Sum256(b)
	u.stamp(func(s *bundle.Timestamp) {
		s.Targets[updateBoard] = bundle.Meta{Version: t.Version, Length: int64(len(b)), SHA256: sum[:], Share: 1}
	})
}

// fault has the lab's update server make trouble.
func (u *updated) fault(args ...string) {
	u.t.Helper()
	if out, code := u.lab.tool(u.t, append([]string{"fault", "update"}, args...)...); code != 0 {
		u.t.Fatalf("fault %v: %s", args, out)
	}
}

// image makes the image of the new version with files laid over its system.
func (u *updated) image(overlay map[string]string) string {
	u.t.Helper()
	dir := u.t.TempDir()
	for name, text := range overlay {
		writeFile(u.t, filepath.Join(dir, "overlay", name), []byte("#!/bin/sh\n"+text+"\n"), 0o755)
	}
	program := filepath.Join(fmt.Sprintf(imageOf, newVersion), "sidetone")
	if out, err := exec.Command("../../buildroot/image-qemu.sh", abs(u.t, program), dir, filepath.Join(dir, "overlay")).CombinedOutput(); err != nil {
		u.t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(dir, "slot.img")
}

func abs(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// runs checks which partition runs.
func (u *updated) runs(partition int) {
	u.t.Helper()
	boots := u.Boots()
	if last := boots[len(boots)-1]; last.Partition != partition {
		u.t.Errorf("partition %d runs, want %d", last.Partition, partition)
	}
}

// TestUpdateImage makes the image twice, and boots it until the device is registered.
func TestUpdateImage(t *testing.T) {
	if outside(t, "qemu-system-aarch64", "fdtput", "mcopy", "genimage") {
		return
	}
	again, first := t.TempDir(), fmt.Sprintf(imageOf, oldVersion)
	if out, err := exec.Command("../../buildroot/image-qemu.sh", abs(t, filepath.Join(first, "sidetone")), again).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"slot.img", "sdcard.img"} {
		a, err := os.ReadFile(filepath.Join(first, name))
		b, err2 := os.ReadFile(filepath.Join(again, name))
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s made twice is not the same", name)
		}
	}
	u := newUpdated(t)
	u.Cut()
	eventually(t, updatePatience, "the board has gone", func() bool { return !u.lab.stats(t)["door1"].Registered })
	u.registered()
	t.Logf("from power on to registered: %s", time.Since(u.Boots()[1].Began).Round(10*time.Millisecond))
	u.runs(2)
}

// TestUpdate has one board refuse what it must refuse, come back from systems that do not work, and take a good one.
func TestUpdate(t *testing.T) {
	if outside(t, "qemu-system-aarch64", "fdtput", "mcopy", "genimage") {
		return
	}
	u := newUpdated(t)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	oldImage, newImage := fmt.Sprintf(imageOf, oldVersion)+"/slot.img", fmt.Sprintf(imageOf, newVersion)+"/slot.img"
	part := func(name string, test func()) {
		t.Run(name, func(inner *testing.T) {
			u.t = inner
			defer func() { u.t = t }()
			begin := time.Now()
			test()
			inner.Logf("%s", time.Since(begin).Round(time.Second))
		})
	}
	part("what is refused", func() { u.refusals(newImage, random) })
	for n, broken := range []struct {
		name    string
		overlay map[string]string
	}{
		{"panics", map[string]string{"sbin/init": "echo c >/proc/sysrq-trigger"}},
		{"hangs", map[string]string{"sbin/init": "exec sleep 100000"}},
		{"is unhealthy", map[string]string{"usr/libexec/sidetone/run": "sed '/^\\[line\\]/,/^\\[/s,^url = .*,url = \"wss://127.0.0.1:1/\",' /data/sidetone.toml >/run/other.toml\n" +
			"exec sidetone run --config /run/other.toml"}},
		{"has no network", map[string]string{"usr/libexec/sidetone/network": "exec sleep 100000"}},
	} {
		part(broken.name, func() { u.rollsBack(fmt.Sprintf("v1.%d.0", n+1), oldImage, broken.overlay) })
	}
	part("good", func() { u.takes(newImage) })
}

// rollsBack has the board try a system that does not work.
func (u *updated) rollsBack(version, oldImage string, overlay map[string]string) {
	made := u.put(version, u.image(overlay), oldImage)
	whole, delta := made.Image.Size, made.Deltas[0].Size
	u.t.Logf("the image has %d bytes, the delta from what runs %d: %.1f %%", whole, delta, float64(delta)/float64(whole)*100)
	if delta > whole/10 {
		u.t.Error("the delta is more than a tenth of the image")
	}
	boots := len(u.Boots())
	u.do("check")
	s := u.await("it is rolled back", func(s updateState) bool { return s.Phase == "rolled back" && s.Installed == oldVersion })
	u.registered()
	u.runs(2)
	tried := 0
	for _, b := range u.Boots()[boots:] {
		if b.Tryboot && b.Partition == 3 {
			tried++
		}
	}
	if tried == 0 {
		u.t.Error("it was never tried")
	}
	u.t.Logf("%d trials; %s", tried, s.Reason)
}

// takes has the board take a good system, from a server that goes away in mid-download.
func (u *updated) takes(newImage string) {
	t := u.t
	boots := u.Boots()
	first := boots[len(boots)-1]
	before := len(first.Console())
	u.put(newVersion, newImage)
	// Each answer ends too early, and then there is none at all.
	u.fault("--cut-after", "15000000")
	u.do("check")
	breaks := func(n int) {
		t.Helper()
		eventually(t, updatePatience, "the download breaks off", func() bool {
			return strings.Count(first.Console()[before:], "the download broke off, it goes on") >= n
		})
	}
	breaks(1)
	u.fault("--gone")
	breaks(2)
	u.fault("--restore")
	u.await("it is committed", func(s updateState) bool { return s.Phase == "committed" && s.Installed == newVersion })
	u.runs(3)
	for line := range strings.Lines(first.Console()[before:]) {
		if strings.Contains(line, "broke off") {
			t.Log(strings.TrimSpace(line))
			if !strings.Contains(line, "offset=") || strings.Contains(line, "offset=0 ") {
				t.Error("it does not go on where it was")
			}
		}
	}
	u.Cut()
	u.from = len(u.w.all(updateTopic))
	u.await("what was committed boots", func(s updateState) bool { return s.Installed == newVersion })
	u.registered()
	u.runs(3)
}

// refusals are the cases in which nothing is booted.
func (u *updated) refusals(newImage string, random *rand.Rand) {
	t := u.t
	good := u.put(newVersion, newImage)
	stamp, err := os.ReadFile(u.metadata("timestamp.json"))
	if err != nil {
		t.Fatal(err)
	}
	spoilt := bytes.Clone(stamp)
	at := bytes.LastIndex(spoilt, []byte(`"sig":"`)) + len(`"sig":"`) + random.IntN(80)
	spoilt[at] = map[bool]byte{true: 'B', false: 'A'}[spoilt[at] == 'A']
	writeFile(t, u.metadata("timestamp.json"), spoilt, 0o644)
	u.refuses("idle", bundle.ErrSignature.Error())

	u.stamp(func(s *bundle.Timestamp) { s.Expires = time.Now().Add(-time.Minute) })
	u.refuses("idle", bundle.ErrExpired.Error())
	u.publish(func(t *bundle.Targets) { t.Release = "v0.9.0" })
	u.refuses("idle", bundle.ErrDowngrade.Error())
	writeFile(t, u.metadata("timestamp.json"), stamp, 0o644) // older than what was shown
	u.refuses("idle", bundle.ErrRollback.Error())
	u.stamp(func(s *bundle.Timestamp) { s.Version += 100 })

	u.publish(func(t *bundle.Targets) { t.Board = "rpi4" })
	u.refuses("idle", bundle.ErrBoard.Error())
	u.publish(func(t *bundle.Targets) {
		t.Board, t.Image.Size = updateBoard, 65<<20
		for int64(len(t.Image.Chunks)) < (t.Image.Size+t.Image.ChunkSize-1)/t.Image.ChunkSize {
			t.Image.Chunks = append(t.Image.Chunks, t.Image.Chunks[0])
		}
	})
	u.refuses("failed", "the slot only")

	// A bit flips in the first chunk, and in any other.
	for _, chunk := range []int{0, 1 + random.IntN(len(good.Image.Chunks)/4)} {
		u.put(newVersion, newImage)
		u.fault("--corrupt-chunk", fmt.Sprint(chunk))
		u.refuses("failed", fmt.Sprintf("chunk %d of the image", chunk))
		u.fault("--restore")
	}
	u.runs(2)
	if n := len(u.Boots()); n != 1 {
		t.Errorf("the board has booted %d times, want once", n)
	}
}

// TestUpdateKills cuts the power at random points of updates.
func TestUpdateKills(t *testing.T) {
	if kills == 0 {
		t.Skip("by hand: make test-update KILLS=20")
	}
	if outside(t, "qemu-system-aarch64", "fdtput", "mcopy", "genimage") {
		return
	}
	u := newUpdated(t)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	u.put(newVersion, fmt.Sprintf(imageOf, newVersion)+"/slot.img", fmt.Sprintf(imageOf, oldVersion)+"/slot.img")
	phases := map[string]int{}
	installed := func() (s updateState) {
		if all := u.w.all(updateTopic); len(all) > 0 {
			json.Unmarshal(all[len(all)-1].payload, &s)
		}
		return s
	}
	u.do("check")
	for n := 0; n < kills; n++ {
		time.Sleep(time.Duration(random.Int64N(int64(40 * time.Second))))
		s := installed()
		phases[s.Phase]++
		u.Cut()
		if s.Phase == "committed" {
			u.registered()
			u.PowerOff()
			u.powerOn()
			u.do("check")
		}
	}
	u.await("in the end it is committed", func(s updateState) bool { return s.Phase == "committed" && s.Installed == newVersion })
	u.registered()
	t.Logf("%d power cuts, by the phase that was told last: %v; seed %d", kills, phases, seed)
}
