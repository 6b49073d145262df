package call

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/rtc/quality"
)

// parts gives the parts of a call's report, and its end for the platform.
func (w *world) parts(id string) (parts []*quality.Report, last *quality.Report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		switch {
		case e.Call.ID != id:
		case e.Kind == Parted:
			parts = append(parts, e.Report)
		case e.Kind == Reported:
			last = e.Last
		}
	}
	return parts, last
}

// A call of ten minutes is told in parts of three, each second once, and a last one.
func TestReportInParts(t *testing.T) {
	in(t, func(c *Config, _ *world) { c.FlushInterval = 3 * time.Minute }, func(t *testing.T, w *world) {
		id := w.dial()
		w.Signal(Signal{Kind: SignalAnswered, CallID: id, SDP: "answer"})
		time.Sleep(10 * time.Minute)
		_ = w.Hangup(t.Context(), id)
		synctest.Wait()
		parts, last := w.parts(id)
		if len(parts) != 3 || last == nil {
			t.Fatalf("%d parts, last %v", len(parts), last)
		}
		var seconds []quality.Entry
		lines := 0
		for i, r := range append(parts, last) {
			if r.Segment == nil || *r.Segment != i {
				t.Fatalf("part %d has segment %v", i, r.Segment)
			}
			if i < 3 && (r.FlushReason == nil || r.FlushReason.Type != quality.FlushBufferLimit || r.Summary.State != "active") {
				t.Errorf("part %d: %+v, %+v", i, r.FlushReason, r.Summary)
			}
			seconds = append(seconds, r.Stats...)
			lines += len(r.Logs)
		}
		if last.FlushReason != nil || last.Summary.State != "destroy" || last.Summary.EndTimestamp.IsZero() {
			t.Errorf("the last: %+v, %+v", last.FlushReason, last.Summary)
		}
		for i, e := range seconds {
			if i > 0 && !e.Start.Equal(seconds[i-1].End) {
				t.Fatalf("second %d begins at %s, the one before ended at %s", i, e.Start, seconds[i-1].End)
			}
		}
		if n := len(seconds); n != 600 && n != 601 {
			t.Errorf("%d seconds", n)
		}
		if whole := w.report(id); lines != len(whole.Logs) || whole.Segment != nil || len(whole.Timeline) < 5 {
			t.Errorf("%d lines in parts, %d in all; segment %v; timeline %+v", lines, len(whole.Logs), whole.Segment, whole.Timeline)
		}
	})
}

// A short call has no parts, and its last is the whole.
func TestReportInOne(t *testing.T) {
	in(t, func(c *Config, _ *world) { c.FlushInterval = 3 * time.Minute }, func(t *testing.T, w *world) {
		id := w.dial()
		w.Signal(Signal{Kind: SignalAnswered, CallID: id, SDP: "answer"})
		time.Sleep(10 * time.Second)
		_ = w.Hangup(t.Context(), id)
		synctest.Wait()
		parts, last := w.parts(id)
		if len(parts) != 0 || last == nil || last.Segment != nil || len(last.Stats) != len(w.report(id).Stats) || len(last.Stats) == 0 {
			t.Errorf("%d parts, last %+v", len(parts), last)
		}
	})
}

// Much to say is said early, and so is everything when the line is lost.
func TestReportPartReasons(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.Log("", quality.LogEntry{Message: "before there is a call"})
		id := w.dial()
		w.Signal(Signal{Kind: SignalAnswered, CallID: id, SDP: "answer"})
		synctest.Wait()
		for n := range 900 {
			w.Log(id, quality.LogEntry{Message: fmt.Sprint("mine ", n)})
			w.Log("another call", quality.LogEntry{Message: "not mine"})
		}
		w.Log("", quality.LogEntry{Message: "everybody's"})
		w.Warn(quality.Warning{Code: 34001, Name: "TOKEN_EXPIRING_SOON"})
		synctest.Wait()
		w.Signal(Signal{Kind: SignalLineLost, Socket: &quality.SocketClose{Code: 1006, CodeName: "ABNORMAL_CLOSURE"}})
		synctest.Wait()
		w.Signal(Signal{Kind: SignalLineLost, Socket: &quality.SocketClose{Error: "no answer"}}) // and a line of the state since
		synctest.Wait()
		_ = w.Hangup(t.Context(), id)
		time.Sleep(time.Minute)
		parts, last := w.parts(id)
		var why []string
		for _, p := range parts {
			why = append(why, p.FlushReason.Type)
		}
		if len(parts) < 2 || parts[0].FlushReason.Type != quality.FlushBufferLimit || parts[1].FlushReason.Type != quality.FlushSocketClose ||
			parts[1].FlushReason.SocketClose.Code != 1006 {
			t.Fatalf("parts %v", why)
		}
		if n := len(parts[0].Logs); n != 800 {
			t.Errorf("the first part has %d lines", n)
		}
		all := w.report(id).Logs
		if i := slices.IndexFunc(all, func(e quality.LogEntry) bool {
			return strings.Contains(e.Message, "not mine") || strings.Contains(e.Message, "before")
		}); i >= 0 {
			t.Errorf("line %+v", all[i])
		}
		if !slices.ContainsFunc(all, func(e quality.LogEntry) bool { return e.Message == "everybody's" }) {
			t.Error("a line for all is not there")
		}
		if !slices.ContainsFunc(w.report(id).Warnings, func(x quality.Warning) bool { return x.Code == 34001 }) || last.Segment == nil {
			t.Errorf("warnings %+v, last segment %v", w.report(id).Warnings, last.Segment)
		}
	})
}

// The stats frames come each second while media is there, and the timeline says what happened when.
func TestStatsFrames(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		id := w.dial()
		w.Signal(Signal{Kind: SignalAnswered, CallID: id, SDP: "answer"})
		synctest.Wait()
		w.theMedia(0).notify(MediaEvent{Kind: MediaConnected})
		w.theMedia(0).notify(MediaEvent{Kind: "first_packet_sent", Time: time.Now().Add(-10 * time.Millisecond)})
		time.Sleep(10 * time.Second)
		_ = w.Hangup(context.Background(), id)
		synctest.Wait()
		frames := 0
		w.mu.Lock()
		for _, e := range w.events {
			if e.Kind == Measured && e.Stats != nil {
				frames++
			}
		}
		w.mu.Unlock()
		if frames < 10 || frames > 12 {
			t.Errorf("%d frames in 10 s", frames)
		}
		var names []string
		for _, m := range w.report(id).Timeline {
			names = append(names, m.Event)
		}
		is(t, "timeline", strings.Join(names, " "), "requesting trying active media_connected first_packet_sent hangup destroy")
	})
}

// A reader whose disk is slow gets all reports of calls that a shutdown ends.
func TestSlowReaderAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewManager(Config{Line: &fakeLine{}, NewMedia: func(context.Context, Info, func(MediaEvent)) (Media, error) {
			return nil, errors.New("no media")
		}, SecondCall: SecondWait})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = m.Run(ctx)
		}()
		for _, id := range []string{"in-1", "in-2", "in-3"} {
			m.Signal(Signal{Kind: SignalInvite, CallID: id, SDP: "offer"})
		}
		synctest.Wait()
		cancel()
		reports := 0
		for e := range m.Events() {
			if e.Report != nil {
				reports++
			}
			time.Sleep(400 * time.Millisecond)
		}
		<-ended
		if reports != 3 {
			t.Errorf("%d reports of 3 calls", reports)
		}
	})
}
