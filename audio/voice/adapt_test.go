package voice

import (
	"testing"
	"time"
)

func TestLossHintFollowsReports(t *testing.T) {
	var h LossHint
	at := time.Duration(0)
	reports := func(n int, share float64) {
		for range n {
			at += 5 * time.Second
			h.Report(uint8(share*256), at)
		}
	}
	if h.Percent(32000) != 1 {
		t.Error("no FEC before anything is known")
	}
	if reports(1, 0); h.Percent(32000) != 0 {
		t.Error("a report of no loss leaves FEC on")
	}
	if reports(20, 0.001); h.Percent(32000) != 0 || h.Percent(24000) != 0 {
		t.Error("FEC on a link that loses 0.1 %")
	}
	if reports(2, 0.05); h.Percent(32000) != 1 || h.Percent(24000) != 5 {
		t.Errorf("after 10 s of 5 %%: %d at 32, %d at 24 kbit/s; want 1, 5", h.Percent(32000), h.Percent(24000))
	}
	if reports(4, 0.05); h.Percent(32000) != 1 || h.Percent(24000) != 10 {
		t.Errorf("after 30 s of 5 %%: %d at 32, %d at 24 kbit/s; want 1, 10", h.Percent(32000), h.Percent(24000))
	}
	if reports(2, 0); h.Percent(32000) != 1 {
		t.Error("10 s without loss turn FEC off")
	}
	if reports(12, 0); h.Percent(32000) != 0 {
		t.Errorf("a minute without loss leaves %.4f", h.loss())
	}
}

// One bad report among good ones is smoothed; reports that come in a heap weigh no more than one.
func TestLossHintSmooths(t *testing.T) {
	var h LossHint
	for i := range 20 {
		h.Report(0, time.Duration(i)*5*time.Second)
	}
	h.Report(128, 100*time.Second)
	once := h.loss()
	for range 10 {
		h.Report(128, 100*time.Second)
		h.Report(128, 90*time.Second) // out of order
	}
	if h.loss() != once || once < 0.1 || once > 0.25 {
		t.Errorf("one report of 50 %% makes it %.3f, a heap %.3f", once, h.loss())
	}
}
