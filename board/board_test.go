package board

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	if got := Names(KindBoard); !slices.Equal(got, []string{"rpi-zero", "rpi-zero2w", "rpi3", "rpi4", "rpi5", "sim"}) {
		t.Error(got)
	}
	if got := Names(KindSound); !slices.Equal(got, []string{"i2s", "usb", "wm8960"}) {
		t.Error(got)
	}
}

// header are the GPIO numbers of the 40-pin header's pins.
var header = map[int]int{
	3: 2, 5: 3, 7: 4, 8: 14, 10: 15, 11: 17, 12: 18, 13: 27, 15: 22, 16: 23, 18: 24, 19: 10, 21: 9, 22: 25, 23: 11, 24: 8,
	26: 7, 27: 0, 28: 1, 29: 5, 31: 6, 32: 12, 33: 13, 35: 19, 36: 16, 37: 26, 38: 20, 40: 21,
}

// power are its other pins.
var power = map[int]string{
	1: "3.3 V", 17: "3.3 V", 2: "5 V", 4: "5 V",
	6: "ground", 9: "ground", 14: "ground", 20: "ground", 25: "ground", 30: "ground", 34: "ground", 39: "ground",
}

// TestPins holds that pins are those of the header, and that no board uses one that a part for sound needs.
func TestPins(t *testing.T) {
	var parts []Profile
	for _, kind := range []Kind{KindBoard, KindSound} {
		for _, name := range Names(kind) {
			p, err := Lookup(name, t.TempDir(), kind)
			if err != nil {
				t.Fatal(err)
			}
			if p.Title == "" {
				t.Errorf("%s has no title", name)
			}
			for _, pin := range p.Pins {
				if gpio, ok := header[pin.Pin]; pin.GPIO >= 0 && (!ok || gpio != pin.GPIO) {
					t.Errorf("%s: pin %d is not GPIO%d", name, pin.Pin, pin.GPIO)
				} else if _, power := power[pin.Pin]; pin.GPIO < 0 && !power {
					t.Errorf("%s: pin %d is neither power nor ground", name, pin.Pin)
				}
			}
			parts = append(parts, p)
		}
	}
	for _, b := range parts {
		for _, s := range parts {
			for _, pin := range s.Pins {
				if b.Kind == KindBoard && s.Kind == KindSound && slices.ContainsFunc(b.Pins, func(p Pin) bool { return p.Pin == pin.Pin }) {
					t.Errorf("%s and %s both want pin %d", b.Name, s.Name, pin.Pin)
				}
			}
		}
	}
}

func TestLookup(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ doc, want string }{
		"rpi9": {"", `there is no profile "rpi9"; there are rpi-zero, rpi-zero2w, rpi3, rpi4, rpi5, sim, and files in ` + dir},
		"usb":  {"", `is of kind "sound", not "board"`},
		"own1": {"[profile]\nkind = 'board'\ntitel = 'x'\n", "own1.toml: unknown key profile.titel"},
		"own2": {"[profile\n", "own2.toml:1:"},
		"own3": {"[profile]\nkind = 1\n", "own3.toml: table [profile]"},
		"own4": {"[audio]\ncomplexity = 1\n", `own4.toml is of kind "", not "board"`},
		"own5": {"[profile]\nkind = 'board'\n[audio]\ncomplexity = 1\n", ""},
		"rpi4": {"[profile]\nkind = 'board'\ntitle = 'mine'\n", ""},
	} {
		if c.doc != "" {
			if err := os.WriteFile(filepath.Join(dir, name+".toml"), []byte(c.doc), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p, err := Lookup(name, dir, KindBoard)
		if c.want == "" {
			if err != nil || string(p.Doc) != c.doc || p.File != filepath.Join(dir, name+".toml") {
				t.Errorf("%s: %+v, %v", name, p, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
}
