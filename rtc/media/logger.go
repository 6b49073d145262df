package media

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/pion/logging"
)

// pionLog hands pion's log to ours, a level or two down (its warnings are about sockets that we closed and candidates that did not work out),
// and without the secrets it was given.
type pionLog struct {
	log     *slog.Logger
	pairs   []string // of secrets
	secrets atomic.Pointer[strings.Replacer]
}

func newPionLog(log *slog.Logger, servers []ICEServer) *pionLog {
	l := &pionLog{log: log}
	l.hide(servers)
	return l
}

// hide has no password of these show either. One goroutine at a time may call it.
func (l *pionLog) hide(servers []ICEServer) {
	for _, s := range servers {
		if s.Credential != "" && !slices.Contains(l.pairs, s.Credential) {
			l.pairs = append(l.pairs, s.Credential, "[secret]")
		}
	}
	l.secrets.Store(strings.NewReplacer(l.pairs...))
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
	s.log.Log(context.Background(), level, s.secrets.Load().Replace(msg))
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
