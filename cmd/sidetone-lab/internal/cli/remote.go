package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"sidetone/cmd/internal/subcommand"
	"sidetone/cmd/sidetone-lab/internal/admin"
	"sidetone/cmd/sidetone-lab/internal/updates"
	"sidetone/rtc/gateway"
)

func token(ctx context.Context, e subcommand.Env, args []string) int {
	set, dir := flags(e, "token")
	words, code, ok := subcommand.Parse(e, set, args, 1, 1)
	if !ok {
		return code
	}
	return remote(e, *dir, func(r *admin.Remote) error {
		t, err := r.Token(ctx, words[0])
		if err == nil {
			fmt.Fprintln(e.Out, t.Token)
		}
		return err
	})
}

func ring(ctx context.Context, e subcommand.Env, args []string) int {
	set, dir := flags(e, "ring")
	from := set.String("from", "tone", "the `destination` that calls: echo, tone or concierge")
	words, code, ok := subcommand.Parse(e, set, args, 1, 1)
	if !ok {
		return code
	}
	return remote(e, *dir, func(r *admin.Remote) error {
		id, err := r.Ring(ctx, words[0], *from)
		if err == nil {
			fmt.Fprintln(e.Out, id)
		}
		return err
	})
}

func transfer(ctx context.Context, e subcommand.Env, args []string) int {
	set, dir := flags(e, "transfer")
	to := set.String("to", "", "the client or `destination` that the call's client is connected to")
	words, code, ok := subcommand.Parse(e, set, args, 1, 1)
	if !ok {
		return code
	}
	if *to == "" {
		fmt.Fprintln(e.Err, "sidetone-lab transfer: say where to, with --to NAME")
		return subcommand.Usage
	}
	return remote(e, *dir, func(r *admin.Remote) error { return r.Transfer(ctx, words[0], *to) })
}

func fault(ctx context.Context, e subcommand.Env, args []string) int {
	set, dir := flags(e, "fault")
	var f admin.Fault
	set.BoolVar(&f.Blackhole, "blackhole", false, "turn-*: packets vanish both ways, and nobody is told")
	set.BoolVar(&f.Cut, "cut", false, "gateway: every socket is dropped, once; media goes on")
	set.DurationVar(&f.PortClosed, "port-closed", 0, "gateway: connections are refused for that `time`; what is there goes on")
	set.BoolVar(&f.HalfDead, "half-dead", false, "gateway: the sockets there are swallow frames both ways; new ones are good")
	set.StringVar(&f.State, "state", "", "gateway: registration is answered by that `state`, as NOREG or FAILED")
	set.BoolVar(&f.NoReports, "no-reports", false, "gateway: call reports are refused with 503")
	set.Int64Var(&f.CutAfter, "cut-after", 0, "update: the connection is cut after so many `bytes` of each image or delta")
	set.Func("corrupt-chunk", "update: chunk `N` of each image, from 0 on, has a flipped bit", func(s string) error {
		n, err := strconv.Atoi(s)
		f.CorruptChunk = &n
		return err
	})
	set.IntVar(&f.CorruptEach, "corrupt-each", 0, "update: each chunk of an image has a flipped bit, which `SEED` chooses, when it is sent for the first time")
	set.IntVar(&f.Slow, "slow", 0, "update: no faster than so many `kbit/s`, all devices together")
	set.BoolVar(&f.Gone, "gone", false, "update: requests end without an answer")
	restore := set.Bool("restore", false, "mend it")
	list := set.Bool("list", false, "list every fault, made or not, and do nothing else")
	words, code, ok := subcommand.Parse(e, set, args, 0, 1)
	if !ok {
		return code
	}
	making := f != (admin.Fault{})
	if making && *restore || (len(words) == 1) != (making || *restore) || *list && len(words) == 1 {
		fmt.Fprintln(e.Err, "sidetone-lab fault: say which fault, and what of it, as turn-tcp --blackhole or gateway --cut, or --restore; or nothing to list them")
		return subcommand.Usage
	}
	return remote(e, *dir, func(r *admin.Remote) error {
		var all []admin.Fault
		var err error
		if len(words) == 0 {
			all, err = r.Faults(ctx)
		} else {
			f.Name = words[0]
			all, err = r.SetFault(ctx, f)
		}
		for _, f := range all {
			fmt.Fprintf(e.Out, "%s  %s\n", f.Name, f)
		}
		return err
	})
}

func stats(ctx context.Context, e subcommand.Env, args []string) int {
	set, dir := flags(e, "stats")
	asJSON := set.Bool("json", false, "print JSON")
	if _, code, ok := subcommand.Parse(e, set, args, 0, 0); !ok {
		return code
	}
	return remote(e, *dir, func(r *admin.Remote) error {
		s, err := r.Stats(ctx)
		if err != nil {
			return err
		}
		if *asJSON {
			return json.NewEncoder(e.Out).Encode(s)
		}
		printStats(e, s)
		return nil
	})
}

func printStats(e subcommand.Env, s admin.Stats) {
	w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
	names := slices.Sorted(maps.Keys(s.Clients))
	fmt.Fprintln(w, "CLIENT\tREGISTERED\tTURN UDP\tTURN TCP\tTURN TLS\tCANDIDATES\tCALLS\tREPORTS")
	for _, name := range names {
		c := s.Clients[name]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\n", name, yes(c.Registered), traffic(c, "udp"), traffic(c, "tcp"), traffic(c, "tls"),
			kinds(c.Candidates), len(c.Calls), len(c.Reports))
	}
	_ = w.Flush()
	if u := s.Updates; u != (updates.Sent{}) {
		fmt.Fprintf(e.Out, "\nupdates: %s of metadata, %s of images and deltas\n", size(uint64(u.Metadata)), size(uint64(u.Targets)))
	}
	heading := "\nCLIENT\tCALL\tWITH\tSTATE\tLASTED\tCAUSE\tMOS"
	for _, name := range names {
		c := s.Clients[name]
		for _, k := range c.Calls {
			if heading != "" {
				fmt.Fprintln(w, heading)
				heading = ""
			}
			with := "to " + k.Destination
			if k.Direction == "inbound" {
				with = "from " + k.Caller
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, k.ID, with, k.State, lasted(k), cmp.Or(k.Cause, "-"), mos(c.Reports, k.ID))
		}
	}
	_ = w.Flush()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// traffic is what a client sent and received through TURN over a transport.
func traffic(c admin.Client, transport string) string {
	t := c.TURN[transport]
	if t.Sent == 0 && t.Received == 0 {
		return "-"
	}
	return size(t.Sent) + "/" + size(t.Received)
}

func size(n uint64) string {
	if n < 10_000 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.0f kB", float64(n)/1000)
}

// kinds counts candidates by type.
func kinds(all []gateway.Candidate) string {
	n := map[string]int{}
	for _, c := range all {
		n[c.Type]++
	}
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(n)) {
		parts = append(parts, fmt.Sprintf("%d %s", n[kind], kind))
	}
	return cmp.Or(strings.Join(parts, ", "), "-")
}

func lasted(k gateway.CallStats) string {
	if k.Answered.IsZero() {
		return "-"
	}
	end := k.Ended
	if end.IsZero() {
		end = time.Now()
	}
	return end.Sub(k.Answered).Round(100 * time.Millisecond).String()
}

func mos(reports []gateway.ReportStats, callID string) string {
	for _, r := range slices.Backward(reports) {
		if r.CallID == callID && r.MOS != nil {
			return fmt.Sprintf("%.2f", *r.MOS)
		}
	}
	return "-"
}
