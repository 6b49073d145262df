package appliance

import (
	"context"
	"encoding/json"
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

	"sidetone/rtc/quality"
	"sidetone/rtc/verto"
)

// platform takes reports as it is told to.
type platform struct {
	mu      sync.Mutex
	session verto.Session
	answer  func(verto.Upload) error
	taken   []verto.Upload
	asked   int
}

func (p *platform) Session() verto.Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.session
}

func (p *platform) UploadReport(_ context.Context, u verto.Upload) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if p.answer != nil {
		if err := p.answer(u); err != nil {
			return err
		}
	}
	p.taken = append(p.taken, u)
	return nil
}

// uploads is how often the platform was asked to take something.
func (p *platform) uploads() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

func (p *platform) set(f func(*platform)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

// calls lists what was taken: call, segment and report id.
func (p *platform) calls(t *testing.T) (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.taken {
		var r quality.Report
		if err := json.Unmarshal(u.Body, &r); err != nil {
			t.Error(err)
		}
		segment := "whole"
		if r.Segment != nil {
			segment = fmt.Sprint(*r.Segment)
		}
		all = append(all, u.CallID+" "+segment+" "+u.ReportID)
	}
	return all
}

// withOutbox runs f beside an outbox on dir.
func withOutbox(t *testing.T, dir string, p *platform, own bool, f func(*outbox)) {
	o := newOutbox(dir, p, own, slog.New(slog.NewTextHandler(t.Output(), nil)))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { o.run(ctx) })
	f(o)
	o.finish(time.Second)
	cancel()
	wg.Wait()
}

func segment(n int) *quality.Report {
	return &quality.Report{Summary: quality.Summary{CallID: "c"}, Stats: []quality.Entry{}, Segment: &n}
}

func put(t *testing.T, o *outbox, r *quality.Report) {
	t.Helper()
	if err := o.put("c", r); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond) // names tell milliseconds
}

var refusedBy = func(status int) func(verto.Upload) error {
	return func(verto.Upload) error { return fmt.Errorf("4 times: %w", &verto.UploadError{StatusCode: status}) }
}

func left(t *testing.T, dir string) int {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// What was not taken is kept over a restart, goes out in order, and once.
func TestOutboxOverRestart(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := &platform{session: verto.Session{CallReportID: "r1", VoiceSDKID: "V1"}, answer: refusedBy(503)}
		withOutbox(t, dir, p, false, func(o *outbox) {
			put(t, o, segment(0))
			put(t, o, segment(1))
			put(t, o, segment(2))
		})
		if n := left(t, dir); n != 3 || len(p.taken) != 0 {
			t.Fatalf("%d wait, %d taken", n, len(p.taken))
		}
		p = &platform{} // a new start, and not registered yet
		withOutbox(t, dir, p, false, func(o *outbox) {
			time.Sleep(10 * time.Minute)
			if p.uploads() != 0 {
				t.Error("a report was sent before the line was registered")
			}
			p.set(func(p *platform) { p.session = verto.Session{CallReportID: "r2"} })
			o.wake()
			synctest.Wait()
			if want := []string{"c 0 r1", "c 1 r1", "c 2 r1"}; !slices.Equal(p.calls(t), want) {
				t.Errorf("taken %v, want %v", p.calls(t), want)
			}
			if p.taken[0].VoiceSDKID != "V1" {
				t.Errorf("voice_sdk_id %q", p.taken[0].VoiceSDKID)
			}
			time.Sleep(3 * time.Hour)
		})
		if n := left(t, dir); n != 0 || len(p.taken) != 3 {
			t.Errorf("%d wait, %d taken", n, len(p.taken))
		}
	})
}

// A platform that comes back is found without being asked too often, and without another call.
func TestOutboxTriesAgain(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := &platform{session: verto.Session{CallReportID: "r1"}, answer: func(verto.Upload) error { return errors.New("no route") }}
		withOutbox(t, dir, p, false, func(o *outbox) {
			put(t, o, segment(0))
			put(t, o, segment(1))
			time.Sleep(24 * time.Hour)
			if n := p.uploads(); n < 20 || n > 40 {
				t.Errorf("asked %d times in a day", n)
			}
			p.set(func(p *platform) { p.answer = nil })
			time.Sleep(time.Hour)
			if len(p.calls(t)) != 2 {
				t.Errorf("taken %v", p.calls(t))
			}
		})
	})
}

