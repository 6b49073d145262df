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
	"regexp"
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
	kills = fromEnv("SIDETONE_KILLS", 20) // power cuts in TestUpdateKills
	seed  = fromEnv("SIDETONE_SEED", 1)   // of what is left to chance
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

// newUpdated makes a board, and the server that it updates from.
func newUpdated(t *testing.T) *updated {
	t.Helper()
	l := startBoardLab(t)
	keys, err := release.PrivateKeys(l.Update.Keys)
	if err != nil {
		t.Fatal(err)
	}
	return &updated{t: t, lab: l, w: l.subscribe(t, "door1"), repo: release.Repository{Dir: l.Update.Repo}, keys: keys}
}

// powerOn boots a new card with the old version.
func (u *updated) powerOn(checks ...func(*boardtest.Raspberry, int) error) {
	u.t.Helper()
	u.Raspberry = boardtest.PowerOn(u.t, newCard(u.t, u.lab.onData(u.t, "door1")), checks...)
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
		"[update]\n", "[update]\nboard = '"+updateBoard+"'\nwindow = ''\nprobation = '3s'\ninterval = '1h'\n",
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

// finds has the device find a new version. After a roll-back it hears of nothing new until it knows that the old system is well.
func (u *updated) finds(version string) {
	u.t.Helper()
	from := len(u.w.all(updateTopic))
	eventually(u.t, updatePatience, "the device finds "+version, func() bool {
		u.do("check")
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			for _, m := range u.w.all(updateTopic)[from:] {
				if strings.Contains(string(m.payload), fmt.Sprintf(`"latest_version":%q`, version)) {
					return true
				}
			}
		}
		return false
	})
	u.from = from
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
	u.powerOn()
	u.Cut()
	eventually(t, updatePatience, "the board has gone", func() bool { return !u.lab.stats(t)["door1"].Registered })
	u.registered()
	t.Logf("from power on to registered: %s", time.Since(u.Boots()[1].Began).Round(10*time.Millisecond))
	u.runs(2)
}

// part is a part of a test that goes on with its board.
func (u *updated) part(name string, test func()) {
	outer := u.t
	outer.Run(name, func(t *testing.T) {
		u.t = t
		defer func() { u.t = outer }()
		begin := time.Now()
		test()
		t.Logf("%s took %s", name, time.Since(begin).Round(time.Second))
	})
}

func slotImage(version string) string {
	return filepath.Join(fmt.Sprintf(imageOf, version), "slot.img")
}

// onNewCard boots a card of its own, beside other tests, and has it updated.
func onNewCard(t *testing.T, parts func(*updated)) {
	t.Parallel()
	if outside(t, "qemu-system-aarch64", "fdtput", "mcopy", "genimage") {
		return
	}
	u := newUpdated(t)
	u.powerOn()
	parts(u)
}

// TestUpdateRefused has a board refuse what it must refuse, and take a good system over a bad line.
func TestUpdateRefused(t *testing.T) {
	onNewCard(t, func(u *updated) {
		random := rand.New(rand.NewPCG(uint64(seed), 0))
		u.part("what is refused", func() { u.refusals(slotImage(newVersion), random) })
		u.part("each chunk wrong once", func() { u.takesOverBadLine(slotImage(newVersion)) })
	})
}

// TestUpdateNeverUp has a board come back from systems that never come up.
func TestUpdateNeverUp(t *testing.T) {
	onNewCard(t, func(u *updated) {
		u.part("panics", func() {
			u.rollsBack("v1.1.0", map[string]string{"sbin/init": "echo c >/proc/sysrq-trigger"})
		})
		u.part("hangs", func() {
			u.rollsBack("v1.2.0", map[string]string{"sbin/init": "exec sleep 100000"})
		})
	})
}

// TestUpdateNotWell has a board come back from systems that come up and do not work, and take a good one.
func TestUpdateNotWell(t *testing.T) {
	onNewCard(t, func(u *updated) {
		u.part("is unhealthy", func() {
			u.rollsBack("v1.1.0", map[string]string{"usr/libexec/sidetone/run": "sed '/^\\[line\\]/,/^\\[/s,^url = .*,url = \"wss://127.0.0.1:1/\",' /data/sidetone.toml >/run/other.toml\n" +
				"exec sidetone run --config /run/other.toml"})
		})
		u.part("has no network", func() {
			u.rollsBack("v1.2.0", map[string]string{"usr/libexec/sidetone/network": "exec sleep 100000"})
		})
		u.part("good", func() {
			u.byDelta(newVersion, slotImage(newVersion), func() {
				u.await("it is committed", func(s updateState) bool { return s.Phase == "committed" && s.Installed == newVersion })
			})
			u.runs(3)
		})
	})
}

