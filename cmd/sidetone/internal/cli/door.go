package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"sidetone/board/door"
	"sidetone/board/door/keeper"
	"sidetone/cmd/internal/subcommand"
	"sidetone/cmd/sidetone/internal/appliance"
	"sidetone/cmd/sidetone/internal/control"
	"sidetone/provisioning/config"
)

// doorCommand is `door open [RELAY]` and `door hash`.
func doorCommand(ctx context.Context, e subcommand.Env, args []string) int {
	set, file := flags(e, "door")
	words, code, ok := subcommand.Parse(e, set, args, 1, 2)
	switch {
	case !ok:
		return code
	case words[0] == "hash":
		return hashCode(e)
	case words[0] != "open":
		fmt.Fprintln(e.Err, "sidetone door: say `door open --config F [RELAY]` or `door hash`")
		return subcommand.Usage
	}
	cfg, err := config.Load(*file)
	if err != nil {
		return tool.Fail(e, subcommand.Usage, err)
	}
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	request := control.OpenDoorRequest{Relay: strings.Join(words[1:], "")}
	if err := control.NewClient(cfg.Control.Socket).Do(ctx, "door-open", request, nil); err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	return subcommand.OK
}

// hashCode reads a code, which so stands in no list of processes, and prints what a code_file may hold instead of it.
func hashCode(e subcommand.Env) int {
	line, _ := bufio.NewReader(e.In).ReadString('\n')
	secret, err := door.NewSecret(strings.TrimSpace(line))
	if err != nil {
		return tool.Fail(e, subcommand.Usage, err)
	}
	fmt.Fprintln(e.Out, secret.Text())
	return subcommand.OK
}

// keep is the process that holds the relays' lines for `run`, which starts it.
func keep(ctx context.Context, e subcommand.Env, args []string) int {
	conn := os.NewFile(keeper.FD, "keeper")
	if _, err := conn.Stat(); err != nil {
		fmt.Fprintln(e.Err, "sidetone keeper: `sidetone run` starts it")
		return subcommand.Usage
	}
	if err := keeper.Serve(ctx, conn, keeper.Kernel); err != nil {
		return tool.Fail(e, subcommand.Failed, fmt.Errorf("keeper: %w", err))
	}
	return subcommand.OK
}

// relay is `relay safe`: for init, when a device has ended in whatever way.
func relay(_ context.Context, e subcommand.Env, args []string) int {
	set, file := flags(e, "relay")
	cfg, words, code := prepare(e, set, file, args, 1, 1)
	if cfg == nil {
		return code
	}
	if words[0] != "safe" {
		fmt.Fprintln(e.Err, "sidetone relay: say `relay safe --config F`")
		return subcommand.Usage
	}
	if err := keeper.Safe(appliance.Relays(cfg.Door), keeper.Kernel); err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	return subcommand.OK
}
