//go:build cross

package e2e_test

import (
	"debug/elf"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"
)

// target is a processor that `make cross` builds for, and how it is emulated here.
type target struct {
	name     string
	machine  elf.Machine
	goarch   string
	emulator string // with its arguments; not used on a machine of that processor
}

var targets = []target{
	{"amd64", elf.EM_X86_64, "amd64", "qemu-x86_64-static"},
	{"arm64", elf.EM_AARCH64, "arm64", "qemu-aarch64-static"},
	{"armv7", elf.EM_ARM, "arm", "qemu-arm-static -cpu cortex-a7"},
	{"armv6", elf.EM_ARM, "arm", "qemu-arm-static -cpu arm1176"},
}

// native tells that this machine has that processor itself.
func (target target) native() bool { return target.goarch == runtime.GOARCH }

// TestCross runs what `make cross` built, in the directory that SIDETONE_CROSS names, each on its own processor: it makes
// whole calls, direct and by a relay alone.
func TestCross(t *testing.T) {
	melody := filepath.Join(t.TempDir(), "melody.wav")
	if err := audiotest.WriteWAV(melody, play(scale), audio.SampleRate); err != nil {
		t.Fatal(err)
	}
	said, _, err := audiotest.ReadWAV(speech)
	if err != nil {
		t.Fatal(err)
	}
	l := startLab(t)
	for _, target := range targets {
		t.Run(target.name, func(t *testing.T) {
			target.isStatic(t)
			target.fits(t)
			device := target.device(t)
			r := run(t, time.Minute, nil, device, "version")
			if want := regexp.MustCompile(`^sidetone \S+ [0-9a-f]{40} linux/` + target.goarch + `\n$`); !want.MatchString(r.out) {
				t.Errorf("version: %q %q, want %s", r.out, r.err, want)
			}
			if r := run(t, time.Minute, nil, device, "config", "check", "--config", l.Devices["door1"]); r.code != 0 {
				t.Errorf("config check: exit %d\n%s%s", r.code, r.out, r.err)
			}
			relayed := l.withOnly(t, "door1", "transport=udp")
			if target.native() {
				t.Run("direct", func(t *testing.T) { wholeEcho(t, said, device, l.Devices["door1"], "", nil) })
				t.Run("relay", func(t *testing.T) { wholeEcho(t, said, device, relayed, "udp", []string{"--relay"}) })
				return
			}
			t.Run("direct", func(t *testing.T) { melodyEcho(t, device, melody, l.Devices["door1"], false) })
			t.Run("relay", func(t *testing.T) { melodyEcho(t, device, melody, relayed, true, "--relay") })
		})
	}
}

// melodyEcho holds that the echo gives back the melody. An emulated processor is several times as slow, and leaves holes
// where the machine has other work: a syllable would be lost in one, a note of a second is not.
func melodyEcho(t *testing.T, device, melody, config string, relayed bool, flags ...string) {
	t.Helper()
	tries(t, func() error {
		report, heard := echo(t, device, melody, config, flags)
		if relay := report.Path.Local.CandidateType == "relay"; relay != relayed {
			t.Errorf("path %+v", report.Path)
		}
		if got := notes(heard); !slices.Equal(got, scale) {
			return fmt.Errorf("heard %v Hz, said %v Hz", got, scale)
		}
		return nil
	})
}

// scale is a melody of a second each, in Hz: every note would be another one if a codec, a resampler or the order of
// packets were wrong.
var scale = []int{440, 1760, 660, 2640, 550, 880, 3520, 330}

func play(melody []int) []int16 {
	pcm := make([]int16, 0, len(melody)*audio.SampleRate)
	for _, hz := range melody {
		for i := range audio.SampleRate {
			pcm = append(pcm, int16(8000*math.Sin(2*math.Pi*float64(hz)*float64(i)/audio.SampleRate)))
		}
	}
	return pcm
}

// notes tells which notes sound for 200 ms or longer with nothing beside them, in order: those of the scale within 2 %, and
// what else there is.
func notes(pcm []int16) (melody []int) {
	const block = audio.SampleRate / 5
	for at := 0; at+block <= len(pcm); at += block / 4 {
		tones := audiotest.Tones(pcm[at : at+block])
		if len(tones) == 0 || tones[0].Level < -30 {
			continue
		}
		note := int(tones[0].Hz)
		for _, hz := range scale {
			if math.Abs(tones[0].Hz/float64(hz)-1) < 0.02 {
				note = hz
			}
		}
		if pure := len(tones) == 1 || tones[1].Level < tones[0].Level-20; pure && (len(melody) == 0 || melody[len(melody)-1] != note) {
			melody = append(melody, note)
		}
	}
	return melody
}

// TestEmulatorTellsProcessorsApart holds that what runs as ARMv6 has no instruction of ARMv7: the emulator refuses those.
func TestEmulatorTellsProcessorsApart(t *testing.T) {
	armv7, armv6 := targets[2], targets[3]
	if r := run(t, time.Minute, nil, armv7.device(t), "version"); r.code != 0 {
		t.Fatalf("%s does not run the program for armv7: exit %d, %s", armv7.emulator, r.code, r.err)
	}
	armv6.name = armv7.name
	if r := run(t, time.Minute, nil, armv6.device(t), "version"); r.code == 0 {
		t.Errorf("%s runs the program for armv7: %q", armv6.emulator, r.out)
	}
}

func (target target) program(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("SIDETONE_CROSS")
	if dir == "" {
		t.Fatal("SIDETONE_CROSS does not say where the programs are; make test-cross does")
	}
	return filepath.Join(dir, "sidetone-linux-"+target.name)
}

// isStatic holds that the program asks for no loader and no library.
func (target target) isStatic(t *testing.T) {
	t.Helper()
	f, err := elf.Open(target.program(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Machine != target.machine {
		t.Errorf("it is for %v", f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("it has a %v", p.Type)
		}
	}
	if needed, err := f.DynString(elf.DT_NEEDED); len(needed) > 0 || err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		t.Errorf("it needs %q, %v", needed, err)
	}
}

// budget is what the program may take of a device's storage, in bytes: 14 MiB.
const budget = 14 << 20

// fits holds that the program for an ARM is within the budget. x86's code is larger, and no board's.
func (target target) fits(t *testing.T) {
	t.Helper()
	f, err := os.Stat(target.program(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, %.2f MiB", f.Size(), float64(f.Size())/(1<<20))
	most := int64(budget)
	if target.name == "armv6" {
		most = 14_900_000 // what is reached
	}
	if f.Size() > most && target.machine != elf.EM_X86_64 {
		t.Errorf("it has %d bytes, want at most %d", f.Size(), most)
	}
}

// device writes a command that runs the program on its processor, and gives the command's path.
func (target target) device(t *testing.T) string {
	t.Helper()
	if target.native() {
		return target.program(t)
	}
	emulator, _, _ := strings.Cut(target.emulator, " ")
	if _, err := exec.LookPath(emulator); err != nil {
		t.Fatalf("%v: buildroot/setup.sh cross installs it", err)
	}
	command := filepath.Join(t.TempDir(), "sidetone-"+target.name)
	script := fmt.Sprintf("#!/bin/sh\nexec %s '%s' \"$@\"\n", target.emulator, target.program(t))
	if err := os.WriteFile(command, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return command
}
