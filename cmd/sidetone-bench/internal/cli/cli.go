// Package cli is what a person or a script types. Each sub-command returns an exit code; only main exits.
package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// env is what a sub-command writes to.
type env struct{ out, err io.Writer }

// command is one sub-command.
type command struct {
	name, args, about string
	run               func(e env, set *flag.FlagSet, args []string) error
}

func commands() []command {
	return []command{
		{"play", "--trace T.csv --in REF.wav [--out HEARD.wav] [--json] [--log DECISIONS.csv] [--plot RUN.svg] [--fec off|on|auto] [--bitrate 32000] [--complexity 9] [--dtx] [--skew-ppm N] [--codec opus|pcm] [--phase 0ms] [--unscored]",
			"play a schedule of packets (seq,send_ms,delay_ms; -1: lost) through the receiver and measure what is heard", play},
		{"trace", "--kind KIND --seed N --out T.csv [--seconds 60]", "make a schedule: clean, loss5, burst, jitter30 or wifi", trace},
		{"table", "--traces DIR --in REF.wav [--seeds 5] [--kind KIND] [--fec off|on|auto] [--markdown] [--plots DIR]", "play the schedules in DIR, and as many more of each kind, beside what NetEQ does with those in DIR", table},
		{"echo", "--far F.wav --mic M.wav [--near N.wav] [--out O.wav] [--json] [--canceller NAME] [--change-at 30s] | --rooms [--seeds 5] [--scene NAME]",
			"take the echo of what was played out of what the microphone heard and measure what is left, or do that in made rooms", cancel},
		{"room", "--far F.wav --near N.wav --mic M.wav [--seed N] [--rt60 0.3] [--delay 30ms] [--return-db 0] [--drift-ppm N] [--clip SHARE] [--change-at 30s] [--noise-db 75] [--speech S.wav]",
			"make a recording of 40 s with an echo in it, and a near end from 16 s to 26 s", room},
	}
}

// errUsage is said already.
var errUsage = errors.New("wrong words")

// Main runs the sub-command in args and returns the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		usage(stderr)
		return exitUsage
	}
	switch args[0] {
	case "help", "-h", "--help":
		usage(stdout)
		return exitOK
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		set := flag.NewFlagSet("sidetone-bench "+c.name, flag.ContinueOnError)
		set.SetOutput(stderr)
		err := c.run(env{stdout, stderr}, set, args[1:])
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return exitOK
		case errors.Is(err, errUsage):
			return exitUsage
		}
		fmt.Fprintf(stderr, "sidetone-bench: %v\n", err)
		return exitFailed
	}
	fmt.Fprintf(stderr, "sidetone-bench: there is no command %q\n\n", args[0])
	usage(stderr)
	return exitUsage
}

func usage(w io.Writer) {
	fmt.Fprint(w, "sidetone-bench measures, offline and in virtual time, what the device does to sound.\n\nUsage:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  sidetone-bench %s %s\n        %s\n", c.name, c.args, c.about)
	}
	fmt.Fprint(w, "\nExit codes: 0 done, 1 failed, 2 wrong words.\n")
}

// parse reads flags, of which those named are needed, and nothing else.
func parse(e env, set *flag.FlagSet, args []string, needed ...string) error {
	if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return errUsage
	}
	if set.NArg() > 0 {
		fmt.Fprintf(e.err, "%s: what is %q?\n", set.Name(), set.Arg(0))
		return errUsage
	}
	for _, name := range needed {
		if set.Lookup(name).Value.String() == "" {
			fmt.Fprintf(e.err, "%s: --%s is needed\n", set.Name(), name)
			return errUsage
		}
	}
	return nil
}
