package appliance

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"sidetone/provisioning/config"
	"sidetone/rtc/call"
	"sidetone/rtc/quality"
	"sidetone/rtc/verto"
)

// Bounds of debug output.
const (
	debugQueue     = 16 // frames that wait for a slow line; the newest are dropped
	debugFiles     = 10
	debugBytes     = 32 << 20 // of all files
	debugFileBytes = 8 << 20  // of one
	debugEnd       = 2 * time.Second
)

// debugOutput sends the measurements of each second to the line, as debug_report frames, or to a file, for support. A call
// never waits for it, and what goes wrong with it ends it alone.
type debugOutput struct {
	kind string // config.DebugOff, DebugLine or DebugFile
	dir  string
	line interface {
		Debug(ctx context.Context, kind, reportID, callID string, data any) error
	}
	log *slog.Logger

	calls   map[string]chan *quality.Frame // by the loop alone; closed at the call's end
	writers sync.WaitGroup
}

// state begins with a call's first state.
func (d *debugOutput) state(c call.Info) {
	if d.kind == config.DebugOff || d.calls[c.ID] != nil || c.State >= call.Hangup {
		return
	}
	if d.calls == nil {
		d.calls = map[string]chan *quality.Frame{}
	}
	frames := make(chan *quality.Frame, debugQueue)
	d.calls[c.ID] = frames
	d.writers.Go(func() {
		var err error
		if d.kind == config.DebugFile {
			err = d.toFile(c.ID, frames)
		} else {
			err = d.toLine(c.ID, frames)
		}
		if err != nil {
			d.log.Warn("no debug output of this call; the call goes on", "call_id", c.ID, "err", err)
		}
	})
}

func (d *debugOutput) measured(callID string, f *quality.Frame) {
	select {
	case d.calls[callID] <- f: // a nil channel takes nothing
	default:
	}
}

func (d *debugOutput) ended(callID string) {
	if frames := d.calls[callID]; frames != nil {
		close(frames)
		delete(d.calls, callID)
	}
}

// wait ends all output, after the loop and the line have ended: a line that is gone answers at once.
func (d *debugOutput) wait() {
	for callID := range d.calls {
		d.ended(callID)
	}
	d.writers.Wait()
}

// toLine says start, data and stop under one id.
func (d *debugOutput) toLine(callID string, frames <-chan *quality.Frame) error {
	id, ctx := uuid.NewString(), context.Background() // each frame has the line's time-out, and ends with the line
	err := d.line.Debug(ctx, verto.DebugStart, id, callID, nil)
	for f := range frames {
		if err == nil {
			err = d.line.Debug(ctx, verto.DebugData, id, callID, f)
		}
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, debugEnd)
	defer cancel()
	return d.line.Debug(ctx, verto.DebugStop, id, callID, nil)
}

// toFile writes a line of JSON a second.
func (d *debugOutput) toFile(callID string, frames <-chan *quality.Frame) error {
	err := os.MkdirAll(d.dir, 0o700)
	var w io.WriteCloser
	if err == nil {
		w, err = os.OpenFile(filepath.Join(d.dir, stamped(callID)+".jsonl"), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	}
	written := 0
	for f := range frames {
		if err != nil || written > debugFileBytes {
			continue
		}
		var b []byte
		if b, err = json.Marshal(f); err == nil {
			b = append(b, '\n')
			written += len(b)
			_, err = w.Write(b)
		}
	}
	if w != nil {
		if cerr := w.Close(); err == nil {
			err = cerr
		}
	}
	if err != nil {
		return err
	}
	return prune(filepath.Join(d.dir, "*.jsonl"), debugFiles, debugBytes)
}
