package cli

import (
	"errors"
	"fmt"
	"io"

	"sidetone/cmd/sidetone-bench/internal/playout"
)

// anchor is what libwebrtc's receiver does with a recorded schedule (Opus 32 kbit/s without FEC): buffer delay, delay over
// the fastest packet (ms; 0: not measured) and concealed share (%). It was measured several times: most is the largest share.
type anchor struct{ buffer, overFastest, concealed, most float64 }

var neteq = map[string]anchor{
	"clean":    {38, 0, 0, 0},
	"loss5":    {23, 0, 4.83, 4.83},
	"burst":    {22, 0, 13.8, 13.8},
	"jitter30": {115, 178, 0.17, 0.2},
	"wifi":     {195, 205, 1.02, 1.3},
}

// tenth is how much more may be concealed before it counts as worse.
const tenth = 1.1

var errWorse = errors.New("worse than what it is compared with")

// judge holds every run without FEC against NetEQ. A schedule that was made, and loses other packets than the recorded one
// of its kind, is allowed as much more or less concealment.
func judge(w io.Writer, runs []*run) error {
	lost := make(map[string]float64)
	for _, r := range runs {
		if r.name == recorded {
			lost[r.kind] = r.result.Lost
		}
	}
	worse := 0
	fmt.Fprint(w, "\nBeside NetEQ, without FEC: delay, and concealed share to within a tenth.\n")
	for _, r := range runs {
		if r.fec != "off" {
			continue
		}
		a := neteq[r.kind]
		most := max(a.most+100*(r.result.Lost-lost[r.kind]), 0) * tenth
		verdict := "holds"
		if !holds(r.result, a, most) {
			verdict = "worse than NetEQ"
			worse++
		}
		over := ""
		if a.overFastest > 0 {
			over = fmt.Sprintf(", over fastest %5.1f of %5.1f", r.result.DelayOverFastest, a.overFastest)
		}
		fmt.Fprintf(w, "%-9s%-9s buffer %5.1f of %5.1f%s, concealed %.2f%% of %.2f%%: %s\n",
			r.kind, r.name, r.result.BufferDelay.Mean, a.buffer, over, 100*r.result.Concealed, most, verdict)
	}
	if worse > 0 {
		return fmt.Errorf("%d rows are %w (NetEQ)", worse, errWorse)
	}
	return nil
}

// holds reports whether a run is no worse than an anchor, with so many percent concealed at most.
func holds(r *playout.Result, a anchor, most float64) bool {
	return r.BufferDelay.Mean <= a.buffer && (a.overFastest == 0 || r.DelayOverFastest <= a.overFastest) && 100*r.Concealed <= most
}
