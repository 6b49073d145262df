package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"sidetone/audio/device"
	"sidetone/audio/mixer"
	"sidetone/cmd/internal/subcommand"
)

// listSound lists the machine's sound cards, with what the config may call them.
func listSound(_ context.Context, e subcommand.Env, args []string) int {
	set := subcommand.Flags(e, tool.Name+" sound")
	asJSON := set.Bool("json", false, "print JSON")
	controls := set.Bool("controls", false, "list the cards' controls too")
	if _, code, ok := subcommand.Parse(e, set, args, 0, 0); !ok {
		return code
	}
	cards, err := device.SoundCards()
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	if *asJSON {
		json.NewEncoder(e.Out).Encode(cards)
		return subcommand.OK
	}
	if len(cards) == 0 {
		fmt.Fprintln(e.Out, "this machine has no sound card")
	}
	for _, c := range cards {
		usb := ""
		if c.USB != "" {
			usb = " usb:" + c.USB
		}
		fmt.Fprintf(e.Out, "card:%s  (number %d, %q%s)\n", c.ID, c.Number, c.Name, usb)
		for _, p := range c.PCMs {
			var sides []string
			if p.Capture {
				sides = append(sides, "captures")
			}
			if p.Playback {
				sides = append(sides, "plays")
			}
			fmt.Fprintf(e.Out, "  device %d %s: %s\n", p.Device, strings.Join(sides, " and "), p.Name)
		}
		if *controls {
			if err := listControls(e, c.Number); err != nil {
				return tool.Fail(e, subcommand.Failed, err)
			}
		}
	}
	return subcommand.OK
}

// listControls lists what audio.mixer can set on a card.
func listControls(e subcommand.Env, card int) error {
	d, err := mixer.Open(card)
	if err != nil {
		return err
	}
	defer d.Close()
	all, err := mixer.List(d)
	for _, c := range all {
		fmt.Fprintf(e.Out, "  control %q is %s; it can be %s\n", c.Name, c.Values, c.Range)
	}
	return err
}
