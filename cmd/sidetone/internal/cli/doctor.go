package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"sidetone/audio/device"
	"sidetone/board/health"
	"sidetone/cmd/internal/subcommand"
	"sidetone/cmd/sidetone/internal/control"
)

// doctor prints what is wrong: as the running device sees it, else what one look at this machine tells.
func doctor(ctx context.Context, e subcommand.Env, args []string) int {
	set, file := flags(e, "doctor")
	asJSON := set.Bool("json", false, "print JSON")
	cfg, _, code := prepare(e, set, file, args, 0, 0)
	if cfg == nil {
		return code
	}
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	var wrong []health.Active
	if control.Alive(cfg.Control.Socket) {
		s, err := control.NewClient(cfg.Control.Socket).Status(ctx)
		if err != nil {
			return tool.Fail(e, subcommand.Failed, err)
		}
		wrong = s.Health
	} else {
		fmt.Fprintln(e.Err, "sidetone doctor: the device does not run; this is what can be seen without it")
		card := device.IsCard(cfg.Audio.Capture, cfg.Audio.Playback)
		wrong = health.Now(time.Now(), health.Kernel(cfg.Device.StateDir, card))
	}
	if *asJSON {
		json.NewEncoder(e.Out).Encode(append([]health.Active{}, wrong...))
	} else {
		printHealth(e, wrong)
	}
	if len(wrong) > 0 {
		return subcommand.Failed
	}
	return subcommand.OK
}

func printHealth(e subcommand.Env, wrong []health.Active) {
	if len(wrong) == 0 {
		fmt.Fprintln(e.Out, "nothing is wrong")
	}
	for _, h := range wrong {
		fmt.Fprintf(e.Out, "%-7s  %s: %s", h.Severity, h.Code, h.Message)
		if h.Detail != "" {
			fmt.Fprintf(e.Out, " (%s)", h.Detail)
		}
		fmt.Fprintf(e.Out, "\n         %s\n", h.Action)
	}
}
