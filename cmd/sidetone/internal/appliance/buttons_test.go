package appliance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidetone/board/gpio"
	"sidetone/board/gpio/gpiofake"
	"sidetone/board/indicator"
	"sidetone/provisioning/config"
	"sidetone/rtc/call"
	"sidetone/rtc/verto"
)

// wired is a door that is registered, with its buttons and a lamp on a fake chip.
type wired struct {
	*station
	x    *exchange
	chip *gpiofake.Chip
}

// Lines of the chip.
const (
	bellLine = iota
	muteLine
	redLine
	greenLine
	blueLine
)

func newWired(t *testing.T, chip *gpiofake.Chip) *wired {
	var system gpiofake.System
	system.Add(chip, "BELL", "MUTE", "RED", "GREEN", "BLUE")
	chip.Drive(bellLine, true) // its pull-up
	d, x := newButtonDoor(t)
	w := &wired{d, x, chip}
	d.cfg.Board.LED = config.LED{ActiveLow: true, RGB: config.RGB{Red: "RED", Green: "GREEN", Blue: "BLUE"}}
	d.cfg.Buttons = []config.Button{
		{Name: "bell", Line: "BELL", ActiveLow: true, Target: "house", Hold: config.ActionReset},
		{Name: "mute", Line: "MUTE", Press: config.ActionMute, Long: config.ActionHangup},
	}
	d.resetting = make(chan struct{})
	d.gpio = gpio.NewHost(&system)
	var buttons, lamp part
	if err := d.do(t.Context(), func() {
		d.view.pattern.Name = "" // it is shown anew
		d.Appliance.lamp = d.openLamp(d.cfg.Board.LED)
		lamp.start(t.Context(), d.Appliance.lamp.Run)
	}); err != nil {
		t.Fatal(err)
	}
	buttons.start(t.Context(), d.watchButtons)
	t.Cleanup(func() {
		buttons.stop()
		lamp.stop()
	})
	time.Sleep(time.Second)
	return w
}

// finger moves a button with 5 ms of bouncing; a second later everybody knows.
func (w *wired) finger(line int, down bool) {
	level := down != (line == bellLine)
	for range 5 {
		w.chip.Drive(line, level)
		time.Sleep(400 * time.Microsecond)
		w.chip.Drive(line, !level)
		time.Sleep(600 * time.Microsecond)
	}
	w.chip.Drive(line, level)
	time.Sleep(100 * time.Millisecond)
}

// light is the colour of the lamp, whose lines are low when lit.
func (w *wired) light() string {
	var lit []string
	for line, name := range map[int]string{redLine: "red", greenLine: "green", blueLine: "blue"} {
		if !w.chip.High(line) {
			lit = append(lit, name)
		}
	}
	slices.Sort(lit)
	return strings.Join(lit, "+")
}

// gestures are those that were told of, as "bell press".
func (w *wired) gestures() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, e := range w.told {
		if e.Event == "button" {
			all = append(all, e.Button+" "+e.Gesture)
		}
	}
	return all
}

func (w *wired) shows() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lamp
}

func (w *wired) done(t *testing.T, want ...string) {
	t.Helper()
	if got := w.gestures(); !slices.Equal(got, want) {
		t.Errorf("gestures %q, want %q", got, want)
	}
}

// A press rings once, whether the kernel debounces the line or cannot; the other button mutes and hangs up.
func TestButtonsOnLines(t *testing.T) {
	for _, polled := range []bool{false, true} {
		t.Run(fmt.Sprintf("polled=%v", polled), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWired(t, &gpiofake.Chip{NoInterrupts: polled})
				w.finger(bellLine, true)
				if calls := w.live(t); len(calls) != 1 || calls[0].Destination != "house" {
					t.Fatalf("a press made the calls %+v", calls)
				}
				w.finger(bellLine, false)
				w.x.pickUp(w.live(t)[0].ID)
				time.Sleep(time.Second)
				calls := w.live(t)
				if len(calls) != 1 || calls[0].State != call.Active {
					t.Fatalf("calls %+v", calls)
				}
				if l := w.light(); l != "green" {
					t.Errorf("in a call the lamp is %q", l)
				}
				w.finger(muteLine, true)
				w.finger(muteLine, false)
				if calls := w.live(t); len(calls) != 1 || !calls[0].Muted {
					t.Errorf("muted: %+v", calls)
				}
				w.finger(muteLine, true)
				time.Sleep(2 * time.Second)
				w.finger(muteLine, false)
				time.Sleep(time.Second)
				if calls := w.live(t); len(calls) != 0 {
					t.Errorf("hung up: %+v", calls)
				}
				w.done(t, "bell press", "mute press", "mute long")
			})
		})
	}
}

