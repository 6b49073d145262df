package appliance

import (
	"context"
	"os"
	"time"

	"sidetone/board/watchdog"
)

// loopLimit is how long a loop may owe the watchdog an answer. The loop writes to the disk, and sound opens cards: both take
// seconds where the hardware is at its worst.
const loopLimit = 15 * time.Second

// newWatchdog makes the watchdog over the loops that own line, calls, sound and what the device shows; open is nil but in tests.
func (a *Appliance) newWatchdog(open func(string) (watchdog.File, error)) *watchdog.Watchdog {
	return watchdog.New(watchdog.Config{
		Path: a.cfg.Board.Watchdog, Timeout: time.Duration(a.cfg.Board.WatchdogTimeout), Limit: loopLimit,
		Loops: []watchdog.Loop{
			{Name: "appliance", Answer: func(ctx context.Context) error { return a.do(ctx, func() {}) }},
			{Name: "calls", Answer: a.calls.Alive},
			{Name: "line", Answer: a.line.Alive},
			{Name: "sound", Answer: a.sound.alive},
		},
		Notifier: a.manager, Open: open, Opened: a.wasReset,
		Logger: a.opt.Logger, // not that of the calls, which may be what hangs
	})
}

// wasReset notes why the board was reset before, and tells the fleet.
func (a *Appliance) wasReset(why string) {
	if why == "" {
		return
	}
	a.lastReset.Store(&why)
	if a.fleet != nil {
		a.announce()
	}
}

// resetReason is why the board was reset before; "": it was not, or nobody knows.
func (a *Appliance) resetReason() string {
	if why := a.lastReset.Load(); why != nil {
		return *why
	}
	return ""
}

// newManager finds the service manager that started us, if one did.
func (a *Appliance) newManager() {
	var err error
	if a.manager, err = watchdog.NewNotifier(os.Getenv, os.Getpid()); err != nil {
		a.log.Warn("the service manager cannot be told how the device is", "err", err)
	}
}
