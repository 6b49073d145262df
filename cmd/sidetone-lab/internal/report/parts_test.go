package report

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func part(n int, last bool) []byte {
	reason := `,"flushReason":{"type":"buffer-limit"}`
	state := "active"
	if last {
		reason, state = `,"quality":{"mos":4.1}`, "destroy"
	}
	return fmt.Appendf(nil, `{"summary":{"callId":"c","state":%q,"durationSeconds":%d},"segment":%d%s,
		"stats":[{"audio":{"inbound":{"packetsReceived":%d,"packetsLost":%d,"jitterAvg":%d}}}],"logs":[{"message":"%d"}]}`,
		state, 10*n, n, reason, 99*(n+1), n+1, n+1, n)
}

func TestParts(t *testing.T) {
	for name, c := range map[string]struct {
		parts            [][]byte
		count, missing   int
		seconds, jitter  float64
		intervals, lines int
	}{
		"all, mixed and twice": {[][]byte{part(2, true), part(0, false), part(1, false), part(0, false)}, 3, 0, 20, 2, 3, 3},
		"one lost":             {[][]byte{part(0, false), part(2, true)}, 2, 1, 20, 2, 2, 2},
		"not yet ended":        {[][]byte{part(0, false), part(1, false)}, 2, 1, 10, 1.5, 2, 2},
		"whole":                {[][]byte{[]byte(`{"summary":{"callId":"c","durationSeconds":3},"stats":[{"audio":{"inbound":{"jitterAvg":1}}}],"logs":[{}]}`)}, 1, 0, 3, 1, 1, 1},
	} {
		r, err := Parse(c.parts...)
		if err != nil || r.Parts != c.count || r.Missing != c.missing || r.Seconds != c.seconds || *r.Jitter != c.jitter || r.Intervals != c.intervals || r.Lines != c.lines {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if _, err := Parse(); err == nil {
		t.Error("a report of nothing")
	}
}

func TestStored(t *testing.T) {
	dir := t.TempDir()
	for name, b := range map[string][]byte{
		"1-c.report.json": part(0, false), "2-d.report.json": []byte(`{"summary":{"callId":"d"}}`), "3-c.report.json": part(1, true),
		"4-x.report.json": []byte("no report"), "5.txt": []byte("nothing"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := Stored(dir)
	if err != nil || len(all) != 2 || all[0].CallID != "c" || all[0].Parts != 2 || all[1].CallID != "d" {
		t.Errorf("%+v, %v", all, err)
	}
}
