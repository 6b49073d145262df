// Package watchdog keeps the board's watchdog, and the service manager's, from restarting the device while all of its
// loops answer. A loop is asked, and answers by itself: one that hangs stops the feeding, and the board resets.
package watchdog

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

// Loop is one of the loops without which the device is none.
type Loop struct {
	Name string
	// Answer returns nil once the loop itself has taken note. It may take as long as the loop does, or until ctx ends.
	Answer func(ctx context.Context) error
}

// Config of a watchdog.
type Config struct {
	// Path is the kernel's watchdog, as "/dev/watchdog"; "": there is none.
	Path string
	// Timeout is how long after the last feeding the board resets; the driver may have less. Whole seconds.
	Timeout time.Duration
	// Limit is how long a loop may owe an answer.
	Limit    time.Duration
	Loops    []Loop
	Notifier *Notifier // of the service manager; nil: there is none
	// Open opens the device at Path; nil is the kernel's.
	Open func(path string) (File, error)
	// Opened is told once, from Run, why the board was reset before, as far as the driver knows: "watchdog, under-voltage";
	// "": an ordinary start, or not known. nil: nobody is told.
	Opened func(lastReset string)
	Logger *slog.Logger
}

// Watchdog is fed by Run. Nothing else feeds it.
type Watchdog struct {
	cfg     Config
	dev     *dev // nil: not open
	refused bool // it was said that the device does not open

	asked    []time.Time // of each loop, when it was asked; zero: it owes no answer
	hung     []bool
	answered chan int
}

// New makes a watchdog; Run brings it to life.
func New(cfg Config) *Watchdog {
	if cfg.Open == nil {
		cfg.Open = openKernel
	}
	n := len(cfg.Loops)
	return &Watchdog{cfg: cfg, asked: make([]time.Time, n), hung: make([]bool, n), answered: make(chan int, n)}
}

// reopen is how often a device that does not open is tried again.
const reopen = 30 * time.Second

// Run asks the loops and feeds, until ctx ends: that is when an orderly end begins. From then on nothing is fed, so that an
// end that hangs is cut short too; Close says that it has come. Without a device and a service manager it does nothing.
func (w *Watchdog) Run(ctx context.Context) {
	if w.cfg.Path == "" && w.cfg.Notifier.Watchdog() == 0 {
		<-ctx.Done()
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			if !w.anyHung(time.Now()) {
				w.feed()
			}
			return
		case i := <-w.answered:
			w.asked[i] = time.Time{}
		case now := <-timer.C:
			w.open()
			w.ask(ctx, now)
			if !w.anyHung(now) {
				w.feed()
			}
			timer.Reset(w.period())
		}
	}
}

// period is a third of the shorter time-out: one feeding may be late without harm.
func (w *Watchdog) period() time.Duration {
	p := reopen
	if w.dev != nil {
		p = w.dev.timeout / 3
	}
	if d := w.cfg.Notifier.Watchdog(); d > 0 {
		p = min(p, d/2)
	}
	return p
}

// open opens the device where that is still to be done. From then on it must be fed.
func (w *Watchdog) open() {
	if w.cfg.Path == "" || w.dev != nil {
		return
	}
	d, err := openDev(w.cfg.Open, w.cfg.Path, w.cfg.Timeout)
	if err != nil {
		if !w.refused {
			w.cfg.Logger.Error("the watchdog does not open: a device that hangs stays so; it is tried again", "path", w.cfg.Path, "err", err)
		}
		w.refused = true
		return
	}
	w.dev = d
	if w.cfg.Opened != nil {
		w.cfg.Opened(d.reset)
	}
	w.cfg.Logger.Info("the watchdog guards the device", "path", w.cfg.Path, "timeout", d.timeout, "last_reset", d.reset)
}

// ask asks each loop that owes no answer. An error is none.
func (w *Watchdog) ask(ctx context.Context, now time.Time) {
	for i, l := range w.cfg.Loops {
		if !w.asked[i].IsZero() {
			continue
		}
		w.asked[i] = now
		go func() {
			if l.Answer(ctx) == nil {
				w.answered <- i // never waits: a loop owes one answer at most
			}
		}()
	}
}

// anyHung tells whether a loop has owed its answer for too long, and says so in the log when that changes.
func (w *Watchdog) anyHung(now time.Time) bool {
	var names []string
	var changed bool
	for i, l := range w.cfg.Loops {
		hung := !w.asked[i].IsZero() && now.Sub(w.asked[i]) >= w.cfg.Limit
		if hung {
			names = append(names, l.Name)
		}
		if hung == w.hung[i] {
			continue
		}
		changed = true
		if w.hung[i] = hung; hung {
			w.cfg.Logger.Error("a loop hangs: the watchdog is fed no more, and restarts the device", "loop", l.Name, "since", w.cfg.Limit)
		} else {
			w.cfg.Logger.Warn("a loop that hung goes on", "loop", l.Name)
		}
	}
	if changed {
		w.cfg.Notifier.Tell("STATUS=loops that hang: " + strings.Join(names, ", "))
	}
	return len(names) > 0
}

func (w *Watchdog) feed() {
	w.cfg.Notifier.Tell("WATCHDOG=1")
	if w.dev == nil {
		return
	}
	if err := w.dev.feed(); err != nil {
		w.cfg.Logger.Error("the watchdog takes no feeding", "err", err)
	}
}

// Close disarms the watchdog, once Run has ended: the end was an orderly one. A kernel that was told nowayout goes on, and
// resets the board unless somebody opens the watchdog again in time.
func (w *Watchdog) Close() {
	if w.dev != nil {
		if err := w.dev.disarm(); err != nil {
			w.cfg.Logger.Warn("the watchdog cannot be disarmed", "err", err)
		}
	}
}
