//go:build long

package cli

import (
	"encoding/json"
	"math"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"sidetone/audio/audiotest"
	"sidetone/cmd/sidetone-bench/internal/playout"
)

// With Opus, whose decoder reckons in floats, the figures on another processor are nearly the same.
func TestOpusOnARM64(t *testing.T) {
	emulator, err := exec.LookPath("qemu-aarch64-static")
	if err != nil || runtime.GOARCH != "amd64" {
		t.Skip("arm64 is emulated on amd64 only, by qemu-aarch64-static: install qemu-user-static")
	}
	// The environment for another processor begins with what this one's has not set.
	bench := filepath.Join(t.TempDir(), "bench")
	script := `cd ../../../.. && buildroot/deps.sh arm64 && SIDETONE_TARGET=arm64 . buildroot/env.sh &&
		go build -ldflags "-linkmode external -extldflags '-static'" -o "$1" ./cmd/sidetone-bench`
	if _, err := exec.LookPath("aarch64-linux-gnu-gcc"); err != nil {
		t.Skip("there is no compiler for arm64: buildroot/setup.sh cross installs it")
	}
	if out, err := exec.Command("bash", "-c", script, "bash", bench).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, kind := range audiotest.Networks {
		trace, speech := files(t, kind)
		args := []string{"play", "--fec", "auto", "--json", "--trace", trace, "--in", speech}
		var here, there playout.Result
		if err := json.Unmarshal(do(t, args...), &here); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(emulator, append([]string{bench}, args...)...).Output()
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if err := json.Unmarshal(out, &there); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %.2f and %.2f ms, concealed %.3f and %.3f %%, quality %.3f and %.3f", kind, here.DelayOverFastest, there.DelayOverFastest,
			100*here.Concealed, 100*there.Concealed, here.Quality, there.Quality)
		if math.Abs(here.DelayOverFastest-there.DelayOverFastest) > 2 || math.Abs(here.BufferDelay.Mean-there.BufferDelay.Mean) > 2 ||
			100*math.Abs(here.Concealed-there.Concealed) > 0.05 || math.Abs(here.Quality-there.Quality) > 0.05 {
			t.Errorf("%s: amd64 %+v, arm64 %+v", kind, here, there)
		}
	}
}
