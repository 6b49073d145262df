package gesture

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

var begin = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// edge is what the contact becomes, so long after the begin.
type edge struct {
	at     time.Duration
	active bool
}

// play gives what comes of the edges until the end; on time it is called whenever it is due, else at edges alone.
func play(c Config, edges []edge, end time.Duration, onTime bool) (out []Gesture) {
	b := New(c, false, begin)
	step := func(active bool, at time.Time) {
		var more []Gesture
		b, more = b.Step(active, at)
		out = append(out, more...)
	}
	for _, e := range append(edges, edge{end, false}) {
		at := begin.Add(e.at)
		for due := b.Due(); onTime && !due.IsZero() && due.Before(at); due = b.Due() {
			step(b.Active(), due)
		}
		if e.at == end {
			e.active = b.Active()
		}
		step(e.active, at)
	}
	return out
}

// words is "press@100ms counting(5s)@1s".
func words(all []Gesture) string {
	var s []string
	for _, g := range all {
		w := string(g.Kind)
		if g.Kind == Counting {
			w += fmt.Sprintf("(%s)", g.Left)
		}
		s = append(s, w+"@"+g.Time.Sub(begin).String())
	}
	return strings.Join(s, " ")
}

func TestGestures(t *testing.T) {
	plain := Config{Stuck: time.Minute}
	all := Config{Double: 300 * ms, Long: time.Second, Hold: 10 * time.Second, Stuck: time.Minute}
	double := Config{Double: 300 * ms}
	bouncing := Config{Debounce: 10 * ms, Double: 300 * ms, Long: time.Second}
	hold := Config{Hold: 8 * time.Second, Stuck: 30 * time.Second}
	const counted = "press@0s counting(5s)@3s counting(4s)@4s counting(3s)@5s counting(2s)@6s counting(1s)@7s counting(0s)@8s"
	for _, c := range []struct {
		name   string
		config Config
		edges  []edge
		want   string
	}{
		{"a press is told at once", plain, []edge{{100 * ms, true}, {5 * time.Second, false}}, "press@100ms"},
		{"one that may be double is told later", double, []edge{{0, true}, {100 * ms, false}}, "press@400ms"},
		{"or while it is held", double, []edge{{0, true}, {time.Second, false}}, "press@300ms"},
		{"one that may be long is told when it ends", Config{Long: time.Second}, []edge{{0, true}, {900 * ms, false}}, "press@900ms"},
		{"double", all, []edge{{0, true}, {100 * ms, false}, {399 * ms, true}, {500 * ms, false}}, "double@399ms"},
		{"too slow for double", all, []edge{{0, true}, {100 * ms, false}, {400 * ms, true}, {500 * ms, false}}, "press@400ms press@800ms"},
		{"three are a double one and a press", all, []edge{{0, true}, {100 * ms, false}, {200 * ms, true}, {300 * ms, false}, {400 * ms, true}, {500 * ms, false}}, "double@200ms press@800ms"},
		{"long", all, []edge{{0, true}, {1500 * ms, false}}, "long@1s"},
		{"the second of a double is no long one", all, []edge{{0, true}, {100 * ms, false}, {200 * ms, true}, {2 * time.Second, false}}, "double@200ms"},
		{"held and let go", hold, []edge{{0, true}, {9 * time.Second, false}}, counted + " hold@9s"},
		{"let go too early", hold, []edge{{0, true}, {4500 * ms, false}}, "press@0s counting(5s)@3s counting(4s)@4s kept@4.5s"},
		{"let go too late", hold, []edge{{0, true}, {14 * time.Second, false}}, counted + " kept@13s"},
		{"stuck", hold, []edge{{0, true}, {20 * time.Minute, false}, {21 * time.Minute, true}, {21*time.Minute + time.Second, false}},
			counted + " kept@13s stuck@30s released@20m0s press@21m0s"},
		{"stuck without a hold", plain, []edge{{0, true}, {2 * time.Hour, false}}, "press@0s stuck@1m0s released@2h0m0s"},
		{"a spike is nothing", bouncing, []edge{{0, true}, {9 * ms, false}}, ""},
		{"a gap neither", bouncing, []edge{{0, true}, {500 * ms, false}, {509 * ms, true}, {1100 * ms, false}}, "long@1s"},
		{"released just before it was long", bouncing, []edge{{0, true}, {995 * ms, false}}, "press@1.295s"},
		{"bouncing when it becomes long", bouncing, []edge{{0, true}, {995 * ms, false}, {1002 * ms, true}, {1100 * ms, false}}, "long@1s"},
		{"pressed again just before it was double", bouncing, []edge{{0, true}, {100 * ms, false}, {395 * ms, true}, {500 * ms, false}}, "double@395ms"},
		{"the same level twice", plain, []edge{{0, true}, {ms, true}, {time.Second, false}, {time.Second, false}}, "press@0s"},
	} {
		for _, onTime := range []bool{true, false} {
			if got := words(play(c.config, c.edges, 24*time.Hour, onTime)); got != c.want {
				t.Errorf("%s (asked on time: %v):\ngot  %s\nwant %s", c.name, onTime, got, c.want)
			}
		}
	}
}

