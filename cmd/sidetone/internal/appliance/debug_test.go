package appliance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/provisioning/config"
	"sidetone/rtc/call"
	"sidetone/rtc/quality"
	"sidetone/rtc/verto"
)

// debugLine writes down what is said to it, and answers as it is told.
type debugLine struct {
	mu   sync.Mutex
	err  error
	said []string
	ids  map[string]bool
	slow time.Duration
}

func (l *debugLine) Debug(ctx context.Context, kind, reportID, callID string, data any) error {
	select {
	case <-time.After(l.slow):
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, kind+" "+callID)
	if l.ids == nil {
		l.ids = map[string]bool{}
	}
	l.ids[reportID] = true
	if (kind == verto.DebugData) != (data != nil) {
		return errors.New("data where there should be none, or none")
	}
	return l.err
}

func TestDebugToLine(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		slow time.Duration
		want []string
	}{
		"taken":     {nil, 0, []string{"debug_report_start c", "debug_report_data c", "debug_report_data c", "debug_report_stop c"}},
		"refused":   {errors.New("no debug here"), 0, []string{"debug_report_start c"}},
		"no answer": {verto.ErrNoAnswer, 10 * time.Second, []string{"debug_report_start c"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &debugLine{err: c.err, slow: c.slow}
				d := &debugOutput{kind: config.DebugLine, line: l, log: slog.New(slog.DiscardHandler)}
				began := time.Now()
				d.state(call.Info{ID: "c", State: call.New})
				d.state(call.Info{ID: "c", State: call.Requesting})
				d.measured("c", &quality.Frame{Quality: "good"})
				d.measured("c", &quality.Frame{Quality: "good"})
				d.measured("another", &quality.Frame{})
				for range 100 {
					d.measured("another", &quality.Frame{})
				}
				d.ended("c")
				d.ended("another")
				if took := time.Since(began); took != 0 {
					t.Errorf("the call waited %s for it", took)
				}
				d.wait()
				if !slices.Equal(l.said, c.want) || len(l.ids) != 1 {
					t.Errorf("said %v under %d ids, want %v", l.said, len(l.ids), c.want)
				}
			})
		})
	}
}

func TestDebugToFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "debug")
	d := &debugOutput{kind: config.DebugFile, dir: dir, log: slog.New(slog.DiscardHandler)}
	for n := range debugFiles + 2 {
		id := fmt.Sprint("call-", n)
		d.state(call.Info{ID: id, State: call.Ringing})
		d.measured(id, &quality.Frame{Quality: "good"})
		d.measured(id, &quality.Frame{Quality: "bad"})
		d.ended(id)
		d.wait()
		time.Sleep(2 * time.Millisecond) // names tell milliseconds
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if len(files) != debugFiles {
		t.Fatalf("%d files", len(files))
	}
	b, err := os.ReadFile(files[len(files)-1])
	if lines := strings.Split(strings.TrimSpace(string(b)), "\n"); err != nil || len(lines) != 2 || !strings.Contains(lines[1], `"quality":"bad"`) {
		t.Errorf("%s, %v", b, err)
	}
	off := &debugOutput{kind: config.DebugOff, dir: dir}
	off.state(call.Info{ID: "x"})
	off.measured("x", &quality.Frame{})
	off.ended("x")
	off.wait()
}

// secret logs itself as nothing.
type secret string

func (secret) LogValue() slog.Value { return slog.StringValue("[hidden]") }

func TestCallLog(t *testing.T) {
	var out bytes.Buffer
	type line struct {
		callID string
		quality.LogEntry
	}
	var lines []line
	log := slog.New(callLog{
		next:  slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn}),
		write: func(id string, e quality.LogEntry) { lines = append(lines, line{id, e}) },
	})
	log.Debug("too little")
	log.Info("said", "call_id", "c", "n", 7, "took", 2*time.Second, "err", errors.New("broken"), "token", secret("CANARY"))
	log.With("part", "ice").WithGroup("g").With("a", true).Warn("grouped", "b", 1.5)
	if len(lines) != 2 {
		t.Fatalf("%+v", lines)
	}
	if got := fmt.Sprint(lines[0].callID, lines[0].Level, lines[0].Message, lines[0].Context); got != "cinfosaidmap[err:broken n:7 token:[hidden] took:2s]" {
		t.Error(got)
	}
	if got := fmt.Sprint(lines[1].callID, lines[1].Level, lines[1].Context); got != "warnmap[g.a:true g.b:1.5 part:ice]" {
		t.Error(got)
	}
	if s := out.String(); strings.Contains(s, "said") || !strings.Contains(s, "g.b=1.5") || strings.Contains(s, "CANARY") {
		t.Errorf("log: %s", s)
	}
}
