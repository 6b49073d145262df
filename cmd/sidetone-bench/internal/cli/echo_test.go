//go:build cgo

package cli

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"sidetone/audio"
	"sidetone/audio/audiotest"
	"sidetone/cmd/sidetone-bench/internal/echo"
)

// A room is made, its echo is taken away, and the figures are those of the files: what was written is in time with the
// near end, and none is better than ours.
func TestEchoOfARoom(t *testing.T) {
	dir := t.TempDir()
	far, near, mic, out := filepath.Join(dir, "far.wav"), filepath.Join(dir, "near.wav"), filepath.Join(dir, "mic.wav"), filepath.Join(dir, "out.wav")
	do(t, "room", "--seed", "2", "--rt60", "0.3", "--drift-ppm", "50", "--change-at", "30s", "--far", far, "--near", near, "--mic", mic)
	var reports []echo.Result
	for _, name := range echo.Cancellers() {
		var r echo.Result
		b := do(t, "echo", "--canceller", name, "--far", far, "--near", near, "--mic", mic, "--out", out, "--change-at", "30s", "--json")
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s", b)
		if r.ERLE.At1s == nil || r.ERLE.At5s == nil || r.ERLE.Steady == nil || r.DoubleTalk.SDR == nil || r.DoubleTalk.Gain == nil {
			t.Fatalf("%s: figures are missing", name)
		}
		reports = append(reports, r)
		spoken, _, _ := audiotest.ReadWAV(near)
		left, rate, err := audiotest.ReadWAV(out)
		if err != nil || rate != audio.SampleRate || len(left) != len(spoken) {
			t.Fatalf("%d samples at %d Hz, %v", len(left), rate, err)
		}
		from, to := 17*audio.SampleRate, 25*audio.SampleRate
		best, most := 0, 0.0
		for lag := -960; lag <= 960; lag += 4 {
			sum := 0.0
			for i := from; i < to; i += 7 {
				sum += float64(spoken[i]) * float64(left[i+lag])
			}
			if sum > most {
				best, most = lag, sum
			}
		}
		if best < -8 || best > 8 {
			t.Errorf("%s: the near end is %d samples late in what was written", name, best)
		}
	}
	if len(reports) != 3 || reports[0].Canceller != "kalman" || reports[1].Canceller != "none" {
		t.Fatalf("measured: %d", len(reports))
	}
	ours, none, speex := reports[0], reports[1], reports[2]
	if *none.ERLE.Steady > 1 || *none.ERLE.Steady < -1 || none.Recovery != nil {
		t.Errorf("nothing lowers the echo by %.1f dB", *none.ERLE.Steady)
	}
	if *ours.ERLE.Steady < *speex.ERLE.Steady || *ours.DoubleTalk.SDR < *speex.DoubleTalk.SDR {
		t.Error("ours is worse than speexdsp")
	}
	if ours.Allocations != 0 || ours.Recovery == nil {
		t.Errorf("allocations %v, recovery %v", ours.Allocations, ours.Recovery)
	}
}
