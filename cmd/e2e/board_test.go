//go:build board

package e2e_test

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sidetone/audio/audiotest"
	"sidetone/board/boardtest"
	"sidetone/board/boardtest/steer"
)

const (
	// boardPatience is for what an emulated board does: software plays the CPU, on a machine that may have other work.
	boardPatience = time.Minute

	debounce = 100 * time.Millisecond // of the button that bounces: a busy machine makes 5 ms longer

	boardHz = 700.0  // said by the board
	farHz   = 1200.0 // said by the far end

	loopback = "card:Loopback"
	usbCard  = "card:Audio" // QEMU
)

// TestBoard boots the firmware on Debian's arm64 kernel, once, and puts it to work.
func TestBoard(t *testing.T) {
	if _, err := exec.LookPath("qemu-system-aarch64"); err != nil {
		t.Skip("no qemu-system-aarch64 here: buildroot/setup.sh board installs it")
	}
	if outside(t) {
		return
	}
	l := startBoardLab(t)
	b := bootBoard(t, l)
	for _, part := range []struct {
		name string
		test func(*testing.T)
	}{
		{"programs", b.programs},
		{"registers", b.registers},
		{"presses bounce", b.bounces},
		{"calls with files", b.files},
		{"calls with cards", b.cards},
		{"the USB card is unplugged in a call", b.hotPlug},
		{"the lamp follows", b.lamps},
		{"a code in a call opens", b.codes},
		{"killed in mid-pulse", b.kills},
		{"a button is held for a reset", b.resets},
		{"the main loop hangs", b.hangs},
	} {
		t.Run(part.name, part.test)
	}
}

// emulated is a board, and the lab that it knows.
type emulated struct {
	*boardtest.Machine
	lab    *lab
	config string // on the board
	base   int    // see chipBase; -1: it was not looked for
}