// Held, the button counts down by light; let go in time, the device ends. A button that is stuck does neither, and is told of once.
func TestResetAndStuckButton(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWired(t, &gpiofake.Chip{})
		reset := func() bool {
			select {
			case <-w.resetting:
				return true
			default:
				return false
			}
		}
		w.finger(bellLine, true)
		time.Sleep(3 * time.Hour)
		w.finger(bellLine, false)
		w.done(t, "bell press", "bell kept", "bell stuck", "bell released")
		if reset() || len(w.live(t)) > 1 {
			t.Errorf("a stuck button reset the device: %v; calls %+v", reset(), w.live(t))
		}
		time.Sleep(time.Minute)
		w.finger(bellLine, true)
		time.Sleep(4 * time.Second)
		for left := 5; left >= 0; left-- {
			time.Sleep(time.Second)
			want := "reset"
			if left > 0 {
				want = fmt.Sprintf("reset-%ds", left)
			}
			if got := w.shows(); got != want {
				t.Errorf("%d s before its end the count-down shows %s", left, got)
			}
			if w.Appliance.sound.route.Load().idle() {
				t.Errorf("%d s before its end nothing is heard", left)
			}
		}
		w.finger(bellLine, false)
		if !reset() {
			t.Error("the device was not reset")
		}
		if got := w.shows(); strings.HasPrefix(got, "reset") {
			t.Errorf("after it the lamp shows %s", got)
		}
	})
}

// A line whose chip is plugged in again works again, as does one that somebody else had.
func TestLinesThatComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWired(t, &gpiofake.Chip{})
		w.chip.Unplug()
		time.Sleep(time.Minute)
		w.chip.Plug()
		time.Sleep(lineAgain + time.Second)
		w.finger(bellLine, true)
		w.finger(bellLine, false)
		w.done(t, "bell press")
	})
}

// The count-down is heard though the press has placed a call.
func TestCountDownOverRingback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWall(true)
		hears := func(want signalTone) {
			t.Helper()
			w.show()
			if w.tones.current != want {
				t.Errorf("%q is heard, want %q", w.tones.current, want)
			}
		}
		w.view.calls["c"] = call.Info{ID: "c", Direction: call.Outbound, State: call.Trying, RemoteRings: true}
		hears(ringbackTone)
		w.view.reset = indicator.Reset{Held: true, Left: time.Second}
		w.prompts(tickTone)
		hears(tickTone)
		time.Sleep(tickTime)
		hears(noTone)
		w.view.reset.Left = 0
		w.prompts(letGoTone)
		hears(letGoTone)
		w.view.reset = indicator.Reset{}
		hears(ringbackTone)
	})
}

// A device without an address says so, unless it is registered by another way, as labs are.
func TestLampWithoutNetwork(t *testing.T) {
	for state, want := range map[verto.LineState]string{verto.Down: "no-network", verto.Registered: "idle"} {
		w := newWall(true)
		w.view.offline, w.view.line.State = true, state
		if w.show(); w.lamp != want {
			t.Errorf("%s without network shows %s", state, w.lamp)
		}
	}
}

func TestForget(t *testing.T) {
	dir := t.TempDir()
	for _, name := range append(slices.Clone(learnt), "door1.jwt", "sidetone.toml") {
		if err := os.MkdirAll(filepath.Join(dir, name, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := forget(dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 || entries[0].Name() != "door1.jwt" {
		t.Errorf("%v is left, %v", entries, err)
	}
}
