package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"sidetone/board/gpio"
	"sidetone/cmd/internal/subcommand"

	pgpio "periph.io/x/conn/v3/gpio"
)

// gpioCommand lists the GPIO lines, or watches one of them.
func gpioCommand(ctx context.Context, e subcommand.Env, args []string) int {
	set := subcommand.Flags(e, tool.Name+" gpio")
	var c gpio.Config
	set.BoolVar(&c.ActiveLow, "active-low", false, "the line is active when it is low, as most buttons are")
	set.DurationVar(&c.Debounce, "debounce", 0, "how long a level must last to count; 0: each edge does")
	set.Func("bias", "`what` pulls at the line: pull-up, pull-down or disabled; without it: as it is", func(s string) error {
		pull, ok := map[string]pgpio.Pull{"pull-up": pgpio.PullUp, "pull-down": pgpio.PullDown, "disabled": pgpio.Float}[s]
		if !ok {
			return errors.New("say pull-up, pull-down or disabled")
		}
		c.Pull = pull
		return nil
	})
	words, code, ok := subcommand.Parse(e, set, args, 0, 1)
	if !ok {
		return code
	}
	host, do := gpio.NewHost(gpio.Kernel{}), listLines
	if len(words) > 0 {
		do = func(host *gpio.Host, out io.Writer) error { return watchLine(ctx, host, words[0], c, out) }
	}
	if err := do(host, e.Out); err != nil && ctx.Err() == nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	return subcommand.OK
}

// listLines prints a row for each line of each chip.
func listLines(host *gpio.Host, out io.Writer) error {
	chips, err := host.Chips()
	if err != nil {
		return err
	}
	if len(chips) == 0 {
		return errors.New("there is no GPIO chip: no /dev/gpiochip*")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range chips {
		for _, l := range c.Lines {
			name, use := l.Name, "free"
			if name == "" {
				name = "-"
			}
			if l.Used {
				use = fmt.Sprintf("used by %q", l.Consumer)
			}
			fmt.Fprintf(w, "%s:%d\t%s:%d\t%s\t%s\n", c.Name, l.Offset, c.Label, l.Offset, name, use)
		}
	}
	return w.Flush()
}

// watchLine prints the value of a line, and its changes with the time since the one before, until ctx ends.
func watchLine(ctx context.Context, host *gpio.Host, address string, c gpio.Config, out io.Writer) error {
	c.Consumer, c.Edge = "sidetone gpio", pgpio.BothEdges
	l, err := host.Input(address, c)
	if err != nil {
		return err
	}
	defer l.Close()
	active, err := l.Value()
	if err != nil {
		return err
	}
	say := func(active bool) string {
		if active {
			return "active"
		}
		return "inactive"
	}
	fmt.Fprintln(out, say(active))
	for before := time.Now(); ; {
		ev, err := l.Next(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s after %s", say(ev.Active), ev.Time.Sub(before).Round(time.Microsecond))
		if ev.Lost > 0 {
			fmt.Fprintf(out, ", %d changes before it were lost", ev.Lost)
		}
		fmt.Fprintln(out)
		before = ev.Time
	}
}
