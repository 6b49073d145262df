package appliance

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/audio"
	"sidetone/board/watchdog"
	"sidetone/rtc/call"
	"sidetone/rtc/verto"

	"golang.org/x/sys/unix"
)

// bowl is the device of a watchdog that has reset its board, and notes when it was fed last.
type bowl struct {
	mu   sync.Mutex
	last time.Time
}

func (b *bowl) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = time.Now()
	return len(p), nil
}

func (b *bowl) fed() (ago time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Since(b.last)
}

func (*bowl) Close() error { return nil }
func (*bowl) Ioctl(request uint, v *int32) error {
	if request == unix.WDIOC_GETBOOTSTATUS {
		*v = unix.WDIOF_CARDRESET
	}
	return nil
}

// TestEachLoopIsGuarded hangs one loop of a device after the other.
func TestEachLoopIsGuarded(t *testing.T) {
	for name, hang := range map[string]func(d *station, until chan struct{}){
		"": func(*station, chan struct{}) {},
		"appliance": func(d *station, until chan struct{}) {
			go d.do(context.Background(), func() { <-until })
		},
		"line": nil, // below: its source of chance hangs when it backs off
		"calls": func(d *station, _ chan struct{}) {
			never := call.NewManager(d.callConfig()) // nobody runs it
			d.do(context.Background(), func() { d.Appliance.calls = never })
		},
		"sound": func(d *station, until chan struct{}) {
			d.Appliance.sound.open = func(*soundDevice) (audio.Duplex, error) { <-until; return nil, errors.New("no card") }
			d.Appliance.sound.set(route{mic: &counter{}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				until := make(chan struct{})
				hangs := make(chan struct{})
				d := newDoor(t, func(c *verto.Config) {
					c.Dial = func(context.Context, string) (verto.Conn, error) { return nil, errors.New("no platform") }
					c.Rand = func() float64 {
						select {
						case <-hangs:
							<-until
						default:
						}
						return 0.5
					}
				})
				var log bytes.Buffer
				d.do(t.Context(), func() { d.opt.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
				d.cfg.Board.Watchdog = "/dev/watchdog"
				b := &bowl{}
				real := d.Appliance.calls
				begin := func() (guard part) {
					dog := d.newWatchdog(func(string) (watchdog.File, error) { return b, nil })
					guard.start(context.Background(), dog.Run)
					return guard
				}
				guard := begin()
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if ago := b.fed(); ago > 5*time.Second || log.Len() == 0 || strings.Contains(log.String(), "hangs") {
					t.Errorf("all is well; fed %s ago, and the log says %s", ago, &log)
				}
				if why := d.Status(t.Context()).LastReset; why != "watchdog" {
					t.Errorf("the board was reset by %q", why)
				}
				guard.stop()
				if hang == nil {
					close(hangs)
				} else {
					hang(d, until)
				}
				guard = begin()
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if hung := b.fed() > 9*time.Minute; hung != (name != "") || hung && !strings.Contains(log.String(), "loop="+name) {
					t.Errorf("%q hangs; fed %s ago, and the log says %s", name, b.fed(), &log)
				}
				if n := strings.Count(log.String(), "a loop hangs"); name != "" && n != 1 {
					t.Errorf("%d loops hang: %s", n, &log)
				}
				guard.stop()
				close(until)
				d.do(t.Context(), func() { d.Appliance.calls = real })
				d.end()
			})
		})
	}
}
