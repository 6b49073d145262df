package watchdog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// board is a board with a watchdog whose driver knows no time-out above most; it resets as the kernel's would.
type board struct {
	most, timeout int32
	status        int32
	settable      bool

	open    bool
	magic   bool
	fed     []time.Time
	opened  int
	told    []string // why it was reset before
	fails   atomic.Pointer[error]
	expires *time.Timer
	reset   time.Time // zero: it did not
}

func (b *board) Open(string) (File, error) {
	if err := b.fails.Load(); err != nil {
		return nil, *err
	}
	b.open, b.opened = true, b.opened+1
	b.start()
	return b, nil
}

func (b *board) start() {
	if b.expires != nil {
		b.expires.Stop()
	}
	b.expires = time.AfterFunc(time.Duration(b.timeout)*time.Second, func() { b.reset = time.Now() })
}

func (b *board) Write(p []byte) (int, error) {
	b.magic = slices.Contains(p, 'V')
	if !b.magic {
		b.fed = append(b.fed, time.Now())
	}
	b.start()
	return len(p), nil
}

func (b *board) Close() error {
	if b.open = false; b.magic {
		b.expires.Stop()
	}
	return nil
}

func (b *board) Ioctl(request uint, value *int32) error {
	switch request {
	case unix.WDIOC_GETBOOTSTATUS:
		*value = b.status
	case unix.WDIOC_GETTIMEOUT:
		*value = b.timeout
	case unix.WDIOC_SETTIMEOUT:
		if !b.settable {
			return unix.EOPNOTSUPP
		}
		if *value > b.most {
			return unix.EINVAL
		}
		b.timeout = *value
		b.start()
	default:
		return unix.ENOTTY
	}
	return nil
}

// loop answers until it hangs.
type loop struct{ hangs atomic.Pointer[chan struct{}] } // nil: it does not; else until it is closed

func (l *loop) hang() (goOn func()) {
	until := make(chan struct{})
	l.hangs.Store(&until)
	return func() { close(until) }
}

