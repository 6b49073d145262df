// Package cli is what a person or a script types. Each sub-command returns an exit code; only main exits.
package cli

import (
	"flag"
	"io"
	"os"
	"strconv"
	"time"

	"sidetone/cmd/internal/subcommand"
	"sidetone/cmd/sidetone/internal/control"
	"sidetone/provisioning/config"
)

// exitRefused is the exit code when the platform refused the login.
const exitRefused = 3

// Stamped by the build.
var (
	Version = "dev"
	Commit  string // of git, in full
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

var tool = subcommand.Program{
	Name:  "sidetone",
	About: "drives a voice appliance: door phone, intercom, kiosk.",
	Notes: "Exit codes: 0 done, 1 failed, 2 wrong words or config, 3 login refused.",
}

func init() { // not above: the sub-commands use tool
	tool.Commands = []subcommand.Command{
		{Name: "run", Args: "--config F", About: "log in, keep the line, place and answer calls", Run: run},
		{Name: "call", Args: "--config F [--in A.wav] [--out B.wav] [--for 10s] [--relay] [--json] DEST", About: "place one call and report on it; -h has more flags", Run: placeCall},
		{Name: "press", Args: "--config F [BUTTON]", About: "press a button of the running device", Run: press.run},
		{Name: "door", Args: "open --config F [RELAY]", About: "unlock a door of the running device; `door hash` reads a code and prints what a code_file may hold instead", Run: doorCommand},
		{Name: "relay", Args: "safe --config F", About: "lock all doors, when no device runs: for init, after any end", Run: relay},
		{Name: "keeper", Args: "", About: "hold the relays' lines; `run` starts it", Run: keep},
		{Name: "door-opened", Args: "--config F", About: "the door is open: a button's after_door begins", Run: doorOpened.run},
		{Name: "dial", Args: "--config F [flags of call] DEST", About: "have the running device call, and print the call's id", Run: dial.run},
		{Name: "answer", Args: "--config F [--call ID] [--header X-NAME=VALUE]", About: "answer the ringing call", Run: answer.run},
		{Name: "dtmf", Args: "--config F [--call ID] DIGITS", About: "send digits in the call; a comma is a pause", Run: dtmf.run},
		{Name: "transfer", Args: "--config F [--call ID] DEST", About: "hand the call on, where the platform can", Run: transfer.run},
		{Name: "device", Args: "--config F [--capture DEVICE] [--playback DEVICE]", About: "change the sound device, in mid-call too, until the next start", Run: useSound.run},
		{Name: "sound", Args: "[--controls] [--json]", About: "list this machine's sound cards", Run: listSound},
		{Name: "volume", Args: "--config F [ring|talk|prompt PERCENT]", About: "set how loud sounds of a role are, over restarts, too; print all", Run: volume.run},
		{Name: "say", Args: "--config F [--image URL] TEXT", About: "write to the AI assistant", Run: say.run},
		{Name: "tool-result", Args: "--config F ID OUTPUT", About: "give the AI assistant what the tool call of that id gave", Run: toolResult.run},
		{Name: "watch", Args: "--config F", About: "print what happens on the running device, an event a line as JSON", Run: watch},
		{Name: "status", Args: "--config F [--json]", About: "what the running device is doing", Run: status},
		{Name: "update", Args: "[status|check|force|defer 2h|cancel] --config F [--json]", About: "new firmware of the running device: how far it is, look for it, install it now, put its restart off, give it up; exit code 4 while one is on its way, 5 when the last one did not stay", Run: update},
		{Name: "start", Args: "--slots DIR ARGS", About: "for the service manager, with update.boot = \"binary\": start the version that is current, or the one before it when that does not stay up", Run: startCurrent},
		{Name: "doctor", Args: "--config F [--json]", About: "what is wrong with the device and what to do, also while it does not run; exit code 1 when something is", Run: doctor},
		{Name: "gpio", Args: "[--active-low] [--bias BIAS] [--debounce 10ms] [LINE]", About: "list the board's GPIO lines, or print what happens to one", Run: gpioCommand},
		{Name: "config", Args: "check --config F", About: "check a config file; `config default` prints the commented reference", Run: configCommand},
		{Name: "version", Args: "", About: "print the version, the commit and what it was built for", Run: version},
	}
	for _, a := range control.Acts {
		tool.Commands = append(tool.Commands,
			subcommand.Command{Name: string(a.Act), Args: "--config F [--call ID]", About: a.About, Run: act(a.Act).run})
	}
}

// Main runs the sub-command in args and returns the exit code.
func Main(args []string, stdin *os.File, stdout, stderr io.Writer) int {
	return tool.Main(subcommand.Env{In: stdin, Out: stdout, Err: stderr}, args)
}

// flags makes the flag set of a sub-command with the one flag they share.
func flags(e subcommand.Env, name string) (set *flag.FlagSet, configFile *string) {
	set = subcommand.Flags(e, tool.Name+" "+name)
	return set, set.String("config", config.DefaultPath, "the config `file`")
}

// prepare parses args and loads the config. Without a config the command ends with code.
func prepare(e subcommand.Env, set *flag.FlagSet, file *string, args []string, least, most int) (cfg *config.Config, words []string, code int) {
	words, code, ok := subcommand.Parse(e, set, args, least, most)
	if !ok {
		return nil, nil, code
	}
	cfg, err := load(*file)
	if err != nil {
		return nil, nil, tool.Fail(e, subcommand.Usage, err)
	}
	return cfg, words, subcommand.OK
}
