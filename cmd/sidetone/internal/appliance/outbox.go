package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"sidetone/rtc/quality"
	"sidetone/rtc/verto"
)

// Bounds of what waits for the platform.
const (
	outboxCount = 200
	outboxBytes = 16 << 20
	outboxAge   = 7 * 24 * time.Hour

	outboxFirst = 30 * time.Second // until what was not taken is tried again, doubling
	outboxMost  = time.Hour
)

// outbox keeps call reports, and parts of long ones, as files until the platform has taken them: over a lost line, a
// platform that is away, and a restart. A file is gone when it was taken. A device and a single call beside it share the
// directory; at worst the platform gets a part twice.
type outbox struct {
	dir      string
	platform reportTaker
	own      bool // only what was put here by this process goes out from here
	log      *slog.Logger

	// in
	added  chan struct{}      // something was put, or the line is back
	settle chan chan struct{} // closed when what could be sent has been

	mu   sync.Mutex
	mine map[string]bool // names put by this process
}

// reportTaker is the line as the outbox wants it.
type reportTaker interface {
	Session() verto.Session
	UploadReport(context.Context, verto.Upload) error
}

func newOutbox(dir string, platform reportTaker, own bool, log *slog.Logger) *outbox {
	return &outbox{dir: dir, platform: platform, own: own, log: log, added: make(chan struct{}, 1), settle: make(chan chan struct{})}
}

// waiting is a file of the outbox.
type waiting struct {
	CallID     string          `json:"call_id"`
	ReportID   string          `json:"call_report_id,omitempty"` // empty: the line had none when the call ended
	VoiceSDKID string          `json:"voice_sdk_id,omitempty"`
	Time       time.Time       `json:"time"`
	Body       json.RawMessage `json:"body"`
}

// put takes a report in. A call that ends because the line came back without it ends before the line has an id for its
// report again: then the report waits for that.
func (o *outbox) put(callID string, r *quality.Report) error {
	session := o.platform.Session()
	body, err := r.Fit(maxUpload)
	if err != nil {
		return err
	}
	file, err := json.Marshal(waiting{callID, session.CallReportID, session.VoiceSDKID, time.Now().UTC(), body})
	if err != nil {
		return err
	}
	name := stamped(callID)
	if r.Segment != nil {
		name += fmt.Sprintf("-%03d", *r.Segment)
	}
	name += ".json"
	if o.own {
		o.mu.Lock()
		if o.mine == nil {
			o.mine = map[string]bool{}
		}
		o.mine[name] = true
		o.mu.Unlock()
	}
	if err := writeFile(o.dir, name, file); err != nil {
		return err
	}
	o.wake()
	return prune(filepath.Join(o.dir, "*.json"), outboxCount, outboxBytes)
}

// wake has the outbox look again, as when the line is back.
func (o *outbox) wake() {
	select {
	case o.added <- struct{}{}:
	default:
	}
}

// run sends what there is until ctx ends.
func (o *outbox) run(ctx context.Context) {
	pause := outboxFirst
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var settled chan struct{}
		select {
		case <-ctx.Done():
			return
		case settled = <-o.settle:
		case <-o.added:
			pause = outboxFirst
		case <-timer.C:
		}
		if o.sweep(ctx) {
			pause = outboxMost // somebody else's, by then
		}
		timer.Reset(pause)
		pause = min(2*pause, outboxMost)
		if settled != nil {
			close(settled)
		}
	}
}

// finish gives the outbox a moment for what can still be sent.
func (o *outbox) finish(grace time.Duration) {
	t := time.NewTimer(grace)
	defer t.Stop()
	settled := make(chan struct{})
	select {
	case o.settle <- settled:
	case <-t.C:
		return
	}
	select {
	case <-settled:
	case <-t.C:
	}
}

// sweep sends all that waits, the oldest first, and tells whether nothing is left. A platform that cannot be reached ends
// it.
func (o *outbox) sweep(ctx context.Context) (empty bool) {
	if o.platform.Session().CallReportID == "" {
		return false // not yet registered: the platform knows nobody
	}
	files, err := filepath.Glob(filepath.Join(o.dir, "*.json"))
	if err != nil {
		return false
	}
	slices.Sort(files)
	empty = true
	for _, path := range files {
		if ctx.Err() != nil {
			return false
		}
		if !o.ours(filepath.Base(path)) {
			continue
		}
		err := o.send(ctx, path)
		switch {
		case err == nil:
			err = os.Remove(path)
		case final(err):
			o.log.Warn("call report is refused by the platform, and given up", "file", filepath.Base(path), "err", err)
			err = os.Remove(path)
		default:
			o.log.Warn("call report was not taken by the platform; it waits", "file", filepath.Base(path), "err", err)
			var refused *verto.UploadError
			if !errors.As(err, &refused) {
				return false
			}
			empty = false
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			o.log.Error("call report that is done with stays on disk", "file", path, "err", err)
		}
	}
	return empty
}

func (o *outbox) ours(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.own || o.mine[name]
}

// errNoID: the line was lost meanwhile.
var errNoID = errors.New("the line has no id for call reports")

// errUnreadable is a file that is none of ours, or was damaged.
var errUnreadable = errors.New("the file cannot be read")

// final tells whether to try again is of no use. A platform that is being mended says 404 at times, and 408 and 429 mean
// later.
func final(err error) bool {
	var refused *verto.UploadError
	if errors.As(err, &refused) {
		switch s := refused.StatusCode; s {
		case http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooManyRequests:
			return false
		default:
			return s >= 400 && s < 500
		}
	}
	return errors.Is(err, errUnreadable) || errors.Is(err, fs.ErrNotExist)
}

// send uploads one file, under the id of its own call, and under today's where the platform has forgotten that one.
func (o *outbox) send(ctx context.Context, path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var w waiting
	if err := json.Unmarshal(b, &w); err != nil || len(w.Body) == 0 {
		return errUnreadable
	}
	if age := time.Since(w.Time); age > outboxAge {
		return fmt.Errorf("%w: it is %s old", errUnreadable, age.Round(time.Hour))
	}
	upload := func(reportID, voiceSDKID string) error {
		return o.platform.UploadReport(ctx, verto.Upload{CallID: w.CallID, ReportID: reportID, VoiceSDKID: voiceSDKID, Body: w.Body})
	}
	if w.ReportID != "" {
		if err = upload(w.ReportID, w.VoiceSDKID); !final(err) {
			return err
		}
	}
	switch now := o.platform.Session(); now.CallReportID {
	case "":
		return errNoID
	case w.ReportID:
		return err
	default:
		return upload(now.CallReportID, now.VoiceSDKID)
	}
}
