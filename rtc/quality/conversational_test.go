package quality

import (
	"math"
	"testing"
	"time"
)

func TestConversational(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		listening float64
		delay     time.Duration
		want      float64
	}{
		{4.2, 0, 4.2},
		{4.2, 73 * ms, 4.2}, // 99.5 ms with packet and codec: the E-model finds nothing
		{4.5, 73 * ms, 4.5},
		{1, 0, 1},
		{2.5, 73 * ms, 2.5},
	} {
		if got := Conversational(tt.listening, tt.delay); math.Abs(got-tt.want) > 0.01 {
			t.Errorf("%.1f at %v is %.3f, want %.1f", tt.listening, tt.delay, got, tt.want)
		}
	}
	before := 5.0
	for d := 100 * ms; d <= 600*ms; d += 50 * ms {
		got := Conversational(4.2, d)
		if got >= before {
			t.Errorf("%.3f at %v, no worse than before", got, d)
		}
		before = got
	}
	if before < 2 || before > 3.3 {
		t.Errorf("4.2 at 600 ms is %.2f", before)
	}
	for r := 7.0; r < 100; r++ {
		if back := rOf(mosOf(r)); math.Abs(back-r) > 0.01 {
			t.Errorf("R %g comes back as %g", r, back)
		}
	}
}
