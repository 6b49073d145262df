package cli

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"
	"sidetone/cmd/sidetone-bench/internal/chart"
	"sidetone/cmd/sidetone-bench/internal/playout"

	"golang.org/x/sync/errgroup"
)

const (
	heads  = "  buffer   p95 | over fastest  aligned | concealed stretched  by FEC    lost | quality  conv. | CPU ms/s"
	length = time.Minute
	drawn  = 20 * time.Second // of a minute in a plot

	recorded = "recorded" // name of the schedules that were not made
)

// row is a run in a line, under heads.
func row(r *playout.Result) string {
	return fmt.Sprintf("  %6.1f %5.0f |       %6.1f   %6.1f |   %6.2f%%   %6.2f%% %6.2f%% %6.2f%% |    %4.2f   %4.2f |     %4.1f",
		r.BufferDelay.Mean, r.BufferDelay.P95, r.DelayOverFastest, r.Aligned, 100*r.Concealed, 100*r.Stretched, 100*r.FECRecovered,
		100*r.Lost, r.Quality, r.Conversational, r.CPU)
}

// run is one schedule played.
type run struct {
	kind, name, fec string
	schedule        audiotest.Schedule
	result          *playout.Result
}

// table plays many schedules.
func table(e env, set *flag.FlagSet, args []string) error {
	dir := set.String("traces", "", "the `directory` of recorded schedules, one CSV file of each kind")
	in := set.String("in", "", "the speech, a WAV `file`, repeated for a minute")
	seeds := set.Int("seeds", 5, "how many schedules more of each kind to make")
	only := set.String("kind", "", "only schedules of this kind")
	onlyFEC := set.String("fec", "", "only with this FEC")
	asMarkdown := set.Bool("markdown", false, "print the recorded schedules and the means of the made ones as a table in Markdown")
	plots := set.String("plots", "", "the `directory` to draw the beginnings of the recorded schedules in, one SVG file of each kind")
	if err := parse(e, set, args, "traces", "in"); err != nil {
		return err
	}
	if *plots != "" { // now, not after minutes
		if err := os.MkdirAll(*plots, 0o755); err != nil {
			return err
		}
	}
	once, err := readSpeech(*in)
	if err != nil {
		return err
	}
	spoken := slices.Repeat(once, int(length/time.Second)*audio.SampleRate/max(len(once), 1)+1)

	var runs []*run
	for _, kind := range audiotest.Networks {
		if *only != "" && kind != *only {
			continue
		}
		for seed := range *seeds + 1 {
			name := recorded
			var s audiotest.Schedule
			if seed == 0 {
				s, err = audiotest.ReadSchedule(filepath.Join(*dir, kind+".csv"))
			} else {
				name = "seed " + strconv.Itoa(seed)
				s, err = audiotest.Network(kind, uint64(seed), length)
			}
			if err != nil {
				return err
			}
			for _, fec := range []string{"off", "on", "auto"} {
				if *onlyFEC == "" || fec == *onlyFEC {
					runs = append(runs, &run{kind: kind, name: name, fec: fec, schedule: s})
				}
			}
			if kind == "clean" { // there is no chance in it
				break
			}
		}
	}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, r := range runs {
		g.Go(func() (err error) {
			r.result, err = playout.Run(playout.Config{
				Schedule: r.schedule, Spoken: spoken[:int(length/time.Second)*audio.SampleRate],
				Codec: "opus", FEC: r.fec, Bitrate: 32000, Complexity: 9,
			})
			if err != nil {
				return err
			}
			if *plots != "" && r.name == recorded && r.fec == "auto" {
				err = r.draw(*plots)
			}
			r.result.Heard, r.result.Log = nil, nil
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if *asMarkdown {
		markdown(e.out, runs)
	} else {
		plain(e.out, runs)
		return judge(e.out, runs)
	}
	return nil
}

// draw draws the run's beginning.
func (r *run) draw(dir string) error {
	begun := *r.result
	begun.Log = slices.Clone(begun.Log)
	begun.Log = slices.DeleteFunc(begun.Log, func(d playout.Decision) bool { return d.At > drawn })
	s := r.schedule[:min(len(r.schedule), int(drawn/audio.FrameDuration))]
	return chart.Draw(filepath.Join(dir, "playout-"+r.kind+".svg"), r.kind, s, &begun)
}

// plain prints a line for each run.
func plain(w io.Writer, runs []*run) {
	fmt.Fprintf(w, "Delays in ms. Opus 32 kbit/s, complexity 9, a minute each.\n%-23s%s\n", "", heads)
	kind := ""
	for _, r := range runs {
		if r.kind != kind {
			kind = r.kind
			n := neteq[kind]
			over := "     -"
			if n.overFastest > 0 {
				over = fmt.Sprintf("%6.1f", n.overFastest)
			}
			fmt.Fprintf(w, "%-9s%-9s%-5s  %6.1f     - |       %s        - |   %6.2f%%\n", kind, "NetEQ", "off", n.buffer, over, n.concealed)
		}
		fmt.Fprintf(w, "%-9s%-9s%-5s%s\n", r.kind, r.name, r.fec, row(r.result))
	}
}

// markdown prints the table of docs/media.md.
func markdown(w io.Writer, runs []*run) {
	fmt.Fprintln(w, "| schedule | FEC | buffer delay | over the fastest packet | concealed | stretched | from FEC | quality | conversational |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|")
	kind := ""
	for i, r := range runs {
		if r.kind != kind {
			kind = r.kind
			n := neteq[kind]
			over := "-"
			if n.overFastest > 0 {
				over = fmt.Sprintf("%.0f ms", n.overFastest)
			}
			fmt.Fprintf(w, "| %s, NetEQ | off | %.0f ms | %s | %.2f %% | - | - | - | - |\n", kind, n.buffer, over, n.concealed)
		}
		if r.name == recorded {
			fmt.Fprintf(w, "| %s, recorded | %s | %s |\n", r.kind, r.fec, cells([]*run{r}))
			continue
		}
		same := func(o *run) bool { return o.kind == r.kind && o.fec == r.fec && o.name != recorded }
		if slices.IndexFunc(runs, same) == i {
			seeds := slices.DeleteFunc(slices.Clone(runs), func(o *run) bool { return !same(o) })
			fmt.Fprintf(w, "| %s, mean of %d seeds | %s | %s |\n", r.kind, len(seeds), r.fec, cells(seeds))
		}
	}
}

// cells are the means of runs.
func cells(runs []*run) string {
	mean := func(of func(*playout.Result) float64) (sum float64) {
		for _, r := range runs {
			sum += of(r.result) / float64(len(runs))
		}
		return sum
	}
	return fmt.Sprintf("%.1f ms | %.1f ms | %.2f %% | %.1f %% | %.2f %% | %.2f | %.2f",
		mean(func(r *playout.Result) float64 { return r.BufferDelay.Mean }),
		mean(func(r *playout.Result) float64 { return r.DelayOverFastest }),
		100*mean(func(r *playout.Result) float64 { return r.Concealed }),
		100*mean(func(r *playout.Result) float64 { return r.Stretched }),
		100*mean(func(r *playout.Result) float64 { return r.FECRecovered }),
		mean(func(r *playout.Result) float64 { return r.Quality }),
		mean(func(r *playout.Result) float64 { return r.Conversational }))
}
