package lab

import (
	"os"
	"slices"
	"time"

	"sidetone/cmd/sidetone-lab/internal/report"
	"sidetone/rtc/gateway"
)

// ReportDir is where a lab keeps the reports that its gateway took, below its directory.
const ReportDir = "reports"

// upload is a call report that came to the gateway, put together from the parts there are.
type upload struct {
	parts  int
	report report.Report
}

// lastReports gives the last reports, the newest first: those that devices published, and those that only the gateway has,
// as of browsers. Called with mu held.
func (f *feed) lastReports(clients map[string]gateway.ClientStats) []report.Report {
	all := slices.Clone(f.reports)
	uploads := map[string]upload{}
	for name, c := range clients {
		files := map[string][]string{} // by call
		for _, r := range c.Reports {
			files[r.CallID] = append(files[r.CallID], r.File)
		}
		for callID, paths := range files {
			if slices.ContainsFunc(f.reports, func(r report.Report) bool { return r.Device == name && r.CallID == callID }) {
				continue
			}
			u := f.uploads[name+" "+callID]
			if u.parts != len(paths) {
				u = upload{parts: len(paths), report: readReport(paths)}
			}
			uploads[name+" "+callID] = u
			if u.report.CallID != "" {
				u.report.Device = name
				all = append(all, u.report)
			}
		}
	}
	f.uploads = uploads
	slices.SortStableFunc(all, func(a, b report.Report) int { return ended(b).Compare(ended(a)) })
	return all[:min(len(all), maxReports)]
}

// ended is when the call was over; one that is not is the newest.
func ended(r report.Report) time.Time {
	if r.Ended == nil {
		return time.Now()
	}
	return *r.Ended
}

// readReport reads the files of one report; what is gone by now, or is no report, is left out.
func readReport(paths []string) report.Report {
	var parts [][]byte
	for _, p := range paths {
		if b, err := os.ReadFile(p); err == nil {
			parts = append(parts, b)
		}
	}
	r, _ := report.Parse(parts...) // the zero report where there is none
	return r
}
