// Package cli is what a person or a script types. Each sub-command returns an exit code; only main exits.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"sidetone/cmd/sidetone-lab/internal/admin"
	"sidetone/cmd/sidetone-lab/internal/lab"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// defaultDir is where a lab keeps its state when --dir does not say.
const defaultDir = "./lab"

// command is one sub-command.
type command struct {
	name, args, about string
	run               func(ctx context.Context, e env, args []string) int
}

// env is what a sub-command reads and writes.
type env struct {
	in       *os.File
	out, err io.Writer
}

func commands() []command {
	return []command{
		{"up", "[--json] [--dir D] [--listen HOST:PORT] [--advertise ADDR] [--token-life 24h] [--turns-port 443] [--log LEVEL]", "start the lab; SIGTERM or Ctrl-C ends it", up},
		{"demo", "[--speech WAV] [--sidetone BIN] [--dir D]", "start a lab and a device; without a terminal: one call, and its report", demo},
		{"token", "NAME [--dir D]", "print a JWT for a client; a name without a credential gets one", token},
		{"ring", "NAME [--from tone] [--dir D]", "make a destination (echo, tone, concierge) call a registered client", ring},
		{"stats", "[--json] [--dir D]", "what the lab knows of its clients: TURN bytes, candidates, calls, reports", stats},
		{"transfer", "CALL --to NAME [--dir D]", "connect the client of that call to another client or a destination", transfer},
		{"fault", "[turn-udp|turn-tcp|turn-tls --blackhole|--restore] [gateway --cut|--port-closed 5s|--half-dead|--state NOREG|--restore] [--list] [--dir D]",
			"make trouble on purpose, or mend it; alone: list", fault},
		{"version", "", "print the version", version},
	}
}

// Main runs the sub-command in args and returns the exit code.
func Main(args []string, stdin *os.File, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	e := env{stdin, stdout, stderr}
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
	fmt.Fprintf(stderr, "sidetone-lab: there is no command %q\n\n", args[0])
	usage(stderr)
	return exitUsage
}

func usage(w io.Writer) {
	fmt.Fprint(w, "sidetone-lab is the local cloud in one process: Verto gateway, TURN, token service, MQTT broker and a page.\n\nUsage:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  sidetone-lab %s\n        %s\n", strings.TrimSpace(c.name+" "+c.args), c.about)
	}
	fmt.Fprintf(w, `
A lab listens at --listen (default %s): with port P the page, ws and the token service are on P, wss on P+1, MQTT
on P+2, MQTT over TLS on P+3, TURN on P+4 (UDP and TCP), TURN over TLS on P+5. With port 0 all are free ones. With
--advertise ADDR, ADDR stands in every URL, in the certificate, in the gateway's candidates and in relayed addresses;
without --listen the lab then listens on ADDR if that is this machine's, and else on every interface. Whoever reaches
the page can press the devices' buttons.

Line of up --json: token_api is a base, to which /v2/telephony_credentials is added; its bearer key is api_key.
State is in --dir (default %s): CA, credentials, device configs, call reports.

Exit codes: 0 done, 1 failed, 2 wrong words.
`, lab.DefaultListen, defaultDir)
}

// flags makes the flag set of a sub-command with the one flag they share.
func flags(e env, name string) (set *flag.FlagSet, dir *string) {
	set = flag.NewFlagSet("sidetone-lab "+name, flag.ContinueOnError)
	set.SetOutput(e.err)
	return set, set.String("dir", defaultDir, "the lab's `directory`")
}

// parse reads flags wherever they stand among the other words, of which there must be least to most. When it is not ok
// the command ends with code.
func parse(e env, set *flag.FlagSet, args []string, least, most int) (words []string, code int, ok bool) {
	for {
		if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
			return nil, exitOK, false
		} else if err != nil {
			return nil, exitUsage, false
		}
		if set.NArg() == 0 {
			break
		}
		words = append(words, set.Arg(0))
		args = set.Args()[1:]
	}
	if len(words) < least || len(words) > most {
		fmt.Fprintf(e.err, "%s: wrong number of words; see sidetone-lab help\n", set.Name())
		return nil, exitUsage, false
	}
	return words, exitOK, true
}

// failed prints err for a person.
func failed(e env, err error) int {
	if !errors.Is(err, context.Canceled) {
		fmt.Fprintf(e.err, "sidetone-lab: %v\n", err)
	}
	return exitFailed
}

// logger writes to stderr from that level on.
func logger(e env, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log %s: say debug, info, warn or error", level)
	}
	return slog.New(slog.NewTextHandler(e.err, &slog.HandlerOptions{Level: l})), nil
}

// remote runs do with the lab that runs on dir.
func remote(e env, dir string, do func(*admin.Remote) error) int {
	r, err := admin.Open(dir)
	if err == nil {
		err = do(r)
	}
	if err != nil {
		return failed(e, err)
	}
	return exitOK
}

func version(_ context.Context, e env, _ []string) int {
	fmt.Fprintf(e.out, "sidetone-lab %s\n", lab.Version)
	return exitOK
}
