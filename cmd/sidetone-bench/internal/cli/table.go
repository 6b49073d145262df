package cli

import (
	"flag"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"
	"sidetone/cmd/sidetone-bench/internal/playout"

	"golang.org/x/sync/errgroup"
)

// neteq is what libwebrtc's receiver does with the recorded schedules (Opus 32 kbit/s without FEC): buffer delay, delay
// over the fastest packet (ms; 0: not measured) and concealed share (%).
var neteq = map[string]struct{ buffer, overFastest, concealed float64 }{
	"clean":    {38, 0, 0},
	"loss5":    {23, 0, 4.83},
	"burst":    {22, 0, 13.8},
	"jitter30": {115, 178, 0.17},
	"wifi":     {195, 205, 1.02},
}

const (
	heads  = "  buffer   p95 | over fastest  aligned | concealed stretched  by FEC    lost | quality  conv. | CPU ms/s"
	length = time.Minute
)

// row is a run in a line, under heads.
func row(r *playout.Result) string {
	return fmt.Sprintf("  %6.1f %5.0f |       %6.1f   %6.1f |   %6.2f%%   %6.2f%% %6.2f%% %6.2f%% |    %4.2f   %4.2f |     %4.1f",
		r.BufferDelay.Mean, r.BufferDelay.P95, r.DelayOverFastest, r.Aligned, 100*r.Concealed, 100*r.Stretched, 100*r.FECRecovered,
		100*r.Lost, r.Quality, r.Conversational, r.CPU)
}

// table plays many schedules.
func table(e env, set *flag.FlagSet, args []string) error {
	dir := set.String("traces", "", "the `directory` of recorded schedules, one CSV file of each kind")
	in := set.String("in", "", "the speech, a WAV `file`, repeated for a minute")
	seeds := set.Int("seeds", 5, "how many schedules more of each kind to make")
	only := set.String("kind", "", "only schedules of this kind")
	onlyFEC := set.String("fec", "", "only with this FEC")
	if err := parse(e, set, args, "traces", "in"); err != nil {
		return err
	}
	once, err := readSpeech(*in)
	if err != nil {
		return err
	}
	spoken := slices.Repeat(once, int(length/time.Second)*audio.SampleRate/max(len(once), 1)+1)

	type run struct {
		kind, name, fec string
		schedule        audiotest.Schedule
		result          *playout.Result
	}
	var runs []*run
	for _, kind := range audiotest.Networks {
		if *only != "" && kind != *only {
			continue
		}
		for seed := range *seeds + 1 {
			name := "recorded"
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
			if r.result != nil {
				r.result.Heard, r.result.Log = nil, nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "Delays in ms. Opus 32 kbit/s, complexity 9, a minute each.\n%-23s%s\n", "", heads)
	kind := ""
	for _, r := range runs {
		if r.kind != kind {
			kind = r.kind
			n := neteq[kind]
			over := "     -"
			if n.overFastest > 0 {
				over = fmt.Sprintf("%6.1f", n.overFastest)
			}
			fmt.Fprintf(e.out, "%-9s%-9s%-5s  %6.1f     - |       %s        - |   %6.2f%%\n", kind, "NetEQ", "off", n.buffer, over, n.concealed)
		}
		fmt.Fprintf(e.out, "%-9s%-9s%-5s%s\n", r.kind, r.name, r.fec, row(r.result))
	}
	return nil
}
