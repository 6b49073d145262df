package audiotest_test

import (
	"math"
	"testing"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"
	"sidetone/audio/opus"
)

const length = 30 * time.Second

func recorded(t *testing.T) []int16 {
	once, _, err := audiotest.ReadWAV("testdata/speech.wav")
	if err != nil {
		t.Fatal(err)
	}
	var pcm []int16
	for len(pcm) < int(length/time.Second)*audio.SampleRate {
		pcm = append(pcm, once...)
	}
	return pcm[:int(length/time.Second)*audio.SampleRate]
}

// through is pcm after Opus at 32 kbit/s, whose decoder conceals the packets that the schedule loses.
func through(t *testing.T, pcm []int16, s audiotest.Schedule) []int16 {
	enc, err := opus.NewEncoder(opus.Config{Bitrate: 32000, Complexity: 9})
	if err != nil {
		t.Fatal(err)
	}
	dec, err := opus.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	out := make([]int16, 0, len(pcm))
	buf := make([]byte, opus.MaxPacket)
	var f audio.Frame
	for i := 0; (i+1)*len(f) <= len(pcm); i++ {
		n, err := enc.Encode((*audio.Frame)(pcm[i*len(f):]), buf)
		if err != nil {
			t.Fatal(err)
		}
		if s[i].Delay < 0 {
			err = dec.DecodePLC(f[:])
		} else {
			_, err = dec.Decode(buf[:n], f[:])
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f[:]...)
	}
	return out
}

func losing(share float64) audiotest.Schedule {
	s, _ := audiotest.Network("clean", 1, length)
	for i := range s {
		// A sequence that is even: 1/phi modulo 1.
		if math.Mod(float64(i)*0.6180339887, 1) < share {
			s[i].Delay = -1
		}
	}
	return s
}

func TestQualityAnchors(t *testing.T) {
	in := recorded(t)
	for kind, want := range map[string]float64{"clean": 4.1, "loss5": 2.8, "burst": 1.9} {
		s, err := audiotest.ReadSchedule("testdata/traces/" + kind + ".csv")
		if err != nil {
			t.Fatal(err)
		}
		q := audiotest.CompareQuality(in, through(t, in, s))
		t.Logf("%s: %.2f, %v", kind, q.Score, q.Delay)
		if math.Abs(q.Score-want) > 0.3 {
			t.Errorf("%s: %.2f, want about %.1f", kind, q.Score, want)
		}
	}
}

func TestQualityFallsWithLoss(t *testing.T) {
	in := recorded(t)
	before := 4.6
	for _, share := range []float64{0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32} {
		q := audiotest.CompareQuality(in, through(t, in, losing(share)))
		t.Logf("%4.0f %% lost: %.2f", 100*share, q.Score)
		if q.Score >= before-0.03 {
			t.Errorf("%.0f %% lost scores %.2f, less loss %.2f", 100*share, q.Score, before)
		}
		before = q.Score
	}
}

func TestQualityLetsDelayBe(t *testing.T) {
	in := recorded(t)
	coded := through(t, in, losing(0.03))
	here := audiotest.CompareQuality(in, coded)
	for _, ms := range []int{1, 2, 7, 20, 133, 400, 1500} {
		q := audiotest.CompareQuality(in, append(make([]int16, ms*audio.SampleRate/1000), coded...))
		if math.Abs(q.Score-here.Score) > 0.08 {
			t.Errorf("%d ms later scores %.2f, at once %.2f", ms, q.Score, here.Score)
		}
		if moved := q.Delay - here.Delay - time.Duration(ms)*time.Millisecond; moved.Abs() > 5*time.Millisecond {
			t.Errorf("%d ms later is measured as %v", ms, q.Delay-here.Delay)
		}
	}
	// A delay that jumps in mid-call costs the patch that it falls into.
	half := len(coded) / 2
	jumped := append(append(append([]int16(nil), coded[:half]...), make([]int16, audio.SampleRate/20)...), coded[half:]...)
	if q := audiotest.CompareQuality(in, jumped); math.Abs(q.Score-here.Score) > 0.15 {
		t.Errorf("one jump of 50 ms scores %.2f, none %.2f", q.Score, here.Score)
	}
}

func TestQualityOfOtherSound(t *testing.T) {
	in := recorded(t)
	for name, tt := range map[string]struct {
		heard    []int16
		from, to float64
	}{
		"itself":         {in, 4.4, 4.5},
		"silence":        {make([]int16, len(in)), 1, 1.2},
		"nothing":        {nil, 1, 1.2},
		"another speech": {audiotest.Speech(2, length), 1, 1.5},
	} {
		if q := audiotest.CompareQuality(in, tt.heard); q.Score < tt.from || q.Score > tt.to {
			t.Errorf("%s scores %.2f, want %.1f to %.1f", name, q.Score, tt.from, tt.to)
		}
	}
	if q := audiotest.CompareQuality(nil, in); q.Score != 1 {
		t.Errorf("without a reference: %.2f", q.Score)
	}
}
