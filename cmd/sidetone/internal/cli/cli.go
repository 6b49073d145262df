// Package cli is what a person or a script types. Each sub-command returns an exit code; only main exits.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sidetone/cmd/sidetone/internal/control"
	"sidetone/provisioning/config"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1 // the call was not answered, nothing was heard, the daemon did not answer
	exitUsage   = 2 // wrong words on the command line, or a wrong config
	exitRefused = 3 // the platform refused the login
)

// Stamped by the build.
var (
	Version = "dev"
	Built   string // seconds since 1970 of what it was built from; the device's clock is never taken for an earlier one
)

// built is zero when the build said nothing.
func built() time.Time {
	seconds, err := strconv.ParseInt(Built, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// command is one sub-command.
type command struct {
	name, args, about string
	run               func(ctx context.Context, e env, args []string) int
}

// env is what a sub-command writes to.
type env struct {
	out, err io.Writer
}

func commands() []command {
	all := []command{
		{"run", "--config F", "log in, keep the line, place and answer calls", run},
		{"call", "--config F [--in A.wav] [--out B.wav] [--for 10s] [--relay] [--json] DEST", "place one call and report on it; -h has more flags", placeCall},
		{"press", "--config F [BUTTON]", "press a button of the running device", press.run},
		{"door-opened", "--config F", "the door is open: a button's after_door begins", doorOpened.run},
		{"dial", "--config F [flags of call] DEST", "have the running device call, and print the call's id", dial.run},
		{"dtmf", "--config F [--call ID] DIGITS", "send digits in the call; a comma is a pause", dtmf.run},
		{"transfer", "--config F [--call ID] DEST", "hand the call on, where the platform can", transfer.run},
		{"device", "--config F [--capture DEVICE] [--playback DEVICE]", "change the sound device, in mid-call too, until the next start", useSound.run},
		{"say", "--config F [--image URL] TEXT", "write to the AI assistant", say.run},
		{"tool-result", "--config F ID OUTPUT", "give the AI assistant what the tool call of that id gave", toolResult.run},
		{"watch", "--config F", "print what happens on the running device, an event a line as JSON", watch},
		{"status", "--config F [--json]", "what the running device is doing", status},
		{"config", "check --config F", "check a config file; `config default` prints the commented reference", configCommand},
		{"version", "", "print the version", version},
	}
	for _, a := range control.Acts {
		all = append(all, command{string(a.Act), "--config F [--call ID]", a.About, act(a.Act).run})
	}
	return all
}

// Main runs the sub-command in args and returns the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	e := env{stdout, stderr}
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
		if c.name == args[0] {
			return c.run(ctx, e, args[1:])
		}
	}
	fmt.Fprintf(stderr, "sidetone: there is no command %q\n\n", args[0])
	usage(stderr)
	return exitUsage
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "sidetone drives a voice appliance: door phone, intercom, kiosk.\n\nUsage:")
	for _, c := range commands() {
		fmt.Fprintf(w, "  sidetone %s\n        %s\n", strings.TrimSpace(c.name+" "+c.args), c.about)
	}
	fmt.Fprintln(w, "\nExit codes: 0 done, 1 failed, 2 wrong words or config, 3 login refused.")
}

// flags makes the flag set of a sub-command with the one flag they share.
func flags(e env, name string) (set *flag.FlagSet, configFile *string) {
	set = flag.NewFlagSet("sidetone "+name, flag.ContinueOnError)
	set.SetOutput(e.err)
	return set, set.String("config", "/etc/sidetone/sidetone.toml", "the config `file`")
}

// parse reads flags wherever they stand among the other words, and returns those.
func parse(set *flag.FlagSet, args []string) (words []string, err error) {
	for {
		if err := set.Parse(args); err != nil {
			return nil, err
		}
		if set.NArg() == 0 {
			return words, nil
		}
		words = append(words, set.Arg(0))
		args = set.Args()[1:]
	}
}

// failed prints err for a person and returns code.
func failed(e env, code int, err error) int {
	if !errors.Is(err, context.Canceled) {
		fmt.Fprintf(e.err, "sidetone: %v\n", err)
	}
	return code
}

// prepare parses args and loads the config. Without a config the command ends with code.
func prepare(e env, set *flag.FlagSet, file *string, args []string, least, most int) (cfg *config.Config, words []string, code int) {
	words, err := parse(set, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil, nil, exitOK
	case err != nil:
		return nil, nil, exitUsage
	case len(words) < least || len(words) > most:
		fmt.Fprintf(e.err, "%s: takes %s, got %d\n", set.Name(), count(least, most), len(words))
		set.Usage()
		return nil, nil, exitUsage
	}
	cfg, err = config.Load(*file)
	if err != nil {
		return nil, nil, failed(e, exitUsage, err)
	}
	return cfg, words, exitOK
}

func count(least, most int) string {
	switch {
	case most == 0:
		return "no further word"
	case least == most:
		return fmt.Sprintf("%d word", least)
	default:
		return fmt.Sprintf("%d to %d words", least, most)
	}
}

// logger writes to stderr at the level of the config, which has been checked.
func logger(e env, level string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(e.err, &slog.HandlerOptions{Level: l}))
}
