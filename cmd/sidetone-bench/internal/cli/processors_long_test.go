//go:build long

package cli

import (
	"encoding/json"
	"errors"
	"math"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"
	"sidetone/cmd/sidetone-bench/internal/playout"
)

// With Opus, whose decoder reckons in floats, the figures on other processors are nearly the same.
func TestOpusOnOtherProcessors(t *testing.T) {
	for _, p := range []struct {
		target, compiler string
		emulator         []string
	}{
		{"arm64", "aarch64-linux-gnu-gcc", []string{"qemu-aarch64-static"}},
		{"armv7", "arm-linux-gnueabihf-gcc", []string{"qemu-arm-static", "-cpu", "cortex-a7"}},
	} {
		t.Run(p.target, func(t *testing.T) {
			if _, err := exec.LookPath(p.emulator[0]); err != nil || runtime.GOARCH != "amd64" {
				t.Skip("other processors are emulated on amd64 only, by " + p.emulator[0] + ": install qemu-user-static")
			}
			if _, err := exec.LookPath(p.compiler); err != nil {
				t.Skip("there is no " + p.compiler + ": buildroot/setup.sh cross installs it")
			}
			bench := filepath.Join(t.TempDir(), "bench")
			script := `cd ../../../.. && buildroot/deps.sh $2 && SIDETONE_TARGET=$2 . buildroot/env.sh &&
				go build -ldflags "-linkmode external -extldflags '-static'" -o "$1" ./cmd/sidetone-bench`
			if out, err := exec.Command("bash", "-c", script, "bash", bench, p.target).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			speech := filepath.Join(t.TempDir(), "said.wav") // a minute: a stall that is filled a sample otherwise counts for less
			if err := audiotest.WriteWAV(speech, audiotest.Speech(4, time.Minute), audio.SampleRate); err != nil {
				t.Fatal(err)
			}
			for _, kind := range audiotest.Networks {
				trace := "../../../../audio/audiotest/testdata/traces/" + kind + ".csv"
				args := []string{"play", "--fec", "auto", "--json", "--trace", trace, "--in", speech}
				compare(t, kind, do(t, args...), emulated(t, append(append(p.emulator, bench), args...)))
			}
		})
	}
}

func emulated(t *testing.T, command []string) []byte {
	t.Helper()
	out, err := exec.Command(command[0], command[1:]...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// compare holds two runs to 2 ms of delay, and 0.05 points of concealment and of quality.
func compare(t *testing.T, kind string, hereJSON, thereJSON []byte) {
	t.Helper()
	var here, there playout.Result
	if err := errors.Join(json.Unmarshal(hereJSON, &here), json.Unmarshal(thereJSON, &there)); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %.2f and %.2f ms, concealed %.3f and %.3f %%, quality %.3f and %.3f", kind, here.DelayOverFastest, there.DelayOverFastest,
		100*here.Concealed, 100*there.Concealed, here.Quality, there.Quality)
	if math.Abs(here.DelayOverFastest-there.DelayOverFastest) > 2 || math.Abs(here.BufferDelay.Mean-there.BufferDelay.Mean) > 2 ||
		100*math.Abs(here.Concealed-there.Concealed) > 0.05 || math.Abs(here.Quality-there.Quality) > 0.05 {
		t.Errorf("%s: here %+v, there %+v", kind, here, there)
	}
}