func (l *loop) Answer(ctx context.Context) error {
	if until := l.hangs.Load(); until != nil {
		select {
		case <-*until:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// safe is a log that is read while it is written.
type safe struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// pause lets all happen that does in d.
func pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// guard runs a watchdog over two loops for as long as f runs.
func guard(t *testing.T, b *board, f func(w *Watchdog, line, calls *loop, log *safe, end func())) {
	synctest.Test(t, func(t *testing.T) {
		log := &safe{}
		line, calls := &loop{}, &loop{}
		w := New(Config{
			Path: "/dev/watchdog", Timeout: 60 * time.Second, Limit: 10 * time.Second, Open: b.Open,
			Opened: func(lastReset string) { b.told = append(b.told, lastReset) },
			Loops:  []Loop{{"line", line.Answer}, {"calls", calls.Answer}},
			Logger: slog.New(slog.NewTextHandler(log, nil)),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { w.Run(ctx); close(done) }()
		end := func() { cancel(); <-done }
		f(w, line, calls, log, end)
		end()
		if b.expires != nil {
			b.expires.Stop()
		}
	})
}

func TestLoopsThatAnswerKeepTheBoard(t *testing.T) {
	b := &board{most: 15, timeout: 10, settable: true}
	guard(t, b, func(w *Watchdog, _, _ *loop, _ *safe, end func()) {
		begin := time.Now()
		pause(time.Hour)
		if !b.reset.IsZero() || b.timeout != 15 || len(b.fed) < int(time.Hour/(6*time.Second)) {
			t.Errorf("%+v after %s", b, time.Since(begin))
		}
		end()
		w.Close()
		if b.open {
			t.Error("it is still open")
		}
		pause(time.Hour)
		if !b.reset.IsZero() {
			t.Error("the board was reset after an orderly end")
		}
	})
}

func TestLoopThatHangsResetsTheBoard(t *testing.T) {
	for _, which := range []string{"line", "calls"} {
		b := &board{most: 60, timeout: 10, settable: true}
		guard(t, b, func(_ *Watchdog, line, calls *loop, log *safe, _ func()) {
			pause(90 * time.Second)
			l := map[string]*loop{"line": line, "calls": calls}[which]
			goOn := l.hang()
			since := time.Now()
			pause(5 * time.Minute)
			// It is asked within a third of 60 s, has 10 s, and was fed last before those were over.
			if d := b.reset.Sub(since); d < 60*time.Second || d > (20+10+60)*time.Second {
				t.Errorf("%s hung: the board was reset after %s", which, d)
			}
			if !strings.Contains(log.String(), "a loop hangs") || !strings.Contains(log.String(), "loop="+which) {
				t.Errorf("%s hung, and the log says %s", which, log)
			}
			if last := b.fed[len(b.fed)-1]; last.Sub(since) > 30*time.Second {
				t.Errorf("fed %s after %s hung", last.Sub(since), which)
			}
			goOn()
		})
	}
}

func TestLoopThatIsSlowKeepsTheBoard(t *testing.T) {
	b := &board{most: 60, timeout: 10, settable: true}
	guard(t, b, func(_ *Watchdog, line, _ *loop, log *safe, _ func()) {
		goOn := line.hang()
		pause(30 * time.Second) // over the limit, and not yet over the time-out
		goOn()
		pause(time.Hour)
		if !b.reset.IsZero() || !strings.Contains(log.String(), "goes on") {
			t.Errorf("reset %v, and the log says %s", b.reset, log)
		}
	})
}

func TestEndThatHangsResetsTheBoard(t *testing.T) {
	b := &board{most: 60, timeout: 10, settable: true}
	guard(t, b, func(_ *Watchdog, _, _ *loop, _ *safe, end func()) {
		pause(50 * time.Second)
		end()
		began := time.Now()
		pause(time.Hour)
		if d := b.reset.Sub(began); d != 60*time.Second {
			t.Errorf("the board was reset %s after the end began, which never came", d)
		}
	})
}

func TestDriverKeepsItsTimeout(t *testing.T) {
	b := &board{timeout: 4, status: unix.WDIOF_CARDRESET | unix.WDIOF_POWERUNDER}
	guard(t, b, func(_ *Watchdog, _, _ *loop, log *safe, _ func()) {
		pause(time.Minute)
		if !b.reset.IsZero() || len(b.fed) < 40 {
			t.Errorf("%+v", b)
		}
		const why = "watchdog, under-voltage"
		if !strings.Contains(log.String(), `last_reset="`+why+`"`) || !slices.Equal(b.told, []string{why}) {
			t.Error(b.told, log)
		}
	})
}

func TestDeviceThatDoesNotOpenIsTriedAgain(t *testing.T) {
	b := &board{most: 60, timeout: 60, settable: true}
	var busy error = &fs.PathError{Op: "open", Path: "/dev/watchdog", Err: unix.EBUSY}
	b.fails.Store(&busy)
	guard(t, b, func(_ *Watchdog, _, _ *loop, log *safe, _ func()) {
		pause(10 * time.Minute)
		if n := strings.Count(log.String(), "does not open"); n != 1 || !strings.Contains(log.String(), "RuntimeWatchdogSec") {
			t.Errorf("said %d times: %s", n, log)
		}
		b.fails.Store(nil)
		pause(time.Minute)
		if b.opened != 1 || len(b.fed) == 0 {
			t.Errorf("%+v", b)
		}
	})
}

// manager listens as systemd does, at a path or an abstract name.
func manager(t *testing.T, socket string) (*net.UnixConn, func() string) {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, func() string {
		b := make([]byte, 256)
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := c.Read(b)
		if err != nil {
			t.Error(err)
		}
		return string(b[:n])
	}
}

func TestManagerIsTold(t *testing.T) {
	for _, socket := range []string{filepath.Join(t.TempDir(), "notify"), fmt.Sprintf("@sidetone-test-%d", time.Now().UnixNano())} {
		_, next := manager(t, socket)
		env := map[string]string{"NOTIFY_SOCKET": socket, "WATCHDOG_USEC": "200000", "WATCHDOG_PID": "42"}
		n, err := NewNotifier(func(k string) string { return env[k] }, 42)
		if err != nil {
			t.Fatal(err)
		}
		n.Tell("READY=1")
		if got := next(); got != "READY=1" {
			t.Errorf("the manager got %q", got)
		}
		l := &loop{}
		w := New(Config{Limit: 300 * time.Millisecond, Notifier: n, Loops: []Loop{{"line", l.Answer}}, Logger: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { w.Run(ctx); close(done) }()
		for range 3 {
			if got := next(); got != "WATCHDOG=1" {
				t.Errorf("the manager got %q", got)
			}
		}
		cancel()
		<-done
		n.Close()
	}
}

func TestNotifierOfTheEnvironment(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	manager(t, socket)
	for _, c := range []struct {
		socket, usec, pid string
		none              bool
		want              time.Duration
	}{
		{socket, "20000000", "", false, 20 * time.Second},
		{socket, "20000000", "7", false, 20 * time.Second},
		{socket, "20000000", "8", false, 0}, // another process is meant
		{socket, "", "", false, 0},
		{socket, "-1", "", false, 0},
		{"", "20000000", "", true, 0},
	} {
		env := map[string]string{"NOTIFY_SOCKET": c.socket, "WATCHDOG_USEC": c.usec, "WATCHDOG_PID": c.pid}
		n, err := NewNotifier(func(k string) string { return env[k] }, 7)
		if err != nil || (n == nil) != c.none || n.Watchdog() != c.want {
			t.Errorf("%+v: %v, %v, %v", c, n == nil, n.Watchdog(), err)
		}
		n.Tell("READY=1")
		n.Close()
	}
	env := map[string]string{"NOTIFY_SOCKET": socket + "-none"}
	if _, err := NewNotifier(func(k string) string { return env[k] }, 7); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("nobody listens, and the error is %v", err)
	}
}
