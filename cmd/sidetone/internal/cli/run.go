package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"sidetone/board/indicator"
	"sidetone/cmd/internal/subcommand"
	"sidetone/cmd/sidetone/internal/appliance"

	"golang.org/x/term"
)

// run is the daemon: it ends at SIGTERM or Ctrl-C.
func run(ctx context.Context, e subcommand.Env, args []string) int {
	set, file := flags(e, "run")
	cfg, _, code := prepare(e, set, file, args, 0, 0)
	if cfg == nil {
		return code
	}
	log, err := subcommand.Logger(e, cfg.Log.Level)
	if err != nil {
		return tool.Fail(e, subcommand.Usage, err)
	}
	opt := appliance.Options{Config: cfg, Version: Version, Built: built(), Logger: log}
	attended := term.IsTerminal(int(os.Stdin.Fd()))
	if attended {
		// Board profile sim: the terminal is the lamp and the buttons.
		opt.Lamp = func(p indicator.Pattern) { fmt.Fprintf(e.Out, "lamp: %s\n", p) }
	}
	a, err := appliance.New(opt)
	if err != nil {
		return tool.Fail(e, subcommand.Usage, err)
	}
	keysCtx, keysEnd := context.WithCancel(ctx)
	keysDone := make(chan struct{})
	go func() {
		defer close(keysDone)
		if attended {
			for _, b := range cfg.Buttons {
				fmt.Fprintf(e.Out, "Press %q to call %s; again to hang up. Ctrl-C ends.\n", b.Key, strings.Join(b.Plan().Targets, ", "))
			}
			appliance.Keyboard(keysCtx, a.Key)
		}
	}()
	err = a.Run(ctx)
	keysEnd()
	<-keysDone
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	return subcommand.OK
}
