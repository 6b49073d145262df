package media

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/pion/logging"
)

// pionLog hands pion's log to ours, a level or two down (its warnings are about sockets that we closed and candidates that did not work out),
// and without the secrets it was given.
type pionLog struct {
	log     *slog.Logger
	secrets *strings.Replacer
}

func newPionLog(log *slog.Logger, servers []ICEServer) *pionLog {
	var pairs []string
	for _, s := range servers {
		if s.Credential != "" {
			pairs = append(pairs, s.Credential, "[secret]")
		}
	}
	return &pionLog{log, strings.NewReplacer(pairs...)}
}

// NewLogger implements logging.LoggerFactory.
func (l *pionLog) NewLogger(scope string) logging.LeveledLogger {
	return &pionScope{l, l.log.With("pion", scope)}
}

type pionScope struct {
	*pionLog
	log *slog.Logger
}

func (s *pionScope) put(level slog.Level, msg string) {
	s.log.Log(context.Background(), level, s.secrets.Replace(msg))
}

func (s *pionScope) putf(level slog.Level, format string, args ...any) {
	if s.log.Enabled(context.Background(), level) {
		s.put(level, fmt.Sprintf(format, args...))
	}
}

func (s *pionScope) Trace(string)             {}
func (s *pionScope) Tracef(string, ...any)    {}
func (s *pionScope) Debug(string)             {} // a line per packet in places
func (s *pionScope) Debugf(string, ...any)    {}
func (s *pionScope) Info(m string)            { s.put(slog.LevelDebug, m) }
func (s *pionScope) Infof(f string, a ...any) { s.putf(slog.LevelDebug, f, a...) }
func (s *pionScope) Warn(m string)            { s.put(slog.LevelDebug, m) }
func (s *pionScope) Warnf(f string, a ...any) { s.putf(slog.LevelDebug, f, a...) }
func (s *pionScope) Error(m string)           { s.put(slog.LevelInfo, m) }
func (s *pionScope) Errorf(f string, a ...any) {
	level := slog.LevelInfo
	if strings.HasPrefix(f, "Incoming unhandled RTP ssrc") { // we handle it: streams.go
		level = slog.LevelDebug
	}
	s.putf(level, f, a...)
}
