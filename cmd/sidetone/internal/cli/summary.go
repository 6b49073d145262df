package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"sidetone/rtc/quality"
)

// summary puts a call report into a few lines. What is not known is not there.
func summary(r *quality.Report) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t"+format+"\n", append([]any{name}, args...)...)
	}
	s := r.Summary
	row("call", "%s, %.1f s, %s", s.Direction, s.DurationSeconds, s.DestinationNumber)
	if s.Cause != "" {
		row("ended", "%s (%d)", s.Cause, s.CauseCode)
	}
	if p := r.Path; p != nil {
		way := p.Local.CandidateType
		if p.RelayProtocol != "" {
			way += " over " + strings.ToUpper(p.RelayProtocol)
		}
		row("path", "%s to %s", way, p.Remote.CandidateType)
	}
	if n := len(r.Stats); n > 0 {
		last := r.Stats[n-1].Audio
		if last.Inbound != nil {
			in := last.Inbound
			if in.Codec != nil {
				row("codec", "%s %d Hz", in.Codec.MimeType, in.Codec.ClockRate)
			}
			row("received", "%d packets, %d lost", in.PacketsReceived, in.PacketsLost)
			if in.TotalSamplesReceived > 0 {
				row("concealed", "%.2f %%", 100*float64(in.ConcealedSamples)/float64(in.TotalSamplesReceived))
			}
		}
		if last.Outbound != nil {
			row("sent", "%d packets", last.Outbound.PacketsSent)
		}
	}
	if q := r.Quality; q != nil {
		if q.RTT != nil {
			row("round trip", "%.1f ms", *q.RTT)
		}
		if q.Jitter != nil {
			row("jitter", "%.1f ms", *q.Jitter)
		}
		row("buffer", "%.0f ms", q.BufferDelay)
		row("quality", "MOS %.2f, R %.0f (%s)", q.MOS, q.RFactor, q.Model)
	}
	for _, x := range r.Warnings {
		row("warning", "%d %s", x.Code, x.Name)
	}
	w.Flush()
	return strings.TrimRight(b.String(), "\n")
}
