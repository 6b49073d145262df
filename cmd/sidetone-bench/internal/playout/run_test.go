package playout

import (
	"math"
	"slices"
	"testing"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"
)

const ms = time.Millisecond

func schedule(t *testing.T, kind string, d time.Duration) audiotest.Schedule {
	t.Helper()
	s, err := audiotest.Network(kind, 7, d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func run(t *testing.T, c Config) *Result {
	t.Helper()
	if c.Codec == "" {
		c.Codec = "pcm"
	}
	if c.FEC == "" {
		c.FEC = "off"
	}
	c.Bitrate, c.Complexity = 32000, 9
	if c.Spoken == nil {
		c.Spoken = audiotest.Speech(1, time.Duration(len(c.Schedule))*audio.FrameDuration)
	}
	r, err := Run(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What is heard begins when the first packet is sent, and what the receiver says of its delay is what can be heard.
func TestDelayIsWhatIsHeard(t *testing.T) {
	for _, kind := range []string{"clean", "jitter30", "wifi"} {
		s := schedule(t, kind, 20*time.Second)
		r := run(t, Config{Schedule: s})
		t.Logf("%s: buffer %.1f ms, over the fastest %.1f, by ear %.1f", kind, r.BufferDelay.Mean, r.DelayOverFastest, r.Aligned)
		if math.Abs(r.DelayOverFastest-r.Aligned) > 10 {
			t.Errorf("%s: %.1f ms over the fastest packet, by ear %.1f", kind, r.DelayOverFastest, r.Aligned)
		}
		if kind == "clean" && math.Abs(r.BufferDelay.Mean-r.DelayOverFastest) > 0.1 {
			t.Errorf("clean: buffer %.1f ms, over the fastest %.1f", r.BufferDelay.Mean, r.DelayOverFastest)
		}
		if r.BufferDelay.P95 < r.BufferDelay.Mean {
			t.Errorf("%s: p95 %.1f, mean %.1f", kind, r.BufferDelay.P95, r.BufferDelay.Mean)
		}
	}
}

// Every sample heard is from a packet, from time stretching, or concealed.
func TestSamplesAddUp(t *testing.T) {
	for _, kind := range audiotest.Networks {
		r := run(t, Config{Schedule: schedule(t, kind, 30*time.Second), Unscored: true})
		var decoded, others int
		for _, d := range r.Log {
			switch d.Kind {
			case "decode", "fec":
				decoded += d.Samples - d.Stretch
				others += d.Stretch
			default:
				others += d.Samples
			}
		}
		// What the log says is what the receiver counts, from the first packet on to the end of the run.
		if n := int(r.Stats.JitterBufferEmittedCount); n != decoded {
			t.Errorf("%s: the decoder made %d samples, the receiver counts %d", kind, decoded, n)
		}
		if wait := 1000 * r.Stats.JitterBufferDelay / float64(r.Stats.JitterBufferEmittedCount); math.Abs(wait-r.BufferDelay.Mean) > 0.1 {
			t.Errorf("%s: buffer delay %.2f ms, the receiver counts %.2f", kind, r.BufferDelay.Mean, wait)
		}
		// Each piece begins where the one before ended.
		for i, d := range r.Log[1:] {
			end := r.Log[i].At + time.Duration(r.Log[i].Samples)*time.Second/audio.SampleRate
			if diff := (d.At - end).Abs(); diff > time.Microsecond {
				t.Fatalf("%s: %+v ends at %v, and then comes %+v", kind, r.Log[i], end, d)
			}
		}
		if others < 0 && r.Stretched == 0 {
			t.Errorf("%s: %d samples from nowhere", kind, others)
		}
		if kind == "loss5" && math.Abs(r.Concealed-r.Lost) > 0.005 {
			t.Errorf("loss5: %.4f lost, %.4f concealed", r.Lost, r.Concealed)
		}
	}
}

func TestRunsAreTheSame(t *testing.T) {
	for _, kind := range audiotest.Networks {
		c := Config{Schedule: schedule(t, kind, 10*time.Second), Unscored: true}
		a, b := run(t, c), run(t, c)
		if a.DecisionsSHA256 != b.DecisionsSHA256 || a.PCMSHA256 != b.PCMSHA256 || len(a.Log) == 0 {
			t.Errorf("%s: two runs differ", kind)
		}
		c.Phase = 7 * ms
		if b = run(t, c); a.DecisionsSHA256 == b.DecisionsSHA256 {
			t.Errorf("%s: another phase of the playback clock decides the same", kind)
		}
	}
}

func TestFECFollowsReports(t *testing.T) {
	if codecs["opus"].encoder == nil {
		t.Skip("without cgo there is no Opus")
	}
	share := func(kind, fec string) float64 {
		return run(t, Config{Schedule: schedule(t, kind, 30*time.Second), Codec: "opus", FEC: fec, Unscored: true}).FECRecovered
	}
	on, auto, off := share("loss5", "on"), share("loss5", "auto"), share("loss5", "off")
	t.Logf("loss5: %.4f recovered with FEC, %.4f by reports, %.4f without", on, auto, off)
	// The first report comes after 5 s.
	if off != 0 || auto < on/2 || auto > on || on < 0.02 {
		t.Error("want none without, most with, and nearly as many by reports")
	}
	if r := share("clean", "auto"); r != 0 {
		t.Errorf("clean: %.4f recovered", r)
	}
}

// With DTX the pauses have no packets.
func TestDTX(t *testing.T) {
	if codecs["opus"].encoder == nil {
		t.Skip("without cgo there is no Opus")
	}
	spoken := slices.Concat(audiotest.Speech(1, 3*time.Second), make([]int16, 4*audio.SampleRate), audiotest.Speech(2, 3*time.Second))
	r := run(t, Config{Schedule: schedule(t, "clean", 10*time.Second), Spoken: spoken, Codec: "opus", DTX: true})
	plays := 0
	for _, d := range r.Log {
		if d.Kind == "decode" {
			plays++
		}
	}
	t.Logf("%d of 500 frames played, quality %.2f", plays, r.Quality)
	if plays > 400 || plays < 250 || r.Quality < 3.5 || r.Concealed < 0.25 {
		t.Errorf("%d frames played, quality %.2f, concealed %.2f", plays, r.Quality, r.Concealed)
	}
}

// A sender whose clock is fast sends its frames closer together.
func TestSkew(t *testing.T) {
	n := newNetwork(schedule(t, "clean", time.Minute), 1000)
	if last := n.rows[2999].Sent; last < 59919*ms || last > 59921*ms {
		t.Errorf("the last of a minute is sent at %v", last)
	}
	// One part in a hundred: 200 ms in 20 s that the receiver has to take out.
	r := run(t, Config{Schedule: schedule(t, "clean", 40*time.Second), Skew: 10000, Unscored: true})
	if r.Stretched == 0 || r.Concealed > 0 {
		t.Errorf("stretched %.4f, concealed %.4f", r.Stretched, r.Concealed)
	}
}

func TestNothingToHear(t *testing.T) {
	s := schedule(t, "clean", time.Second)
	for i := range s {
		s[i].Delay = -1
	}
	speech := audiotest.Speech(1, time.Second)
	for name, c := range map[string]Config{
		"no packet comes": {Schedule: s, Spoken: speech, Codec: "pcm", FEC: "off"},
		"no schedule":     {Spoken: speech, Codec: "pcm", FEC: "off"},
		"no sound":        {Schedule: s, Codec: "pcm", FEC: "off"},
		"no such codec":   {Schedule: s, Spoken: speech, Codec: "mp3", FEC: "off"},
		"no such FEC":     {Schedule: s, Spoken: speech, Codec: "pcm", FEC: "maybe"},
	} {
		if _, err := Run(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestReportsCountLoss(t *testing.T) {
	s := schedule(t, "clean", 12*time.Second)
	for i := range s[:250] { // a quarter of the first 5 s
		if i%4 == 1 {
			s[i].Delay = -1
		}
	}
	e, err := newEngine(Config{Spoken: make([]int16, len(s)*audio.FrameSamples), Codec: "pcm", FEC: "off"}, codecs["pcm"], s)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.until(5001 * ms); err != nil {
		t.Fatal(err)
	}
	if r := e.network.reports; len(r) != 1 || r[0].fractionLost < 60 || r[0].fractionLost > 66 || r[0].at != 5030*ms {
		t.Errorf("after 5 s: %v, want one of 64/256 at 5.03 s", r)
	}
	if err := e.until(10001 * ms); err != nil {
		t.Fatal(err)
	}
	if r := e.network.reports; len(r) != 1 || r[0].fractionLost > 1 || r[0].at != 10030*ms {
		t.Errorf("after 10 s: %v, want one of 0 at 10.03 s", r)
	}
}
