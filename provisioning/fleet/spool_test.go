package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func spooled(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "spool", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestReportSurvivesTheBrokersRestart(t *testing.T) {
	withBrokers(t, func(t *testing.T, b broker) {
		p := newProxy(t, b.address())
		c := config(p.address())
		c.Dir = t.TempDir()
		d := agent(t, c)
		d.Birth(map[string]string{"board": "sim"})
		d.State("call", callState{"idle"})
		d.run()
		d.flush()
		b.stop()
		d.eventually("the agent knows", func() bool { return !d.Status().Connected })
		if err := d.CallReport("c1", map[string]any{"summary": map[string]any{"duration_s": 10}}); err != nil {
			t.Fatal(err)
		}
		d.Event("call", map[string]string{"call_id": "c1"})
		files := spooled(t, c.Dir)
		if len(files) != 2 || d.Status().Waiting != 2 {
			t.Fatalf("spool holds %v, status %+v", files, d.Status())
		}
		for _, f := range files {
			info, err := os.Stat(f)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: mode %v, %v", f, info.Mode(), err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := d.Flush(ctx); err == nil || !strings.Contains(err.Error(), "2 of them in the spool") {
			t.Errorf("Flush without a broker: %v", err)
		}
		p.setRefuse(true) // the device comes back once somebody listens: reports are not retained
		b.start(t)
		o := observe(t, b)
		p.setRefuse(false)
		h, _ := o.until(0, "the report", func(h heard) bool { return h.topic == "up/stats/call" })
		var r struct {
			ID      string
			TS      time.Time
			CallID  string `json:"call_id"`
			Late    bool
			Summary struct {
				Duration int `json:"duration_s"`
			}
		}
		if err := json.Unmarshal([]byte(h.payload), &r); err != nil || r.ID == "" || time.Since(r.TS) > time.Hour || r.CallID != "c1" || r.Summary.Duration != 10 || r.Late {
			t.Errorf("%s: %+v, %v", h.payload, r, err)
		}
		h, _ = o.until(0, "the event", func(h heard) bool { return h.topic == "up/event/call" })
		if !strings.Contains(h.payload, `"event_type":"call"`) || !strings.Contains(h.payload, `"ts":`) {
			t.Error(h)
		}
		// The broker forgot what it had retained; the device says it anew.
		o.says(0, "up/birth", `{"board":"sim"}`)
		o.says(0, "up/state/call", `{"state":"idle"}`)
		d.flush()
		if files := spooled(t, c.Dir); len(files) != 0 {
			t.Errorf("spool holds %v", files)
		}
		d.stop()
	})
}

func TestReportSurvivesTheDevicesRestart(t *testing.T) {
	withBrokers(t, func(t *testing.T, b broker) {
		o := observe(t, b)
		c := config(freeAddress(t)) // nobody there
		c.Dir = t.TempDir()
		d := agent(t, c).run()
		for i := range 3 {
			if err := d.CallReport(fmt.Sprintf("c%d", i), map[string]int{"n": i}); err != nil {
				t.Fatal(err)
			}
		}
		d.stop()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := d.Flush(ctx); err == nil {
			t.Error("Flush after the end says that all is well")
		}
		// A crash and a power cut left these behind.
		for name, text := range map[string]string{"0000000000000000-cut.json": "", "9000000000000000-bad.json": `{"topic":"down/cmd/x"}`, "x.tmp": "{", "readme": "not ours"} {
			if err := os.WriteFile(filepath.Join(c.Dir, "spool", name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c.URL = "mqtt://" + b.address()
		d = agent(t, c)
		if err := d.CallReport("c3", nil); err != nil {
			t.Fatal(err)
		}
		d.run()
		d.flush()
		var reports []string
		o.until(0, "c3", func(h heard) bool { return strings.Contains(h.payload, `"c3"`) })
		for _, h := range o.messages() {
			if h.topic == "up/stats/call" {
				var r struct {
					CallID string `json:"call_id"`
					Late   bool
				}
				if err := json.Unmarshal([]byte(h.payload), &r); err != nil {
					t.Error(err)
				}
				reports = append(reports, fmt.Sprint(r.CallID, r.Late))
			}
		}
		if got := fmt.Sprint(reports); got != "[c0true c1true c2true c3false]" {
			t.Errorf("heard %s", got)
		}
		if files := spooled(t, c.Dir); len(files) != 2 { // x.tmp may be another process's, readme is
			t.Errorf("spool holds %v", files)
		}
		d.stop()
	})
}

func TestOfflineMemoryIsBounded(t *testing.T) {
	c := config(freeAddress(t))
	c.Dir = t.TempDir()
	d := agent(t, c)
	for i := range 2000 {
		d.State("call", callState{fmt.Sprint(i)})
		d.Reply(fmt.Sprint(i), Reply{OK: true})
		d.Live(callState{"x"})
		d.Event("button", map[string]int{"n": i})
	}
	if len(d.retained) != 1 || len(d.queue) != maxReplies || d.spool.len() != spoolCount || len(spooled(t, c.Dir)) != spoolCount {
		t.Errorf("%d states, %d messages, %d spooled", len(d.retained), len(d.queue), d.spool.len())
	}
	if !strings.Contains(d.log.String(), "dropped_in_all=1000") {
		t.Error("the drops are not told")
	}
	// The oldest went.
	e := d.spool.next()
	if _, payload, err := d.spool.load(e); err != nil || !strings.Contains(string(payload), `"n":1000`) {
		t.Errorf("%s, %v", payload, err)
	}
}

func TestSpoolBySize(t *testing.T) {
	log := &logBuffer{}
	for _, dir := range []string{t.TempDir(), ""} {
		s := openSpool(dir, slog.New(slog.NewTextHandler(log, nil)))
		big := []byte(`"` + strings.Repeat("x", 200<<10) + `"`)
		for range 60 {
			if err := s.add("up/stats/call", big, false); err != nil {
				t.Fatal(err)
			}
		}
		if s.bytes > s.maxBytes || s.len() != s.maxBytes/(200<<10+50) {
			t.Errorf("%d entries, %d bytes", s.len(), s.bytes)
		}
		if err := s.add("up/stats/call", append(big, big...), false); err == nil {
			t.Error("a huge entry is taken")
		}
	}
}

func TestSpoolWithoutADisk(t *testing.T) {
	b := &mochiBroker{}
	b.start(t)
	t.Cleanup(b.stop)
	o := observe(t, b)
	// A file where the directory should be: root cannot use that either.
	c := config(b.address())
	c.Dir = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(c.Dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := agent(t, c)
	if !strings.Contains(d.log.String(), "in memory only") {
		t.Errorf("not told:\n%s", d.log)
	}
	if err := d.CallReport("c1", nil); err != nil {
		t.Error(err)
	}
	// The directory goes away while the device runs.
	c.Dir = t.TempDir()
	gone := agent(t, c)
	if err := os.RemoveAll(filepath.Join(c.Dir, "spool")); err != nil {
		t.Fatal(err)
	}
	if err := gone.CallReport("c2", nil); err == nil || !strings.Contains(err.Error(), "c2 is kept in memory only") {
		t.Errorf("%v", err)
	}
	d.run()
	d.flush()
	d.stop()
	gone.run()
	gone.flush()
	gone.stop()
	for _, id := range []string{`"c1"`, `"c2"`} {
		o.until(0, id, func(h heard) bool { return h.topic == "up/stats/call" && strings.Contains(h.payload, id) })
	}
	if err := gone.CallReport("c3", []int{1}); err == nil {
		t.Error("a report that is no object is taken")
	}
}