// A call that ends because the platform forgot it ends before the line is registered again.
func TestOutboxBeforeTheLineIsBack(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := &platform{}
		withOutbox(t, dir, p, false, func(o *outbox) {
			put(t, o, segment(0))
			synctest.Wait()
			p.set(func(p *platform) { p.session = verto.Session{CallReportID: "r2", VoiceSDKID: "V2"} })
			o.wake()
			synctest.Wait()
		})
		if n := left(t, dir); n != 0 || !slices.Equal(p.calls(t), []string{"c 0 r2"}) || p.taken[0].VoiceSDKID != "V2" {
			t.Errorf("%d wait, taken %v", n, p.taken)
		}
	})
}

// The platform's refusals: for good, for its having forgotten the call's line, for later.
func TestOutboxRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(verto.Upload) error
		taken  []string
		left   int
	}{
		"bad for good": {refusedBy(400), nil, 0},
		"too large":    {refusedBy(413), nil, 0},
		"not found":    {refusedBy(404), nil, 1},
		"too many":     {refusedBy(429), nil, 1},
		"forgotten line": {func(u verto.Upload) error {
			if u.ReportID == "r1" {
				return refusedBy(403)(u)
			}
			return nil
		}, []string{"c 0 r2"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				p := &platform{session: verto.Session{CallReportID: "r1"}, answer: func(verto.Upload) error { return errors.New("no route") }}
				withOutbox(t, dir, p, false, func(o *outbox) {
					put(t, o, segment(0))
					p.set(func(p *platform) { p.session.CallReportID, p.answer = "r2", c.answer })
					o.wake()
					synctest.Wait()
				})
				if n := left(t, dir); n != c.left || !slices.Equal(p.calls(t), c.taken) {
					t.Errorf("%d wait, taken %v", n, p.calls(t))
				}
			})
		})
	}
}

// Count and age are bounded, a file that is none is thrown away, and a platform that wants no reports gets none.
func TestOutboxBounds(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := &platform{session: verto.Session{CallReportID: "r1"}, answer: func(verto.Upload) error { return errors.New("no route") }}
		withOutbox(t, dir, p, false, func(o *outbox) {
			for n := range outboxCount + 5 {
				put(t, o, segment(n))
			}
		})
		if n := left(t, dir); n != outboxCount {
			t.Errorf("%d wait", n)
		}
		p.set(func(p *platform) { p.session, p.answer = verto.Session{}, nil })
		withOutbox(t, dir, p, false, func(o *outbox) { put(t, o, segment(0)) })
		if n := left(t, dir); n != outboxCount {
			t.Errorf("%d wait: a platform without call_report_id gets none", n)
		}
		if err := os.WriteFile(filepath.Join(dir, "0.json"), []byte("{half"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(outboxAge + time.Hour)
		p.set(func(p *platform) { p.session, p.asked = verto.Session{CallReportID: "r2"}, 0 })
		withOutbox(t, dir, p, false, func(*outbox) {})
		if n := left(t, dir); n != 0 || p.asked != 0 {
			t.Errorf("%d wait, asked %d times", n, p.asked)
		}
	})
}

// A single call beside a device sends its own, and leaves the device's to the device.
func TestOutboxOfASingleCall(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := &platform{session: verto.Session{CallReportID: "r1"}, answer: func(verto.Upload) error { return errors.New("no route") }}
		withOutbox(t, dir, p, false, func(o *outbox) { put(t, o, segment(0)) })
		p.set(func(p *platform) { p.answer = nil })
		withOutbox(t, dir, p, true, func(o *outbox) { put(t, o, segment(1)) })
		if want := []string{"c 1 r1"}; !slices.Equal(p.calls(t), want) || left(t, dir) != 1 {
			t.Errorf("taken %v, %d wait", p.calls(t), left(t, dir))
		}
	})
}

func TestReportFiles(t *testing.T) {
	r := reportFiles{dir: filepath.Join(t.TempDir(), "reports")}
	for n := range keptReports + 3 {
		if err := r.write(fmt.Sprintf("../%03d", n), []byte("{}")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond) // names tell milliseconds
	}
	files, _ := os.ReadDir(r.dir)
	if len(files) != keptReports || !strings.HasSuffix(files[0].Name(), "-003.json") {
		t.Errorf("%d files, the first %s", len(files), files[0].Name())
	}
	if err := prune(filepath.Join(r.dir, "*.json"), keptReports, 7); err != nil {
		t.Fatal(err)
	}
	if n := left(t, r.dir); n != 3 { // of 2 bytes each
		t.Errorf("%d files of 2 bytes in 7 bytes", n)
	}
	if err := prune(filepath.Join(r.dir, "*.json"), 0, 0); err != nil || left(t, r.dir) != 1 {
		t.Errorf("%d left, %v: the newest always stays", left(t, r.dir), err)
	}
}
