package e2e_test

import (
	"path/filepath"
	"testing"
	"time"

	"sidetone/audio/audiotest"
)

// TestSilenceIsTold calls an echo with a microphone that gives nothing: 31005 and 31006. With a voice neither comes, and
// the meters of both directions move.
func TestSilenceIsTold(t *testing.T) {
	l := startLab(t)
	silent := filepath.Join(t.TempDir(), "silent.wav")
	if err := audiotest.WriteWAV(silent, make([]int16, 48000), 48000); err != nil {
		t.Fatal(err)
	}
	for in, told := range map[string]bool{silent: true, speech: false} {
		r := run(t, 60*time.Second, []string{"SIDETONE_REPORT_INTERVAL=1s"}, "sidetone", "call", "--config", l.Devices["door1"], "--in", in, "--for", "8s", "--json", "echo")
		if failed := r.code != 0; failed != told { // a call in which nothing is heard has failed
			t.Fatalf("exit %d\n%s", r.code, r.err)
		}
		codes := map[int]bool{}
		in, out := 0.0, 0.0
		for _, e := range events(t, r.out) {
			if e.Event == "warning" {
				codes[e.Code] = true
			}
			if e.Stats != nil {
				in, out = max(in, e.Stats.In.Level), max(out, e.Stats.Out.Level)
			}
		}
		if codes[31005] != told || codes[31006] != told {
			t.Errorf("silence %t: warnings %v", told, codes)
		}
		if heard := in > 0.01 && out > 0.01; heard == told {
			t.Errorf("silence %t: levels up to %.4f in, %.4f out", told, in, out)
		}
	}
}
