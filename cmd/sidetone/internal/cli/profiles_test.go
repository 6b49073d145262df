package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sidetone/board"
	"sidetone/provisioning/config"
)

const credentials = "[line]\ntoken_file = 'door1.jwt'\n"

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestProfilesAreConfig loads every board with every part for sound: all that profiles say are good values of the config.
func TestProfilesAreConfig(t *testing.T) {
	for _, b := range board.Names(board.KindBoard) {
		for _, s := range append(board.Names(board.KindSound), "") {
			file := write(t, filepath.Join(t.TempDir(), "door.toml"), "board.profile = '"+b+"'\nboard.sound = '"+s+"'\n"+credentials+
				"[[buttons]]\nname = 'call'\ntarget = 'house'\n[[door.relays]]\nname = 'door'\npulse = '2s'\n"+
				map[bool]string{true: "line = 'GPIO26'\n"}[b == "sim"])
			c, err := load(file)
			if err != nil {
				t.Errorf("%s with %q: %v", b, s, err)
				continue
			}
			if c.Board.Profile != b || c.Board.Sound != s || c.Audio.Complexity < 0 || len(c.Buttons) != 1 || c.Buttons[0].Target != "house" ||
				len(c.Door.Relays) != 1 || c.Door.Relays[0].Line != "GPIO26" {
				t.Errorf("%s with %q: %+v", b, s, c)
			}
			if s == "wm8960" && (c.Buttons[0].Line != "GPIO17" || len(c.Audio.Mixer) < 5 || c.Audio.Capture != "card:wm8960soundcard") {
				t.Errorf("%s with %q: %+v", b, s, c)
			}
			if s == "usb" && c.Audio.Canceller != "none" {
				t.Errorf("%s with %q: canceller %s", b, s, c.Audio.Canceller)
			}
			if text, err := c.Encode(); err != nil {
				t.Error(err)
			} else if again, err := config.Load(write(t, filepath.Join(t.TempDir(), "merged.toml"), string(text))); err != nil || again.Audio.Capture != c.Audio.Capture {
				t.Errorf("%s with %q: %v from\n%s", b, s, err, text)
			}
		}
	}
}

// TestFileWinsOverProfile holds what a file's values do to the profile's.
func TestFileWinsOverProfile(t *testing.T) {
	dir := t.TempDir()
	c, err := load(write(t, filepath.Join(dir, "door.toml"), credentials+`
[board]
profile = "rpi4"
sound = "wm8960"
[audio]
capture = "card:other"
[[audio.mixer]]
control = "Speaker Playback Volume"
value = "-20dB"
[[audio.mixer]]
control = "Mine"
value = "on"
[[buttons]]
name = "call"
target = "house"
bias = "pull-up"
[[buttons]]
name = "other"
target = "office"
`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Audio.Capture != "card:other" || c.Audio.Playback != "card:wm8960soundcard" {
		t.Errorf("%+v", c.Audio)
	}
	values := map[string]string{}
	for _, m := range c.Audio.Mixer {
		values[m.Control] = m.Value
	}
	if values["Speaker Playback Volume"] != "-20dB" || values["Mine"] != "on" || values["Capture Switch"] != "on" || len(values) != len(c.Audio.Mixer) {
		t.Errorf("%v", c.Audio.Mixer)
	}
	if b := c.Buttons; len(b) != 2 || b[0].Line != "GPIO17" || !b[0].ActiveLow || b[0].Bias != "pull-up" || b[1].Line != "" {
		t.Errorf("%+v", b)
	}
	if len(c.Door.Relays) != 0 {
		t.Errorf("relays that nobody named: %+v", c.Door.Relays)
	}
}

// TestProfileProblems holds that what is wrong is told with its place, in the file or in the profile.
func TestProfileProblems(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "boards", "mine.toml"), "[profile]\nkind = 'board'\n[audio]\ncapure = 'auto'\ncomplexity = 11\n")
	for doc, want := range map[string]string{
		"board.profile = 'rpi'\n" + credentials:  `door.toml:1:7: board.profile: there is no profile "rpi"; there are rpi-zero, `,
		"board.sound = 'rpi4'\n" + credentials:   `is of kind "board", not "sound"`,
		"board.profile = 'mine'\n" + credentials: "mine.toml:4:1: unknown key audio.capure; did you mean audio.capture?",
	} {
		_, err := load(write(t, filepath.Join(dir, "door.toml"), doc))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
	write(t, filepath.Join(dir, "boards", "mine.toml"), "[profile]\nkind = 'board'\n[audio]\ncomplexity = 11\n")
	_, err := load(write(t, filepath.Join(dir, "door.toml"), "board.profile = 'mine'\n"+credentials))
	if err == nil || !strings.Contains(err.Error(), "mine.toml:4:1: audio.complexity must be from") {
		t.Error(err)
	}
}

// TestSystemIsBelowAll holds what an image says against the config of the device and the profile of its board.
func TestSystemIsBelowAll(t *testing.T) {
	dir := t.TempDir()
	text, err := os.ReadFile("../../../../buildroot/package/sidetone/system.toml")
	if err != nil {
		t.Fatal(err)
	}
	system := write(t, filepath.Join(dir, "usr/system.toml"), string(text)+"url = 'https://updates.example.org/'\n")
	file := filepath.Join(dir, "data/sidetone.toml")
	c, err := loadOver(write(t, file, "board.profile = 'rpi4'\n"+credentials), system)
	if err != nil {
		t.Fatal(err)
	}
	if c.Board.Profile != "rpi4" || c.Board.Watchdog != "/dev/watchdog" || c.Device.StateDir != "/data/state" ||
		c.Update.URL != "https://updates.example.org/" || c.Update.Boot != config.BootTryboot {
		t.Errorf("%+v %+v %+v", c.Board, c.Device, c.Update)
	}
	c, err = loadOver(write(t, file, "device.state_dir = 'mine'\nupdate.url = ''\nboard.watchdog = ''\n"+credentials), system)
	if err != nil {
		t.Fatal(err)
	}
	if c.Board.Watchdog != "" || c.Device.StateDir != filepath.Join(dir, "data/mine") || c.Update.URL != "" {
		t.Errorf("the file does not win: %+v %+v %+v", c.Board, c.Device, c.Update)
	}
	write(t, system, "[update]\nurll = ''\n")
	if _, err := loadOver(file, system); err == nil || !strings.Contains(err.Error(), system+":2:1") {
		t.Errorf("a system that is wrong: %v", err)
	}
}