// A button that is found pressed at the start was not pressed by anybody, and resets nothing.
func TestPressedAtStart(t *testing.T) {
	b := New(Config{Double: 300 * ms, Long: time.Second, Hold: 8 * time.Second, Stuck: time.Minute}, true, begin)
	var out []Gesture
	for _, e := range []edge{{2 * time.Minute, true}, {time.Hour, false}, {2 * time.Hour, true}, {2*time.Hour + 100*ms, false}, {3 * time.Hour, false}} {
		var more []Gesture
		b, more = b.Step(e.active, begin.Add(e.at))
		out = append(out, more...)
	}
	if got := words(out); got != "stuck@1m0s released@1h0m0s press@2h0m0.4s" {
		t.Error(got)
	}
	if !b.Due().IsZero() {
		t.Errorf("it is due %s", b.Due())
	}
}

// bounce appends a change with its bouncing, a rest, and spikes in it that are too short to count. It gives the end of
// the rest too.
func bounce(rng *rand.Rand, edges []edge, at time.Duration, active bool, rest, debounce time.Duration) ([]edge, time.Duration) {
	end := at + time.Duration(rng.Int64N(int64(debounce)))
	for n := rng.IntN(15); n > 0; n-- {
		edges = append(edges, edge{at, active}, edge{at + 1, !active})
		if at += 2 + time.Duration(rng.Int64N(int64(debounce))); at > end {
			break
		}
	}
	edges = append(edges, edge{at, active})
	until := at + rest
	for spike := at + 2*debounce; rng.IntN(3) == 0 && spike < until-2*debounce; spike += 3 * debounce {
		edges = append(edges, edge{spike, !active}, edge{spike + 1 + time.Duration(rng.Int64N(int64(debounce-1))), active})
	}
	return edges, until
}

// However the contact bounces, each press is told, and told once; so are double and long ones where there are some.
func TestTenThousandPresses(t *testing.T) {
	const presses, debounce = 10000, 10 * ms
	for name, c := range map[string]Config{
		"press alone": {Debounce: debounce, Stuck: time.Minute},
		"all":         {Debounce: debounce, Double: 300 * ms, Long: time.Second, Hold: 10 * time.Second, Stuck: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			rng := rand.New(rand.NewPCG(seed, 0))
			var edges []edge
			var want []Kind
			now := time.Second
			press := func(held, after time.Duration) {
				edges, now = bounce(rng, edges, now, true, held, debounce)
				edges, now = bounce(rng, edges, now, false, after, debounce)
			}
			between := func(least, most time.Duration) time.Duration {
				return least + time.Duration(rng.Int64N(int64(most-least)))
			}
			for range presses {
				kind := Press
				if c.Long > 0 {
					kind = []Kind{Press, Double, Long}[rng.IntN(3)]
				}
				want = append(want, kind)
				switch kind {
				case Press:
					press(between(5*debounce, 900*ms), between(400*ms, 2*time.Second))
				case Double:
					press(between(5*debounce, 900*ms), between(5*debounce, 250*ms))
					press(between(5*debounce, 2*time.Second), between(400*ms, 2*time.Second))
				case Long:
					press(between(1100*ms, 4*time.Second), between(400*ms, 2*time.Second))
				}
			}
			var at [2][]Gesture
			for i, onTime := range []bool{true, false} {
				at[i] = play(c, edges, now+time.Hour, onTime)
				var got []Kind
				for _, g := range at[i] {
					got = append(got, g.Kind)
				}
				if !slices.Equal(got, want) {
					t.Fatalf("seed %d: %d gestures, want %d", seed, len(got), len(want))
				}
			}
			if !slices.Equal(at[0], at[1]) {
				t.Errorf("seed %d: it matters when it is asked", seed)
			}
			t.Logf("%d presses in %d edges and %s", len(want), len(edges), now)
		})
	}
}
