package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"sidetone/cmd/sidetone/internal/control"
	"sidetone/provisioning/config"
)

// localTimeout bounds what a command waits for the daemon.
const localTimeout = 10 * time.Second

func press(ctx context.Context, e env, args []string) int {
	return local(ctx, e, "press", args, 0, 1, func(ctx context.Context, c *control.Client, words []string) error {
		button := ""
		if len(words) > 0 {
			button = words[0]
		}
		return c.Press(ctx, button)
	})
}

// act makes the sub-command of an act.
func act(a control.Act) func(context.Context, env, []string) int {
	return func(ctx context.Context, e env, args []string) int {
		return local(ctx, e, string(a), args, 0, 0, func(ctx context.Context, c *control.Client, _ []string) error {
			return c.Do(ctx, a, "")
		})
	}
}

func dtmf(ctx context.Context, e env, args []string) int {
	return local(ctx, e, "dtmf", args, 1, 1, func(ctx context.Context, c *control.Client, words []string) error {
		return c.DTMF(ctx, "", words[0])
	})
}

func transfer(ctx context.Context, e env, args []string) int {
	return local(ctx, e, "transfer", args, 1, 1, func(ctx context.Context, c *control.Client, words []string) error {
		return c.Transfer(ctx, "", words[0])
	})
}

// local runs do against the daemon of the config, with least to most further words.
func local(ctx context.Context, e env, name string, args []string, least, most int, do func(context.Context, *control.Client, []string) error) int {
	set, file := flags(e, name)
	cfg, words, code := prepare(e, set, file, args, least, most)
	if cfg == nil {
		return code
	}
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	if err := do(ctx, control.NewClient(cfg.Control.Socket), words); err != nil {
		return failed(e, exitFailed, err)
	}
	return exitOK
}

func status(ctx context.Context, e env, args []string) int {
	set, file := flags(e, "status")
	asJSON := set.Bool("json", false, "print JSON")
	cfg, _, code := prepare(e, set, file, args, 0, 0)
	if cfg == nil {
		return code
	}
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	s, err := control.NewClient(cfg.Control.Socket).Status(ctx)
	if err != nil {
		return failed(e, exitFailed, err)
	}
	if *asJSON {
		json.NewEncoder(e.out).Encode(s)
		return exitOK
	}
	fmt.Fprintf(e.out, "device   %s (fleet %s), sidetone %s, up %s\n", s.Device, s.Fleet, s.Version, time.Since(s.Started).Round(time.Second))
	fmt.Fprintf(e.out, "line     %s\n", s.Line)
	fmt.Fprintf(e.out, "lamp     %s\n", s.Indicator)
	fmt.Fprintf(e.out, "mqtt     %s\n", s.MQTT)
	fmt.Fprintf(e.out, "sound    %s\n", s.Sound)
	for _, c := range s.Calls {
		fmt.Fprintf(e.out, "call     %s %s %s (%s)\n", c.State, c.Direction, cmp.Or(c.Destination, c.RemoteName, c.RemoteID), c.ID)
	}
	return exitOK
}

func configCommand(_ context.Context, e env, args []string) int {
	set, file := flags(e, "config")
	words, err := parse(set, args)
	if err != nil {
		return exitUsage
	}
	switch {
	case len(words) == 1 && words[0] == "default":
		fmt.Fprint(e.out, config.Reference)
		return exitOK
	case len(words) == 1 && words[0] == "check":
		if _, err := config.Load(*file); err != nil {
			return failed(e, exitUsage, err)
		}
		fmt.Fprintf(e.out, "%s is good\n", *file)
		return exitOK
	}
	fmt.Fprintln(e.err, "sidetone config: say `config check --config F` or `config default`")
	return exitUsage
}

func version(_ context.Context, e env, _ []string) int {
	fmt.Fprintf(e.out, "sidetone %s\n", Version)
	return exitOK
}
