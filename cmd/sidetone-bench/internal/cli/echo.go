package cli

import (
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"time"

	"sidetone/audio"
	"sidetone/audio/audiotest"
	"sidetone/cmd/sidetone-bench/internal/echo"
)

// cancel runs a canceller over a recording, or all of them in made rooms.
func cancel(e env, set *flag.FlagSet, args []string) error {
	far := set.String("far", "", "what was played, a WAV `file` of 16 bit")
	near := set.String("near", "", "what the microphone heard besides the echo, a WAV `file`; none: nothing")
	mic := set.String("mic", "", "what the microphone heard, a WAV `file`")
	out := set.String("out", "", "where to write what is left, in time with --mic: a WAV `file`")
	name := set.String("canceller", "", strings.Join(echo.Cancellers(), ", ")+"; default kalman, with --rooms all")
	asJSON := set.Bool("json", false, "print the figures as JSON")
	change := set.Duration("change-at", 0, "when the path changes, for the time of recovery")
	rooms := set.Bool("rooms", false, "make rooms and print a table")
	seeds := set.Int("seeds", 5, "how many rooms of each kind, with --rooms")
	only := set.String("scene", "", "only this kind of room, with --rooms")
	if err := parse(e, set, args); err != nil {
		return err
	}
	if *rooms {
		names := echo.Cancellers()
		if *name != "" {
			names = []string{*name}
		}
		return echo.Rooms(e.out, *seeds, *only, names)
	}
	if err := parse(e, set, nil, "far", "mic"); err != nil {
		return err
	}
	var pcm [3][]int16
	rate := 0
	for i, path := range []string{*far, *near, *mic} {
		if path == "" {
			continue
		}
		var err error
		if pcm[i], rate, err = readAnyRate(path); err != nil {
			return err
		}
	}
	if *name == "" {
		*name = "kalman"
	}
	r, err := echo.Run(*name, pcm[0], pcm[1], pcm[2], *change)
	if err != nil {
		return err
	}
	if *out != "" {
		left, err := resample(r.Out, audio.SampleRate, rate)
		if err != nil {
			return err
		}
		if err := audiotest.WriteWAV(*out, left, rate); err != nil {
			return err
		}
	}
	if *asJSON {
		j := json.NewEncoder(e.out)
		j.SetIndent("", "  ")
		return j.Encode(r)
	}
	_, err = fmt.Fprintf(e.out, "ERLE at 1 s %s, at 5 s %s, steady %s dB; double talk: SDR %s, gain %s dB; recovery %s s; %.0f us a frame\n",
		known(r.ERLE.At1s), known(r.ERLE.At5s), known(r.ERLE.Steady), known(r.DoubleTalk.SDR), known(r.DoubleTalk.Gain), known(r.Recovery), r.CPU)
	return err
}

func known(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f", *v)
}

// readAnyRate gives a WAV file at 48 kHz, and the rate that it has.
func readAnyRate(path string) ([]int16, int, error) {
	pcm, rate, err := audiotest.ReadWAV(path)
	if err != nil {
		return nil, 0, err
	}
	pcm, err = resample(pcm, rate, audio.SampleRate)
	return pcm, rate, err
}

// room makes a recording with an echo in it.
func room(e env, set *flag.FlagSet, args []string) error {
	var s audiotest.EchoScene
	set.Uint64Var(&s.Seed, "seed", 1, "of the room, and of who speaks where --speech does not say")
	rt60 := set.Float64("rt60", 0.3, "how long the room sounds, in seconds")
	set.DurationVar(&s.Delay, "delay", 30*time.Millisecond, "of the sound card")
	set.Float64Var(&s.Return, "return-db", 0, "level of the echo over what is played")
	set.Float64Var(&s.Clip, "clip", 0, "where an overdriven loudspeaker stops, as a share of the loudest sample; 0: nowhere")
	set.DurationVar(&s.Change, "change-at", 0, "when the path changes; 0: never")
	set.Float64Var(&s.Drift, "drift-ppm", 0, "by how many parts in a million playback is slower than capture")
	set.Float64Var(&s.Noise, "noise-db", 75, "noise of the microphone, in dB below full scale; 0: none")
	speech := set.String("speech", "", "a WAV `file` for the far end, 48 kHz, repeated for 40 s; default: made")
	far := set.String("far", "", "where to write what is played: a WAV `file`")
	near := set.String("near", "", "where to write who speaks nearby, from 16 s to 26 s: a WAV `file`")
	mic := set.String("mic", "", "where to write what the microphone hears: a WAV `file`")
	if err := parse(e, set, args, "far", "near", "mic"); err != nil {
		return err
	}
	if *rt60 < 0.05 || *rt60 > 2 {
		return fmt.Errorf("--rt60 %g: say 0.05 to 2 s", *rt60)
	}
	s.RT60 = time.Duration(*rt60 * float64(time.Second))
	played, spoken := echo.Speakers(s.Seed)
	if *speech != "" {
		pcm, err := readSpeech(*speech)
		if err != nil {
			return err
		}
		for i := range played {
			played[i] = pcm[i%len(pcm)]
		}
	}
	for _, w := range []struct {
		path string
		pcm  []int16
	}{{*far, played}, {*near, spoken}, {*mic, s.Microphone(played, spoken)}} {
		if err := audiotest.WriteWAV(w.path, w.pcm, audio.SampleRate); err != nil {
			return err
		}
	}
	return nil
}
