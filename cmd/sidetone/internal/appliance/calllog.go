package appliance

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"sidetone/rtc/quality"
)

// callLog is a slog.Handler that hands everything on, and what is worth an Info or more to the logs of the calls too,
// which go out with their reports. Secrets look here as they do in the log: not at all.
type callLog struct {
	next  slog.Handler
	write func(callID string, e quality.LogEntry) // callID is empty where the line names none
	attrs []slog.Attr
	group string // prefix of attributes to come: "a.b."
}

// Enabled implements slog.Handler.
func (h callLog) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo || h.next.Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (h callLog) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		e := quality.LogEntry{Timestamp: r.Time, Level: strings.ToLower(r.Level.String()), Message: r.Message}
		callID := ""
		add := func(a slog.Attr) {
			if a.Key == "call_id" {
				callID = a.Value.String()
				return
			}
			if e.Context == nil {
				e.Context = map[string]any{}
			}
			e.Context[a.Key] = plain(a.Value)
		}
		for _, a := range h.attrs {
			add(a)
		}
		r.Attrs(func(a slog.Attr) bool {
			a.Key = h.group + a.Key
			add(a)
			return true
		})
		h.write(callID, e)
	}
	if !h.next.Enabled(ctx, r.Level) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

// plain is a value as JSON has it; what logs itself in its own way, as a secret does, is asked first.
func plain(v slog.Value) any {
	switch v = v.Resolve(); v.Kind() {
	case slog.KindBool, slog.KindFloat64, slog.KindInt64, slog.KindUint64:
		return v.Any()
	case slog.KindAny:
		return fmt.Sprint(v.Any())
	}
	return v.String()
}

// WithAttrs implements slog.Handler.
func (h callLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.next = h.next.WithAttrs(attrs)
	h.attrs = slices.Clip(h.attrs)
	for _, a := range attrs {
		a.Key = h.group + a.Key
		h.attrs = append(h.attrs, a)
	}
	return h
}

// WithGroup implements slog.Handler.
func (h callLog) WithGroup(name string) slog.Handler {
	h.next = h.next.WithGroup(name)
	h.group += name + "."
	return h
}

// writeLog gives a line to the calls, once there is who has them.
func (a *Appliance) writeLog(callID string, e quality.LogEntry) {
	if a.calls != nil {
		a.calls.Log(callID, e)
	}
}
