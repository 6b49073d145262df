package cli

import (
	"encoding/json"
	"flag"
	"fmt"

	"sidetone/audio"
	"sidetone/audio/audiotest"
	"sidetone/cmd/sidetone-bench/internal/chart"
	"sidetone/cmd/sidetone-bench/internal/playout"
)

// play makes one run.
func play(e env, set *flag.FlagSet, args []string) error {
	var c playout.Config
	tracePath := set.String("trace", "", "the schedule, a CSV `file`: seq,send_ms,delay_ms")
	in := set.String("in", "", "the speech, a WAV `file`: 16 bit, 48 kHz")
	out := set.String("out", "", "where to write what is heard, from the moment on at which the first packet is sent: a WAV `file`")
	log := set.String("log", "", "where to write every decision: a CSV `file`")
	plot := set.String("plot", "", "where to draw the run: an SVG `file`")
	asJSON := set.Bool("json", false, "print the figures as JSON")
	set.StringVar(&c.Codec, "codec", "opus", "opus, or pcm: samples as they are")
	set.StringVar(&c.FEC, "fec", "auto", "off, on, or auto: by the receiver's reports")
	set.IntVar(&c.Bitrate, "bitrate", 32000, "of Opus, in bit/s")
	set.IntVar(&c.Complexity, "complexity", 9, "of Opus, 0 to 10")
	set.BoolVar(&c.DTX, "dtx", false, "send nothing in silence")
	set.Float64Var(&c.Skew, "skew-ppm", 0, "by how many parts in a million the sender's clock is fast")
	set.DurationVar(&c.Phase, "phase", 0, "when the first frame is pulled, after the first packet was sent")
	set.BoolVar(&c.Unscored, "unscored", false, "leave out quality, conversational and the aligned delay")
	if err := parse(e, set, args, "trace", "in"); err != nil {
		return err
	}
	var err error
	if c.Schedule, err = audiotest.ReadSchedule(*tracePath); err != nil {
		return err
	}
	if c.Spoken, err = readSpeech(*in); err != nil {
		return err
	}
	r, err := playout.Run(c)
	if err != nil {
		return err
	}
	if *out != "" {
		if err := audiotest.WriteWAV(*out, r.Heard, audio.SampleRate); err != nil {
			return err
		}
	}
	if *log != "" {
		if err := r.Log.Write(*log); err != nil {
			return err
		}
	}
	if *plot != "" {
		if err := chart.Draw(*plot, *tracePath, c.Schedule, r); err != nil {
			return err
		}
	}
	if *asJSON {
		j := json.NewEncoder(e.out)
		j.SetIndent("", "  ")
		return j.Encode(r)
	}
	_, err = fmt.Fprintf(e.out, "%s\n%s\n", heads, row(r))
	return err
}

func readSpeech(path string) ([]int16, error) {
	pcm, rate, err := audiotest.ReadWAV(path)
	if err == nil && rate != audio.SampleRate {
		err = fmt.Errorf("%s has %d Hz: the bench wants %d", path, rate, audio.SampleRate)
	}
	return pcm, err
}
