package quality

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Parts hold each entry and each line once, in order, and count from 0; the last one has the call's summary.
func TestParts(t *testing.T) {
	c := NewCollector(CollectorConfig{})
	var parts []*Report
	for n := range 1000 {
		c.Add(good(n))
		c.Log(LogEntry{Timestamp: epoch, Level: "info", Message: fmt.Sprint(n)})
		if c.PartDue() {
			parts = append(parts, c.Part(Summary{CallID: "x", State: "active"}, FlushReason{Type: FlushBufferLimit}))
		}
	}
	parts = append(parts, c.Last(Summary{CallID: "x", State: "destroy"}))
	if len(parts) != 4 {
		t.Fatalf("%d parts", len(parts))
	}
	second, line := 0, 0
	for i, r := range parts {
		if r.Segment == nil || *r.Segment != i || (r.FlushReason == nil) != (i == 3) || (r.Quality == nil) != (i != 3) {
			t.Errorf("part %d: %v %v %v", i, r.Segment, r.FlushReason, r.Quality)
		}
		for _, e := range r.Stats {
			if want := epoch.Add(time.Duration(second) * time.Second); !e.Start.Equal(want) || e.End.Sub(e.Start) != time.Second {
				t.Fatalf("part %d has %s, want %s", i, e.Start, want)
			}
			second++
		}
		for _, l := range r.Logs {
			if l.Message != fmt.Sprint(line) {
				t.Fatalf("part %d has line %s, want %d", i, l.Message, line)
			}
			line++
		}
	}
	if second != 999 || line != 1000 {
		t.Errorf("%d seconds, %d lines", second, line)
	}
	if c.Part(Summary{}, FlushReason{}) != nil {
		t.Error("a part of nothing")
	}
}

// A call that never was long is told whole, without a segment.
func TestNoParts(t *testing.T) {
	c := NewCollector(CollectorConfig{})
	for n := range 4 {
		c.Add(good(n))
	}
	c.Log(LogEntry{Message: "x"})
	r := c.Last(Summary{})
	if r.Segment != nil || len(r.Stats) != 3 || len(r.Logs) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestLogRing(t *testing.T) {
	c := NewCollector(CollectorConfig{})
	for n := range maxLogs + 5 {
		c.Log(LogEntry{Message: fmt.Sprint(n)})
	}
	c.Log(LogEntry{Message: strings.Repeat("x", 5000), Context: map[string]any{"a": strings.Repeat("y", 5000), "n": 7}})
	logs := c.Report(Summary{}).Logs
	if len(logs) != 1000 || logs[0].Message != "6" || logs[maxLogs-2].Message != fmt.Sprint(maxLogs+4) {
		t.Errorf("%d lines, from %s to %s", len(logs), logs[0].Message, logs[maxLogs-2].Message)
	}
	if b, _ := json.Marshal(logs[maxLogs-1]); len(b) > 3*maxMessage {
		t.Errorf("a line of %d bytes", len(b))
	}
}

// The worst report fits what Telnyx takes, and with less room its newest lines and its whole length stay.
func TestFit(t *testing.T) {
	c := NewCollector(CollectorConfig{})
	for n := range 4000 {
		c.Add(good(n))
		c.Log(LogEntry{Message: fmt.Sprint(n) + strings.Repeat("x", 5000)})
	}
	whole := c.Report(Summary{CallID: "x"})
	for _, limit := range []int{2 << 20, 1 << 20, 64 << 10, 8 << 10} {
		b, err := whole.Fit(limit)
		if err != nil || len(b) > limit {
			t.Fatalf("limit %d: %d bytes, %v", limit, len(b), err)
		}
		var r Report
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatal(err)
		}
		if len(r.Stats) == 0 || !r.Stats[0].Start.Equal(epoch) || !r.Stats[len(r.Stats)-1].End.Equal(epoch.Add(3999*time.Second)) {
			t.Errorf("limit %d: the stats are not of the whole call", limit)
		}
		if n := len(r.Logs); n > 0 && !strings.HasPrefix(r.Logs[n-1].Message, "3999x") {
			t.Errorf("limit %d: the newest line is gone", limit)
		}
		t.Logf("limit %d: %d bytes, %d entries, %d lines", limit, len(b), len(r.Stats), len(r.Logs))
	}
	if len(whole.Stats) < 150 || len(whole.Logs) != maxLogs {
		t.Errorf("Fit changed the report: %d entries, %d lines", len(whole.Stats), len(whole.Logs))
	}
	if _, err := whole.Fit(100); err == nil {
		t.Error("a report in 100 bytes")
	}
}

func TestTimeline(t *testing.T) {
	c := NewCollector(CollectorConfig{})
	for n := range maxMarks + 10 {
		c.Mark(fmt.Sprint(n), epoch.Add(time.Duration(n)*time.Millisecond))
	}
	marks := c.Report(Summary{}).Timeline
	if len(marks) != maxMarks || marks[0].TMs != 0 || marks[7].TMs != 7 || marks[7].Event != "7" {
		t.Errorf("%d marks, %+v", len(marks), marks[7])
	}
}

func TestFrame(t *testing.T) {
	c := NewCollector(CollectorConfig{})
	if c.Frame() != nil {
		t.Error("a frame before the first sample")
	}
	c.Add(Sample{Time: epoch})
	if f := c.Frame(); f.Quality != "unknown" || f.MOS != nil {
		t.Errorf("without media: %+v", f)
	}
	for n := range 4 {
		c.Add(good(n))
	}
	f := c.Frame()
	// latency = 4 + 80/2 = 44 ms: Id = 1.056, R = 92.144; 1 + 0.035R + 7e-6*R*32.144*7.856 = 4.3879.
	near(t, "MOS", *f.MOS, 4.3879)
	if f.Quality != "excellent" || *f.RTT != 0.08 || *f.Jitter != 0.004 || f.Inbound.PacketsReceived != 147 || f.RemoteInbound == nil {
		t.Errorf("%+v", f)
	}
	if e := c.Report(Summary{}).Stats[2].Audio; *f.Inbound.AudioLevel != *e.Inbound.AudioLevelAvg || *f.Outbound.AudioLevel != *e.Outbound.AudioLevelAvg || *f.Inbound.AudioLevel == 0 {
		t.Errorf("levels %v in, %v out", *f.Inbound.AudioLevel, *f.Outbound.AudioLevel)
	}
	for mos, want := range map[float64]string{4.21: "excellent", 4.2: "good", 4.1: "good", 4.05: "fair", 3.7: "fair", 3.65: "poor", 3.1: "poor", 3.09: "bad"} {
		if got := verdict(mos); got != want {
			t.Errorf("%v is %s, want %s", mos, got, want)
		}
	}
}
