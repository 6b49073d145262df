package audiotest

import (
	"math"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// figures are what a listener of a network could tell of it.
type figures struct {
	loss, run             float64 // share; mean length of a run
	median, p90, worst    float64 // of delays, ms
	overtaken             float64 // share of packets that come after their successor
	stalls, stallMean     float64 // delays that jump by more than 60 ms: a minute; mean, ms
	correlation, smallest float64 // of neighbouring delays; ms
}

func figuresOf(s Schedule) figures {
	var f figures
	var delays, firsts []float64
	var runs int
	lost := 0.0
	before := -1.0
	ordered := slices.SortedFunc(slices.Values(s), func(a, b Row) int { return a.Seq - b.Seq })
	var x, y []float64
	for i, r := range ordered {
		d := float64(r.Delay) / float64(time.Millisecond)
		if r.Delay < 0 {
			lost++
			if i == 0 || ordered[i-1].Delay >= 0 {
				runs++
			}
			continue
		}
		if i > 0 && ordered[i-1].Delay >= 0 {
			x, y = append(x, before), append(y, d)
			if d < before-20 {
				f.overtaken++
			}
			if d > before+60 && d > 95 {
				firsts = append(firsts, d)
			}
		}
		before = d
		delays = append(delays, d)
	}
	n := float64(len(s))
	f.loss = lost / n
	if runs > 0 {
		f.run = lost / float64(runs)
	}
	slices.Sort(delays)
	f.smallest, f.worst = delays[0], delays[len(delays)-1]
	f.median, f.p90 = delays[len(delays)/2], delays[len(delays)*9/10]
	f.overtaken /= n
	f.correlation = Correlation(x, y)
	f.stalls = float64(len(firsts)) / (n / 3000)
	for _, d := range firsts {
		f.stallMean += d / float64(len(firsts))
	}
	return f
}

// What is made is like what was recorded, in all that the buffer has to do with.
func TestNetworksAreLikeTheRecorded(t *testing.T) {
	for _, kind := range Networks {
		recorded, err := ReadSchedule("testdata/traces/" + kind + ".csv")
		if err != nil {
			t.Fatal(err)
		}
		long, err := Network(kind, 1, 20*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		want, got := figuresOf(recorded), figuresOf(long)
		t.Logf("%s: recorded %.3f", kind, want)
		t.Logf("%s: made     %.3f", kind, got)
		for _, c := range []struct {
			what              string
			got, want, within float64
		}{
			// A minute's figures scatter by what the square root of its events says.
			{"loss", got.loss, want.loss, 0.02},
			{"run of losses", got.run, want.run, 0.15 * want.run},
			{"median delay", got.median, want.median, 1.5},
			{"90 % delay", got.p90, want.p90, 3},
			{"smallest delay", got.smallest, want.smallest, 0.1},
			{"overtaken", got.overtaken, want.overtaken, 0.03},
			{"correlation", got.correlation, want.correlation, 0.05},
		} {
			if math.Abs(c.got-c.want) > c.within {
				t.Errorf("%s: %s is %.3f, recorded is %.3f", kind, c.what, c.got, c.want)
			}
		}
		if kind == "wifi" && (math.Abs(got.stalls-want.stalls) > 3 || math.Abs(got.stallMean-want.stallMean) > 20 || math.Abs(got.worst-want.worst) > 25) {
			t.Errorf("%s: %.1f stalls a minute of %.0f ms, recorded are %.1f of %.0f", kind, got.stalls, got.stallMean, want.stalls, want.stallMean)
		}
	}
}

func TestNetworkIsASeedsOwn(t *testing.T) {
	for _, kind := range Networks {
		a, _ := Network(kind, 1, time.Minute)
		b, _ := Network(kind, 1, time.Minute)
		c, _ := Network(kind, 2, time.Minute)
		if !slices.Equal(a, b) || kind != "clean" && slices.Equal(a, c) || len(a) != 3000 {
			t.Errorf("%s: %d packets; the same seed gives the same: %v", kind, len(a), slices.Equal(a, b))
		}
		path := filepath.Join(t.TempDir(), "t.csv")
		if err := WriteSchedule(path, a); err != nil {
			t.Fatal(err)
		}
		read, err := ReadSchedule(path)
		if err != nil || len(read) != len(a) {
			t.Fatal(len(read), err)
		}
		for i := range a {
			if d := read[i].Delay - a[i].Delay; read[i].Seq != a[i].Seq || read[i].Sent != a[i].Sent || d < -time.Microsecond || d > time.Microsecond {
				t.Fatalf("%s: wrote %v, read %v", kind, a[i], read[i])
			}
		}
	}
	if _, err := Network("clear", 1, time.Minute); err == nil {
		t.Error("made a network that there is not")
	}
}
