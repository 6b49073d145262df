package appliance

import (
	"fmt"
	"testing"
	"time"

	"sidetone/rtc/quality"
)

// Whether the far side was heard, by what came in each second.
func TestHeard(t *testing.T) {
	for _, tt := range []struct {
		packets []uint64
		energy  float64
		held    bool
		want    string
	}{
		{[]uint64{50, 100, 150}, 1, false, "<nil>"},
		{[]uint64{50, 100, 100, 100}, 1, false, "<nil>"}, // a gap
		{[]uint64{50, 100, 100, 100, 100}, 1, false, "nothing came in for its last 3 s"},
		{[]uint64{50, 50, 50, 50, 50, 52}, 1, false, "<nil>"}, // it came back
		{[]uint64{50, 100, 100, 100, 100}, 1, true, "<nil>"},
		{[]uint64{50, 100, 150}, 0, false, "no sound came in"},
		{[]uint64{0, 0, 0, 0}, 0, true, "no sound came in"},
		{nil, 0, false, "no sound came in"},
	} {
		r, at := &quality.Report{}, time.Unix(1e9, 0)
		for _, n := range tt.packets {
			e := quality.Entry{Start: at, End: at.Add(time.Second)}
			e.Audio.Inbound = &quality.InboundEntry{Inbound: quality.Inbound{PacketsReceived: n, TotalAudioEnergy: tt.energy}}
			r.Stats, at = append(r.Stats, e), e.End
		}
		if got := fmt.Sprint(Heard(r, tt.held)); got != tt.want {
			t.Errorf("%v, energy %g, held %t: %s, want %s", tt.packets, tt.energy, tt.held, got, tt.want)
		}
	}
}