// byDelta has the board update by a delta from the old version, and shows how much the server sent until then.
func (u *updated) byDelta(version, image string, ends func()) {
	u.t.Helper()
	made := u.put(version, image, slotImage(oldVersion))
	before := u.sent()
	u.finds(version)
	ends()
	after := u.sent()
	metadata, targets := after.Metadata-before.Metadata, after.Targets-before.Targets
	whole := made.Image.Size
	u.t.Logf("delta: downloaded %d bytes, %d of them metadata, for an image of %d: %.1f %%", metadata+targets, metadata, whole,
		float64(metadata+targets)/float64(whole)*100)
	if metadata+targets > whole/10 || targets < made.Deltas[0].Size {
		u.t.Errorf("the server sent %d bytes of metadata and %d of the delta, which has %d", metadata, targets, made.Deltas[0].Size)
	}
}

// sent is what the update server has sent so far, by its own count.
func (u *updated) sent() (sent struct{ Metadata, Targets int64 }) {
	u.t.Helper()
	var all struct {
		Updates *struct{ Metadata, Targets int64 }
	}
	out, code := u.lab.tool(u.t, "stats", "--json")
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 || all.Updates == nil {
		u.t.Fatalf("stats: exit %d, %v\n%s", code, err, out)
	}
	return *all.Updates
}

// rollsBack has the board try a system that does not work for what is laid over it.
func (u *updated) rollsBack(version string, overlay map[string]string) {
	boots := len(u.Boots())
	var s updateState
	u.byDelta(version, u.image(overlay), func() {
		s = u.await("it is rolled back", func(s updateState) bool { return s.Phase == "rolled back" && s.Installed == oldVersion })
	})
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
	if strings.Contains(s.Reason, "released as") { // all are of newVersion; that is not what is to be found here
		u.t.Errorf("it came back for its name alone: %s", s.Reason)
	}
	u.t.Logf("%d trials; %s", tried, s.Reason)
}

// What the board says of a download that does not go smoothly, and of which byte it goes on at.
var (
	brokeOff = regexp.MustCompile(`the download broke off, it goes on".* offset=(\d+) `)
	wasWrong = regexp.MustCompile(`it is asked for again".* offset=(\d+) .*chunk (\d+) of the image`)
)

// takesOverBadLine has the board take a good system whole, from a server that sends each chunk wrong at first, breaks off in
// the middle of chunks, and goes away for a time.
func (u *updated) takesOverBadLine(newImage string) {
	t := u.t
	boots := u.Boots()
	first := boots[len(boots)-1]
	before := len(first.Console())
	image := u.put(newVersion, newImage).Image
	each := []string{"--corrupt-each", fmt.Sprint(seed)}
	begin := time.Now()
	u.fault(append(each, "--cut-after", fmt.Sprint(image.ChunkSize*3/2))...)
	u.do("check")
	breaks := func(n int) {
		t.Helper()
		eventually(t, updatePatience, "the download breaks off", func() bool { return len(brokeOff.FindAllString(first.Console()[before:], -1)) >= n })
	}
	breaks(2)
	u.fault(append(each, "--gone")...)
	breaks(3)
	u.fault(each...)
	eventually(t, updatePatience, "it is downloaded", func() bool { return strings.Contains(first.Console()[before:], "phase=verifying") })
	took := time.Since(begin)
	u.fault("--restore")
	u.await("it is committed", func(s updateState) bool { return s.Phase == "committed" && s.Installed == newVersion })
	u.runs(3)
	said := first.Console()[before:]
	refused := wasWrong.FindAllStringSubmatch(said, -1)
	for n := range image.Chunks {
		if at := fmt.Sprint(int64(n) * image.ChunkSize); n >= len(refused) || refused[n][1] != at || refused[n][2] != fmt.Sprint(n) {
			t.Fatalf("chunk %d was not refused once at byte %s: %q", n, at, refused)
		}
	}
	if len(refused) != len(image.Chunks) {
		t.Errorf("%d chunks were refused, the image has %d", len(refused), len(image.Chunks))
	}
	at := ""
	for _, b := range brokeOff.FindAllStringSubmatch(said, -1) {
		at += " " + b[1]
		if b[1] == "0" {
			t.Error("it does not go on where it was")
		}
	}
	t.Logf("each of %d chunks was refused once, seed %d; the download broke off at bytes%s; it took %s", len(refused), seed, at, took.Round(time.Second))
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

	// A bit of a chunk that is flipped each time.
	u.put(newVersion, newImage)
	chunk := random.IntN(len(good.Image.Chunks))
	u.fault("--corrupt-chunk", fmt.Sprint(chunk))
	u.refuses("failed", fmt.Sprintf("chunk %d of the image", chunk))
	u.fault("--restore")
	u.runs(2)
	if n := len(u.Boots()); n != 1 {
		t.Errorf("the board has booted %d times, want once", n)
	}
}
