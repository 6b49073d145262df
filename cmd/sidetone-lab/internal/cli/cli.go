// Package cli is what a person or a script types. Each sub-command returns an exit code; only main exits.
package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"sidetone/cmd/internal/subcommand"
	"sidetone/cmd/sidetone-lab/internal/admin"
	"sidetone/cmd/sidetone-lab/internal/lab"
)

// defaultDir is where a lab keeps its state when --dir does not say.
const defaultDir = "./lab"

var tool = subcommand.Program{
	Name:  "sidetone-lab",
	About: "is the local cloud in one process: Verto gateway, TURN, token service, MQTT broker and a page.",
	Notes: fmt.Sprintf(`A lab listens at --listen (default %s): with port P the page, ws and the token service are on P, wss on P+1, MQTT
on P+2, MQTT over TLS on P+3, TURN on P+4 (UDP and TCP), TURN over TLS on P+5. With port 0 all are free ones. With
--advertise ADDR, ADDR stands in every URL, in the certificate, in the gateway's candidates and in relayed addresses;
without --listen the lab then listens on ADDR if that is this machine's, and else on every interface. Whoever reaches
the page can press the devices' buttons.

Line of up --json: token_api is a base, to which /v2/telephony_credentials is added; its bearer key is api_key.
State is in --dir (default %s): CA, credentials, device configs, call reports, releases. A release for its devices is made
with sidetonectl release sim VERSION IMAGE --repo DIR/updates --key DIR/update-keys.

Exit codes: 0 done, 1 failed, 2 wrong words.`, lab.DefaultListen, defaultDir),
}

func init() { // not above: the sub-commands use tool
	tool.Commands = []subcommand.Command{
		{Name: "up", Args: "[--json] [--dir D] [--listen HOST:PORT] [--advertise ADDR] [--token-life 24h] [--turns-port 443] [--log LEVEL]", About: "start the lab; SIGTERM or Ctrl-C ends it", Run: up},
		{Name: "demo", Args: "[--speech WAV] [--sidetone BIN] [--dir D]", About: "start a lab and a device; without a terminal: one call, and its report", Run: demo},
		{Name: "token", Args: "NAME [--dir D]", About: "print a JWT for a client; a name without a credential gets one", Run: token},
		{Name: "ring", Args: "NAME [--from tone] [--dir D]", About: "make a destination (echo, tone, pcmu, concierge) call a registered client", Run: ring},
		{Name: "stats", Args: "[--json] [--dir D]", About: "what the lab knows of its clients: TURN bytes, candidates, calls, reports", Run: stats},
		{Name: "report", Args: "[CALL] [--json] [--dir D]", About: "the call reports that the gateway took, each put together from its parts; alone: list", Run: reportCommand},
		{Name: "transfer", Args: "CALL --to NAME [--dir D]", About: "connect the client of that call to another client or a destination", Run: transfer},
		{Name: "fault", Args: "[turn-udp|turn-tcp|turn-tls --blackhole|--restore] [gateway --cut|--port-closed 5s|--half-dead|--state NOREG|--no-reports|--restore] [update --cut-after N|--corrupt-chunk N|--corrupt-each SEED|--slow KBITPS|--gone|--restore] [--list] [--dir D]",
			About: "make trouble on purpose, or mend it; alone: list", Run: fault},
		{Name: "version", Args: "", About: "print the version", Run: version},
	}
}

// Main runs the sub-command in args and returns the exit code.
func Main(args []string, stdin *os.File, stdout, stderr io.Writer) int {
	return tool.Main(subcommand.Env{In: stdin, Out: stdout, Err: stderr}, args)
}

// flags makes the flag set of a sub-command with the one flag they share.
func flags(e subcommand.Env, name string) (set *flag.FlagSet, dir *string) {
	set = subcommand.Flags(e, tool.Name+" "+name)
	return set, set.String("dir", defaultDir, "the lab's `directory`")
}

// remote runs do with the lab that runs on dir.
func remote(e subcommand.Env, dir string, do func(*admin.Remote) error) int {
	r, err := admin.Open(dir)
	if err == nil {
		err = do(r)
	}
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	return subcommand.OK
}

func version(_ context.Context, e subcommand.Env, _ []string) int {
	fmt.Fprintf(e.Out, "sidetone-lab %s\n", lab.Version)
	return subcommand.OK
}
