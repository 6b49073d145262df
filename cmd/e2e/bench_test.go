package e2e_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkCall makes whole calls over loopback and reports what a person would ask: how long from the press to the
// first packet and to the first sound, what a minute of call costs, and how much memory it takes.
func BenchmarkCall(b *testing.B) {
	l := startLab(b)
	for _, way := range []struct {
		name string
		args []string
	}{
		{"direct", nil},
		{"relay", []string{"--relay"}},
	} {
		b.Run(way.name, func(b *testing.B) {
			var sent, heard, cpu, rss, calls float64
			for b.Loop() {
				p := startEnv(b, nil, "sidetone", append([]string{"call", "--config", l.Devices["door1"], "--in", speech,
					"--out", filepath.Join(b.TempDir(), "heard.wav"), "--for", "10s", "--json", "tone"}, way.args...)...)
				var out strings.Builder
				for line := range p.lines {
					out.WriteString(line + "\n")
				}
				<-p.done
				if code := p.cmd.ProcessState.ExitCode(); code != 0 {
					b.Fatalf("exit %d\n%s", code, p.stderr)
				}
				for _, e := range events(b, out.String()) {
					switch e.Name {
					case "first_packet_sent":
						sent += float64(e.TMs)
					case "first_sound_played":
						heard += float64(e.TMs)
					}
				}
				state := p.cmd.ProcessState
				cpu += (state.UserTime() + state.SystemTime()).Seconds() * float64(time.Minute/(10*time.Second))
				rss = max(rss, float64(state.SysUsage().(*syscall.Rusage).Maxrss)/1024)
				calls++
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(sent/calls, "ms-to-first-packet")
			b.ReportMetric(heard/calls, "ms-to-first-sound")
			b.ReportMetric(cpu/calls, "cpu-s/min")
			b.ReportMetric(rss, "MB-resident")
		})
	}
}
