// Package pionlog lets pion's libraries log through log/slog.
package pionlog

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// Factory makes loggers that write to Logger, all at Debug or below: what pion calls an error is a detail of one
// connection, and may come with every packet.
type Factory struct{ Logger *slog.Logger }

// NewLogger gives the logger of one part of pion.
func (f Factory) NewLogger(scope string) logging.LeveledLogger {
	return leveled{f.Logger.With("pion", scope)}
}

type leveled struct{ l *slog.Logger }

// levelTrace is for what pion says of each packet.
const levelTrace = slog.LevelDebug - 4

func (l leveled) put(level slog.Level, msg string) { l.l.Log(context.Background(), level, msg) }

func (l leveled) putf(level slog.Level, format string, args ...any) {
	if ctx := context.Background(); l.l.Enabled(ctx, level) {
		l.l.Log(ctx, level, fmt.Sprintf(format, args...))
	}
}

func (l leveled) Trace(msg string)                  { l.put(levelTrace, msg) }
func (l leveled) Tracef(format string, args ...any) { l.putf(levelTrace, format, args...) }
func (l leveled) Debug(msg string)                  { l.put(levelTrace, msg) }
func (l leveled) Debugf(format string, args ...any) { l.putf(levelTrace, format, args...) }
func (l leveled) Info(msg string)                   { l.put(slog.LevelDebug, msg) }
func (l leveled) Infof(format string, args ...any)  { l.putf(slog.LevelDebug, format, args...) }
func (l leveled) Warn(msg string)                   { l.put(slog.LevelDebug, msg) }
func (l leveled) Warnf(format string, args ...any)  { l.putf(slog.LevelDebug, format, args...) }
func (l leveled) Error(msg string)                  { l.put(slog.LevelDebug, msg) }
func (l leveled) Errorf(format string, args ...any) { l.putf(slog.LevelDebug, format, args...) }
