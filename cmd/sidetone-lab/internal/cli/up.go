package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"sidetone/cmd/internal/subcommand"
	"sidetone/cmd/sidetone-lab/internal/lab"
	"sidetone/provisioning/broker"
)

// up runs a lab until ctx ends.
func up(ctx context.Context, e subcommand.Env, args []string) int {
	set, dir := flags(e, "up")
	asJSON := set.Bool("json", false, "print one line of JSON that says where everything is")
	listen := set.String("listen", "", "where to listen, `HOST:PORT`; port 0: free ports (default "+lab.DefaultListen+")")
	advertise := set.String("advertise", "", "the `address` by which guests and boards reach this lab")
	life := set.Duration("token-life", broker.MaxTokenLife, "how long a token lives; at most a day")
	turns := set.Int("turns-port", 0, "the `port` of TURN over TLS, as 443 (default: as --listen has it)")
	level := set.String("log", "info", "log from this `level` on: debug, info, warn, error")
	if _, code, ok := subcommand.Parse(e, set, args, 0, 0); !ok {
		return code
	}
	if *life < time.Second || *life > broker.MaxTokenLife {
		return tool.Fail(e, subcommand.Usage, fmt.Errorf("--token-life %s: say 1s to %s", *life, broker.MaxTokenLife))
	}
	log, err := subcommand.Logger(e, *level)
	if err != nil {
		return tool.Fail(e, subcommand.Usage, err)
	}
	l, err := lab.Start(ctx, lab.Config{Dir: *dir, Listen: *listen, Advertise: *advertise, TokenLife: *life, TURNS: *turns, Logger: log})
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	defer l.Close()
	if *asJSON {
		if err := json.NewEncoder(e.Out).Encode(l.Info()); err != nil {
			return tool.Fail(e, subcommand.Failed, err)
		}
	} else {
		welcome(e, *dir, l.Info())
	}
	<-ctx.Done()
	return subcommand.OK
}

func welcome(e subcommand.Env, dir string, i lab.Info) {
	w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "The lab is up. Ctrl-C ends it.\n\n")
	fmt.Fprintf(w, "page\t%s\n", i.Web)
	fmt.Fprintf(w, "gateway\t%s\t(also %s)\n", i.WSS, i.WS)
	fmt.Fprintf(w, "tokens\t%s/v2/telephony_credentials\n", i.TokenAPI)
	for _, t := range i.TURN {
		fmt.Fprintf(w, "turn\t%s\n", t)
	}
	fmt.Fprintf(w, "mqtt\t%s\t(also %s)\n", i.MQTTS, i.MQTT)
	fmt.Fprintf(w, "updates\t%s\n", i.Update.URL)
	for _, name := range slices.Sorted(maps.Keys(i.Devices)) {
		fmt.Fprintf(w, "device\t%s\n", i.Devices[name])
	}
	_ = w.Flush()
	config := filepath.Join(dir, "door1.toml")
	fmt.Fprintf(e.Out, `
Run a device:      sidetone run --config %s
Make one call:     sidetone call --config %s --for 10s concierge
Ring that device:  sidetone-lab ring door1 --from tone --dir %s
Keys and secrets:  sidetone-lab up --json prints them; they are in %s
`, config, config, dir, dir)
}
