//go:build trace

package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"
)

// What the whole path may differ by from the offline bench.
const (
	delayWithin     = 10.0 // ms
	concealedWithin = 0.3  // percent
	recordingWithin = 20.0 // ms: a recording begins with a frame, and a packet may leave in the one after

	excused = 3 // calls during which this machine stood still, which are made again
)

// Sound is pulled each 20 ms, and how the pulls lie against the packets makes a delay longer or shorter by up to 15 ms
// (docs/media.md). A device whose sound comes back to it from an echo pulls onTheWay before packets would come that took
// no time: where a little more or less makes all the difference. So the relay takes extra time, and the bench pulls
// accordingly.
const (
	onTheWay  = time.Millisecond
	extra     = 9 * time.Millisecond
	pullPhase = audio.FrameDuration - onTheWay - extra
)

// figures are what a schedule did to the sound.
type figures struct {
	delay     float64 // of the buffer, in ms
	concealed float64 // percent
	aligned   float64 // ms from what was said to what was heard, by comparing the two
}

// TestTrace plays recorded schedules over the media of calls by relay, and holds that what the device says of them is
// what the offline bench finds.
func TestTrace(t *testing.T) {
	length, times := 30*time.Second, 1
	if os.Getenv("SIDETONE_LONG") != "" {
		length, times = 58*time.Second, 3
	}
	l := startLab(t)
	said := audiotest.Speech(4, length+10*time.Second)
	saidFile := filepath.Join(t.TempDir(), "said.wav")
	if err := audiotest.WriteWAV(saidFile, said, audio.SampleRate); err != nil {
		t.Fatal(err)
	}
	for device, kind := range map[string]string{"door1": "wifi", "door2": "jitter30", "kiosk1": "loss5"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, err := audiotest.ReadSchedule("../../audio/audiotest/testdata/traces/" + kind + ".csv")
			if err != nil {
				t.Fatal(err)
			}
			want := bench(t, s[:int(length/audio.FrameDuration)], saidFile)
			stalls := watchStalls(t)
			for n, try := 0, 1; n < times; try++ {
				begin := time.Now()
				got := l.throughTrace(t, device, s, length, saidFile, said)
				err := got.compare(want)
				t.Logf("try %d: the device has %+v, the bench %+v: %v", try, got, want, err)
				switch still := stalledIn(stalls(), begin, time.Now()); {
				case err == nil:
					n++
				case still > 0 && try < times+excused:
					t.Logf("this machine stood still for %v meanwhile", still)
				case still > 0 && times == 1:
					t.Skipf("this machine is too busy to judge a call: it stood still in each of %d", try)
				default:
					t.Fatal(err)
				}
			}
		})
	}
}

// compare tells where f, of a device, is not what the bench has.
func (f figures) compare(bench figures) error {
	var errs []error
	for _, c := range []struct {
		what               string
		got, want, allowed float64
	}{
		{"ms of buffer delay", f.delay, bench.delay, delayWithin},
		{"percent concealed", f.concealed, bench.concealed, concealedWithin},
		{"ms by alignment", f.aligned, bench.aligned, delayWithin + recordingWithin},
	} {
		if !(math.Abs(c.got-c.want) <= c.allowed) {
			errs = append(errs, fmt.Errorf("%.2f %s, where the bench has %.2f: more than %g apart", c.got, c.what, c.want, c.allowed))
		}
	}
	return errors.Join(errs...)
}

// throughTrace makes a call to the echo by relay, the way back from which is the schedule's.
func (l *lab) throughTrace(t *testing.T, device string, s audiotest.Schedule, length time.Duration, saidFile string, said []int16) (f figures) {
	t.Helper()
	server := port(t, strings.Replace(l.TURN[0], "turn:", "turn://", 1))
	relay := startTracedRelay(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), server), s, extra)
	heardFile := filepath.Join(t.TempDir(), "heard.wav")
	config := l.withTURN(t, device, "traced", relay.url(), l.TURNUser, l.TURNPassword)
	r := run(t, length+time.Minute, nil, "sidetone", "call", "--config", config, "--relay", "--json",
		"--in", saidFile, "--out", heardFile, "--for", length.String(), "echo")
	if r.code != 0 {
		t.Fatalf("exit %d\n%s\n%s", r.code, r.out, r.err)
	}
	report := reportOf(t, events(t, r.out))
	if report.Path.Local.CandidateType != "relay" {
		t.Errorf("path %+v", report.Path)
	}
	if n, all := int(relay.played.Load()), int(length/audio.FrameDuration); n < all*9/10 || n > len(s) {
		t.Errorf("the relay carried %d packets of sound in %v", n, length)
	}
	in := report.Stats[len(report.Stats)-1].Audio.Inbound
	f.delay = 1000 * in.JitterBufferDelay / float64(in.JitterBufferEmittedCount)
	f.concealed = 100 * float64(in.ConcealedSamples) / float64(in.TotalSamplesReceived)
	heard, _, err := audiotest.ReadWAV(heardFile)
	if err != nil {
		t.Fatal(err)
	}
	f.aligned = ms(audiotest.CompareQuality(said[:min(len(heard), len(said))], heard).Delay)
	return f
}

// bench plays a schedule offline. The sound of the echo's calls has no FEC: its sender hears of no loss.
func bench(t *testing.T, s audiotest.Schedule, saidFile string) figures {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace.csv")
	if err := audiotest.WriteSchedule(trace, s); err != nil {
		t.Fatal(err)
	}
	r := run(t, 2*time.Minute, nil, "sidetone-bench", "play", "--trace", trace, "--in", saidFile, "--json",
		"--fec", "off", "--complexity", "5", "--phase", pullPhase.String())
	if r.code != 0 {
		t.Fatalf("exit %d\n%s", r.code, r.err)
	}
	var b struct {
		Delay struct {
			Mean float64 `json:"mean"`
		} `json:"buffer_delay_ms"`
		Concealed float64 `json:"concealed_share"`
		Aligned   float64 `json:"aligned_delay_over_fastest_ms"`
	}
	if err := json.Unmarshal([]byte(r.out), &b); err != nil {
		t.Fatal(err)
	}
	fastest := s[0].Delay
	for _, row := range s {
		if row.Delay >= 0 && (row.Delay < fastest || fastest < 0) {
			fastest = row.Delay
		}
	}
	const codec = 6500 * time.Microsecond // by which what Opus decodes is behind what it encoded
	return figures{b.Delay.Mean, 100 * b.Concealed, b.Aligned + ms(fastest+codec+onTheWay+extra)}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