func bootBoard(t *testing.T, l *lab) *emulated {
	t.Helper()
	code := filepath.Join(l.dir, "neighbour.code")
	if err := os.WriteFile(code, []byte(doorCode), 0o600); err != nil {
		t.Fatal(err)
	}
	b := &emulated{lab: l, base: -1, config: l.with(t, "door1", fmt.Sprintf(`
[audio]
capture = %q
playback = %q
processing = "off" # which would take a tone for noise
`, loopback, usbCard)+wiring(code))}
	text, err := os.ReadFile(b.config)
	if err != nil {
		t.Fatal(err)
	}
	wired := strings.NewReplacer("key = '1'", "line = '"+lines[callLine]+"'\ndebounce = '"+debounce.String()+"'", "target = 'concierge'", "target = 'door2'").Replace(string(text))
	if err := os.WriteFile(b.config, []byte(wired), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Machine = boardtest.Boot(t, boardtest.Options{
		Kernel:   "../../build/board",
		Firmware: "../../bin/sidetone-linux-arm64",
		Modules:  []string{"snd-aloop", "xhci-pci", "snd-usb-audio", "i6300esb"},
		Lines:    lines,
		Files:    b.labFiles(t),
		Services: map[string][]string{"sidetone": {boardtest.Program, "run", "--config", b.config}},
	})
	return b
}

// labFiles are what devices of the lab read: on the board they have the same paths.
func (b *emulated) labFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(b.lab.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		files[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// programs runs what needs no network.
func (b *emulated) programs(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"config", "check", "--config", b.config}, {"sound"}, {"gpio"}} {
		a := b.Run(boardPatience, args...)
		t.Logf("%v: %s%s", args, a.Stdout, a.Stderr)
		if a.Code != 0 || a.Stdout == "" && args[0] != "config" {
			t.Errorf("%v: exit %d", args, a.Code)
		}
	}
}

// registers waits for the line.
func (b *emulated) registers(t *testing.T) {
	eventually(t, boardPatience, "the board is registered", func() bool { return b.lab.stats(t)["door1"].Registered })
	since := time.Since(b.Began)
	up, _, _ := strings.Cut(b.Read("/proc/uptime"), " ")
	t.Logf("from the start of QEMU to registered: %s; the kernel has been up for %s s", since.Round(10*time.Millisecond), up)
}

// files calls the echo, as a program of its own, with media by each policy.
func (b *emulated) files(t *testing.T) {
	said, heard, config := "/said.wav", "/heard.wav", "/kiosk1.toml"
	data, err := os.ReadFile(toneOf(t, t.TempDir(), boardHz, 8*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	b.Do(boardPatience, steer.Request{Op: steer.Drive, Steps: []steer.Step{{Path: said, Data: data}}})
	for _, policy := range []string{"all", "relay"} {
		b.Do(boardPatience, steer.Request{Op: steer.Drive, Steps: []steer.Step{{Path: config, Data: []byte(
			strings.Replace(b.Read(b.lab.Devices["kiosk1"]), "[ice]", "[ice]\npolicy = '"+policy+"'", 1))}}})
		a := b.Run(2*boardPatience, "call", "--config", config, "--in", said, "--out", heard, "--for", "4s", "--json", "echo")
		if a.Code != 0 {
			t.Fatalf("exit %d\n%s\n%s", a.Code, a.Stdout, a.Stderr)
		}
		r := reportOf(t, events(t, a.Stdout))
		t.Logf("policy %s: path %+v, MOS %.2f", policy, r.Path, r.Quality.MOS)
		if r.Path.Policy != policy || (r.Path.Local.CandidateType == "relay") != (policy == "relay") {
			t.Errorf("policy %s: media went by %s, policy %s", policy, r.Path.Local.CandidateType, r.Path.Policy)
		}
		file := filepath.Join(t.TempDir(), "heard.wav")
		if err := os.WriteFile(file, b.Do(boardPatience, steer.Request{Op: steer.Read, Path: heard}).Data, 0o600); err != nil {
			t.Fatal(err)
		}
		hears(t, file, boardHz)
	}
}

// cards makes calls with sound cards: to a device that says one tone and records what it hears.
func (b *emulated) cards(t *testing.T) {
	_, farHeard := b.lab.runDevice(t, "door2", farHz)
	other := b.otherSide(t)
	const saying = "tone"
	b.Do(boardPatience, steer.Request{Op: steer.Play, Name: saying, Path: other + "p", Data: sineBytes(boardHz, time.Second)})
	const placed = "msg=call state=new"
	before := strings.Count(b.Console(), placed)
	b.press(t, callLine, func() {
		b.Run(boardPatience, "hangup", "--config", b.config) // where there is a call
		before = strings.Count(b.Console(), placed)
	})
	b.sounds(t)
	if n := strings.Count(b.Console(), placed) - before; n != 1 {
		t.Errorf("one press placed %d calls", n)
	}
	b.resident(t, "not relayed")

	b.command("device", "--playback", loopback)
	heard := b.Do(boardPatience, steer.Request{Op: steer.Record, Path: other + "c", For: 4 * time.Second}).Data
	pcm := make([]int16, len(heard)/2)
	if _, err := binary.Decode(heard, binary.LittleEndian, pcm); err != nil {
		t.Fatal(err)
	}
	if last := pcm[len(pcm)-2*48000:]; !audiotest.HasTone(last, farHz) {
		t.Errorf("the other side of the loopback lacks the far end's tone: %v", audiotest.Tones(last))
	}
	b.command("hangup")
	b.Do(boardPatience, steer.Request{Op: steer.Stop, Name: saying})
	eventually(t, boardPatience, "the far end's recording", func() bool { _, err := os.Stat(farHeard); return err == nil })
	hears(t, farHeard, boardHz)
}

// resident holds what the firmware takes of the memory in a call to its budget.
func (b *emulated) resident(t *testing.T, call string) {
	t.Helper()
	const most = 25e6
	n := b.Resident("sidetone")
	t.Logf("resident memory in the call, %s: %.1f MB", call, float64(n)/1e6)
	if n > most {
		t.Errorf("more than %.0f MB", most/1e6)
	}
}

// sounds waits until the USB loudspeaker plays the far end's tone, whatever it played before.
func (b *emulated) sounds(t *testing.T) {
	t.Helper()
	const enough = 48000 / 2
	begin := len(b.Playback())
	eventually(t, boardPatience, "the far end's tone from the USB loudspeaker", func() bool {
		pcm := b.Playback()
		return len(pcm) >= begin+enough && audiotest.HasTone(pcm[len(pcm)-enough:], farHz)
	})
}

// bounces presses a button whose contact bounces for 5 ms at each end: with the kernel's debouncing one press comes out,
// without it many.
func (b *emulated) bounces(t *testing.T) {
	if bouncing := b.presses(t, 4); bouncing < 4 {
		t.Errorf("the contact does not bounce: %d changes", bouncing)
	}
	if n := b.presses(t, 2, "--debounce", debounce.String()); n != 2 {
		t.Errorf("one press made %d changes", n)
	}
}

// presses counts what `sidetone gpio` sees of a press, which are so many at least.
func (b *emulated) presses(t *testing.T, least int, flags ...string) (n int) {
	t.Helper()
	before := len(b.Console())
	argv := append([]string{boardtest.Program, "gpio"}, flags...)
	b.Do(boardPatience, steer.Request{Op: steer.Service, Name: "gpio", Argv: append(argv, fmt.Sprintf("%s:%d", steer.Chip, freeLine))})
	seen := func() []string { return watched.FindAllString(b.Console()[before:], -1) }
	eventually(t, boardPatience, "the line is watched", func() bool { return len(seen()) == 1 })
	was := 1
	b.press(t, freeLine, func() { was = len(seen()) })
	eventually(t, boardPatience, "a press", func() bool { return len(seen())-was >= least })
	time.Sleep(time.Second) // more may come
	b.Do(boardPatience, steer.Request{Op: steer.Stop, Name: "gpio"})
	t.Log(flags, strings.Join(seen(), " "))
	return len(seen()) - was
}

// watched is what `sidetone gpio` prints.
var watched = regexp.MustCompile(`(?m)^(in)?active( after [^\s]+)?`)

// press presses a button for 200 ms, with bounces of 5 ms when it closes and when it opens. Other work of this machine may
// hold the board up in the midst of one, for nearly as long as debouncing takes: then there may have been two presses, which
// are undone, and it is done again.
func (b *emulated) press(t *testing.T, line int, undo func()) {
	t.Helper()
	const bounce, most = 500 * time.Microsecond, debounce * 3 / 5
	pull := b.Line(line) + "/pull"
	var steps []steer.Step
	step := func(after time.Duration, to string) {
		steps = append(steps, steer.Step{After: after, Path: pull, Data: []byte(to)})
	}
	for _, to := range [][2]string{{"pull-up", "pull-down"}, {"pull-down", "pull-up"}} {
		for range 5 {
			step(bounce, to[0])
			step(bounce, to[1])
		}
		step(bounce, to[0])
		if to[0] == "pull-up" {
			step(200*time.Millisecond, to[0])
		}
	}
	for range 20 {
		late := b.Do(boardPatience, steer.Request{Op: steer.Drive, Steps: steps}).Late
		if late <= most {
			return
		}
		t.Logf("a bounce took %s more than it should have: once more", late)
		time.Sleep(time.Second) // what came of it comes
		undo()
	}
	t.Fatal("this machine is too busy for bounces of 5 ms")
}

// hotPlug takes the USB card away in a call, and gives it back, three times at least. The machine's other work can make it
// take longer, hardly shorter: so the best counts.
func (b *emulated) hotPlug(t *testing.T) {
	const within = 2 * time.Second
	b.lab.runDevice(t, "door2", farHz)
	b.command("device", "--playback", usbCard)
	b.command("dial", "--relay", "door2")
	b.sounds(t)
	b.resident(t, "relayed")
	best := time.Duration(math.MaxInt64)
	for try := 0; try < 3 || best > within && try < 8; try++ {
		b.Monitor("device_del", map[string]any{"id": boardtest.USBCard})
		eventually(t, boardPatience, "the card is gone", func() bool { return !strings.Contains(b.Read("/proc/asound/cards"), "USB-Audio") })
		b.PlugUSB()
		seen := b.await("/proc/asound/cards", "USB-Audio")
		plays := b.await("/proc/asound/Audio/pcm0p/sub0/status", "state: RUNNING")
		t.Logf("the card plays %s after the kernel saw it", (plays - seen).Round(time.Millisecond))
		best = min(best, plays-seen)
		b.sounds(t)
	}
	if best > within {
		t.Errorf("it never took %s", within)
	}
	b.command("hangup")
}

// command runs a sub-command that talks to the daemon.
func (b *emulated) command(name string, args ...string) string {
	return b.Must(boardPatience, append([]string{name, "--config", b.config}, args...)...)
}

// otherSide is the device file, without the letter of a direction, of the loopback's other side.
func (b *emulated) otherSide(t *testing.T) string {
	t.Helper()
	var card int
	for line := range strings.Lines(b.Read("/proc/asound/cards")) {
		if n, _ := fmt.Sscanf(line, "%d [Loopback", &card); n == 1 {
			return fmt.Sprintf("/dev/snd/pcmC%dD1", card)
		}
	}
	t.Fatal("the board has no loopback card")
	return ""
}

func sineBytes(hz float64, length time.Duration) []byte {
	pcm := make([]int16, int(48000*length.Seconds()))
	for i := range pcm {
		pcm[i] = int16(8000 * math.Sin(2*math.Pi*hz*float64(i)/48000))
	}
	b, err := binary.Append(nil, binary.LittleEndian, pcm)
	if err != nil {
		panic(err)
	}
	return b
}
