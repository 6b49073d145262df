package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"text/tabwriter"

	"sidetone/cmd/internal/subcommand"
	"sidetone/cmd/sidetone-lab/internal/lab"
	"sidetone/cmd/sidetone-lab/internal/report"
)

// reportCommand shows what the gateway took. It reads the files, so it works after the lab has ended, too.
func reportCommand(_ context.Context, e subcommand.Env, args []string) int {
	set, dir := flags(e, "report")
	asJSON := set.Bool("json", false, "print JSON")
	words, code, ok := subcommand.Parse(e, set, args, 0, 1)
	if !ok {
		return code
	}
	all, err := report.Stored(filepath.Join(*dir, lab.ReportDir))
	if err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	if len(words) == 1 {
		for _, r := range all {
			if r.CallID != words[0] {
				continue
			}
			if *asJSON {
				return encode(e, r)
			}
			printReport(e, r)
			return subcommand.OK
		}
		return tool.Fail(e, subcommand.Failed, errors.New("there is no report of call "+words[0]+"; see sidetone-lab report"))
	}
	if *asJSON {
		return encode(e, append([]report.Report{}, all...))
	}
	w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CALL\tWITH\tLASTED\tCAUSE\tMOS\tPARTS")
	for _, r := range all {
		with, score, parts := "to "+r.Destination, "-", fmt.Sprint(r.Parts)
		if r.Direction == "inbound" {
			with = "from " + r.Caller
		}
		if r.MOS != nil {
			score = fmt.Sprintf("%.2f", *r.MOS)
		}
		if r.Missing > 0 {
			parts += fmt.Sprintf(", %d missing", r.Missing)
		}
		fmt.Fprintf(w, "%s\t%s\t%.1f s\t%s\t%s\t%s\n", r.CallID, with, r.Seconds, r.Cause, score, parts)
	}
	_ = w.Flush()
	return subcommand.OK
}

func encode(e subcommand.Env, v any) int {
	if err := json.NewEncoder(e.Out).Encode(v); err != nil {
		return tool.Fail(e, subcommand.Failed, err)
	}
	return subcommand.OK
}
