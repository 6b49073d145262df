// Package cmd_test holds what is true of the source as a whole: which way imports run, and that packages say what
// they are for.
package cmd_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "sidetone/"

type pkg struct {
	ImportPath, Doc string
	Imports, Deps   []string
	GoFiles         []string // tests aside
}

// list loads our packages with what they import, tests aside.
func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-e", "-json=ImportPath,Doc,Imports,Deps,GoFiles"}, args...)...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// ours gives the path inside the module, or "" for somebody else's package.
func ours(importPath string) string {
	in, ok := strings.CutPrefix(importPath, module)
	if !ok {
		return ""
	}
	return in
}

func within(p, room string) bool { return p == room || strings.HasPrefix(p, room+"/") }

// rooms are the top-level packages that never import one another.
var rooms = []string{"board", "audio", "rtc", "provisioning", "ota"}

// doors are the only ways from one room into another.
var doors = map[string][]string{
	"rtc/media":   {"audio"},
	"rtc/gateway": {"audio", "audio/opus", "audio/tone"},
}

// narrow lists packages that may import no others of ours than these (by prefix).
var narrow = map[string][]string{
	"rtc/quality": {},
	"rtc/call":    {"rtc/quality"},
	"board":       {"board"},
}

// service is what only the lab and the tests may contain.
var service = []string{
	module + "rtc/gateway", module + "provisioning/broker", module + "ota/release", module + "ota/rollout", module + "cmd/sidetone-lab", module + "cmd/sidetone-bench", module + "cmd/sidetonectl",
	"github.com/mochi-mqtt", "gonum.org/v1/plot", "testing", "net/http/pprof",
}

func TestArrows(t *testing.T) {
	for _, p := range list(t, "./...") {
		from := ours(p.ImportPath)
		if from == "" {
			continue
		}
		room, _, _ := strings.Cut(from, "/")
		for _, imp := range p.Imports {
			to := ours(imp)
			if to == "" {
				continue
			}
			toRoom, _, _ := strings.Cut(to, "/")
			if room != toRoom && slices.Contains(rooms, room) && !throughDoor(from, to) {
				t.Errorf("%s imports %s: %s and %s are rooms without a door between them", from, to, room, toRoom)
			}
			for holder, allowed := range narrow {
				if within(from, holder) && !slices.ContainsFunc(allowed, func(a string) bool { return within(to, a) }) {
					t.Errorf("%s imports %s: it may import only %q of ours", from, to, allowed)
				}
			}
			if path.Base(to) == "appliance" && !within(from, "cmd/sidetone") {
				t.Errorf("%s imports the composition root %s", from, to)
			}
		}
		if name := path.Base(from); name == "util" || name == "utils" || name == "common" || name == "helpers" {
			t.Errorf("package %s says nothing with its name", from)
		}
	}
}

func throughDoor(from, to string) bool {
	for holder, open := range doors {
		if within(from, holder) && slices.Contains(open, to) {
			return true
		}
	}
	return false
}

// TestDeviceWithoutService holds that the firmware does not carry the lab.
func TestDeviceWithoutService(t *testing.T) {
	device := list(t, "./cmd/sidetone")
	if len(device) != 1 || len(device[0].Deps) < 10 {
		t.Fatalf("go list gave %d packages of the device", len(device))
	}
	for _, dep := range device[0].Deps {
		for _, s := range service {
			if within(dep, s) {
				t.Errorf("cmd/sidetone contains %s", dep)
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	for _, p := range list(t, "./...") {
		if from := ours(p.ImportPath); from != "" && p.Doc == "" && len(p.GoFiles) > 0 {
			t.Errorf("package %s has no package comment", from)
		}
	}
}
